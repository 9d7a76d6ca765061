package policy_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/policy"
)

// decided is what a table wants of a decision: "rule scopes lifetime", or the
// refusal and the deny's name.
func decided(d exchange.Decision) string {
	if !d.Allowed {
		return strings.TrimSpace(d.Refusal.String() + " " + d.Rule)
	}
	return strings.TrimSpace(d.Rule + " " + strings.Join(d.Scopes, ",") + " " + d.Lifetime.String())
}

type decideCase struct {
	name string
	q    exchange.Question
	want string
}

func runDecide(t *testing.T, r *policy.Revision, cases []decideCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d := r.Decide(c.q)
			if got := decided(d); got != c.want {
				t.Errorf("got %q, want %q (%s)", got, c.want, d.Explanation)
			}
			if (d.Advice == "") != d.Allowed || d.Explanation == "" || d.Revision.Hash != r.Hash() {
				t.Errorf("decision: %+v", d)
			}
			if e := r.Explain(c.q); e.Allowed != d.Allowed || e.Rule != d.Rule {
				t.Errorf("explain says %+v, decide %+v", e, d)
			}
		})
	}
}

func TestFirstWholeRuleDecides(t *testing.T) {
	r := load(t, "a.yaml", house+`
allow:
  - {name: short, subjects: [{trust: prod, namespace: llm}], targets: [github], scopes: [read], max_ttl: 10m}
  - {name: long, subjects: [{trust: prod, namespace: llm}], targets: [github], scopes: ["*"], max_ttl: 30m}
  - {name: reasoned, subjects: [{trust: prod, namespace: llm}], targets: [wiki], require_reason: true}
  - {name: hard, subjects: [{trust: prod, namespace: llm}], targets: [rock]}
  - {name: soft, subjects: [{trust: prod, namespace: llm}], targets: [sand], scopes: [x, "y*"]}
`)
	reason := func(q *exchange.Question) { q.Reason = "because" }
	typed := func(t exchange.TokenType) func(*exchange.Question) {
		return func(q *exchange.Question) { q.Type = t }
	}
	runDecide(t, r, []decideCase{
		{"defaults", ask(t, r, gateway, "github"), "short read 10m0s"},
		{"scope within the first", ask(t, r, gateway, "github", scopes("read")), "short read 10m0s"},
		{"scope of the second", ask(t, r, gateway, "github", scopes("call")), "long call 15m0s"},
		{"lifetime of the second", ask(t, r, gateway, "github", lasting(20*time.Minute)), "long read,call,admin 20m0s"},
		{"limits are not added up", ask(t, r, gateway, "github", lasting(40*time.Minute)), "invalid_lifetime short"},
		{"unknown scope", ask(t, r, gateway, "github", scopes("read", "other")), "invalid_scope short"},
		{"negative lifetime", ask(t, r, gateway, "github", lasting(-time.Second)), "invalid_lifetime short"},
		{"no reason", ask(t, r, gateway, "wiki"), "reason_required reasoned"},
		{"reason", ask(t, r, gateway, "wiki", reason), "reasoned read 15m0s"},
		{"provider's ceiling cuts", ask(t, r, gateway, "wiki", reason, lasting(3*time.Hour)), "reasoned read 1h0m0s"},
		{"provider's floor", ask(t, r, gateway, "rock", lasting(14*time.Minute)), "invalid_lifetime hard"},
		{"at the floor", ask(t, r, gateway, "rock", lasting(15*time.Minute)), "hard  15m0s"},
		{"scopes of a target without", ask(t, r, gateway, "rock", scopes("x")), "invalid_scope hard"},
		{"scopes by rule alone", ask(t, r, gateway, "sand", scopes("x", "yes")), "soft x,yes 15m0s"},
		{"literal scopes when none is asked", ask(t, r, gateway, "sand"), "soft x 15m0s"},
		{"token type", ask(t, r, gateway, "sand", typed("urn:stone")), "soft x 15m0s"},
		{"other token type", ask(t, r, gateway, "sand", typed(exchange.TokenTypeAccessToken)), "invalid_request soft"},
		{"nobody", ask(t, r, "k8s:prod:other:gateway", "github"), "invalid_target"},
		{"by resource", ask(t, r, gateway, "", func(q *exchange.Question) {
			q.Audiences, q.Resources = nil, []string{"https://mcp.example/github"}
		}), "short read 10m0s"},
		{"both of one", ask(t, r, gateway, "github", func(q *exchange.Question) {
			q.Resources = []string{"https://mcp.example/github"}
		}), "short read 10m0s"},
		{"two targets", ask(t, r, gateway, "github", func(q *exchange.Question) {
			q.Resources = []string{"https://mcp.example/wiki"}
		}), "invalid_target"},
		{"one of two unknown", ask(t, r, gateway, "github", func(q *exchange.Question) { q.Audiences = append(q.Audiences, "nowhere") }), "invalid_target"},
		{"none named", ask(t, r, gateway, "", func(q *exchange.Question) { q.Audiences = nil }), "invalid_request"},
	})
}

func TestS5LifetimeUnderTheFloorNeedsMayOutlive(t *testing.T) {
	r := load(t, "a.yaml", `
trusts:
  prod: {kubernetes: {issuer: "https://oidc.prod.example", audiences: [cambio]}}
targets:
  strict: {stone: {floor: 15m, ceiling: 1h}}
  free:   {stone: {floor: 15m, ceiling: 1h, may_outlive: true}}
allow:
  - {name: a, subjects: [{trust: prod}], targets: ["*"], max_ttl: 5m}
`)
	if got := decided(r.Decide(ask(t, r, gateway, "strict"))); got != "invalid_lifetime a" {
		t.Error(got)
	}
	if got := decided(r.Decide(ask(t, r, gateway, "free"))); got != "a  5m0s" {
		t.Error(got)
	}
}

func TestS14DefaultNoAnyDenyWinsErrorsCountAgainst(t *testing.T) {
	r := load(t, "a.yaml", house+`
allow:
  - {name: all, subjects: [{trust: "*"}], targets: [wiki, github]}
  - {name: broken, subjects: [{trust: "*"}], targets: [sand], when: 'subject.attributes.team[0] == "a"'}
  - {name: costly, subjects: [{trust: corp}], targets: [sand], when: 'subject.attributes.groups.exists(a, subject.attributes.groups.exists(b, size(a) + size(b) == 1))'}
deny:
  - {name: named, subjects: [{namespace: closed}]}
  - {name: scoped, subjects: [{trust: prod, namespace: small}], scopes: [admin]}
  - {name: missing-claim, subjects: [{trust: corp, groups: contractors}], targets: [wiki]}
  - {name: failing, targets: [github], subjects: [{trust: corp}], when: 'subject.attributes.team[0] == "a"'}
`)
	many := make([]string, 500)
	for i := range many {
		many[i] = strings.Repeat("x", 100)
	}
	runDecide(t, r, []decideCase{
		{"allowed", ask(t, r, gateway, "wiki"), "all read 15m0s"},
		{"default no", ask(t, r, gateway, "rock"), "invalid_target"},
		{"deny wins", ask(t, r, "k8s:prod:closed:x", "wiki"), "invalid_target named"},
		{"deny of a scope asked by name", ask(t, r, "k8s:prod:small:x", "github", scopes("admin")), "invalid_target scoped"},
		{"deny of a scope got by not asking", ask(t, r, "k8s:prod:small:x", "github"), "invalid_target scoped"},
		{"beside the denied scope", ask(t, r, "k8s:prod:small:x", "github", scopes("read")), "all read 15m0s"},
		{"missing claim in a deny", ask(t, r, alice, "wiki"), "invalid_target missing-claim"},
		{"claim there", ask(t, r, alice, "wiki", with("groups", "staff")), "all read 15m0s"},
		{"claim there and empty", ask(t, r, alice, "wiki", with("groups")), "all read 15m0s"},
		{"claim that matches", ask(t, r, alice, "wiki", with("groups", "staff", "contractors")), "invalid_target missing-claim"},
		{"attribute that the kind never has", ask(t, r, gateway, "wiki"), "all read 15m0s"},
		{"error in an allow", ask(t, r, gateway, "sand"), "invalid_target"},
		{"error in a deny", ask(t, r, alice, "github"), "invalid_target failing"},
		{"no error", ask(t, r, alice, "github", with("team", "b")), "all read,call,admin 15m0s"},
		{"over the cost", ask(t, r, alice, "sand", with("groups", many...), with("team", "b")), "invalid_target"},
	})
}

func TestS15OnlyProvenActorsSatisfy(t *testing.T) {
	r := load(t, "a.yaml", house+`
allow:
  - {name: alone, subjects: [{trust: corp}], targets: [wiki]}
  - {name: together, subjects: [{trust: corp}], actors: [{trust: prod, namespace: agents}], targets: [github]}
deny:
  - {name: everyone, subjects: [{trust: corp, subject: "oidc:corp:mallory"}]}
  - {name: agent, actors: [{subject: "k8s:prod:agents:banned"}]}
`)
	runDecide(t, r, []decideCase{
		{"alone", ask(t, r, alice, "wiki"), "alone read 15m0s"},
		{"delegated where only alone is allowed", ask(t, r, alice, "wiki", by(t, r, agent)), "invalid_target"},
		{"asserted where only alone is allowed", ask(t, r, alice, "wiki", asserting(agent)), "invalid_target"},
		{"proven", ask(t, r, alice, "github", by(t, r, agent)), "together read,call,admin 15m0s"},
		{"asserted is not proven", ask(t, r, alice, "github", asserting(agent)), "invalid_target"},
		{"actor dropped", ask(t, r, alice, "github"), "invalid_target"},
		{"the outermost counts", ask(t, r, alice, "github", by(t, r, "k8s:prod:other:x"), by(t, r, agent)), "invalid_target"},
		{"a deny without actors holds for delegated requests", ask(t, r, "oidc:corp:mallory", "github", by(t, r, agent)), "invalid_target everyone"},
		{"denied actor", ask(t, r, alice, "github", by(t, r, "k8s:prod:agents:banned")), "invalid_target agent"},
	})
}

func TestS18RefusedAndUnknownLookAlike(t *testing.T) {
	r := load(t, "a.yaml", house+`
allow:
  - {name: reader, subjects: [{trust: prod, namespace: llm}], targets: [github], scopes: [read], max_ttl: 5m}
deny:
  - {name: closed, subjects: [{trust: prod, namespace: closed}]}
`)
	want := r.Decide(ask(t, r, gateway, "nowhere"))
	if want.Refusal != exchange.KindInvalidTarget {
		t.Fatalf("unknown target: %+v", want)
	}
	closed := "k8s:prod:closed:x"
	for name, q := range map[string]exchange.Question{
		"no allow":            ask(t, r, gateway, "wiki"),
		"denied":              ask(t, r, closed, "github"),
		"denied and unknown":  ask(t, r, closed, "nowhere"),
		"scope before allow":  ask(t, r, gateway, "wiki", scopes("admin")),
		"life before allow":   ask(t, r, gateway, "wiki", lasting(99*time.Hour)),
		"scope at a deny":     ask(t, r, closed, "github", scopes("admin"), lasting(99*time.Hour)),
		"type before allow":   ask(t, r, gateway, "wiki", func(q *exchange.Question) { q.Type = "urn:x" }),
		"two targets":         ask(t, r, gateway, "github", func(q *exchange.Question) { q.Audiences = append(q.Audiences, "wiki") }),
		"actor not allowed":   ask(t, r, gateway, "github", by(t, r, agent)),
		"another tenant":      ask(t, r, gateway, "github", func(q *exchange.Question) { q.Tenant = "other" }),
		"a name with pattern": ask(t, r, gateway, "git*"),
	} {
		if d := r.Decide(q); d.Allowed || d.Refusal != want.Refusal || d.Advice != want.Advice {
			t.Errorf("%s: %v %q", name, d.Refusal, d.Advice)
		}
	}
	for _, q := range []exchange.Question{ask(t, r, gateway, "github", scopes("admin")), ask(t, r, gateway, "github", lasting(time.Hour))} {
		d := r.Decide(q)
		for _, secret := range []string{"reader", "read", "5m", "prod"} {
			if strings.Contains(d.Advice, secret) {
				t.Errorf("the advice %q tells policy (%s)", d.Advice, secret)
			}
		}
	}
}

func TestS11AnotherTrustHashIsNoMatch(t *testing.T) {
	r := load(t, "a.yaml", house+"allow: [{name: a, subjects: [{trust: prod}], targets: [wiki]}, {name: b, subjects: [{trust: prod}], actors: [{trust: prod}], targets: [wiki]}]")
	stale := func(q *exchange.Question) { q.Subject.TrustHash[0] ^= 1 }
	staleActor := func(q *exchange.Question) { q.Actors[0].TrustHash[0] ^= 1 }
	unknown := func(q *exchange.Question) { q.Subject.Trust = "gone" }
	for name, q := range map[string]exchange.Question{
		"subject": ask(t, r, gateway, "wiki", stale),
		"actor":   ask(t, r, gateway, "wiki", by(t, r, agent), staleActor),
		"removed": ask(t, r, gateway, "wiki", unknown),
	} {
		if d := r.Decide(q); d.Allowed || d.Refusal != exchange.KindUnavailable {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestS22TenantsAreApart(t *testing.T) {
	text := house + "allow: [{name: a, subjects: [{trust: prod}], targets: [wiki]}]\nroles: {auditor: [{trust: prod}]}"
	ours := load(t, "a.yaml", text)
	theirs, err := policy.Load(files("a.yaml", text), policy.Options{Tenant: "other", Providers: shelf{}})
	if err != nil {
		t.Fatal(err)
	}
	q := ask(t, theirs, gateway, "wiki")
	q.Tenant = "other"
	if !theirs.Decide(q).Allowed || ours.Decide(q).Allowed {
		t.Error("a question is for its own tenant's policy only")
	}
	q.Tenant = "default"
	if ours.Decide(q).Allowed {
		t.Error("the subject is of another tenant than the question")
	}
	if len(theirs.Roles(q.Subject)) != 1 || len(ours.Roles(q.Subject)) != 0 {
		t.Error("roles are for the tenant's own subjects")
	}
	if ours.Target("wiki").Hash == theirs.Target("wiki").Hash || ours.Trusts()[0].Hash == theirs.Trusts()[0].Hash {
		t.Error("the tenant is in the hashes")
	}
}

func TestRoles(t *testing.T) {
	r := load(t, "a.yaml", house+"roles:\n  auditor: [{trust: corp, groups: [security]}, {trust: prod, namespace: audit}]\n  operator: [{trust: corp, groups: oncall*}]\n")
	s := ask(t, r, alice, "wiki", with("groups", "security", "oncall-eu")).Subject
	if got := r.Roles(s); len(got) != 2 || got[0] != "auditor" || got[1] != "operator" {
		t.Error(got)
	}
	if got := r.Roles(ask(t, r, alice, "wiki").Subject); got != nil {
		t.Error(got)
	}
	s.TrustHash[0] ^= 1
	if got := r.Roles(s); got != nil {
		t.Error("a subject of a trust that has changed has roles", got)
	}
	if got := r.Roles(ask(t, r, alice, "wiki", with("groups", "security"), asserting("x")).Subject); got != nil {
		t.Error("a delegated subject has roles", got)
	}
}

func TestCELVariables(t *testing.T) {
	for expression, want := range map[string]bool{
		`subject.name == "oidc:corp:alice" && subject.trust == "corp"`:                    true,
		`"eng" in subject.attributes.groups`:                                              true,
		`has(subject.attributes.team)`:                                                    false,
		`actor.name == "k8s:prod:agents:coder" && actor.trust == "prod"`:                  true,
		`actor.attributes.namespace == ["agents"]`:                                        true,
		`cidr("10.0.0.0/8").containsIP(request.client_ip) && now.getHours("UTC") < 20`:    true,
		`request.client_ip == ip("10.1.2.3")`:                                             true,
		`request.target == "wiki" && request.reason == "why" && request.client == "desk"`: true,
		`request.scopes == ["read"]`:                                                      true,
		`request.lifetime == duration("15m")`:                                             true,
		`now == timestamp("2026-01-05T12:00:00Z")`:                                        true,
	} {
		r := load(t, "a.yaml", house+"allow:\n- name: a\n  subjects: [{trust: corp}]\n  actors: [{trust: prod}]\n  targets: [wiki]\n  when: >-\n    "+expression+"\n")
		q := ask(t, r, alice, "wiki", with("groups", "eng"), by(t, r, agent), through(t, r, "desk"), func(q *exchange.Question) { q.Reason = "why" })
		if d := r.Decide(q); d.Allowed != want {
			t.Errorf("%s: %+v\n%v", expression, d, r.Explain(q).Rules)
		}
	}
	// Without an address the condition has no answer, and that is a no.
	r := load(t, "a.yaml", house+"allow: [{name: a, subjects: [{trust: corp}], targets: [wiki], when: 'request.client_ip != ip(\"10.0.0.1\")'}]")
	q := ask(t, r, alice, "wiki")
	q.ClientIP = q.ClientIP.Next().Prev()
	if !r.Decide(q).Allowed {
		t.Error("the address is another")
	}
	q.ClientIP = exchange.Question{}.ClientIP
	if r.Decide(q).Allowed {
		t.Error("there is no address")
	}
}

func TestCELFaults(t *testing.T) {
	rule := func(when string) string {
		return house + "deny:\n- name: x\n  when: " + when + "\n"
	}
	for when, want := range map[string]string{
		`request.clientip == "x"`:            "p.yaml:14:16: when: undeclared reference to 'request.clientip' (did you mean 'request.client_ip'?)",
		`1 +`:                                "p.yaml:14:",
		`1 + 2`:                              "p.yaml:14:9: when: the expression must be true or false",
		`"\"a\" == 1"`:                       "p.yaml:14:14: when: found no matching overload",
		`"   "`:                              "p.yaml:14:10: when: the expression is empty",
		"|\n    true &&\n      nobody.knows": "p.yaml:16:7: when: undeclared reference to 'nobody'",
		`'subject.attributes.all(c, subject.attributes.all(d, subject.attributes.all(e, c+d+e == "x")))'`: "p.yaml:14:10: when: the expression may take too long",
		`"` + strings.Repeat("true && ", 600) + `true"`:                                                   "p.yaml:14:",
		strings.Repeat("(", 60) + "true" + strings.Repeat(")", 60):                                        "p.yaml:14:",
	} {
		f := loadFaults(t, "p.yaml", rule(when))[0]
		if !strings.HasPrefix(f.Error(), want) {
			t.Errorf("%.60s: %v", when, f)
		}
	}
}

func TestExplain(t *testing.T) {
	r := load(t, "a.yaml", house+`
allow:
  - {name: far, subjects: [{trust: corp}], targets: [wiki]}
  - {name: near, subjects: [{trust: prod, namespace: llm}], targets: [wiki], when: request.client == "desk"}
deny:
  - {name: no-preview, subjects: [{trust: prod, namespace: "preview-*"}]}
`)
	e := r.Explain(ask(t, r, gateway, "wiki"))
	if e.Allowed || len(e.Rules) != 3 || e.Subject != gateway || e.Trust != "prod" || e.Target != "wiki" || e.Refusal != "invalid_target" {
		t.Errorf("%+v", e)
	}
	all := strings.Join(e.Reasons, "\n")
	if !strings.Contains(all, `the nearest allow is "near" (a.yaml:15), and fails on when: request.client == "desk": is false here`) {
		t.Error(all)
	}
	if v := e.Rules[0]; v.Rule != "no-preview" || v.Effect != "deny" || v.Matched || v.Failed != `subjects: namespace: preview-*, which is ["llm"] here` {
		t.Errorf("%+v", v)
	}
	if v := e.Rules[1]; v.Rule != "far" || v.Failed != `subjects: trust: corp, which is ["prod"] here` {
		t.Errorf("%+v", v)
	}
	e = r.Explain(ask(t, r, gateway, "wikki"))
	if all := strings.Join(e.Reasons, "\n"); !strings.Contains(all, `there is no target "wikki": did you mean "wiki"?`) {
		t.Error(all)
	}
	e = r.Explain(ask(t, r, gateway, "wiki", through(t, r, "desk")))
	if !e.Allowed || e.Rule != "near" || e.Lifetime != 900 || !e.Rules[2].Matched {
		t.Errorf("%+v", e)
	}
}

func TestDescribe(t *testing.T) {
	r := load(t, "a.yaml", house)
	for name, want := range map[string]string{
		"k8s:prod:llm:gateway":                "",
		"oidc:corp:a%3Ab%25":                  "",
		"spiffe:mesh:spiffe://mesh.example/x": "",
		"oidc:crop:alice":                     `did you mean "corp"?`,
		"oidc:prod:alice":                     "begin k8s:prod,",
		"k8s:prod:llm":                        "is named k8s:",
		"alice":                               "no trust",
		"oidc:corp:a%3":                       "%25",
		"oidc:corp:a%zz":                      "%25",
		"spiffe:mesh:spiffe://other/x":        "spiffe://mesh.example/path",
	} {
		s, err := policy.Describe(r, name, nil)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && !strings.HasPrefix(name, "spiffe") && s.Name != name {
			t.Errorf("%s became %s", name, s.Name)
		}
	}
	s, _ := policy.Describe(r, "oidc:corp:a%3Ab%25", map[string][]string{"groups": {"x"}})
	if s.ID != "a:b%" || s.Attributes["groups"][0] != "x" || s.TrustHash != r.Trusts()[0].Hash {
		t.Errorf("%+v", s)
	}
	if _, err := policy.Describe(r, alice, map[string][]string{"gruops": {"x"}}); err == nil || !strings.Contains(err.Error(), `did you mean "groups"?`) {
		t.Error(err)
	}
}

// The rule's hash changes with the rule and with nothing else, so that an edit
// elsewhere does not throw away every cached credential (S23).
func TestS23RuleHashFollowsTheRule(t *testing.T) {
	const text = `
trusts: {prod: {kubernetes: {issuer: https://k.example, audiences: [cambio], clientless: true}}}
targets: {github-mcp: {paper: {resource: https://mcp.example/github, scopes: [tools.read]}}}
allow:
  - {name: one, subjects: [{trust: prod, namespace: a}], targets: [github-mcp], max_ttl: %s}
  - {name: two, subjects: [{trust: prod, namespace: %s}], targets: [github-mcp]}
`
	hash := func(ttl, other string) [32]byte {
		r := load(t, "p.yaml", fmt.Sprintf(text, ttl, other))
		s, err := policy.Describe(r, "k8s:prod:a:x", nil)
		if err != nil {
			t.Fatal(err)
		}
		s.Expires = time.Unix(1<<33, 0)
		d := r.Decide(exchange.Question{Tenant: "default", Subject: s, Audiences: []string{"github-mcp"}, Now: time.Unix(1<<31, 0)})
		if !d.Allowed || d.RuleHash == [32]byte{} {
			t.Fatalf("decision %+v", d)
		}
		return d.RuleHash
	}
	if hash("1h", "b") != hash("1h", "c") {
		t.Error("another rule's edit changed the hash")
	}
	if hash("1h", "b") == hash("30m", "b") {
		t.Error("the rule's own edit did not")
	}
}
