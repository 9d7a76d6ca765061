package devworld_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// verify checks a token by the keys that dev serves, and gives its claims.
func verify(t *testing.T, server *httptest.Server, name string, token exchange.Secret) map[string]any {
	t.Helper()
	var discovery struct {
		Issuer string `json:"issuer"`
		JWKS   string `json:"jwks_uri"`
	}
	get(t, server.URL+"/dev/"+name+"/.well-known/openid-configuration", &discovery)
	var keys jose.JSONWebKeySet
	get(t, discovery.JWKS, &keys)
	signed, err := jose.ParseSignedCompact(token.Reveal(), []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		t.Fatal(err)
	}
	id := signed.Signatures[0].Header.KeyID
	if !strings.HasPrefix(id, devworld.KeyIDPrefix) {
		t.Errorf("kid %q is not marked as dev's", id)
	}
	payload, err := signed.Verify(keys.Key(id)[0])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	if claims["iss"] != discovery.Issuer || !devworld.Plays(discovery.Issuer) {
		t.Errorf("iss %v, discovery says %s", claims["iss"], discovery.Issuer)
	}
	if claims["exp"].(float64)-claims["iat"].(float64) != devworld.Lifetime.Seconds() {
		t.Errorf("lives from %v to %v", claims["iat"], claims["exp"])
	}
	return claims
}

func get(t *testing.T, url string, into any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T) *devworld.World {
	t.Helper()
	w, err := devworld.Create(filepath.Join(t.TempDir(), "cambio-dev"))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func serve(t *testing.T, w *devworld.World) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	handler, err := w.Handler("http://" + server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = devworld.Guard(handler)
	server.Start()
	t.Cleanup(server.Close)
	return server
}

func TestServiceAccountToken(t *testing.T) {
	w := create(t)
	token, err := w.ServiceAccount(now, "agents", "assistant", "cambio")
	if err != nil {
		t.Fatal(err)
	}
	claims := verify(t, serve(t, w), "cluster", token)
	if claims["sub"] != "system:serviceaccount:agents:assistant" {
		t.Errorf("sub %v", claims["sub"])
	}
	bound := claims["kubernetes.io"].(map[string]any)
	account := bound["serviceaccount"].(map[string]any)
	if bound["namespace"] != "agents" || account["name"] != "assistant" || len(account["uid"].(string)) != 36 || bound["pod"] == nil || bound["node"] == nil {
		t.Errorf("kubernetes.io %v", bound)
	}
	for _, bad := range [][2]string{{"", "a"}, {"a", ""}, {"A", "a"}, {"a:b", "a"}, {"a", strings.Repeat("a", 64)}} {
		if _, err := w.ServiceAccount(now, bad[0], bad[1], "cambio"); err == nil {
			t.Errorf("%q was minted", bad)
		}
	}
}

func TestUserToken(t *testing.T) {
	w := create(t)
	server := serve(t, w)
	for _, test := range []struct {
		user   string
		groups []string
		want   []any
	}{
		{"alice", nil, []any{"engineering"}},
		{"alice", []string{"a", "b"}, []any{"a", "b"}},
		{"nobody in particular", nil, []any{}},
	} {
		token, err := w.User(now, test.user, test.groups, "cambio")
		if err != nil {
			t.Fatal(err)
		}
		claims := verify(t, server, "corp", token)
		if claims["sub"] != test.user || claims["azp"] != "cli" || !slices.Equal(claims["groups"].([]any), test.want) {
			t.Errorf("claims %v", claims)
		}
	}
	for _, bad := range []string{"", "a\nb", "\xff", strings.Repeat("a", 129)} {
		if _, err := w.User(now, bad, nil, "cambio"); err == nil {
			t.Errorf("%q was minted", bad)
		}
	}
}

// TestS35KeysAreMadeOnTheSpot: two folders share no key, one keeps its own, and
// nobody else may read it.
func TestS35KeysAreMadeOnTheSpot(t *testing.T) {
	one, other := create(t), create(t)
	mint := func(w *devworld.World) string {
		token, err := w.ServiceAccount(now, "a", "b", "cambio")
		if err != nil {
			t.Fatal(err)
		}
		header, _, _ := strings.Cut(token.Reveal(), ".")
		return header
	}
	again, err := devworld.Open(one.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if mint(one) != mint(again) {
		t.Error("the folder's key changed")
	}
	if mint(one) == mint(other) {
		t.Error("two folders share a key")
	}
	if _, err := one.SealKey(); err != nil {
		t.Fatal(err)
	}
	secret, err := one.OCISecret()
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := again.OCISecret(); err != nil || !kept.Equal(secret) {
		t.Errorf("the secret changed: %v", err)
	}
	if others, err := other.OCISecret(); err != nil || others.Equal(secret) {
		t.Errorf("two folders share a secret: %v", err)
	}
	if err := one.WriteTokens(now); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"seal.key", "world/cluster.key.pem", "world/corp.key.pem", "world/oci-client.secret", "tokens/auditor.jwt", "tokens/operator.jwt"} {
		info, err := os.Stat(filepath.Join(one.Dir(), file))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s is %v", file, info.Mode())
		}
	}
	one.RemoveTokens()
	if _, err := os.Stat(devworld.AuditorToken(one.Dir())); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the auditor's token is still there: %v", err)
	}
}

func TestSealKeyStays(t *testing.T) {
	w := create(t)
	first, err := w.SealKey()
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.SealKey()
	if err != nil || string(first) != string(second) {
		t.Errorf("%x, %x, %v", first, second, err)
	}
}

// TestPolicyIsWrittenOnce: what the newcomer edited is theirs.
func TestPolicyIsWrittenOnce(t *testing.T) {
	w := create(t)
	if err := w.WritePolicy(map[string][]byte{"clouds.yaml": []byte("# first\n")}); err != nil {
		t.Fatal(err)
	}
	sample, beside := filepath.Join(w.PolicyDir(), "dev.yaml"), filepath.Join(w.PolicyDir(), "clouds.yaml")
	if err := os.WriteFile(sample, []byte("# mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(beside); err != nil {
		t.Fatal(err)
	}
	again, err := devworld.Create(w.Dir())
	if err != nil {
		t.Fatal(err)
	}
	if err := again.WritePolicy(map[string][]byte{"clouds.yaml": []byte("# second\n")}); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(sample); err != nil || string(text) != "# mine\n" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := os.Stat(beside); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was removed is back: %v", err)
	}
}

func TestNoData(t *testing.T) {
	dir := t.TempDir()
	if _, err := devworld.Open(dir); !errors.Is(err, devworld.ErrNoData) {
		t.Errorf("open: %v", err)
	}
	if _, err := devworld.FindReady(dir); !errors.Is(err, devworld.ErrNoData) {
		t.Errorf("ready: %v", err)
	}
	if err := os.WriteFile(devworld.ReadyFile(dir), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := devworld.FindReady(dir); err == nil || errors.Is(err, devworld.ErrNoData) {
		t.Errorf("a ready file that says nothing: %v", err)
	}
}

func TestReadyFile(t *testing.T) {
	dir := t.TempDir()
	want := devworld.Ready{
		URL: "http://127.0.0.1:1", OpsURL: "http://127.0.0.1:2", Issuer: "http://127.0.0.1:1", PolicyDir: "p", DataDir: "d",
		CAFile: "c", Clouds: map[string]string{"aws": "https://127.0.0.1:3"},
	}
	if err := want.Write(devworld.ReadyFile(dir)); err != nil {
		t.Fatal(err)
	}
	if got, err := devworld.FindReady(dir); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestS35HostAndOrigin: a page in a browser reaches a server on this machine by
// DNS rebinding (its own name as Host) or across origins (its own Origin).
func TestS35HostAndOrigin(t *testing.T) {
	server := serve(t, create(t))
	port := server.URL[strings.LastIndexByte(server.URL, ':'):]
	for _, test := range []struct {
		name, host string
		origins    []string
		want       int
	}{
		{"itself", "127.0.0.1" + port, nil, http.StatusOK},
		{"localhost", "localhost" + port, nil, http.StatusOK},
		{"v6", "[::1]" + port, nil, http.StatusOK},
		{"own page", "127.0.0.1" + port, []string{"http://127.0.0.1" + port}, http.StatusOK},
		{"rebound", "evil.example" + port, nil, http.StatusForbidden},
		{"looks local", "127.0.0.1.evil.example" + port, nil, http.StatusForbidden},
		{"another port", "127.0.0.1:1", nil, http.StatusForbidden},
		{"no port", "127.0.0.1", nil, http.StatusForbidden},
		{"a page", "127.0.0.1" + port, []string{"https://evil.example"}, http.StatusForbidden},
		{"a file", "127.0.0.1" + port, []string{"null"}, http.StatusForbidden},
		{"another local server", "127.0.0.1" + port, []string{"http://127.0.0.1:1"}, http.StatusForbidden},
		{"two origins", "127.0.0.1" + port, []string{"http://127.0.0.1" + port, "https://evil.example"}, http.StatusForbidden},
	} {
		t.Run(test.name, func(t *testing.T) {
			req, err := http.NewRequest(http.MethodGet, server.URL+"/dev/cluster/jwks", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Host = test.host
			req.Header["Origin"] = test.origins
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != test.want {
				t.Errorf("%s, want %d", resp.Status, test.want)
			}
		})
	}
}

func TestS35LoopbackOnly(t *testing.T) {
	for _, address := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.com:0", "127.0.0.1.example:0", "127.0.0.1"} {
		if devworld.CheckAddress(address) == nil {
			t.Errorf("%s passes", address)
		}
	}
	for _, address := range []string{"127.0.0.1:0", "localhost:8080", "[::1]:0"} {
		if err := devworld.CheckAddress(address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestPlays(t *testing.T) {
	for issuer, want := range map[string]bool{
		devworld.ClusterIssuer: true, devworld.CorpIssuer: true, "https://x.cambio-dev.test/realms/a": true,
		"https://cambio-dev.test.example": false, "https://kubernetes.default.svc.cluster.local": false, "": false,
	} {
		if devworld.Plays(issuer) != want {
			t.Errorf("Plays(%q) is %v", issuer, !want)
		}
	}
}

// TestPortsAreKept: a stand-in answers where it did, and where it cannot, the policy
// says where it does; in no other place, and each port by itself.
func TestPortsAreKept(t *testing.T) {
	w := create(t)
	if ports, err := w.Ports(); err != nil || len(ports) != 0 {
		t.Fatalf("%v, %v", ports, err)
	}
	if err := w.WritePolicy(map[string][]byte{devworld.CloudsFile: []byte(
		"a: https://127.0.0.1:808\nb: https://127.0.0.1:8081\nc: https://127.0.0.1:8082/x\nd: https://10.0.0.1:8081\ne: [127.0.0.1:8081]\n")}); err != nil {
		t.Fatal(err)
	}
	if err := w.KeepPorts(map[string]int{"aws": 8081, "gcp": 8082}); err != nil {
		t.Fatal(err)
	}
	if moved, err := w.MovePolicy(map[string]int{"aws": 8081, "gcp": 8082}); err != nil || moved {
		t.Fatalf("%v, %v", moved, err)
	}
	if moved, err := w.MovePolicy(map[string]int{"aws": 8082, "gcp": 9999}); err != nil || !moved {
		t.Fatalf("%v, %v", moved, err)
	}
	text, err := os.ReadFile(filepath.Join(w.PolicyDir(), devworld.CloudsFile))
	if want := "a: https://127.0.0.1:808\nb: https://127.0.0.1:8082\nc: https://127.0.0.1:9999/x\nd: https://10.0.0.1:8081\ne: [127.0.0.1:8082]\n"; err != nil || string(text) != want {
		t.Errorf("%q, %v", text, err)
	}
	if err := os.Remove(filepath.Join(w.PolicyDir(), devworld.CloudsFile)); err != nil {
		t.Fatal(err)
	}
	if moved, err := w.MovePolicy(map[string]int{"aws": 1}); err != nil || moved {
		t.Errorf("a file that is not there: %v, %v", moved, err)
	}
}
