package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"

	"github.com/cambio-sts/cambio/server"
)

func ask(h http.Handler, method, path string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, w.Body.String()
}

func TestOps(t *testing.T) {
	var fault error
	h := server.Ops(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") }), []server.Check{
		{Name: "store", Ready: func(context.Context) error { return fault }},
		{Name: "policy", Ready: func(context.Context) error { return nil }},
	})
	for path, want := range map[string]string{"/metrics": "up 1\n", "/healthz": "ok\n"} {
		if code, body := ask(h, http.MethodGet, path); code != http.StatusOK || body != want {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	for range 2 { // down and up again
		for _, fault = range []error{errors.New("no database at db:5432"), nil} {
			code, body := ask(h, http.MethodGet, "/readyz")
			var report struct {
				Ready  bool
				Checks map[string]string
			}
			if err := json.Unmarshal([]byte(body), &report); err != nil {
				t.Fatal(err)
			}
			want, says := http.StatusOK, "ok"
			if fault != nil {
				want, says = http.StatusServiceUnavailable, fault.Error()
			}
			if code != want || report.Ready != (fault == nil) || report.Checks["store"] != says || report.Checks["policy"] != "ok" {
				t.Errorf("%d %s", code, body)
			}
		}
	}
	if code, _ := ask(h, http.MethodGet, "/oauth2/token"); code != http.StatusNotFound {
		t.Errorf("the operations port serves more than operations: %d", code)
	}
	if code, _ := ask(h, http.MethodPost, "/healthz"); code != http.StatusMethodNotAllowed {
		t.Errorf("%d", code)
	}
	if code, _ := ask(server.Ops(nil, nil), http.MethodGet, "/metrics"); code != http.StatusNotFound {
		t.Errorf("%d", code)
	}
}

// A check that hangs, whether it heeds its context or not, makes the replica not
// ready, and hides no other check.
func TestAReadinessCheckThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := server.Ops(nil, []server.Check{
			{Name: "deaf", Ready: func(context.Context) error { <-release; return nil }},
			{Name: "slow", Ready: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
			{Name: "well", Ready: func(context.Context) error { return nil }},
		})
		code, body := ask(h, http.MethodGet, "/readyz")
		var report struct{ Checks map[string]string }
		if err := json.Unmarshal([]byte(body), &report); err != nil {
			t.Fatal(err)
		}
		if code != http.StatusServiceUnavailable || report.Checks["deaf"] == "ok" || report.Checks["slow"] == "ok" || report.Checks["well"] != "ok" {
			t.Errorf("%d %s", code, body)
		}
		close(release)
	})
}
