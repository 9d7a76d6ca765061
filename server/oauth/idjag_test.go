package oauth_test

import (
	"errors"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	verify "github.com/cambio-sts/cambio/exchange/subject"
)

const (
	corpIssuer = "https://login.corp.example"
	idjagType  = "oauth-id-jag+jwt"
)

// grantClaims are those of a good identity assertion grant of corp for desk.
func grantClaims(change map[string]any) map[string]any {
	claims := map[string]any{
		"iss": corpIssuer, "sub": "alice", "aud": issuer, "client_id": "desk", "jti": "g-1",
		"iat": start.Unix(), "exp": start.Unix() + 300, "resource": mcp,
	}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

// S12: the door tells identity assertion grants by their typ, labels them so, and
// asks for the resource that they name where the request names none.
func TestS12JWTBearerTakesIdentityAssertions(t *testing.T) {
	const elsewhere = "https://mcp.example/elsewhere"
	for name, c := range map[string]struct {
		typ       string
		claims    map[string]any
		pairs     []string
		resources []string
		label     exchange.TokenType
	}{
		"as the SDKs send it": {idjagType, nil, []string{"audience", ""}, []string{mcp}, exchange.TokenTypeIDJAG},
		"media type in full":  {"application/OAuth-ID-JAG+jwt", nil, []string{"audience", ""}, []string{mcp}, exchange.TokenTypeIDJAG},
		"a list of one":       {idjagType, map[string]any{"resource": []string{mcp}}, []string{"audience", ""}, []string{mcp}, exchange.TokenTypeIDJAG},
		"asked for, too":      {idjagType, nil, []string{"audience", "", "resource", mcp}, []string{mcp}, exchange.TokenTypeIDJAG},
		"of two resources":    {idjagType, nil, []string{"audience", "", "resource", elsewhere}, []string{elsewhere}, exchange.TokenTypeIDJAG}, // and the exchange refuses it
		"beside a name":       {idjagType, nil, []string{"audience", "github-mcp"}, []string{mcp}, exchange.TokenTypeIDJAG},
		"naming none":         {idjagType, map[string]any{"resource": nil}, []string{"audience", ""}, []string{mcp}, exchange.TokenTypeIDJAG}, // the client's default
		"naming two":          {idjagType, map[string]any{"resource": []string{elsewhere, mcp}}, []string{"audience", "github-mcp"}, nil, exchange.TokenTypeIDJAG},
		"a number":            {idjagType, map[string]any{"resource": 7}, []string{"audience", "github-mcp"}, nil, exchange.TokenTypeIDJAG},
		"another typ":         {"id-jag+jwt", map[string]any{"resource": elsewhere}, []string{"audience", "github-mcp"}, nil, exchange.TokenTypeJWT},
		"a token":             {"at+jwt", map[string]any{"resource": elsewhere}, []string{"audience", "github-mcp"}, nil, exchange.TokenTypeJWT},
	} {
		t.Run(name, func(t *testing.T) {
			d, r := openClients(t)
			raw := newSigner(t, "", c.typ).sign(grantClaims(c.claims))
			d.send(bearing(append([]string{"assertion", raw}, c.pairs...)...), "Authorization", basic("desk", r.secret)).wantIssued(t)
			if x := d.bureau.only(); x.SubjectToken.Type != c.label || !slices.Equal(x.Resources, c.resources) || x.Client != "desk" || x.Presenter == nil || x.Presenter.Name != "client:desk" {
				t.Errorf("%+v", x)
			}
		})
	}
}

// S12: a grant is no subject token of token exchange, and no actor's.
func TestS12IdentityAssertionIsNoSubjectToken(t *testing.T) {
	d, r := openClients(t)
	raw := newSigner(t, "", idjagType).sign(grantClaims(nil))
	d.send(with("subject_token", raw, "subject_token_type", string(exchange.TokenTypeIDJAG)), "Authorization", basic("desk", r.secret)).
		wantFailure(t, http.StatusBadRequest, "invalid_request")
	d.bureau.none()
}

// RFC 7523 §3 and S12: both the grant and a client's own assertion burn; the client's
// does by itself then, before the exchange, and once.
func TestS12ClientAssertionBesideAGrant(t *testing.T) {
	d, r, c := openCounter(t)
	raw := newSigner(t, "", idjagType).sign(grantClaims(map[string]any{"client_id": "gateway"}))
	body := bearing("assertion", raw, "client_assertion", r.assertion(nil), "client_assertion_type", assertionType)
	d.send(body).wantIssued(t)
	if x := d.bureau.only(); x.ClientOnce != nil || x.Client != "gateway" {
		t.Errorf("%+v", x)
	}
	if len(c.events) != 1 || c.events[0].Record.Client != "gateway" {
		t.Errorf("%+v", c.events)
	}
	d.send(body).wantFailure(t, http.StatusUnauthorized, "invalid_client")
	d.bureau.only() // no second one
	c.down = true
	d.send(bearing("assertion", raw, "client_assertion", r.assertion(nil), "client_assertion_type", assertionType)).
		wantFailure(t, http.StatusServiceUnavailable, "temporarily_unavailable")
	d.bureau.only()
}

// S12: what the verifier refuses of a grant is invalid_grant (RFC 7521 §4.1.1), as
// the draft has it, whatever is wrong; through the door, with the real verifier.
func TestS12IdentityAssertionFaultsAtTheDoor(t *testing.T) {
	dir := t.TempDir()
	corp := newSigner(t, filepath.Join(dir, "corp.jwks"), idjagType)
	plain := newSigner(t, filepath.Join(dir, "plain.jwks"), idjagType)
	now := func() time.Time { return start }
	verifier := verify.New(verify.Options{Now: now, OwnIssuers: []string{issuer, issuer + "/federation"}, Issuer: issuer})
	trust := func(name, iss string, takes bool) exchange.Trust {
		return exchange.Trust{Tenant: "default", Name: name, Kind: exchange.TrustOIDC, Issuer: iss, Audiences: []string{issuer}, IDJAG: takes,
			Keys: exchange.KeySource{File: filepath.Join(dir, name+".jwks")}}
	}
	if err := verifier.Load([]exchange.Trust{trust("corp", corpIssuer, true), trust("plain", "https://plain.example", false)}); err != nil {
		t.Fatal(err)
	}
	redeem := func(x exchange.Request) (exchange.Receipt, error) {
		s, err := verifier.Verify(t.Context(), x.SubjectToken, start)
		if err != nil {
			return exchange.Receipt{}, err
		}
		if s.Assertion == nil || s.Once == nil {
			return exchange.Receipt{}, errors.New("a grant that is none")
		}
		return exchange.Receipt{Exchange: exchangeID, Credential: credential()}, nil
	}
	for name, c := range map[string]struct {
		by     signer
		change map[string]any
		issued bool
	}{
		"good":                      {corp, nil, true},
		"no opt-in":                 {plain, map[string]any{"iss": "https://plain.example"}, false},
		"audience of tokens":        {corp, map[string]any{"aud": "cambio"}, false},
		"two audiences":             {corp, map[string]any{"aud": []string{issuer, "https://other.example"}}, false},
		"our token endpoint":        {corp, map[string]any{"aud": issuer + "/oauth2/token"}, false},
		"no client_id":              {corp, map[string]any{"client_id": nil}, false},
		"no jti":                    {corp, map[string]any{"jti": nil}, false},
		"expired":                   {corp, map[string]any{"exp": start.Unix()}, false},
		"our own":                   {corp, map[string]any{"iss": issuer}, false},
		"our own, of federation":    {corp, map[string]any{"iss": issuer + "/federation"}, false},
		"of another's key":          {plain, nil, false},
		"resource of another shape": {corp, map[string]any{"resource": map[string]any{"a": 1}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			d, r := openClients(t)
			d.bureau.answer = redeem
			a := d.send(bearing("assertion", c.by.sign(grantClaims(c.change)), "audience", "github-mcp"), "Authorization", basic("desk", r.secret))
			if c.issued {
				a.wantIssued(t)
				return
			}
			a.wantFailure(t, http.StatusBadRequest, "invalid_grant")
		})
	}
}
