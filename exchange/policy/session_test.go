package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/policy"
)

const shop = `
trusts:
  shop:
    session:
      cookie_names: [sid, "__Host-sid"]
      presenters: [{trust: prod, namespace: "agents-*"}, {subject: "client:desk"}]
      introspect: {url: "https://shop.example/sessions", client_id: cambio, client_secret: "${secret:legacy}"}
      claims: {groups: $.roles}
      record: [groups]
allow:
  - {name: staff, subjects: [{trust: shop, groups: staff}], actors: [{trust: prod}], targets: [github], scopes: [read]}
`

// What a session trust leaves out has its default, and its rules see its subjects.
func TestSessionTrusts(t *testing.T) {
	r := load(t, "a.yaml", house, "b.yaml", shop)
	var got exchange.Trust
	for _, trust := range r.Trusts() {
		if trust.Kind == exchange.TrustSession {
			got = trust
		}
	}
	want := exchange.Introspection{
		URL: "https://shop.example/sessions", Method: "POST", ClientID: "cambio", ClientSecret: "${secret:legacy}",
		Active: "$.active", Subject: "$.sub", Expires: "$.exp", Lifetime: 5 * time.Minute, PerSecond: 50,
	}
	if got.Name != "shop" || *got.Session.Introspect != want || !slices.Equal(got.Session.Cookies, []string{"sid", "__Host-sid"}) {
		t.Errorf("%+v", got.Session)
	}
	with := func(name string, groups ...string) exchange.Question {
		s, err := policy.Describe(r, name, map[string][]string{"groups": groups, "cookie": {"sid"}})
		if err != nil {
			t.Fatal(err)
		}
		q := exchange.Question{Tenant: "default", Subject: s, Audiences: []string{"github"}, Now: noon}
		if err := policy.DescribeActing(r, &q, "k8s:prod:agents-1:helper", nil); err != nil {
			t.Fatal(err)
		}
		return q
	}
	if d := r.Explain(with("session:shop:alice", "staff")); !d.Allowed || d.Subject != "session:shop:alice" {
		t.Errorf("%+v", d)
	}
	if d := r.Explain(with("session:shop:bob", "buyers")); d.Allowed {
		t.Errorf("%+v", d)
	}
	for _, actor := range []string{"", "k8s:prod:agents:helper"} { // nobody, and one whom the rule lets act
		q := with("session:shop:alice", "staff")
		q.Actors = nil
		if actor != "" {
			if err := policy.DescribeActing(r, &q, actor, nil); err != nil {
				t.Fatal(err)
			}
		}
		if d := r.Explain(q); d.Allowed || d.Refusal != "invalid_subject" || !strings.Contains(d.Reasons[0], "presenters") {
			t.Errorf("S37: by %q: %+v", actor, d)
		}
	}
	if _, err := policy.Describe(r, "oidc:shop:alice", nil); err == nil || !strings.Contains(err.Error(), "session:shop") {
		t.Errorf("%v", err)
	}
	other := load(t, "a.yaml", house, "b.yaml", strings.Replace(shop, "agents-*", "agents", 1))
	for _, trust := range other.Trusts() {
		if trust.Name == "shop" && trust.Hash == got.Hash {
			t.Error("with other presenters it is the same trust")
		}
	}
}

// TestS37Presenters: those on the list, by what was proven of them, and nobody else.
func TestS37Presenters(t *testing.T) {
	r := load(t, "a.yaml", house, "b.yaml", shop)
	actor := func(name string) exchange.Actor {
		a, err := policy.DescribeActor(r, name, nil)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	unproven := actor("k8s:prod:agents-1:helper")
	unproven.Proven = false
	for _, c := range []struct {
		trust string
		who   exchange.Actor
		may   bool
	}{
		{"shop", actor("k8s:prod:agents-1:helper"), true},
		{"shop", actor("k8s:prod:agents:helper"), false},
		{"shop", actor("client:desk"), true},
		{"shop", actor("oidc:corp:alice"), false},
		{"shop", unproven, false},
		{"prod", actor("k8s:prod:agents-1:helper"), false},
		{"", actor("k8s:prod:agents-1:helper"), false},
		{"shop", exchange.Actor{}, false},
	} {
		if got := r.Presents(c.trust, c.who); got != c.may {
			t.Errorf("%s at %q: %t", c.who.Name, c.trust, got)
		}
	}
}

// What is wrong in a session trust is said at its place.
func TestSessionTrustFaults(t *testing.T) {
	const list = "cookie_names: [sid], presenters: [{trust: prod}], "
	for text, want := range map[string]string{
		"presenters: [{trust: prod}], introspect: {url: https://a.example}":                                   "cookie_names is wanted",
		"cookie_names: [sid], introspect: {url: https://a.example}":                                           "presenters is wanted",
		"cookie_names: [sid], presenters: [{trust: prd}], introspect: {url: https://a.example}":               `did you mean "prod"?`,
		"cookie_names: [sid], presenters: [{trust: prod, pot: x}], issuer: https://a.example, audiences: [a]": `did you mean "pod"?`,
		"cookie_names: [sid], presenters: [{trust: a}], introspect: {url: https://a.example}":                 "a session presents nothing",
		"cookie_names: [sid], presenters: [{}], introspect: {url: https://a.example}":                         "would match everyone",
		list + "keys: {file: a}":                                                                           "say how sessions are verified",
		list + "issuer: https://a.example":                                                                 "audiences is wanted",
		list + "issuer: https://a.example, audiences: [sts.amazonaws.com]":                                 "a cloud's own",
		list + "introspect: {url: http://a.example}":                                                       "https URL",
		list + "introspect: {url: https://a.example, client_id: c, client_secret: plain-secret}":           "does not stand in a policy",
		list + `introspect: {url: https://a.example, client_id: c, client_secret: "${secret:other}"}`:      `lists no secret "other"`,
		list + `introspect: {url: "${secret:legacy}"}`:                                                     "has a meaning only",
		list + `introspect: {url: https://a.example}, ca_file: "${secret:legacy}"`:                         "has a meaning only",
		list + "introspect: {url: https://a.example}, clientless: true":                                    `unknown key "clientless"`,
		list + "introspect: {url: https://a.example}, record: [mail]":                                      `no attribute "mail"`,
		`cookie_names: [sid], presenters: [{subject: "client:dsk"}], introspect: {url: https://a.example}`: `did you mean "desk"?`,
		list + "introspect: {uri: https://a.example}":                                                      `did you mean "url"?`,
	} {
		faults := loadFaults(t, "a.yaml", house, "b.yaml", "trusts:\n  a: {session: {"+text+"}}\n")
		found := false
		for _, f := range faults {
			found = found || strings.Contains(f.Message, want) && f.File == "b.yaml" && f.Line == 2
		}
		if !found {
			t.Errorf("%s:\nwant %s, got\n%v", text, want, faults)
		}
	}
}

// What no session could do is a fault, not a rule that waits for ever.
func TestSessionsWhereNoneCanBe(t *testing.T) {
	for text, want := range map[string]string{
		"allow:\n  - {name: x, subjects: [{trust: shop}], targets: [github]}\n":                          "an allow for them names actors",
		"allow:\n  - {name: x, subjects: [{trust: corp}], actors: [{trust: shop}], targets: [github]}\n": "a session never acts",
		"clients:\n  web: {trust: {trust: shop, sub: alice}}\n":                                          "a session proves no client",
	} {
		faults := loadFaults(t, "a.yaml", house, "b.yaml", shop, "c.yaml", text)
		if len(faults) != 1 || !strings.Contains(faults[0].Message, want) || faults[0].File != "c.yaml" || faults[0].Line != 2 {
			t.Errorf("%s:\nwant %s, got\n%v", text, want, faults)
		}
	}
}
