package issuer_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/issuer"
)

// TestRFC9068Section2_2Claims: exactly the claims of the profile, `scope` one string and
// left out where nothing was granted (§2.2.3).
func TestRFC9068Section2_2Claims(t *testing.T) {
	k := newKit(t)
	at := token(noon)
	secret, err := k.Mint(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	header, claims, err := verify(k.AccessJWKS(), secret)
	if err != nil {
		t.Fatal(err)
	}
	if header.KeyID == "" {
		t.Error("no kid")
	}
	want := map[string]any{
		"iss": "https://cambio.example", "sub": at.Subject, "aud": at.Audience, "client_id": "gw", "jti": at.ID.String(),
		"iat": json.Number("1795262400"), "exp": json.Number("1795263300"), "scope": "tools.read tools.call",
	}
	if !reflect.DeepEqual(claims, want) {
		t.Errorf("the claims are %v, want %v", claims, want)
	}
	at.Scopes = nil
	if secret, err = k.Mint(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	if _, claims, _ = verify(k.AccessJWKS(), secret); claims["scope"] != nil {
		t.Errorf("with no scope granted, scope is %q", claims["scope"])
	}
}

// TestRFC8693Section4_1ActorChain: the outermost actor is outermost, each is identified
// and nothing more, and one that was only asserted cannot be taken for one that was
// proven (S15).
func TestRFC8693Section4_1ActorChain(t *testing.T) {
	k := newKit(t)
	secret, err := k.mint(t, func(a *exchange.AccessToken) {
		a.Actors = []exchange.Actor{
			{Name: "k8s:prod:agents:helper", Proven: true, Expires: noon.Add(time.Hour)},
			{Name: "k8s:prod:agents:helper", Issuer: "https://corp", AssertedBy: "corp"},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	_, claims, err := verify(k.AccessJWKS(), secret)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"iss": k.URL(), "sub": "k8s:prod:agents:helper",
		"act": map[string]any{"iss": k.URL(), "sub": "asserted:corp:https%3A//corp:k8s%3Aprod%3Aagents%3Ahelper"},
	}
	if !reflect.DeepEqual(claims["act"], want) {
		t.Errorf("act is %v, want %v", claims["act"], want)
	}
}

// S15: who was proven in an earlier exchange of ours keeps the name, below whoever
// acts now; what somebody else asserted stays told apart.
func TestS15ActorChainAcrossExchanges(t *testing.T) {
	k := newKit(t)
	secret, err := k.mint(t, func(a *exchange.AccessToken) {
		a.Actors = []exchange.Actor{
			{Name: "client:wiki", Proven: true},
			{Name: "k8s:prod:agents:helper", AssertedBy: exchange.SelfTrust},
			{Name: "bob", Issuer: "https://corp", AssertedBy: "corp"},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	_, claims, err := verify(k.AccessJWKS(), secret)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"iss": k.URL(), "sub": "client:wiki",
		"act": map[string]any{
			"iss": k.URL(), "sub": "k8s:prod:agents:helper",
			"act": map[string]any{"iss": k.URL(), "sub": "asserted:corp:https%3A//corp:bob"},
		},
	}
	if !reflect.DeepEqual(claims["act"], want) {
		t.Errorf("act is %v, want %v", claims["act"], want)
	}
}

// RFC 8693 §4.4: who may act is in the token, by issuer and subject.
func TestRFC8693Section4_4MayAct(t *testing.T) {
	k := newKit(t)
	secret, err := k.mint(t, func(a *exchange.AccessToken) { a.MayAct = &exchange.MayAct{Issuer: "https://corp", ID: "robot"} })
	if err != nil {
		t.Fatal(err)
	}
	_, claims, err := verify(k.AccessJWKS(), secret)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]any{"iss": "https://corp", "sub": "robot"}; !reflect.DeepEqual(claims["may_act"], want) {
		t.Errorf("may_act is %v, want %v", claims["may_act"], want)
	}
}

func TestMintRefuses(t *testing.T) {
	k := newKit(t)
	for name, change := range map[string]func(*exchange.AccessToken){
		"no id":             func(a *exchange.AccessToken) { a.ID = exchange.ID{} },
		"no subject":        func(a *exchange.AccessToken) { a.Subject = "" },
		"no audience":       func(a *exchange.AccessToken) { a.Audience = "" },
		"no client":         func(a *exchange.AccessToken) { a.ClientID = "" },
		"two scopes":        func(a *exchange.AccessToken) { a.Scopes = []string{"a b"} },
		"empty scope":       func(a *exchange.AccessToken) { a.Scopes = []string{""} },
		"quoted scope":      func(a *exchange.AccessToken) { a.Scopes = []string{`a"`} },
		"may_act of nobody": func(a *exchange.AccessToken) { a.MayAct = &exchange.MayAct{Issuer: "https://corp"} },
		"unnamed actor":     func(a *exchange.AccessToken) { a.Actors = []exchange.Actor{{Proven: true}} },
		"nobody's word":     func(a *exchange.AccessToken) { a.Actors = []exchange.Actor{{Name: "bob"}} },
		"a long chain": func(a *exchange.AccessToken) {
			a.Actors = slices.Repeat([]exchange.Actor{{Name: "a", Proven: true}}, 9)
		},
		"huge": func(a *exchange.AccessToken) { a.Subject = strings.Repeat("x", 9<<10) },
	} {
		if secret, err := k.mint(t, change); err == nil || !secret.IsZero() {
			t.Errorf("%s: minted", name)
		}
	}
}

// TestS5MintHoldsLifetimes: nothing outlives what its key stays published for, and
// nothing dead is signed.
func TestS5MintHoldsLifetimes(t *testing.T) {
	k := newKit(t)
	for _, c := range []struct {
		issued, expires time.Duration // from now
		access, assert  bool
	}{
		{0, time.Minute, true, true},
		{0, 10 * time.Minute, true, true},
		{0, 10*time.Minute + time.Second, true, false},
		{0, 12 * time.Hour, true, false},
		{0, 12*time.Hour + time.Second, false, false},
		{-time.Minute, 12*time.Hour - time.Second, false, false},
		{6 * time.Hour, 13 * time.Hour, false, false},
		{0, 0, false, false},
		{0, -time.Minute, false, false},
		{-2 * time.Minute, -time.Minute, false, false},
		{0, 900 * time.Millisecond, false, false},
	} {
		_, err := k.mint(t, func(a *exchange.AccessToken) { a.Issued, a.Expires = noon.Add(c.issued), noon.Add(c.expires) })
		if (err == nil) != c.access {
			t.Errorf("access token from %v to %v: %v", c.issued, c.expires, err)
		}
		a := assertion(noon)
		a.Issued, a.Expires = noon.Add(c.issued), noon.Add(c.expires)
		if _, err := k.Assert(t.Context(), a); (err == nil) != c.assert {
			t.Errorf("assertion from %v to %v: %v", c.issued, c.expires, err)
		}
	}
	if _, err := k.mint(t, func(a *exchange.AccessToken) { a.Issued, a.Expires = time.Time{}, time.Time{} }); err == nil {
		t.Error("a token without times is minted")
	}
}

func TestAssertionClaims(t *testing.T) {
	k := newKit(t)
	a := assertion(noon)
	a.Values = []string{"llm", "a:b"}
	a.Claims = map[string]any{"https://aws.amazon.com/tags": map[string]any{"principal_tags": map[string]any{"subject": []string{"s"}}}}
	ids := map[any]bool{}
	for range 3 {
		secret, err := k.Assert(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		_, claims, err := verify(k.FederationJWKS(), secret)
		if err != nil {
			t.Fatal(err)
		}
		ids[claims["jti"]] = true
		names := slices.Sorted(maps.Keys(claims))
		if !slices.Equal(names, []string{"aud", "exp", "https://aws.amazon.com/tags", "iat", "iss", "jti", "sub"}) {
			t.Errorf("the claims are %v", names)
		}
		if claims["sub"] != "default:vertex:llm:a%3Ab" || claims["aud"] != a.Audience {
			t.Errorf("sub %v, aud %v", claims["sub"], claims["aud"])
		}
	}
	if len(ids) != 3 {
		t.Errorf("3 assertions have %d ids", len(ids))
	}
	for _, name := range []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "act", "cnf", "Sub", "AUD"} {
		a.Claims = map[string]any{name: "x"}
		if _, err := k.Assert(t.Context(), a); err == nil {
			t.Errorf("a claim %q of the caller's is signed", name)
		}
	}
}

// TestS2SubjectIsBounded: 127 bytes pass, 128 are refused and not cut.
func TestS2SubjectIsBounded(t *testing.T) {
	k := newKit(t)
	for size, ok := range map[int]bool{126: true, 127: true, 128: false, 4096: false} {
		a := assertion(noon)
		a.Values = []string{strings.Repeat("v", size-len("default:vertex:"))}
		_, err := k.Assert(t.Context(), a)
		if (err == nil) != ok {
			t.Errorf("%d bytes: %v", size, err)
		}
		if !ok && exchange.KindOf(err) != exchange.KindMisconfigured {
			t.Errorf("%d bytes: kind %v", size, exchange.KindOf(err))
		}
	}
	for _, change := range []func(*exchange.Assertion){
		func(a *exchange.Assertion) { a.Tenant = "" },
		func(a *exchange.Assertion) { a.Target = "" },
		func(a *exchange.Assertion) { a.Audience = "" },
	} {
		a := assertion(noon)
		change(&a)
		if _, err := k.Assert(t.Context(), a); err == nil {
			t.Errorf("%+v is signed", a)
		}
	}
}

// TestS2SubjectsAreDistinct: no choice of target and values makes the subject of
// another.
func TestS2SubjectsAreDistinct(t *testing.T) {
	k := newKit(t)
	part := rapid.StringOfN(rapid.SampledFrom([]rune{'a', 'b', ':', '%', '\n'}), 1, 4, -1)
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(label string) exchange.Assertion {
			a := assertion(noon)
			a.Tenant, a.Target = part.Draw(rt, label+" tenant"), part.Draw(rt, label+" target")
			a.Values = rapid.SliceOfN(part, 0, 2).Draw(rt, label+" values")
			return a
		}
		subject := func(a exchange.Assertion) any {
			secret, err := k.Assert(t.Context(), a)
			if err != nil {
				rt.Fatal(err)
			}
			_, claims, err := verify(k.FederationJWKS(), secret)
			if err != nil {
				rt.Fatal(err)
			}
			return claims["sub"]
		}
		a, b := draw("a"), draw("b")
		same := a.Tenant == b.Tenant && a.Target == b.Target && slices.Equal(a.Values, b.Values)
		if x, y := subject(a), subject(b); (x == y) != same {
			rt.Fatalf("%+v makes %v, %+v makes %v", a, x, b, y)
		}
	})
}

// TestS2VendorAudience: a cloud's fixed audience goes to that cloud's token
// endpoints, or to what the operator named, and nowhere else.
func TestS2VendorAudience(t *testing.T) {
	k := newKit(t, func(o *issuer.Options) { o.StandIns = []string{"127.0.0.1", "STS.lab.example"} })
	aws, azure := "sts.amazonaws.com", "api://AzureADTokenExchange"
	for _, c := range []struct {
		audience, endpoint string
		ok                 bool
	}{
		{aws, "sts.amazonaws.com", true},
		{aws, "STS.amazonaws.com", true},
		{aws, "sts.us-east-1.amazonaws.com", true},
		{aws, "sts-fips.us-gov-west-1.amazonaws.com", true},
		{aws, "sts.cn-north-1.amazonaws.com.cn", true},
		{aws, "sts.eusc-de-east-1.amazonaws.eu", true},
		{aws, "sts.amazonaws.eu", false},
		{aws, "sts.eu-central-1.api.aws", true},
		{aws, "127.0.0.1", true},
		{aws, "sts.lab.example", true},
		{aws, "", false},
		{aws, "evil.example", false},
		{aws, "sts.s3.amazonaws.com", false}, // a bucket named sts
		{aws, "sts.s3.us-east-1.amazonaws.com", false},
		{aws, "sts.us-east-1.elb.amazonaws.com", false},
		{aws, "abc.execute-api.us-east-1.amazonaws.com", false},
		{aws, "sts.us-east-1.amazonaws.com.evil.example", false},
		{aws, "xsts.amazonaws.com", false},
		{aws, "sts.amazonaws.com\n", false},
		{aws, "sts.amazonaws.com:443", false},
		{aws, "login.microsoftonline.com", false},
		{"STS.AmazonAWS.com/", "evil.example", false},
		{"https://sts.amazonaws.com", "evil.example", false},
		{" sts.amazonaws.com", "evil.example", false},
		{azure, "login.microsoftonline.com", true},
		{azure, "login.microsoftonline.us", true},
		{azure, "login.partner.microsoftonline.cn", true},
		{azure, "127.0.0.1", true},
		{azure, "sts.amazonaws.com", false},
		{azure, "login.microsoftonline.com.evil.example", false},
		{"API://azureadtokenexchange", "evil.example", false},
		{"api://AzureADTokenExchangeUSGov", "evil.example", false},
		{"https://own.example", "evil.example", true},
		{"https://own.example", "", true},
	} {
		a := assertion(noon)
		a.Audience, a.Endpoint = c.audience, c.endpoint
		if _, err := k.Assert(t.Context(), a); (err == nil) != c.ok {
			t.Errorf("%q to %q: %v", c.audience, c.endpoint, err)
		}
	}
}

// FuzzVendorAudience: whatever an audience looks like, if a cloud that folds case
// could read it as its own, it goes to no other host.
func FuzzVendorAudience(f *testing.F) {
	k := newKit(f)
	f.Add("sts.amazonaws.com", "sts.amazonaws.com")
	f.Add("STS.AMAZONAWS.COM", "evil.example")
	f.Add("api://AzureADTokenExchange", "login.microsoftonline.com")
	f.Fuzz(func(t *testing.T, audience, endpoint string) {
		a := assertion(noon)
		a.Audience, a.Endpoint = audience, endpoint
		if _, err := k.Assert(t.Context(), a); err != nil {
			return
		}
		host := strings.ToLower(endpoint)
		for fixed, suffixes := range map[string][]string{
			"sts.amazonaws.com":          {".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws"},
			"api://AzureADTokenExchange": {".microsoftonline.com", ".microsoftonline.us", ".microsoftonline.cn", ".chinacloudapi.cn"},
		} {
			if strings.EqualFold(audience, fixed) && !slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(host, s) }) {
				t.Errorf("an assertion for %q goes to %q", audience, endpoint)
			}
		}
	})
}

// TestS7NamesAreOurs: what no trust may name.
func TestS7NamesAreOurs(t *testing.T) {
	k := newKit(t, func(o *issuer.Options) { o.URL = "https://cambio.example/sts" })
	if got := k.Names(); !slices.Equal(got, []string{"https://cambio.example/sts", "https://cambio.example/sts/federation"}) {
		t.Errorf("our issuers are %v", got)
	}
}
