package subject_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/subject"
)

const (
	ourIssuer = "https://cambio.test"
	grantType = "oauth-id-jag+jwt"
)

// idp is a trust that also takes identity assertion grants.
func idp() exchange.Trust {
	t := corp()
	t.IDJAG, t.Clientless = true, true
	return t
}

// grant is a good identity assertion grant of the issuer login, with changes.
func grant(changes map[string]any) map[string]any {
	return change(map[string]any{
		"iss": login, "sub": "alice", "aud": ourIssuer, "client_id": "desk", "jti": "g-1",
		"iat": noon.Add(-time.Minute).Unix(), "exp": noon.Add(5 * time.Minute).Unix(),
	}, changes)
}

func (s signer) typed(typ string, claims map[string]any) string {
	return s.seal(string(marshal(map[string]string{"alg": s.algorithm, "kid": s.id, "typ": typ})), string(marshal(claims)))
}

// redeem judges a token under the label of identity assertion grants.
func (b *bench) redeem(raw string) (exchange.Subject, error) {
	return b.Verify(context.Background(), exchange.Token{Value: exchange.NewSecret(raw), Type: exchange.TokenTypeIDJAG}, b.clock.Now())
}

func newGrants(t testing.TB, trusts ...exchange.Trust) *bench {
	b := &bench{t: t, clock: &clock{now: noon}, house: newHouse(t), meter: &counts{}}
	b.Verifier = subject.New(subject.Options{
		Client: b.house.client, OwnIssuers: []string{ourIssuer, ourIssuer + "/federation"}, Issuer: ourIssuer, Now: b.clock.Now, Meter: b.meter,
	})
	b.load(trusts...)
	return b
}

// S12: what a grant says reaches the pipeline, and it always burns.
func TestS12IdentityAssertionGrant(t *testing.T) {
	k := newES256("k")
	b := newGrants(t, idp())
	b.house.issuer(login, k)
	whole := k.typed(grantType, grant(map[string]any{"resource": "https://mcp.test/a", "scope": "read call"}))
	for range 2 { // the second is from the cache
		s, err := b.redeem(whole)
		if err != nil {
			t.Fatal(err)
		}
		if s.Name != "oidc:corp:alice" || s.Clientless != exchange.ClientlessNo || s.Once == nil || s.Once.Realm != "jti:default:corp" ||
			!s.Once.Expires.Equal(s.Expires) || s.Assertion.ClientID != "desk" || s.Assertion.Resource != "https://mcp.test/a" ||
			!s.Bounded || !slices.Equal(s.Bound, []string{"read", "call"}) {
			t.Errorf("%+v, %+v", s, s.Assertion)
		}
	}
	if b.meter.hitCount() != 1 {
		t.Errorf("%d hits", b.meter.hitCount())
	}
	s, err := b.redeem(k.typed("application/OAuth-ID-JAG+jwt", grant(map[string]any{"aud": []string{ourIssuer}, "resource": []string{"https://mcp.test/a"}})))
	if err != nil || s.Assertion.Resource != "https://mcp.test/a" || s.Bounded {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = b.redeem(k.typed(grantType, grant(map[string]any{"scope": ""}))); err != nil || !s.Bounded || len(s.Bound) != 0 {
		t.Errorf("without any scope: %+v, %v", s, err)
	}
}

func TestS12IdentityAssertionFaults(t *testing.T) {
	k, other := newES256("k"), newES256("k")
	b := newGrants(t, idp())
	b.house.issuer(login, k)
	for name, c := range map[string]struct{ raw, words string }{
		"typ of a token":     {k.token(grant(nil)), "labelled as an identity assertion grant and is none"},
		"typ at+jwt":         {k.typed("at+jwt", grant(nil)), "labelled as an identity assertion grant and is none"},
		"typ of a draft":     {k.typed("id-jag+jwt", grant(nil)), "labelled as an identity assertion grant and is none"},
		"audience of tokens": {k.typed(grantType, grant(map[string]any{"aud": "cambio"})), "as its aud, and nothing else"},
		"two audiences":      {k.typed(grantType, grant(map[string]any{"aud": []string{ourIssuer, "cambio"}})), "as its aud, and nothing else"},
		"ours twice":         {k.typed(grantType, grant(map[string]any{"aud": []string{ourIssuer, ourIssuer}})), "as its aud, and nothing else"},
		"ours with a slash":  {k.typed(grantType, grant(map[string]any{"aud": ourIssuer + "/"})), "as its aud, and nothing else"},
		"our token endpoint": {k.typed(grantType, grant(map[string]any{"aud": ourIssuer + "/oauth2/token"})), "as its aud, and nothing else"},
		"our other issuer":   {k.typed(grantType, grant(map[string]any{"aud": ourIssuer + "/federation"})), "as its aud, and nothing else"},
		"no client_id":       {k.typed(grantType, grant(map[string]any{"client_id": nil})), "client_id"},
		"azp for client_id":  {k.typed(grantType, grant(map[string]any{"client_id": nil, "azp": "desk"})), "client_id"},
		"a list of clients":  {k.typed(grantType, grant(map[string]any{"client_id": []string{"desk"}})), "client_id"},
		"no jti":             {k.typed(grantType, grant(map[string]any{"jti": nil})), "jti"},
		"empty jti":          {k.typed(grantType, grant(map[string]any{"jti": ""})), "jti"},
		"no iat":             {k.typed(grantType, grant(map[string]any{"iat": nil})), "iat"},
		"from the future":    {k.typed(grantType, grant(map[string]any{"iat": noon.Add(time.Hour).Unix()})), "future"},
		"expired":            {k.typed(grantType, grant(map[string]any{"exp": noon.Unix()})), "expired"},
		"not yet":            {k.typed(grantType, grant(map[string]any{"nbf": noon.Add(time.Hour).Unix()})), "not valid yet"},
		"bound to a key":     {k.typed(grantType, grant(map[string]any{"cnf": map[string]any{"jkt": "x"}})), "cnf"},
		"two resources":      {k.typed(grantType, grant(map[string]any{"resource": []string{"https://a.test", "https://b.test"}})), "one resource"},
		"no resource in it":  {k.typed(grantType, grant(map[string]any{"resource": []string{}})), "one resource"},
		"resource, a number": {k.typed(grantType, grant(map[string]any{"resource": 7})), "resource"},
		"scope, a list":      {k.typed(grantType, grant(map[string]any{"scope": []string{"read"}})), "scope"},
		"another's key":      {other.typed(grantType, grant(nil)), "signature"},
		"another issuer":     {k.typed(grantType, grant(map[string]any{"iss": "https://evil.test"})), "no trust accepts"},
		"of ours":            {k.typed(grantType, grant(map[string]any{"iss": ourIssuer})), "no trust accepts"},
		"client_id twice":    {k.seal(`{"alg":"ES256","kid":"k","typ":"`+grantType+`"}`, strings.TrimSuffix(string(marshal(grant(nil))), "}")+`,"client_id":"shop"}`), "twice"},
		"Client_ID too":      {k.typed(grantType, grant(map[string]any{"Client_ID": "shop"})), "other letters"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.redeem(c.raw)
			wantError(t, err, exchange.KindInvalidSubject, c.words)
		})
	}
}

// S12: a grant is good under its own label alone, also from the cache, and a token
// is not good under that of a grant; nor is either where the trust does not say so.
func TestS12GrantsAndTokensDoNotStandInForEachOther(t *testing.T) {
	k := newES256("k")
	b := newGrants(t, idp())
	b.house.issuer(login, k)
	token, asGrant := k.token(person(map[string]any{"client_id": "desk"})), k.typed(grantType, grant(map[string]any{"aud": ourIssuer}))
	for range 2 {
		b.accepts(token)
		if _, err := b.redeem(token); err == nil {
			t.Error("a token was redeemed as a grant")
		}
		if _, err := b.redeem(asGrant); err != nil {
			t.Error(err)
		}
		for _, label := range []exchange.TokenType{"", exchange.TokenTypeJWT, exchange.TokenTypeAccessToken, exchange.TokenTypeIDToken} {
			if _, err := b.Verify(t.Context(), exchange.Token{Value: exchange.NewSecret(asGrant), Type: label}, noon); err == nil {
				t.Errorf("a grant is a token under the label %q", label)
			}
		}
	}
	// Where our issuer is an audience of the trust's tokens, too.
	both := idp()
	both.Audiences = []string{ourIssuer}
	b.load(both)
	b.refuses(k.typed(grantType, grant(map[string]any{"jti": "g-2"})), exchange.KindInvalidSubject, "typ is not accepted")
	plain := corp()
	b.load(plain)
	_, err := b.redeem(asGrant)
	wantError(t, err, exchange.KindInvalidSubject, "not accepted")
	if err := b.VerifyPassthrough(t.Context(), exchange.Token{Value: exchange.NewSecret(asGrant)}, exchange.Subject{}, noon); err == nil {
		t.Error("a grant passed through")
	}
}

// S12: only an OpenID provider makes grants; and nobody may be named like what we
// assert ourselves (S7).
func TestS7TrustNamedSelf(t *testing.T) {
	mesh := exchange.Trust{Tenant: "default", Name: "self", Kind: exchange.TrustSPIFFE, TrustDomain: "mesh.test", Audiences: []string{"cambio"}, Keys: exchange.KeySource{File: "k"}, IDJAG: true}
	faults := newBench(t).Check([]exchange.Trust{mesh})
	if len(faults) != 2 || !strings.Contains(faults[0].Error(), "id_jag: only an oidc trust") || !strings.Contains(faults[1].Error(), "S7") {
		t.Error(faults)
	}
}

// FuzzRedeem: nothing is an identity assertion grant but what its issuer signed as
// one, and nothing panics.
func FuzzRedeem(f *testing.F) {
	k := newES256("k")
	b := newGrants(f, idp())
	b.house.issuer(login, k)
	good := k.typed(grantType, grant(nil))
	f.Add(good)
	f.Add(k.typed(grantType, grant(map[string]any{"resource": []any{nil}})))
	f.Add(k.typed(grantType, grant(map[string]any{"scope": 7})))
	f.Add(k.token(person(nil)))
	f.Add(good + "A")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, raw string) {
		s, err := b.redeem(raw)
		switch {
		case (err == nil) != (raw == good):
			t.Errorf("%q: %v", raw, err)
		case err == nil && (s.Assertion == nil || s.Once == nil):
			t.Errorf("%+v", s)
		case err != nil && exchange.KindOf(err) != exchange.KindInvalidSubject:
			t.Errorf("%q: %v", raw, err)
		}
	})
}
