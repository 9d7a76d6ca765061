package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange"
)

// ownPolicy lets an assistant's token for notes go on to the vault, by the server of
// notes and by nobody else.
const ownPolicy = `
clients:
  chat:
    SECRET
  notes:
    SECRET
    serves: [https://mcp.example/notes]
  vault:
    SECRET
    serves: [https://mcp.example/vault]
targets:
  notes-mcp: {mcp: {resource: https://mcp.example/notes, scopes: [read, write]}}
  vault-mcp: {mcp: {resource: https://mcp.example/vault, scopes: [read, write, rule]}}
  plain-mcp: {mcp: {resource: https://mcp.example/plain, scopes: [read]}}
allow:
  - {name: to-notes, subjects: [{trust: cluster, namespace: agents}], targets: [notes-mcp, plain-mcp], scopes: [read]}
  - {name: notes-to-vault, subjects: [{trust: cluster, namespace: agents}], actors: [{subject: "client:notes"}], targets: [vault-mcp]}
`

// ownWorld is a running server with that policy.
type ownWorld struct {
	*testing.T
	p      *process
	secret string
}

func openOwnWorld(t *testing.T) (*ownWorld, string) {
	t.Helper()
	p := startDev(t)
	secret, line := p.clientSecret()
	if err := os.WriteFile(filepath.Join(p.ready.PolicyDir, "own.yaml"), []byte(strings.ReplaceAll(ownPolicy, "SECRET", line)), 0o600); err != nil {
		t.Fatal(err)
	}
	world, err := devworld.Open(p.ready.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	account, err := world.ServiceAccount(time.Now(), "agents", "assistant", devworld.Audience)
	if err != nil {
		t.Fatal(err)
	}
	w := &ownWorld{T: t, p: p, secret: secret}
	if !eventually(func() bool {
		code, _ := w.exchange("chat", account.Reveal(), "notes-mcp")
		return code == http.StatusOK
	}) {
		t.Fatal("the policy is not in force")
	}
	return w, account.Reveal()
}

// ask posts a form as a client; an empty one is none.
func (w *ownWorld) ask(path, client string, form url.Values) (int, map[string]any) {
	w.Helper()
	r, err := http.NewRequest(http.MethodPost, w.p.ready.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if client != "" {
		r.SetBasicAuth(client, w.secret)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		w.Fatal(err)
	}
	return resp.StatusCode, body
}

func (w *ownWorld) exchange(client, token, target string, more ...string) (int, map[string]any) {
	w.Helper()
	form := url.Values{
		"grant_type": {exchange.GrantTokenExchange}, "subject_token": {token}, "subject_token_type": {string(exchange.TokenTypeJWT)}, "audience": {target},
	}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return w.ask("/oauth2/token", client, form)
}

// must is the token of an exchange that succeeds.
func (w *ownWorld) must(client, token, target string) string {
	w.Helper()
	code, body := w.exchange(client, token, target)
	if code != http.StatusOK {
		w.Fatalf("%s to %s: %d %v", client, target, code, body["error_description"])
	}
	issued, _ := body["access_token"].(string)
	return issued
}

// active is the introspection of a token by a client.
func (w *ownWorld) active(client, token string) map[string]any {
	w.Helper()
	code, body := w.ask("/oauth2/introspect", client, url.Values{"token": {token}})
	if code != http.StatusOK {
		w.Fatalf("introspection: %d %v", code, body["error_description"])
	}
	if body["active"] != true {
		if len(body) != 1 {
			w.Errorf("an inactive token, and %v", body)
		}
		return nil
	}
	return body
}

func (w *ownWorld) refused(what string, code int, body map[string]any, want int, kind string) {
	w.Helper()
	if code != want || body["error"] != kind {
		w.Errorf("%s: %d %v %v, want %d %s", what, code, body["error"], body["error_description"], want, kind)
	}
}

// TestS7OwnTokensThroughTheDoors: a token of ours goes on by the server it was for,
// which becomes the actor; its own client takes it back, and all that came of it goes
// with it.
func TestS7OwnTokensThroughTheDoors(t *testing.T) {
	w, account := openOwnWorld(t)
	first := w.must("chat", account, "notes-mcp")
	second := w.must("notes", first, "vault-mcp")

	for _, client := range []string{"notes", "chat"} {
		if a := w.active(client, first); a == nil || a["aud"] != "https://mcp.example/notes" || a["client_id"] != "chat" || a["scope"] != "read" || a["act"] != nil {
			t.Errorf("%s: %v", client, a)
		}
	}
	if w.active("vault", first) != nil {
		t.Error("another server may know about the token")
	}
	a := w.active("vault", second)
	if a == nil || a["sub"] != w.active("notes", first)["sub"] || a["client_id"] != "notes" || a["scope"] != "read" { // and not more than the first had
		t.Fatalf("%v", a)
	}
	if act, _ := a["act"].(map[string]any); act["sub"] != "client:notes" || act["iss"] != w.p.ready.Issuer || act["act"] != nil {
		t.Errorf("act: %v", a["act"])
	}
	if before, _ := w.active("notes", first)["exp"].(float64); a["exp"].(float64) > before {
		t.Error("S5: it outlives what it came of")
	}

	// Nobody else, and in no other place.
	code, body := w.exchange("vault", first, "vault-mcp")
	w.refused("another server", code, body, http.StatusBadRequest, "invalid_request")
	code, body = w.exchange("chat", first, "vault-mcp")
	w.refused("the client it was issued to", code, body, http.StatusBadRequest, "invalid_request")
	code, body = w.exchange("", first, "vault-mcp")
	w.refused("no client", code, body, http.StatusUnauthorized, "invalid_client")
	code, body = w.exchange("notes", w.must("chat", account, "plain-mcp"), "vault-mcp")
	w.refused("of a resource without a server", code, body, http.StatusBadRequest, "invalid_request")
	code, body = w.exchange("notes", account, "notes-mcp", "actor_token", first, "actor_token_type", string(exchange.TokenTypeAccessToken))
	w.refused("as an actor's", code, body, http.StatusBadRequest, "invalid_request")
	code, body = w.exchange("notes", account, "notes-mcp", "passthrough_token", first)
	w.refused("as a passthrough token", code, body, http.StatusBadRequest, "invalid_request")
	code, body = w.exchange("", account, "notes-mcp", "client_assertion", first, "client_assertion_type", assertionType)
	w.refused("as a client's assertion", code, body, http.StatusUnauthorized, "invalid_client")
	code, body = w.exchange("notes", first, "vault-mcp", "subject_token_type", string(exchange.TokenTypeIDToken))
	w.refused("as an ID token", code, body, http.StatusBadRequest, "invalid_request")
	code, _ = w.exchange("notes", first, "vault-mcp", "scope", "rule")
	if code == http.StatusOK {
		t.Error("it got a scope that the token lacks")
	}
	for _, assertion := range w.bent(first) {
		code, body = w.exchange("notes", assertion, "vault-mcp")
		w.refused("bent", code, body, http.StatusBadRequest, "invalid_request")
		if w.active("notes", assertion) != nil {
			t.Error("a bent token is active")
		}
	}
	r, err := http.NewRequest(http.MethodGet, w.p.ready.URL+"/v1/exchanges", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+first)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("as a bearer token of the API: %d", resp.StatusCode)
	}

	// RFC 7009 §2.1, §2: the client gives it back, and what came of it is dead too.
	code, body = w.ask("/oauth2/revoke", "notes", url.Values{"token": {first}})
	w.refused("revoked by its server", code, body, http.StatusBadRequest, "unauthorized_client")
	for range 2 {
		if code, body = w.ask("/oauth2/revoke", "chat", url.Values{"token": {first}}); code != http.StatusOK {
			t.Fatalf("revoking: %d %v", code, body["error_description"])
		}
		for client, token := range map[string]string{"chat": first, "vault": second, "notes": second} {
			if w.active(client, token) != nil {
				t.Errorf("%s sees it active after the revocation", client)
			}
		}
	}
	code, body = w.exchange("notes", first, "vault-mcp")
	w.refused("revoked", code, body, http.StatusBadRequest, "invalid_request")
	if stdout, stderr, status := w.p.shell("cambio audit list --filter 'subject:agents' --limit 50"); status != 0 || !strings.Contains(stdout, "client:notes") {
		t.Errorf("%s%s", stdout, stderr)
	}
	w.p.stop()
	for _, token := range []string{first, second, w.secret} {
		if strings.Contains(w.p.stderr.String(), token) {
			t.Error("S39: the log holds a token or a secret")
		}
	}
}

// bent are tokens that say the same by another header, or nothing signed.
func (w *ownWorld) bent(token string) []string {
	w.Helper()
	parts := strings.Split(token, ".")
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		w.Fatal(err)
	}
	all := []string{parts[0] + "." + parts[1] + ".AA"}
	for _, typ := range []string{"JWT", "oauth-id-jag+jwt", "cambio-assertion+jwt"} {
		changed := strings.Replace(string(header), "at+jwt", typ, 1)
		all = append(all, base64.RawURLEncoding.EncodeToString([]byte(changed))+"."+parts[1]+"."+parts[2])
	}
	return append(all, base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`))+"."+parts[1]+".")
}
