package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
)

const idjagPolicy = `
trusts:
  staff: {oidc: {issuer: https://login.staff.example, audiences: [cambio], keys: {file: staff.jwks}, id_jag: true}}
clients:
  chat:
    SECRET
  mail:
    SECRET
  signing: {private_key_jwt: {keys: {file: staff.jwks}}}
targets:
  notes-mcp: {mcp: {resource: https://mcp.example/notes, scopes: [read, write]}}
  vault-mcp: {mcp: {resource: https://mcp.example/vault, scopes: [read]}}
allow:
  - {name: staff, subjects: [{trust: staff}], targets: [notes-mcp, vault-mcp]}
`

// TestS12IdentityAssertionsThroughTheDoors: a grant of a provider that policy names
// buys one token, for its client, at its resource, within its scopes; the database
// knows that it was used.
func TestS12IdentityAssertionsThroughTheDoors(t *testing.T) {
	p := startDev(t)
	secret, line := p.clientSecret()
	w := &ownWorld{T: t, p: p, secret: secret}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "s", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"staff.jwks": string(set), "idjag.yaml": strings.ReplaceAll(idjagPolicy, "SECRET", line)} {
		if err := os.WriteFile(filepath.Join(p.ready.PolicyDir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sign := func(typ string, claims map[string]any) string {
		t.Helper()
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "s"}}, (&jose.SignerOptions{}).WithType(jose.ContentType(typ)))
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(text)
		if err != nil {
			t.Fatal(err)
		}
		compact, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return compact
	}
	grant := func(change map[string]any) string {
		now := time.Now().Unix()
		claims := map[string]any{
			"iss": "https://login.staff.example", "sub": "alice", "aud": p.ready.Issuer, "client_id": "chat", "jti": rand.Text(),
			"iat": now, "exp": now + 300, "resource": "https://mcp.example/notes", "scope": "read",
		}
		maps.Copy(claims, change)
		return sign("oauth-id-jag+jwt", claims)
	}
	redeem := func(client, assertion string, more ...string) (int, map[string]any) {
		form := url.Values{"grant_type": {exchange.GrantJWTBearer}, "assertion": {assertion}}
		for i := 0; i < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		return w.ask("/oauth2/token", client, form)
	}
	if !eventually(func() bool { code, _ := redeem("chat", grant(nil)); return code == http.StatusOK }) {
		code, body := redeem("chat", grant(nil))
		t.Fatalf("%d %v", code, body)
	}
	once := grant(nil)
	code, body := redeem("chat", once) // as the SDKs do: nothing but the assertion
	if code != http.StatusOK || body["scope"] != "read" {
		t.Fatalf("%d %v", code, body["error_description"])
	}
	token, _ := body["access_token"].(string)
	if a := w.active("chat", token); a == nil || a["sub"] != "oidc:staff:alice" || a["aud"] != "https://mcp.example/notes" || a["client_id"] != "chat" || a["scope"] != "read" {
		t.Errorf("%v", a)
	}
	code, body = redeem("chat", once)
	w.refused("a second time", code, body, http.StatusBadRequest, "invalid_grant")

	// Many at once: one of them.
	raced, issued := grant(nil), 0
	var mu sync.Mutex
	var racing sync.WaitGroup
	for range 8 {
		racing.Go(func() {
			if code, _ := redeem("chat", raced); code == http.StatusOK {
				mu.Lock()
				defer mu.Unlock()
				issued++
			}
		})
	}
	racing.Wait()
	if issued != 1 {
		t.Errorf("one grant bought %d tokens", issued)
	}

	code, body = redeem("mail", grant(nil))
	w.refused("by another client", code, body, http.StatusBadRequest, "invalid_grant")
	code, body = redeem("", grant(nil))
	w.refused("by no client", code, body, http.StatusUnauthorized, "invalid_client")
	code, body = redeem("chat", grant(nil), "resource", "https://mcp.example/vault")
	w.refused("at another resource", code, body, http.StatusBadRequest, "invalid_target")
	code, body = redeem("chat", grant(nil), "audience", "vault-mcp")
	w.refused("at another target", code, body, http.StatusBadRequest, "invalid_target")
	code, body = redeem("chat", grant(nil), "scope", "read write")
	w.refused("beyond its scopes", code, body, http.StatusBadRequest, "invalid_scope")
	code, body = redeem("chat", grant(map[string]any{"aud": []string{p.ready.Issuer, "cambio"}}))
	w.refused("for two audiences", code, body, http.StatusBadRequest, "invalid_grant")
	code, body = redeem("chat", grant(map[string]any{"iss": p.ready.Issuer}))
	w.refused("as our own", code, body, http.StatusBadRequest, "invalid_grant")
	code, body = w.exchange("chat", grant(nil), "notes-mcp")
	w.refused("as a subject token", code, body, http.StatusBadRequest, "invalid_request")
	code, body = w.exchange("chat", grant(nil), "notes-mcp", "subject_token_type", string(exchange.TokenTypeIDJAG))
	w.refused("as a subject token by its type", code, body, http.StatusBadRequest, "invalid_request")

	// A client that signs: its own assertion burns by itself.
	now := time.Now().Unix()
	own := sign("client-authentication+jwt", map[string]any{"iss": "signing", "sub": "signing", "aud": p.ready.Issuer, "jti": rand.Text(), "iat": now, "exp": now + 60})
	with := []string{"client_assertion", own, "client_assertion_type", assertionType}
	if code, body = redeem("", grant(map[string]any{"client_id": "signing"}), with...); code != http.StatusOK {
		t.Errorf("with a client's assertion: %d %v", code, body["error_description"])
	}
	code, body = redeem("", grant(map[string]any{"client_id": "signing"}), with...)
	w.refused("with that assertion again", code, body, http.StatusUnauthorized, "invalid_client")
	code, body = w.ask("/oauth2/introspect", "", url.Values{"token": {token}, "client_assertion": {own}, "client_assertion_type": {assertionType}})
	w.refused("and at another endpoint", code, body, http.StatusUnauthorized, "invalid_client")
	p.stop()
}
