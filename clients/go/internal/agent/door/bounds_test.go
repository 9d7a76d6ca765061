package door

import (
	"strconv"
	"testing"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// A caller who comes with ever new keys cannot fill the agent's memory, and does not push
// out a key that is in use.
func TestProxymuxRemembersSoManyKeys(t *testing.T) {
	room := &Room{targets: target.New(standin.New(t).Client(), map[string]target.Settings{"oci": {}})}
	request, err := room.targets.Request("oci")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxymux{room: room, request: request, keys: map[[32]byte]*podKey{}}
	used := p.source([]byte("used"))
	for i := range 10 * maxPodKeys {
		p.source([]byte(strconv.Itoa(i)))
		if p.source([]byte("used")) != used {
			t.Fatalf("the key in use is forgotten after %d others", i+1)
		}
	}
	if len(p.keys) != maxPodKeys {
		t.Errorf("%d keys are remembered; want %d", len(p.keys), maxPodKeys)
	}
}

func TestGCEServesSoManySetsOfScopes(t *testing.T) {
	var scopes []string
	for i := range maxScopeSets + 1 {
		scopes = append(scopes, "scope-"+strconv.Itoa(i))
	}
	g := &gce{
		room:     &Room{targets: target.New(standin.New(t).Client(), map[string]target.Settings{"vertex": {}})},
		settings: &GCE{Scopes: scopes}, scoped: map[string]*cambio.TokenSource{},
	}
	for i, scope := range scopes {
		source, err := g.scopedSource(scope + "," + scope)
		if (err == nil) != (i < maxScopeSets) {
			t.Fatalf("set %d: %v", i, err)
		}
		if again, _ := g.scopedSource(scope); err == nil && again != source {
			t.Fatalf("set %d has two sources", i)
		}
	}
}
