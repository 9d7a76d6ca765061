package caller_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/caller"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestConnect: the CA that is trusted, the token that is brought, and the client's secret,
// which is read each time.
func TestConnect(t *testing.T) {
	subject := standin.JWT(map[string]any{"sub": "me"})
	secret := write(t, "secret", "first\n")
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want, err := os.ReadFile(secret)
		id, password, ok := r.BasicAuth()
		if err != nil || !ok || id != "agent" || password != strings.TrimSpace(string(want)) || r.FormValue("subject_token") != subject {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token":"vended-secret-1","issued_token_type":"x","token_type":"Bearer","expires_in":60}`))
	}))
	defer server.Close()
	ca := write(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	identity := caller.Settings{File: write(t, "token", subject)}
	registered := caller.Client{ID: "agent", SecretFile: secret}
	client, err := caller.Connect(server.URL, ca, identity, registered)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Exchange(t.Context(), cambio.Request{Audience: "x"}); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(secret, []byte("second\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Exchange(t.Context(), cambio.Request{Audience: "x"}); err != nil {
		t.Errorf("after the secret was rotated: %v", err)
	}
	if err := os.WriteFile(secret, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Exchange(t.Context(), cambio.Request{Audience: "x"}); err == nil || !strings.Contains(err.Error(), "there is no secret in it") {
		t.Errorf("got %v", err)
	}
	t.Setenv("SOME_TOKEN", subject)
	if client, err = caller.Connect(server.URL, ca, caller.Settings{Environment: "SOME_TOKEN"}, caller.Client{}); err != nil {
		t.Fatal(err)
	}
	if token, err := client.Identity().SubjectToken(t.Context()); err != nil || token.Value.Reveal() != subject {
		t.Errorf("by the environment: %v", err)
	}
}

func TestConnectRefuses(t *testing.T) {
	for want, ca := range map[string]string{
		"CA file: there is no certificate in": write(t, "ca.pem", "nothing"),
		"CA file: open ":                      filepath.Join(t.TempDir(), "absent"),
	} {
		if _, err := caller.Connect("https://c.example", ca, caller.Settings{File: "x"}, caller.Client{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	// A token that is mounted later is found then.
	client, err := caller.Connect("https://c.example", "", caller.Settings{File: "/absent"}, caller.Client{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Exchange(t.Context(), cambio.Request{Audience: "x"}); err == nil || !strings.Contains(err.Error(), cambio.CodeIdentity) {
		t.Errorf("got %v", err)
	}
}
