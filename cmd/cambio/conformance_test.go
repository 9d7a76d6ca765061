package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// conformance is a whole running Cambio that trusts an issuer of the test's own, so
// that any token can be brought: what the RFCs say of verifying, delegating and
// issuing is tried from outside.
type conformance struct {
	t      *testing.T
	p      *process
	signer jose.Signer
}

type claims = map[string]any

func startConformance(t *testing.T) *conformance {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &conformance{t: t, p: startDev(t)}
	c.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "keys.json")
	policy := `
trusts:
  people: {oidc: {issuer: https://people.example, audiences: [cambio], clientless: true, keys: {file: ` + file + `}}}
  closed: {oidc: {issuer: https://closed.example, audiences: [cambio], keys: {file: ` + file + `}}}
targets:
  desk: {mcp: {resource: https://mcp.example/desk, scopes: [read, write]}}
  vault: {mcp: {resource: https://mcp.example/vault, scopes: [read]}}
allow:
  - {name: people-read, subjects: [{trust: people}], targets: [desk], scopes: [read], max_ttl: 10m}
  - {name: bots-for-people, subjects: [{trust: people}], actors: [{trust: people, sub: "bot-*"}], targets: [desk], max_ttl: 10m}
`
	for name, text := range map[string]string{file: string(keys), filepath.Join(c.p.ready.PolicyDir, "conformance.yaml"): policy} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if !eventually(func() bool { _, status := c.exchange(c.person(nil), nil); return status == http.StatusOK }) {
		t.Fatalf("the policy did not come into force\n%s", c.p.stderr.String())
	}
	return c
}

// person is alice's token, with changes; a nil value takes a claim out.
func (c *conformance) person(changes claims) string {
	c.t.Helper()
	now := time.Now()
	all := claims{
		"iss": "https://people.example", "sub": "alice", "aud": "cambio", "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	maps.Copy(all, changes)
	maps.DeleteFunc(all, func(_ string, v any) bool { return v == nil })
	token, err := jwt.Signed(c.signer).Claims(all).Serialize()
	if err != nil {
		c.t.Fatal(err)
	}
	return token
}

func (c *conformance) bot(name string) string { return c.person(claims{"sub": name}) }

// exchange asks for the desk, with changes to the form.
func (c *conformance) exchange(subject string, changes url.Values) (claims, int) {
	c.t.Helper()
	form := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "audience": {"desk"},
		"subject_token": {subject}, "subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
	}
	maps.Copy(form, changes)
	response, err := http.Post(c.p.ready.URL+"/oauth2/token", "application/x-www-form-urlencoded", strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var answer claims
	if err := json.Unmarshal(body, &answer); err != nil {
		c.t.Fatalf("%d: not JSON", response.StatusCode)
	}
	return answer, response.StatusCode
}

func with(actor string) url.Values {
	return url.Values{"actor_token": {actor}, "actor_token_type": {"urn:ietf:params:oauth:token-type:jwt"}}
}

// issued exchanges, wants success, and verifies the token by the published keys.
func (c *conformance) issued(subject string, changes url.Values) (header jose.Header, token, answer claims) {
	c.t.Helper()
	answer, status := c.exchange(subject, changes)
	if status != http.StatusOK {
		c.t.Fatalf("refused: %v", answer)
	}
	response, err := http.Get(c.p.ready.URL + "/oauth2/jwks")
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var keys jose.JSONWebKeySet
	if err := json.NewDecoder(response.Body).Decode(&keys); err != nil {
		c.t.Fatal(err)
	}
	parsed, err := jwt.ParseSigned(answer["access_token"].(string), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := parsed.Claims(keys, &token); err != nil {
		c.t.Fatalf("the published keys do not verify the token: %v", err)
	}
	return parsed.Headers[0], token, answer
}

func (c *conformance) refused(subject string, changes url.Values, code string) {
	c.t.Helper()
	answer, status := c.exchange(subject, changes)
	if status < 400 || status > 499 || answer["error"] != code || answer["access_token"] != nil {
		c.t.Errorf("%d %v, want %s", status, answer["error"], code)
	}
	if answer["error_description"] == "" {
		c.t.Error("an error without advice")
	}
}

func TestConformance(t *testing.T) {
	c := startConformance(t)
	for name, test := range map[string]func(*testing.T){
		"RFC8693Section2_1BothTokensAreValidated":         c.bothTokens,
		"RFC8693Section2_1ClientlessOnlyWhereOptedIn":     c.clientless,
		"RFC8693Section2_1TheExchangeLeavesTokensValid":   c.leavesValid,
		"RFC8693Section2_1_1ManyTargetsAreRefused":        c.manyTargets,
		"RFC8693Section2_2_2RefusedSubjectsAndTargets":    c.refusals,
		"RFC8693Section4_1ActIsAnObjectOfTheOutermost":    c.actClaim,
		"RFC8693Section4_1AssertedActorsOpenNothing":      c.assertedActors,
		"RFC8693Section4_1ChainsAreKeptWhole":             c.chains,
		"RFC8693Section4_1ChainsHaveCaps":                 c.chainCaps,
		"RFC8693Section4_4MayActNamesTheActor":            c.mayAct,
		"RFC8707Section2ResourceAndAudienceAreOnePolicy":  c.resource,
		"RFC9068Section2TypClaimsAndAudience":             c.accessToken,
		"RFC9068Section2_2NothingOutlivesItsSubject":      c.lifetime,
		"RFC8725Section3IssuerTypAndAlgorithmAreOfATrust": c.strictness,
		"RFC8693Section2_2_1ScopeIsWhatWasGranted":        c.scope,
	} {
		t.Run(name, func(t *testing.T) {
			c := *c
			c.t = t
			test(t)
		})
	}
	c.p.stop()
}

func (c *conformance) bothTokens(*testing.T) {
	c.issued(c.person(nil), with(c.bot("bot-1")))
	c.refused(c.person(claims{"exp": time.Now().Add(-time.Second).Unix()}), nil, "invalid_request")
	c.refused(c.person(claims{"exp": nil}), nil, "invalid_request")
	c.refused(c.person(claims{"aud": "reports"}), nil, "invalid_request")
	c.refused(c.person(nil), with(c.person(claims{"sub": "bot-1", "exp": time.Now().Add(-time.Second).Unix()})), "invalid_request")
	c.refused(c.person(nil), with("not a token"), "invalid_request")
	forged := c.person(nil)
	c.refused(forged[:len(forged)-8]+"AAAAAAAA", nil, "invalid_request")
}

func (c *conformance) clientless(*testing.T) {
	c.refused(c.person(claims{"iss": "https://closed.example"}), nil, "invalid_client")
	// A person's token that was meant for others too needs a proven actor.
	c.refused(c.person(claims{"aud": []string{"cambio", "reports"}}), nil, "invalid_client")
	c.issued(c.person(claims{"aud": []string{"cambio", "reports"}}), with(c.bot("bot-1")))
}

func (c *conformance) leavesValid(*testing.T) {
	token := c.person(nil)
	c.issued(token, nil)
	c.issued(token, nil)
}

func (c *conformance) manyTargets(*testing.T) {
	c.refused(c.person(nil), url.Values{"audience": {"desk", "vault"}}, "invalid_target")
	c.issued(c.person(nil), url.Values{"audience": {"desk", "desk"}})
}

func (c *conformance) refusals(t *testing.T) {
	c.refused(c.person(nil), url.Values{"audience": {"vault"}}, "invalid_target")
	c.refused(c.person(nil), url.Values{"audience": {"nowhere"}}, "invalid_target")
	refused, _ := c.exchange(c.person(nil), url.Values{"audience": {"vault"}})
	unknown, _ := c.exchange(c.person(nil), url.Values{"audience": {"nowhere"}})
	if refused["error_description"] != unknown["error_description"] {
		t.Error("a refused target can be told from an unknown one (S18)")
	}
	c.refused(c.person(nil), url.Values{"scope": {"read write"}}, "invalid_scope")
	c.refused(c.person(nil), url.Values{"requested_lifetime": {"3000"}}, "invalid_request")
	c.refused(c.person(nil), url.Values{"requested_token_type": {"urn:ietf:params:oauth:token-type:saml2"}}, "invalid_request")
}

func (c *conformance) actClaim(t *testing.T) {
	_, token, _ := c.issued(c.person(nil), with(c.bot("bot-7")))
	act, ok := token["act"].(map[string]any)
	if !ok || act["sub"] != "oidc:people:bot-7" {
		t.Fatalf("act is %v", token["act"])
	}
	for _, forbidden := range []string{"exp", "nbf", "aud", "act"} {
		if act[forbidden] != nil {
			t.Errorf("act holds %s", forbidden)
		}
	}
	if token["sub"] != "oidc:people:alice" || token["client_id"] != "oidc:people:bot-7" {
		t.Errorf("sub %v, client_id %v", token["sub"], token["client_id"])
	}
	// Only this actor counts, and dropping it never helps.
	c.refused(c.person(nil), with(c.bot("cat-1")), "invalid_target")
}

func (c *conformance) assertedActors(*testing.T) {
	act := claims{"act": claims{"sub": "bot-1", "iss": "https://people.example"}}
	c.refused(c.person(act), nil, "invalid_target") // neither undelegated nor proven
	c.issued(c.person(act), with(c.bot("bot-1")))
	c.refused(c.person(nil), with(c.person(claims{"sub": "bot-1", "act": claims{"sub": "x"}})), "invalid_request")
	for _, bent := range []any{"bot-1", []string{"bot-1"}, 7} {
		c.refused(c.person(claims{"act": bent}), nil, "invalid_request")
	}
}

// nested is an act chain of the names, outermost first.
func nested(names ...string) claims {
	var chain claims
	for _, name := range slices.Backward(names) {
		level := claims{"sub": name}
		if chain != nil {
			level["act"] = chain
		}
		chain = level
	}
	return claims{"act": chain}
}

func (c *conformance) chains(t *testing.T) {
	_, token, _ := c.issued(c.person(nested("bot-2", "bot-3")), with(c.bot("bot-1")))
	level, ok := token["act"].(map[string]any)
	for _, want := range []string{
		"oidc:people:bot-1", "asserted:people:https%3A//people.example:bot-2", "asserted:people:https%3A//people.example:bot-3",
	} {
		if !ok || level["sub"] != want || level["exp"] != nil || level["nbf"] != nil || level["aud"] != nil {
			t.Fatalf("act is %v, want %s at this depth", token["act"], want)
		}
		level, ok = level["act"].(map[string]any)
	}
	if ok {
		t.Errorf("act goes on: %v", level)
	}
	// Only the outermost counts: a bot below a cat opens nothing.
	c.refused(c.person(nested("bot-2")), with(c.bot("cat-1")), "invalid_target")
}

func (c *conformance) chainCaps(*testing.T) {
	names := func(n int) []string { return slices.Repeat([]string{"x"}, n) }
	c.issued(c.person(nested(names(7)...)), with(c.bot("bot-1")))
	c.refused(c.person(nested(names(8)...)), with(c.bot("bot-1")), "invalid_request")
	c.refused(c.person(nested(names(9)...)), nil, "invalid_request")
	c.refused(c.person(nested(strings.Repeat("x", 2048))), with(c.bot("bot-1")), "invalid_request")
}

func (c *conformance) mayAct(t *testing.T) {
	may := c.person(claims{"may_act": claims{"sub": "bot-1"}})
	_, token, _ := c.issued(may, with(c.bot("bot-1")))
	if kept, _ := token["may_act"].(map[string]any); kept["sub"] != "bot-1" || kept["iss"] != "https://people.example" {
		t.Errorf("may_act is %v", token["may_act"])
	}
	c.refused(may, with(c.bot("bot-2")), "invalid_request")
	c.refused(may, nil, "invalid_request")
	elsewhere := c.person(claims{"may_act": claims{"sub": "bot-1", "iss": "https://other.example"}})
	c.refused(elsewhere, with(c.bot("bot-1")), "invalid_request")
}

func (c *conformance) resource(t *testing.T) {
	_, token, _ := c.issued(c.person(nil), url.Values{"audience": nil, "resource": {"https://mcp.example/desk"}})
	if token["aud"] != "https://mcp.example/desk" {
		t.Errorf("aud is %v", token["aud"])
	}
	for _, other := range []string{"https://mcp.example/vault", "https://mcp.example/desk/", "https://mcp.example/desk/../vault", "https://mcp.example/desk?x=1"} {
		c.refused(c.person(nil), url.Values{"audience": nil, "resource": {other}}, "invalid_target")
	}
	c.refused(c.person(nil), url.Values{"resource": {"https://mcp.example/vault"}}, "invalid_target") // not one target
}

func (c *conformance) accessToken(t *testing.T) {
	header, token, answer := c.issued(c.person(nil), nil)
	if header.ExtraHeaders["typ"] != "at+jwt" || header.KeyID == "" || header.Algorithm != "ES256" {
		t.Errorf("header %+v", header)
	}
	for _, required := range []string{"iss", "exp", "aud", "sub", "client_id", "iat", "jti"} {
		if token[required] == nil {
			t.Errorf("no %s", required)
		}
	}
	if token["iss"] != c.p.ready.Issuer || token["aud"] != "https://mcp.example/desk" || token["client_id"] != token["sub"] {
		t.Errorf("claims %v", token)
	}
	if answer["issued_token_type"] != "urn:ietf:params:oauth:token-type:access_token" || answer["token_type"] != "Bearer" {
		t.Errorf("labelled %v, %v", answer["issued_token_type"], answer["token_type"])
	}
	_, second, _ := c.issued(c.person(nil), nil)
	if second["jti"] == token["jti"] {
		t.Error("two tokens have one jti")
	}
}

func (c *conformance) lifetime(t *testing.T) {
	soon := time.Now().Add(90 * time.Second).Unix()
	_, token, answer := c.issued(c.person(claims{"exp": soon}), nil)
	if int64(token["exp"].(float64)) > soon || answer["expires_in"].(float64) > 90 {
		t.Errorf("the token outlives its subject: %v > %v", token["exp"], soon)
	}
	_, token, _ = c.issued(c.person(nil), with(c.person(claims{"sub": "bot-1", "exp": soon})))
	if int64(token["exp"].(float64)) > soon {
		t.Error("the token outlives its actor")
	}
	_, _, answer = c.issued(c.person(nil), url.Values{"requested_lifetime": {"60"}})
	if in := answer["expires_in"].(float64); in > 60 || in < 58 {
		t.Errorf("asked for 60 s, got %v", in)
	}
}

func (c *conformance) strictness(*testing.T) {
	c.refused(c.person(claims{"iss": "https://people.example/"}), nil, "invalid_request")
	c.refused(c.person(claims{"iss": c.p.ready.Issuer}), nil, "invalid_request") // ours (S7)
	c.refused(c.person(claims{"cnf": claims{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}), nil, "invalid_request")
	c.refused(c.person(claims{"nbf": time.Now().Add(5 * time.Minute).Unix()}), nil, "invalid_request")
	c.refused("eyJhbGciOiJub25lIn0."+strings.Split(c.person(nil), ".")[1]+".", nil, "invalid_request")
}

func (c *conformance) scope(t *testing.T) {
	_, token, answer := c.issued(c.person(nil), nil)
	if token["scope"] != "read" || answer["scope"] != "read" {
		t.Errorf("scope %v, told %v", token["scope"], answer["scope"])
	}
	_, token, _ = c.issued(c.person(nil), url.Values{"audience": {"desk"}, "scope": {"write"}, "actor_token": {c.bot("bot-1")}, "actor_token_type": {"urn:ietf:params:oauth:token-type:jwt"}})
	if !slices.Equal(strings.Fields(token["scope"].(string)), []string{"write"}) {
		t.Errorf("scope %v", token["scope"])
	}
}
