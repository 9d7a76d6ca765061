//go:build mcp

package testmcp

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// policyOf lets agents look at the servers' tools, call them for engineers, and lets
// two registered clients call them for themselves.
func policyOf(servers []resource, secret string) string {
	var targets, names strings.Builder
	for _, s := range servers {
		fmt.Fprintf(&targets, "  %s: {mcp: {resource: %q, scopes: [tools.read, tools.call]}}\n", s.name, s.url)
		fmt.Fprintf(&names, "%s, ", s.name)
	}
	return `targets:
` + targets.String() + `  elsewhere: {mcp: {resource: https://mcp.example/elsewhere, scopes: [tools.read, tools.call]}}
clients:
  batch:
    ` + secret + `
    default_resource: ` + servers[slices.IndexFunc(servers, func(r resource) bool { return r.name == "go-streamable" })].url + `
  runner: {trust: {trust: cluster, namespace: agents, service_account: runner}}
allow:
  - {name: agents-look, subjects: [{trust: cluster, namespace: agents, service_account: assistant}], targets: [` + names.String() + `elsewhere], scopes: [tools.read]}
  - {name: agents-call-for-engineers, subjects: [{trust: corp, groups: [engineering]}], actors: [{trust: cluster, namespace: agents}], targets: [` + names.String() + `elsewhere]}
  - {name: gateways-call-for-engineers, subjects: [{trust: corp, groups: [engineering]}], clients: [batch], targets: [` + names.String() + `elsewhere]}
  - {name: batch-calls, subjects: [{subject: "client:batch"}], targets: [` + names.String() + `elsewhere]}
  - {name: workers-call, subjects: [{trust: cluster, namespace: agents, service_account: "worker*"}], targets: [` + names.String() + `elsewhere]}
  - {name: runner-calls, subjects: [{trust: cluster, namespace: agents, service_account: runner}], clients: [runner], targets: [` + names.String() + `elsewhere]}
`
}

// The policy in the guide is one.
func TestGuide(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "mcp.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, ok := strings.Cut(string(text), "```yaml\n")
	block, _, closed := strings.Cut(block, "```")
	if !ok || !closed {
		t.Fatal("there is none")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(block), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool(t, "CAMBIO_BINARY"), "policy", "check", "--policy", dir).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestMCP runs servers and clients of the official SDKs, each with each, over both
// transports, against one running Cambio.
func TestMCP(t *testing.T) {
	h := startHouse(t)
	servers := reserve(t)
	secret, line := h.secret(t)
	h.policy(t, "mcp.yaml", policyOf(servers, line))
	for _, s := range servers {
		s.start(t, h.URL)
	}
	for _, s := range servers {
		for _, sdk := range sdks {
			t.Run(s.name+" with a client in "+sdk, func(t *testing.T) { h.together(t, s, sdk) })
		}
	}
	t.Run("providers", func(t *testing.T) { h.providers(t, servers, secret) })
	t.Run("metadata", func(t *testing.T) { h.metadata(t) })
	t.Run("conformance", func(t *testing.T) { h.conformance(t) })
}

// together is what one client does at one server.
func (h *house) together(t *testing.T, s resource, sdk string) {
	agent := h.pod(t, "assistant")

	t.Run("a service looks at the tools and cannot call them", func(t *testing.T) {
		c := startClient(t, sdk, s)
		c.must("open", h.vend(t, s.url, agent, "", "tools.read"))
		var names []string
		if err := json.Unmarshal(c.must("list", ""), &names); err != nil || !slices.Contains(names, "whoami") {
			t.Fatalf("the tools are %q: %v", names, err)
		}
		refused := c.do("call", "")
		if refused.Error == "" || refused.Status != http.StatusForbidden {
			t.Fatalf("called with tools.read alone: %d, %s", refused.Status, refused.Error)
		}
		for _, part := range []string{`scope="tools.read tools.call"`, `resource_metadata="`} {
			if !strings.Contains(refused.Challenge, part) {
				t.Errorf("the challenge lacks %s: %s", part, refused.Challenge)
			}
		}
		// The scopes of the challenge are what to ask for; policy says no to a service.
		a := h.post(t, url.Values{
			"grant_type": {tokenExchange}, "resource": {s.url}, "subject_token": {agent}, "subject_token_type": {typeJWT}, "scope": {"tools.read tools.call"},
		})
		if a.Status != http.StatusBadRequest || a.Error != "invalid_scope" {
			t.Errorf("more scope for a service: %d %s", a.Status, a.Error)
		}
	})

	t.Run("an agent calls a tool for a person, and goes on with a renewed token", func(t *testing.T) {
		person := h.person(t, "alice")
		first := h.vend(t, s.url, person, agent, "tools.read tools.call")
		c := startClient(t, sdk, s)
		c.must("open", first)
		is := c.call("")
		if is.Subject != "oidc:corp:alice" || is.Actor == nil || is.Actor.Subject != "k8s:cluster:agents:assistant" ||
			is.ClientID != "k8s:cluster:agents:assistant" || is.Issuer != h.URL || is.Audience != s.url || is.Scope != "tools.read tools.call" {
			t.Errorf("the server takes it for %+v", is)
		}
		second := h.vend(t, s.url, h.person(t, "alice"), h.pod(t, "assistant"), "tools.read tools.call")
		if first == second {
			t.Fatal("the token was not renewed")
		}
		if again := c.call(second); again.Subject != is.Subject || again.ClientID != is.ClientID || again.Issuer != is.Issuer {
			t.Errorf("%+v became %+v", is, again)
		}
		c.must("close", "")
	})

	t.Run("a token for another resource is refused", func(t *testing.T) {
		c := startClient(t, sdk, s)
		refused := c.do("open", h.vend(t, "https://mcp.example/elsewhere", h.person(t, "alice"), agent, "tools.read tools.call"))
		if refused.Error == "" || refused.Status != http.StatusUnauthorized || !strings.Contains(refused.Challenge, `resource_metadata="`) {
			t.Errorf("%d %s: %s", refused.Status, refused.Challenge, refused.Error)
		}
		if refused := c.do("open", agent); refused.Status != http.StatusUnauthorized { // what was exchanged is no access token
			t.Errorf("the service's own token: %d %s", refused.Status, refused.Error)
		}
	})
}
