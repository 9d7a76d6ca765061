package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/cambio-sts/cambio/exchange"
)

// kinds is a running Cambio that trusts an issuer, and knows a client, of one key:
// what keeps their tokens apart is their kind.
type kinds struct {
	t   *testing.T
	p   *process
	key *ecdsa.PrivateKey
	m   *matrix
}

func startKinds(t *testing.T) *kinds {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	k := &kinds{t: t, p: startDev(t), key: key}
	for name, text := range map[string]string{"kinds.jwks": string(set), "kinds.yaml": `
trusts:
  kinds: {oidc: {issuer: https://kinds.example, audiences: [cambio], clientless: true, keys: {file: kinds.jwks}}}
clients:
  gateway: {private_key_jwt: {keys: {file: kinds.jwks}}}
  alice: {trust: {trust: kinds, sub: alice}}
targets:
  kinds-mcp: {mcp: {resource: https://mcp.example/kinds, scopes: [read]}}
allow:
  - {name: kinds, subjects: [{trust: kinds}], targets: [kinds-mcp]}
  - {name: kinds-acted, subjects: [{trust: kinds}], actors: [{trust: kinds}], targets: [kinds-mcp]}
`} {
		if err := os.WriteFile(filepath.Join(k.p.ready.PolicyDir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k.m = k.bringing(k.token("", nil))
	if !eventually(func() bool { return strings.HasPrefix(k.m.tokenExchange(kindsCase), "issued") }) {
		t.Fatalf("the policy did not come into force: %s", k.m.tokenExchange(kindsCase))
	}
	return k
}

var kindsCase = matrixCase{audience: "kinds-mcp"}

// bringing asks with one subject token.
func (k *kinds) bringing(token string) *matrix {
	return openMatrix(k.p, func(matrixCase) (exchange.Secret, error) { return exchange.NewSecret(token), nil })
}

// token is alice's, of a kind, with changes.
func (k *kinds) token(typ string, changes claims) string {
	now := time.Now()
	return k.sign(typ, claims{
		"iss": "https://kinds.example", "sub": "alice", "aud": "cambio", "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}, changes)
}

// assertion is the gateway's own, with changes.
func (k *kinds) assertion(typ string, changes claims) string {
	now := time.Now()
	return k.sign(typ, claims{
		"iss": "gateway", "sub": "gateway", "aud": k.p.ready.Issuer, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
	}, changes)
}

func (k *kinds) sign(typ string, all, changes claims) string {
	k.t.Helper()
	o := &jose.SignerOptions{}
	if typ != "" {
		o = o.WithType(jose.ContentType(typ))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: k.key, KeyID: "k"}}, o)
	if err != nil {
		k.t.Fatal(err)
	}
	maps.Copy(all, changes)
	text, err := jwt.Signed(signer).Claims(all).Serialize()
	if err != nil {
		k.t.Fatal(err)
	}
	return text
}

func (k *kinds) showing(assertion string) *matrix {
	return k.m.as(presented{members: map[string]string{"client_assertion": assertion, "client_assertion_type": assertionType}})
}

// TestTokensOfAnotherKindAreRefused in each parameter, by each door: the signature is
// good, the issuer is trusted, and only the kind is another.
func TestTokensOfAnotherKindAreRefused(t *testing.T) {
	k := startKinds(t)
	others := map[string]string{
		"an ID-JAG": k.token("oauth-id-jag+jwt", nil), "a logout token": k.token("logout+jwt", nil),
		"a DPoP proof": k.token("dpop+jwt", nil), "a security event": k.token("secevent+jwt", nil),
		"a client's assertion": k.assertion("client-authentication+jwt", nil), "a bound token": k.token("", claims{"cnf": claims{"jkt": "x"}}),
		"no token": "eyJhbGciOiJub25lIn0.e30.", "a key": "-----BEGIN PUBLIC KEY-----", "an opaque one": rand.Text(),
	}
	for name, token := range others {
		m := k.bringing(token)
		acted := k.m.as(presented{members: map[string]string{"actor_token": token, "actor_token_type": tokenTypePrefix + "jwt"}})
		asks := map[string]func(matrixCase) string{
			"subject_token": m.tokenExchange, "subject_token by REST": m.rest, "subject_token by gRPC": m.overGRPC, "assertion": m.jwtBearer,
			"actor_token": acted.tokenExchange, "actor_token by REST": acted.rest,
		}
		if name != "a client's assertion" { // which is at home there
			shown := k.showing(token)
			asks["client_assertion"], asks["client_assertion by REST"], asks["client_assertion by gRPC"] = shown.tokenExchange, shown.rest, shown.overGRPC
		}
		for parameter, ask := range asks {
			want := "invalid_request"
			switch {
			case parameter == "assertion":
				want = "invalid_grant"
			case strings.HasPrefix(parameter, "client_assertion"):
				want = "invalid_client"
			}
			if got := ask(kindsCase); !strings.HasPrefix(got, want+": ") {
				t.Errorf("%s as %s: %s, want %s", name, parameter, got, want)
			}
		}
		r, err := http.NewRequest(http.MethodGet, k.p.ready.URL+"/v1/exchanges", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s as bearer: %d", name, resp.StatusCode)
		}
	}
	k.p.stop()
}

// TestS17AssertionFaultsByEveryDoor: an assertion that is expired, early, replayed,
// mis-addressed or of another key is invalid_client at every door.
func TestS17AssertionFaultsByEveryDoor(t *testing.T) {
	k := startKinds(t)
	doors := map[string]func(*matrix) string{
		"token exchange": func(m *matrix) string { return m.tokenExchange(kindsCase) },
		"REST":           func(m *matrix) string { return m.rest(kindsCase) },
		"gRPC":           func(m *matrix) string { return m.overGRPC(kindsCase) },
	}
	const typ = "client-authentication+jwt"
	now := time.Now().Unix()
	for door, ask := range doors {
		good := k.assertion(typ, nil)
		if got := ask(k.showing(good)); !strings.HasPrefix(got, "issued") {
			t.Errorf("a good one by %s: %s", door, got)
		}
		for other, again := range doors {
			if got := again(k.showing(good)); !strings.HasPrefix(got, "invalid_client: ") {
				t.Errorf("replayed by %s after %s: %s", other, door, got)
			}
		}
		for name, assertion := range map[string]string{
			"expired": k.assertion(typ, claims{"exp": now - 1}), "early": k.assertion(typ, claims{"nbf": now + 120}),
			"from the future": k.assertion(typ, claims{"iat": now + 120}), "too long": k.assertion(typ, claims{"exp": now + 3600}),
			"mis-addressed":              k.assertion(typ, claims{"aud": "https://other.example"}),
			"for the token endpoint":     k.assertion(typ, claims{"aud": k.p.ready.Issuer + "/oauth2/token"}),
			"for two":                    k.assertion(typ, claims{"aud": []string{k.p.ready.Issuer, "https://other.example"}}),
			"of another client":          k.assertion(typ, claims{"sub": "alice"}),
			"of an unknown client":       k.assertion(typ, claims{"iss": "nobody", "sub": "nobody"}),
			"by another key":             good[:strings.LastIndex(good, ".")+1] + strings.Repeat("A", 86),
			"a token of another subject": k.token("", claims{"sub": "bob"}),
			"an expired token":           k.token("", claims{"exp": now - 1}),
		} {
			if got := ask(k.showing(assertion)); !strings.HasPrefix(got, "invalid_client: ") {
				t.Errorf("%s by %s: %s", name, door, got)
			}
		}
		if got := ask(k.showing(k.token("", nil))); !strings.HasPrefix(got, "issued") {
			t.Errorf("a trust's token by %s: %s", door, got)
		}
	}
	k.p.stop()
}
