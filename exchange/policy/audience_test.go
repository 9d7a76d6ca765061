package policy_test

import (
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
)

// behind is a policy with targets behind two authorization servers.
const behind = `
targets:
  notes: {paper: {resource: "https://mcp.example/notes", foreign: true, behind: "https://as.example"}}
  tasks: {paper: {resource: "https://mcp.example/tasks", foreign: true, behind: "https://as.example"}}
  plans: {paper: {resource: "https://mcp.example/plans", foreign: true, behind: "https://other.example"}}
allow:
  - {name: all, subjects: [{trust: prod}], targets: [notes, tasks, plans, wiki]}
`

// RFC 8693 §2.1: an audience is a name, or a URI where both sides know it; with the
// resource it names one target. An authorization server is a name of what is behind
// it where nothing else is meant.
func TestRFC8693Section2_1AudienceIsANameOrAURI(t *testing.T) {
	r := load(t, "a.yaml", house, "b.yaml", behind)
	for _, c := range []struct {
		audiences, resources []string
		want                 string // empty: no one target
	}{
		{[]string{"wiki"}, nil, "wiki"},
		{[]string{"https://mcp.example/wiki"}, nil, "wiki"},
		{[]string{"https://mcp.example/wiki", "wiki"}, []string{"https://mcp.example/wiki"}, "wiki"},
		{[]string{"https://mcp.example/wiki"}, []string{"https://mcp.example/notes"}, ""},
		{[]string{"https://mcp.example/WIKI"}, nil, ""},
		{[]string{"https://mcp.example/wiki/"}, nil, ""},
		{[]string{"https://as.example"}, []string{"https://mcp.example/notes"}, "notes"},
		{[]string{"https://as.example"}, []string{"https://mcp.example/tasks"}, "tasks"},
		{[]string{"https://as.example", "tasks"}, []string{"https://mcp.example/tasks"}, "tasks"},
		{[]string{"https://as.example"}, nil, ""}, // one of two
		{[]string{"https://as.example"}, []string{"https://mcp.example/plans"}, ""},
		{[]string{"https://as.example"}, []string{"https://mcp.example/wiki"}, ""},
		{[]string{"https://as.example/"}, []string{"https://mcp.example/notes"}, ""},
		{[]string{"https://other.example"}, nil, "plans"},
		{[]string{"https://other.example"}, []string{"https://mcp.example/plans"}, "plans"},
		{[]string{"https://other.example"}, []string{"https://mcp.example/notes"}, ""},
		{[]string{"https://other.example", "https://as.example"}, []string{"https://mcp.example/notes"}, ""},
	} {
		q := ask(t, r, "k8s:prod:a:x", "", func(q *exchange.Question) { q.Audiences, q.Resources = c.audiences, c.resources })
		d := r.Decide(q)
		got := ""
		if d.Allowed {
			got = d.Target.Name
		}
		if got != c.want || got == "" && d.Refusal != exchange.KindInvalidTarget {
			t.Errorf("%q at %q: %q, %v", c.audiences, c.resources, got, d.Refusal)
		}
	}
}

// S1: what is signed for an authorization server is for no resource.
func TestS1AuthorityIsNoResource(t *testing.T) {
	faults := loadFaults(t, "a.yaml", house, "b.yaml", `targets:
  notes: {paper: {resource: "https://mcp.example/notes", foreign: true, behind: "https://mcp.example/wiki"}}
`)
	if len(faults) != 1 || !strings.Contains(faults[0].Message, `which is the resource of target "wiki"`) || faults[0].File != "b.yaml" || faults[0].Line != 2 {
		t.Errorf("%v", faults)
	}
}
