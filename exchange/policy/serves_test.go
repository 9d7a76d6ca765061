package policy_test

import (
	"slices"
	"strings"
	"testing"
)

// A client serves resources whose tokens are ours, and nothing else; what is wrong
// is said at its place, with the nearest name.
func TestServesFaults(t *testing.T) {
	for text, want := range map[string]string{
		`["https://mcp.example/githup"]`: `did you mean "https://mcp.example/github"?`,
		`[github]`:                       `no target has the resource "github"`,
		`["https://mcp.example/wiki", "https://mcp.example/wiki"]`: "stands here twice",
		`["https://mcp.example/other"]`:                            `credentials of target "other" are not tokens of ours`,
		`["https://mcp.example/WIKI"]`:                             `did you mean "https://mcp.example/wiki"?`,
		`[]`:                                                       "leave serves out",
	} {
		faults := loadFaults(t, "a.yaml", house, "b.yaml", `targets: {other: {paper: {resource: "https://mcp.example/other", foreign: true}}}
clients:
  server: {secret: {sha256: `+someHash+`}, serves: `+text+`}
`)
		if len(faults) != 1 || !strings.Contains(faults[0].Message, want) || faults[0].File != "b.yaml" || faults[0].Line != 3 || faults[0].Column < 90 {
			t.Errorf("%s:\nwant %s, got\n%v", text, want, faults)
		}
	}
}

// What a client serves may come back; its target is another one from then on, and
// the client too.
func TestServes(t *testing.T) {
	const both = `clients:
  server: {secret: {sha256: ` + someHash + `}, serves: ["https://mcp.example/github"]}
  spare: {secret: {sha256: ` + someHash + `}, serves: ["https://mcp.example/github", "https://mcp.example/wiki"]}
`
	before, after := load(t, "a.yaml", house), load(t, "a.yaml", house, "b.yaml", both)
	one := load(t, "a.yaml", house, "b.yaml", strings.Replace(both, "  spare", "  other", 1))
	for _, name := range []string{"github", "wiki"} {
		was, is := before.Target(name), after.Target(name)
		if was.Returns || !is.Returns || was.Hash == is.Hash || is.Hash != one.Target(name).Hash {
			t.Errorf("%s: %+v, then %+v", name, was, is)
		}
	}
	if rock := after.Target("rock"); rock.Returns || rock.Hash != before.Target("rock").Hash {
		t.Error("what nobody serves returns")
	}
	server, _ := after.Client("server")
	spare, _ := after.Client("spare")
	if !slices.Equal(server.Serves, []string{"https://mcp.example/github"}) || len(spare.Serves) != 2 || server.Hash == spare.Hash {
		t.Errorf("%v, %v", server.Serves, spare.Serves)
	}
	if desk, _ := after.Client("desk"); len(desk.Serves) != 0 {
		t.Errorf("desk serves %v", desk.Serves)
	}
}
