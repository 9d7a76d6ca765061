package server

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"
)

// checkTimeout bounds one readiness check: a probe gives up soon after.
const checkTimeout = 2 * time.Second

// Check is one thing that readiness hangs on. A nil error means: ready. The error
// says why not, to the operator, since the operations port is theirs.
type Check struct {
	Name  string
	Ready func(ctx context.Context) error
}

// Ops is the handler of the operations port: /healthz (the process answers),
// /readyz (every check passes, or 503 and which one does not and why), /metrics.
func Ops(metrics http.Handler, checks []Check) http.Handler {
	mux := http.NewServeMux()
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		report := ready(r.Context(), checks)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !report.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		_ = out.Encode(report)
	})
	return mux
}

// readiness is the body of /readyz.
type readiness struct {
	Ready  bool              `json:"ready"`
	Checks map[string]string `json:"checks"` // ok, or why not
}

// ready runs the checks side by side, so that one that hangs hides no other.
func ready(ctx context.Context, checks []Check) readiness {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	results := make([]error, len(checks))
	var all sync.WaitGroup
	for i, c := range checks {
		all.Go(func() { results[i] = await(ctx, c) })
	}
	all.Wait()
	report := readiness{Ready: true, Checks: make(map[string]string, len(checks))}
	for i, c := range checks {
		report.Checks[c.Name] = "ok"
		if err := results[i]; err != nil {
			report.Ready = false
			report.Checks[c.Name] = err.Error()
		}
	}
	return report
}

// await gives up on a check that does not heed its context.
func await(ctx context.Context, c Check) error {
	done := make(chan error, 1)
	go func() { done <- c.Ready(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
