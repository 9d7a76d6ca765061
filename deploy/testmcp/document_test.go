//go:build mcp

package testmcp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// document lets a client get its token that policy knows by the URL of its metadata
// document, and by nothing else. A document that no policy names is not asked for.
func (h *house) document(t *testing.T, server resource) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var app *httptest.Server
	var strangers atomic.Int64
	app = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/client.json" {
			strangers.Add(1)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"client_id": app.URL + r.URL.Path, "client_name": "App", "token_endpoint_auth_method": "private_key_jwt",
			"jwks": jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}},
		})
	}))
	t.Cleanup(app.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: app.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(h.Dir, "app.pem"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	id := app.URL + "/client.json"
	h.policy(t, "app.yaml", `clients:
  "`+id+`": {metadata: {ca_file: app.pem}}
allow:
  - {name: the-app, subjects: [{subject: "client:*"}], clients: ["`+id+`"], targets: [`+server.name+`]}
`)
	assertion := func(client string) string {
		t.Helper()
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		claims, err := json.Marshal(map[string]any{
			"iss": client, "sub": client, "aud": h.URL, "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		})
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		compact, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return compact
	}
	form := func(client string) url.Values {
		return url.Values{
			"grant_type": {"client_credentials"}, "resource": {server.url}, "client_assertion": {assertion(client)},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		}
	}
	var last answer
	eventually(t, "a token for the app", func() bool {
		last = h.post(t, form(id))
		return last.Status == http.StatusOK
	}, func() string { return last.Error + ": " + last.Description })
	c := startClient(t, "go", server)
	c.must("open", last.Token)
	if p := c.call(""); p.ClientID != id || p.Scope != "tools.read tools.call" {
		t.Errorf("%+v", p)
	}
	if a := h.post(t, form(app.URL+"/stranger.json")); a.Status != http.StatusUnauthorized || a.Error != "invalid_client" || strangers.Load() != 0 {
		t.Errorf("a client that policy does not name: %d %s, its document asked for %d times", a.Status, a.Error, strangers.Load())
	}
}
