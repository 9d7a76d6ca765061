package ops_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/ops"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/status"
)

func TestLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9": true, "[::1]:1": true, "localhost": true, "localhost:80": true, "[::ffff:127.0.0.1]:1": true,
		"": false, ":1": false, "0.0.0.0:1": false, "10.0.0.1:1": false, "localhost.evil.example:1": false, "127.0.0.1.evil.example": false, "[::]:1": false, "example.com": false,
	} {
		if got := ops.Loopback(address); got != want {
			t.Errorf("%q: %t", address, got)
		}
	}
}

func TestReady(t *testing.T) {
	report := status.Report{Waiting: []string{"target a: not yet", "file /b: not written yet"}}
	handler := ops.Handler(func() status.Report { return report }, ops.NewRegistry(func() status.Report { return report }))
	ask := func(path string) *httptest.ResponseRecorder {
		req := httptest.NewRequest("GET", path, nil)
		req.Host = "127.0.0.1:9909"
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		return w
	}
	if w := ask("/readyz"); w.Code != 503 || w.Body.String() != "target a: not yet\nfile /b: not written yet\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if w := ask("/livez"); w.Code != 200 {
		t.Errorf("livez: %d", w.Code)
	}
	report = status.Report{Ready: true}
	if w := ask("/readyz"); w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if w := ask("/else"); w.Code != 404 {
		t.Errorf("/else: %d", w.Code)
	}
}

// TestMetricsAreWellFormed: names, help and labels as Prometheus wants them, for a target
// that is asked for in two ways too.
func TestMetricsAreWellFormed(t *testing.T) {
	report := status.Report{Targets: []status.Target{{Name: "a", State: status.StateHeld, ExpiresIn: 60, Exchanges: 2}, {Name: "a", State: status.StateMissing, Failures: 1}, {Name: "u", State: status.StatePerUser}}}
	registry := ops.NewRegistry(func() status.Report { return report })
	want := `
# HELP cambio_agent_credential_held Whether there is a good credential.
# TYPE cambio_agent_credential_held gauge
cambio_agent_credential_held{source="1",target="a"} 1
cambio_agent_credential_held{source="2",target="a"} 0
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "cambio_agent_credential_held"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(registry, "cambio_agent_credential_held", "cambio_agent_credential_expires_in_seconds", "cambio_agent_exchanges_total", "cambio_agent_ready"); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}
