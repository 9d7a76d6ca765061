package subject_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

const cluster = "https://kubernetes.default.svc.cluster.local"

// account is a good service-account token, with changes.
func account(changes map[string]any) map[string]any {
	return change(map[string]any{
		"iss": cluster, "sub": "system:serviceaccount:llm:gateway", "aud": []string{"cambio"}, "jti": "k-1",
		"iat": noon.Unix(), "nbf": noon.Unix(), "exp": noon.Add(time.Hour).Unix(),
		"kubernetes.io": map[string]any{
			"namespace": "llm", "serviceaccount": map[string]any{"name": "gateway", "uid": "u-1"},
			"pod": map[string]any{"name": "gateway-0", "uid": "p-1"}, "node": map[string]any{"name": "n", "uid": "n-1"},
		},
	}, changes)
}

// prod is a cluster's trust with its keys at a URL of its own.
func prod(name string) exchange.Trust {
	return exchange.Trust{
		Tenant: "default", Name: name, Kind: exchange.TrustKubernetes, Issuer: cluster, Audiences: []string{"cambio"},
		Keys: exchange.KeySource{URL: "https://" + name + ".test/jwks"}, Clientless: true, Hash: sha256.Sum256([]byte(name)),
	}
}

// Two kubeadm clusters bear one issuer name; the key says which of them it was.
func TestS6KeyDecidesBetweenTrustsOfOneIssuer(t *testing.T) {
	b := newBench(t, prod("blue"), prod("green"))
	blue, green := newES256("k"), newES256("k") // the same kid, too
	b.house.serve("https://blue.test/jwks", keySetOf(blue))
	b.house.serve("https://green.test/jwks", keySetOf(green))
	for range 2 { // from the start, and remembered
		if s := b.accepts(blue.token(account(nil))); s.Name != "k8s:blue:llm:gateway" || s.Trust != "blue" {
			t.Errorf("blue's token is %s", s.Name)
		}
		if s := b.accepts(green.token(account(nil))); s.Name != "k8s:green:llm:gateway" || s.Trust != "green" {
			t.Errorf("green's token is %s", s.Name)
		}
	}
	b.refuses(newES256("k").token(account(nil)), exchange.KindInvalidSubject, "signature")
	b.refuses(newES256("x").token(account(nil)), exchange.KindInvalidSubject, "does not publish")
}

func TestS6SharedKeyDisablesBothAndSaysSo(t *testing.T) {
	b := newBench(t, prod("blue"), prod("green"), prod("red"))
	blue, green, red, shared := newES256("b"), newES256("g"), newES256("r"), newES256("s")
	alias := shared
	alias.id = "another name"
	b.house.serve("https://blue.test/jwks", keySetOf(blue))
	b.house.serve("https://green.test/jwks", keySetOf(green, shared))
	b.house.serve("https://red.test/jwks", keySetOf(red))
	raw := blue.token(account(nil))
	b.accepts(raw)
	b.accepts(shared.token(account(nil)))

	b.house.serve("https://blue.test/jwks", keySetOf(blue, alias))
	b.clock.advance(10 * time.Second)
	if err := b.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range []signer{shared, alias, blue, green} {
		b.refuses(s.token(account(nil)), exchange.KindInvalidSubject, "two of its trusts hold the same key")
	}
	b.refuses(raw, exchange.KindInvalidSubject, "two of its trusts") // remembered, too
	b.accepts(red.token(account(nil)))                               // which has nothing to do with it
	if !slices.Equal(b.meter.shared, []string{"blue=green", "green=blue"}) {
		t.Errorf("counted: %v", b.meter.shared)
	}
	for _, s := range b.Status() {
		want := map[string]string{"blue": "[green]", "green": "[blue]", "red": "[]"}[s.Trust]
		if fmt.Sprint(s.Shares) != want || s.Err != nil || s.Keys == 0 || s.Fetched.IsZero() {
			t.Errorf("status %+v", s)
		}
	}

	// Separated again, both are back.
	b.house.serve("https://blue.test/jwks", keySetOf(blue))
	b.clock.advance(10 * time.Second)
	if err := b.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.accepts(raw)
	b.accepts(shared.token(account(nil)))
}

// While one set of a group was never seen, nobody can say that it is disjoint.
func TestS6GroupNeedsEverySet(t *testing.T) {
	b := newBench(t, prod("blue"), prod("green"))
	blue := newES256("b")
	b.house.serve("https://blue.test/jwks", keySetOf(blue))
	b.house.fail("https://green.test/jwks", http.StatusBadGateway)
	b.refuses(blue.token(account(nil)), exchange.KindUnavailable, "cannot be had")
	b.house.serve("https://green.test/jwks", keySetOf())
	b.clock.advance(10 * time.Second)
	b.accepts(blue.token(account(nil)))
}

// The same key under two issuers is how some providers work (one key set for all
// their tenants); there the issuer decides.
func TestS6SameKeyUnderTwoIssuersIsNoConflict(t *testing.T) {
	one, two := corp(), corp()
	two.Name, two.Issuer = "two", "https://two.test"
	b := newBench(t, one, two)
	e := newES256("e")
	b.house.issuer(one.Issuer, e)
	b.house.issuer(two.Issuer, e)
	if a, c := b.accepts(e.token(person(nil))), b.accepts(e.token(person(map[string]any{"iss": two.Issuer}))); a.Name != "oidc:corp:alice" || c.Name != "oidc:two:alice" {
		t.Errorf("%s and %s", a.Name, c.Name)
	}
}

func TestS6SPIFFEIsPickedByTrustDomain(t *testing.T) {
	spire := exchange.Trust{
		Tenant: "default", Name: "spire", Kind: exchange.TrustSPIFFE, TrustDomain: "acme.test", Audiences: []string{"cambio"},
		Keys: exchange.KeySource{URL: "https://spire.test/bundle"},
	}
	b := newBench(t, spire, corp())
	e, login2 := newES256("e"), newES256("l")
	b.house.issuer(login, login2)
	b.house.serve("https://spire.test/bundle", []byte(strings.ReplaceAll(string(keySetOf(e)), `"sig"`, `"jwt-svid"`)))
	svid := func(changes map[string]any) map[string]any {
		return person(change(map[string]any{"iss": nil, "iat": nil, "sub": "spiffe://acme.test/ns/a/sa/b"}, changes))
	}
	s := b.accepts(e.token(svid(nil)))
	if s.Name != "spiffe:spire:spiffe%3A//acme.test/ns/a/sa/b" || s.Issuer != "" || s.Clientless != exchange.ClientlessNo {
		t.Errorf("%+v", s)
	}
	b.accepts(e.token(svid(map[string]any{"iss": "https://spire.test"}))) // iss says nothing here
	b.accepts(e.seal(`{"typ":"JOSE",`+e.header()[1:], string(marshal(svid(nil)))))
	// Another issuer cannot speak for the trust domain, whatever its sub says.
	b.refuses(login2.token(svid(map[string]any{"iss": login})), exchange.KindInvalidSubject, "does not publish")
	for sub, words := range map[string]string{
		"spiffe://acme.test":             "not a workload",
		"spiffe://acme.test/":            "empty or relative",
		"spiffe://acme.test/a//b":        "empty or relative",
		"spiffe://acme.test/a/../b":      "empty or relative",
		"spiffe://acme.test/a/":          "empty or relative",
		"spiffe://acme.test/a%2fb":       "character",
		"spiffe://acme.test/a?b":         "character",
		"spiffe://acme.test/a:b":         "character",
		"spiffe://ACME.test/a":           "no trust accepts",
		"SPIFFE://acme.test/a":           "no trust accepts",
		"spiffe://acme.test:8443/a":      "no trust accepts",
		"spiffe://user@acme.test/a":      "no trust accepts",
		"spiffe://other.test/a":          "no trust accepts",
		"spiffe://acme.test.evil.test/a": "no trust accepts",
		"spiffe:///a":                    "no trust accepts",
	} {
		b.refuses(e.token(svid(map[string]any{"sub": sub})), exchange.KindInvalidSubject, words)
	}
}

func TestS10BoundTokensAreRefused(t *testing.T) {
	b, signers := twins(t)
	for _, cnf := range []any{
		map[string]any{"jkt": "NjU6RZxrnTegES2i1k04Y4-bKMV57Og9Zz3D9vCkmcg"}, map[string]any{"x5t#S256": "AAAA"}, map[string]any{},
		"text", false, 0,
	} {
		b.refuses(signers["ES256"].token(person(map[string]any{"cnf": cnf})), exchange.KindInvalidSubject, "bound to a key or a certificate")
	}
	b.refuses(claimedWithout(signers["ES256"], "cnf", "null"), exchange.KindInvalidSubject, "bound to a key or a certificate")
}

func TestS13SingleUseNamesWhatBurns(t *testing.T) {
	b, signers := twins(t, func(tr *exchange.Trust) { tr.SingleUse = true })
	e := signers["ES256"]
	raw := e.token(person(nil))
	want := exchange.Once{Realm: "jti:default:corp", Hash: sha256.Sum256([]byte("j-1")), Expires: noon.Add(10 * time.Minute)}
	for range 2 { // a remembered token burns too
		if s := b.accepts(raw); s.Once == nil || *s.Once != want || s.JTI != "j-1" {
			t.Errorf("once %+v, want %+v", s.Once, want)
		}
	}
	// The same jti signed again is the same thing to burn.
	if s := b.accepts(e.token(person(map[string]any{"x": 1}))); *s.Once != want {
		t.Errorf("once %+v, want %+v", s.Once, want)
	}
	b.refuses(e.token(person(map[string]any{"jti": nil})), exchange.KindInvalidSubject, "jti")

	b, signers = twins(t)
	if s := b.accepts(signers["ES256"].token(person(nil))); s.Once != nil {
		t.Error("a token that may come again burns")
	}
}

func TestS15AssertedActorsAreKeptAndUnproven(t *testing.T) {
	b, signers := twins(t)
	s := b.accepts(signers["ES256"].token(person(map[string]any{
		"act":     map[string]any{"sub": "outer", "iss": "https://other.test", "act": map[string]any{"client_id": "inner"}},
		"may_act": map[string]any{"sub": "agent"},
	})))
	if len(s.Asserted) != 2 {
		t.Fatalf("asserted: %+v", s.Asserted)
	}
	outer, inner := s.Asserted[0], s.Asserted[1]
	if outer.Name != "outer" || outer.Issuer != "https://other.test" || inner.Name != "inner" || inner.Issuer != login {
		t.Errorf("asserted: %+v", s.Asserted)
	}
	for _, a := range s.Asserted {
		if a.Proven || a.Trust != "" || a.AssertedBy != "corp" {
			t.Errorf("an actor that nobody proved: %+v", a)
		}
	}
	if *s.MayAct != (exchange.MayAct{Issuer: login, ID: "agent"}) {
		t.Errorf("may_act without iss: %+v", *s.MayAct)
	}
	s = b.accepts(signers["ES256"].token(person(map[string]any{"may_act": map[string]any{"sub": "agent", "iss": cluster}})))
	if *s.MayAct != (exchange.MayAct{Issuer: cluster, ID: "agent"}) || len(s.Asserted) > 0 {
		t.Errorf("may_act: %+v, asserted: %+v", *s.MayAct, s.Asserted)
	}
}

func TestS16ClientlessByTrust(t *testing.T) {
	two := []string{"cambio", "reports"}
	for _, c := range []struct {
		name    string
		trust   func(*exchange.Trust)
		changes map[string]any
		want    exchange.Clientless
	}{
		{"off", func(*exchange.Trust) {}, nil, exchange.ClientlessNo},
		{"on, sole audience", func(tr *exchange.Trust) { tr.Clientless = true }, nil, exchange.ClientlessYes},
		{"on, two audiences", func(tr *exchange.Trust) { tr.Clientless = true }, map[string]any{"aud": two}, exchange.ClientlessWithActor},
		{"list, azp in it", list("cli", "web"), map[string]any{"azp": "web", "aud": two}, exchange.ClientlessYes},
		{"list, azp not in it", list("cli"), map[string]any{"azp": "web"}, exchange.ClientlessNo},
		{"list, no azp", list("cli"), nil, exchange.ClientlessNo},
		{"list, client_id in it", list("cli"), map[string]any{"client_id": "cli"}, exchange.ClientlessYes},
		{"list, azp before client_id", list("cli"), map[string]any{"client_id": "cli", "azp": "web"}, exchange.ClientlessNo},
		{"list, but off", func(tr *exchange.Trust) { tr.Clientless = false }, map[string]any{"azp": "cli"}, exchange.ClientlessNo},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, signers := twins(t, c.trust)
			if s := b.accepts(signers["ES256"].token(person(c.changes))); s.Clientless != c.want {
				t.Errorf("clientless %d, want %d", s.Clientless, c.want)
			}
		})
	}
	for _, on := range []bool{true, false} {
		trust := prod("blue")
		trust.Clientless = on
		b := newBench(t, trust)
		e := newES256("e")
		b.house.serve("https://blue.test/jwks", keySetOf(e))
		s := b.accepts(e.token(account(map[string]any{"aud": two})))
		if (s.Clientless == exchange.ClientlessYes) != on || s.Clientless == exchange.ClientlessWithActor {
			t.Errorf("a service account of a trust with clientless %v: %d", on, s.Clientless)
		}
	}
}

func list(parties ...string) func(*exchange.Trust) {
	return func(tr *exchange.Trust) { tr.Clientless, tr.ClientlessAZP = true, parties }
}

func TestKubernetesClaimsMustAgree(t *testing.T) {
	b := newBench(t, prod("blue"))
	e := newES256("e")
	b.house.serve("https://blue.test/jwks", keySetOf(e))
	private := func(changes map[string]any) map[string]any {
		return account(map[string]any{"kubernetes.io": change(account(nil)["kubernetes.io"].(map[string]any), changes)})
	}
	for name, c := range map[string]struct {
		claims map[string]any
		words  string
	}{
		"no private claim":     {account(map[string]any{"kubernetes.io": nil}), "not a service-account token"},
		"a list":               {account(map[string]any{"kubernetes.io": []any{}}), "must be an object"},
		"another sub":          {account(map[string]any{"sub": "system:serviceaccount:llm:admin"}), "different service accounts"},
		"a node's sub":         {account(map[string]any{"sub": "system:node:n"}), "different service accounts"},
		"another namespace":    {private(map[string]any{"namespace": "kube-system"}), "different service accounts"},
		"no namespace":         {private(map[string]any{"namespace": nil}), "different service accounts"},
		"no service account":   {private(map[string]any{"serviceaccount": nil}), "different service accounts"},
		"account a string":     {private(map[string]any{"serviceaccount": "gateway"}), "must be an object"},
		"pod a list":           {private(map[string]any{"pod": []string{"x"}}), "must be an object"},
		"pod's name a number":  {private(map[string]any{"pod": map[string]any{"name": 1}}), "must be a string"},
		"node's name an array": {private(map[string]any{"node": map[string]any{"name": []string{"n"}}}), "must be a string"},
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			b.refuses(e.token(c.claims), exchange.KindInvalidSubject, c.words)
		})
	}
	b.accepts(e.token(private(map[string]any{"pod": nil, "node": nil})))
}

func TestClaimsAreMapped(t *testing.T) {
	b, signers := twins(t, func(tr *exchange.Trust) {
		tr.Claims = map[string]string{
			"groups": "$.realm_access.roles", "team": `$["https://acme.test/team"]`, "levels": "$.levels[*].n",
			"first": "$.tags[0]", "none": "$.nothing.here", "flag": "$.flag", "big": "$.big", "names": "$..name",
		}
		tr.Record = []string{"team", "levels", "absent"}
	})
	s := b.accepts(signers["ES256"].token(person(map[string]any{
		"groups": []string{"not these"}, "realm_access": map[string]any{"roles": []string{"b", "a", "b"}},
		"https://acme.test/team": "core", "levels": []any{map[string]any{"n": 2}, map[string]any{"n": 1.5}, map[string]any{"n": nil}},
		"tags": []string{"x", "y"}, "flag": true, "big": uint64(18446744073709551615),
		"a": map[string]any{"name": "n1"}, "b": []any{map[string]any{"name": "n2"}},
		"email": "alice@acme.test", "email_verified": "true",
	})))
	want := `{"big":["18446744073709551615"],"email":["alice@acme.test"],"first":["x"],"flag":["true"],"groups":["a","b"],"levels":["1.5","2"],"names":["n1","n2"],"sub":["alice"],"team":["core"]}`
	if got := string(marshal(s.Attributes)); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if got := string(marshal(s.Record)); got != `{"levels":["1.5","2"],"team":["core"]}` {
		t.Errorf("recorded %s", got)
	}
	for _, changes := range []map[string]any{
		{"flag": map[string]any{"a": 1}}, {"flag": []any{[]any{"x"}}}, {"flag": strings.Repeat("x", 513)},
		{"flag": strings.Split(strings.Repeat("g ", 1100), " ")},
	} {
		b.refuses(signers["ES256"].token(person(changes)), exchange.KindInvalidSubject, "values that cannot be used")
	}
}

func TestEmailIsWithheldWhenUnverified(t *testing.T) {
	b, signers := twins(t)
	for _, c := range []struct {
		verified any
		want     int
	}{{nil, 1}, {true, 1}, {"true", 1}, {false, 0}, {"false", 0}} {
		s := b.accepts(signers["ES256"].token(person(map[string]any{"email": "a@acme.test", "email_verified": c.verified})))
		if len(s.Attributes["email"]) != c.want {
			t.Errorf("email_verified %v: %v", c.verified, s.Attributes["email"])
		}
	}
}

// What the ledger keeps is bounded; what is left out is counted.
func TestRecordIsBounded(t *testing.T) {
	b, signers := twins(t, func(tr *exchange.Trust) { tr.Record = []string{"groups", "azp"} })
	var groups []string
	for i := range 100 {
		groups = append(groups, fmt.Sprintf("group-%03d-%s", i, strings.Repeat("x", 90)))
	}
	s := b.accepts(signers["ES256"].token(person(map[string]any{"groups": groups, "azp": "cli"})))
	kept := s.Record["groups"]
	if len(s.Attributes["groups"]) != 100 || len(kept) > 50 || !strings.HasPrefix(kept[len(kept)-1], "and ") || len(s.Record["azp"]) > 0 {
		t.Errorf("kept %d: %q", len(kept), kept[len(kept)-1])
	}
}

// One name in two tenants is two trusts.
func TestS22TenantIsInEveryName(t *testing.T) {
	one, two := corp(), corp()
	two.Tenant, two.Issuer = "acme", "https://two.test"
	one.SingleUse, two.SingleUse = true, true
	b := newBench(t, one, two)
	e := newES256("e")
	b.house.issuer(one.Issuer, e)
	b.house.issuer(two.Issuer, e)
	x, y := b.accepts(e.token(person(nil))), b.accepts(e.token(person(map[string]any{"iss": two.Issuer})))
	if x.Tenant != "default" || y.Tenant != "acme" || x.Once.Realm == y.Once.Realm || x.Once.Hash != y.Once.Hash {
		t.Errorf("%s %+v, %s %+v", x.Tenant, x.Once, y.Tenant, y.Once)
	}
}

// Names of different subjects are different, whatever characters a sub holds.
func TestS3NamesAreEscaped(t *testing.T) {
	b, signers := twins(t)
	for sub, want := range map[string]string{
		"a:b": "oidc:corp:a%3Ab", "a%3Ab": "oidc:corp:a%253Ab", "a\x00b\n": "oidc:corp:a%00b%0A", "Zoë": "oidc:corp:Zoë",
	} {
		if s := b.accepts(signers["ES256"].token(person(map[string]any{"sub": sub}))); s.Name != want || s.ID != sub {
			t.Errorf("%q is %s, want %s", sub, s.Name, want)
		}
	}
}

// An attribute that the token gives without values is there: only a claim that is
// missing counts against its bearer in a deny.
func TestS14EmptyClaimIsNotMissing(t *testing.T) {
	b, signers := twins(t, func(tr *exchange.Trust) { tr.Claims = map[string]string{"team": "$.team"} })
	var null any = json.RawMessage("null")
	for name, c := range map[string]struct {
		claims  map[string]any
		present bool
	}{
		"empty arrays": {map[string]any{"groups": []string{}, "team": []string{}}, true},
		"null":         {map[string]any{"groups": null, "team": null}, false},
		"left out":     {map[string]any{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := b.accepts(signers["ES256"].token(person(c.claims)))
			for _, attribute := range []string{"groups", "team"} {
				if values, present := s.Attributes[attribute]; present != c.present || len(values) != 0 {
					t.Errorf("%s: %v, present %v", attribute, values, present)
				}
			}
		})
	}
}
