package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
)

// TestS16ClosedTrustNeedsAClient: a token of a trust that is not clientless buys
// nothing by itself at any door, and what the rule allows with a registered client
// that may use the grant and that the rule names.
func TestS16ClosedTrustNeedsAClient(t *testing.T) {
	c := startConformance(t)
	secret, line := c.p.clientSecret()
	text := "clients:\n  ci:\n    " + line + "\n    default_resource: https://mcp.example/desk\n  other:\n    " + line +
		"\nallow:\n  - {name: closed-read, subjects: [{trust: closed}], clients: [ci], targets: [desk], scopes: [read], max_ttl: 10m}\n"
	if err := os.WriteFile(filepath.Join(c.p.ready.PolicyDir, "closed.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m := openMatrix(c.p, func(matrixCase) (exchange.Secret, error) {
		return exchange.NewSecret(c.person(claims{"iss": "https://closed.example"})), nil
	})
	ci := m.as(basicClient("ci", secret))
	desk := matrixCase{audience: "desk"}
	if !eventually(func() bool { return strings.HasPrefix(ci.tokenExchange(desk), "issued") }) {
		t.Fatalf("the policy did not come into force: %s", ci.tokenExchange(desk))
	}
	for caller, want := range map[*matrix]string{
		m:                                   "invalid_client",
		ci:                                  "issued true read",
		m.as(basicClient("ci", secret+"x")): "invalid_client",
		m.as(basicClient("other", secret)):  "invalid_target",
		m.as(presented{header: "Bearer " + m.bearer(desk)}): "invalid_client",
	} {
		for door, ask := range map[string]func(matrixCase) string{
			"token exchange": caller.tokenExchange, "jwt-bearer": caller.jwtBearer, "REST": caller.rest, "gRPC": caller.overGRPC,
		} {
			if got := ask(desk); !strings.HasPrefix(got, want) {
				t.Errorf("by %s: %s, want %s", door, got, want)
			}
		}
	}
	// Who names no target means the client's.
	for door, ask := range map[string]func(matrixCase) string{"token exchange": ci.tokenExchange, "REST": ci.rest, "gRPC": ci.overGRPC} {
		if got := ask(matrixCase{}); !strings.HasPrefix(got, "issued true read") {
			t.Errorf("the default resource by %s: %s", door, got)
		}
	}
	list, stderr, status := c.p.shell(`cambio audit list --filter 'client = "ci" AND outcome = "issued"' --output json`)
	if status != 0 || !strings.Contains(list, `"rest"`) || !strings.Contains(list, `"grpc"`) || strings.Contains(list, `"other"`) {
		t.Errorf("the ledger shows %d %s%s", status, list, stderr)
	}
	c.p.stop()
	if strings.Contains(c.p.stderr.String(), secret) {
		t.Error("S39: the log holds the secret")
	}
}
