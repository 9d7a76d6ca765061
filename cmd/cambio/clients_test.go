package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// TestClientsEndToEnd: the secret that the command makes, with the line that it
// prints, and a key of the client's own: both get a token that names the client,
// and an assertion buys one.
func TestClientsEndToEnd(t *testing.T) {
	p := startDev(t)
	secret, line := p.clientSecret()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "g", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"gateway.jwks": string(set),
		"clients.yaml": "clients:\n  ci:\n    " + line + "\n    default_resource: https://mcp.example/wiki\n" +
			"  gateway: {private_key_jwt: {keys: {file: gateway.jwks}}}\n" +
			"allow:\n  - {name: clients-read, subjects: [{subject: \"client:*\"}], clients: [ci, gateway], targets: [wiki-mcp]}\n",
	} {
		if err := os.WriteFile(filepath.Join(p.ready.PolicyDir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(form url.Values, id, secret string) (int, map[string]any) {
		t.Helper()
		r, err := http.NewRequest(http.MethodPost, p.ready.URL+"/oauth2/token", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if id != "" {
			r.SetBasicAuth(id, secret)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var body map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body
	}
	itself := url.Values{"grant_type": {"client_credentials"}}
	if !eventually(func() bool { code, _ := ask(itself, "ci", secret); return code == http.StatusOK }) {
		t.Fatal("the client is not known")
	}
	_, own := ask(itself, "ci", secret)
	names(t, own, "client:ci", "ci")
	if code, _ := ask(itself, "ci", secret+"x"); code != http.StatusUnauthorized {
		t.Errorf("a wrong secret: %d", code)
	}

	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "g"}},
		(&jose.SignerOptions{}).WithType("client-authentication+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	assertion := func() url.Values {
		now := time.Now().Unix()
		claims, err := json.Marshal(map[string]any{
			"iss": "gateway", "sub": "gateway", "aud": p.ready.Issuer, "jti": rand.Text(), "iat": now, "exp": now + 60,
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
		return url.Values{
			"grant_type": {"client_credentials"}, "audience": {"wiki-mcp"}, "client_assertion": {compact},
			"client_assertion_type": {assertionType},
		}
	}
	form := assertion()
	code, issued := ask(form, "", "")
	if code != http.StatusOK {
		t.Fatalf("%d %v", code, issued["error_description"])
	}
	names(t, issued, "client:gateway", "gateway")
	if code, body := ask(form, "", ""); code != http.StatusUnauthorized || body["error"] != "invalid_client" {
		t.Errorf("the same assertion again: %d %v", code, body["error"])
	}
	if code, _ := ask(assertion(), "", ""); code != http.StatusOK {
		t.Errorf("a fresh one: %d", code)
	}
	for command, want := range map[string]string{
		"cambio policy explain --policy cambio-dev/policy --subject client:ci --target wiki-mcp":                  "allowed by clients-read",
		"cambio policy explain --policy cambio-dev/policy --subject client:ci --client gateway --target wiki-mcp": "no other",
		"cambio policy explain --policy cambio-dev/policy --subject client:cj --target wiki-mcp":                  `did you mean "ci"`,
		"cambio audit list": "client:gateway",
	} {
		stdout, stderr, _ := p.shell(command)
		if !strings.Contains(stdout+stderr, want) {
			t.Errorf("%s: %s%s", command, stdout, stderr)
		}
	}
	p.stop()
	if strings.Contains(p.stderr.String(), secret) {
		t.Error("S39: the log holds the secret")
	}
}

// names reads whom an access token is for.
func names(t *testing.T, issued map[string]any, subject, client string) {
	t.Helper()
	token, _ := issued["access_token"].(string)
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatal("no token came")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Subject string `json:"sub"`
		Client  string `json:"client_id"`
	}
	if err := json.Unmarshal(text, &claims); err != nil || claims.Subject != subject || claims.Client != client {
		t.Errorf("S3: the token is for %q by %q: %v", claims.Subject, claims.Client, err)
	}
}
