package main

import (
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider/oauth2/oauth2sandbox"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

const oauth2Policy = `
defaults:
  oauth2: {auth: private_key_jwt, scopes: [read], may_outlive: true}
targets:
  tickets: {oauth2: {resource: ADDRESS/mcp, grant: token_exchange}}
  lost: {oauth2: {resource: ADDRESS/nothing}}
allow:
  - {name: agents-use-tickets, subjects: [{trust: cluster, namespace: agents}], targets: [tickets, lost], scopes: [read]}
`

// TestS24OAuth2ThroughTheDoors: the authorization server of a resource is found in the
// background, its token opens the resource for the subject, and is dead after the lease
// is revoked. One that is not found is a 503 that says so.
func TestS24OAuth2ThroughTheDoors(t *testing.T) {
	var stand atomic.Pointer[oauth2sandbox.Server]
	served := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s := stand.Load(); s != nil {
			s.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer served.Close()
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: served.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, t.TempDir(), []string{"SSL_CERT_FILE=" + roots}, "dev", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0")
	world, err := devworld.Open(p.ready.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.ready.PolicyDir, "oauth2.yaml"), []byte(strings.ReplaceAll(oauth2Policy, "ADDRESS", served.URL)), 0o600); err != nil {
		t.Fatal(err)
	}
	me := func() string {
		t.Helper()
		token, err := world.ServiceAccount(time.Now(), "agents", "assistant", devworld.Audience)
		if err != nil {
			t.Fatal(err)
		}
		return token.Reveal()
	}
	ask := func(path string) (status int, body map[string]any) {
		t.Helper()
		resp, err := http.PostForm(p.ready.URL+"/oauth2/token", url.Values{
			"grant_type": {exchange.GrantTokenExchange}, "subject_token": {me()}, "subject_token_type": {string(exchange.TokenTypeJWT)},
			"resource": {served.URL + path}, "scope": {"read"},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body
	}
	said := func(path, words string) func() bool {
		return func() bool {
			status, body := ask(path)
			text, _ := body["error_description"].(string)
			return status == http.StatusServiceUnavailable && strings.Contains(text, words)
		}
	}
	if !eventually(said("/mcp", "has not been found")) {
		status, body := ask("/mcp")
		t.Fatalf("%d %v\n%s", status, body["error_description"], p.stderr.String())
	}

	keys := func() []byte {
		resp, err := http.Get(p.ready.URL + "/federation/jwks")
		if err != nil {
			return nil
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return text
	}
	s, err := oauth2sandbox.New(sandbox.World{Issuer: p.ready.URL + "/federation", Keys: keys, Now: time.Now, Random: rand.Reader}, oauth2sandbox.Setup{
		Clients: []oauth2sandbox.Client{{ID: "cambio", Federated: "default:tickets"}}, Scopes: []string{"read"},
	})
	if err != nil {
		t.Fatal(err)
	}
	stand.Store(s)
	var body map[string]any
	if !eventually(func() bool { var status int; status, body = ask("/mcp"); return status == http.StatusOK }) {
		t.Fatalf("%v\n%s", body["error_description"], p.stderr.String())
	}
	token, _ := body["access_token"].(string)
	lease, _ := body["lease_id"].(string)
	opens := func() bool {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, served.URL+"/mcp", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		resp, err := served.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
	if who, ok := s.Whoami(token); !opens() || !ok || who.Subject != "k8s:cluster:agents:assistant" || who.Client != "cambio" || body["scope"] != "read" {
		t.Errorf("the resource takes it for %+v, with %v", who, body["scope"])
	}
	file := filepath.Join(t.TempDir(), "me.jwt")
	if err := os.WriteFile(file, []byte(me()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cambio", "lease", "revoke", lease, "--token-file", file, "--url", p.ready.URL).CombinedOutput(); err != nil || opens() {
		t.Errorf("it lives on: %v\n%s", err, out)
	}
	if status, body := ask("/mcp"); status != http.StatusOK || body["access_token"] == token {
		t.Error("what was revoked is served again")
	}
	if !said("/nothing", "has not been found")() || !strings.Contains(p.stderr.String(), `target \"lost\"`) {
		t.Errorf("that a server is not found is not said\n%s", p.stderr.String())
	}
	if text := p.stdout.String() + p.stderr.String(); strings.Contains(text, token) {
		t.Error("the log has a token")
	}
}
