package policy_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/policy"
)

// onward is a house in which the desk may exchange tokens of ours on.
const onward = house + `allow:
  - {name: on, subjects: [{trust: corp}, {subject: "client:desk"}], actors: [{subject: "client:desk"}], targets: [github, wiki, rock]}
  - {name: read-on, subjects: [{trust: prod}], actors: [{subject: "client:desk"}], targets: [github, sand], scopes: [read, call]}
deny:
  - {name: no-scratch, actors: [{trust: prod, namespace: scratch}], targets: ["*"]}
`

// brought makes a question one about a token of ours with these scopes and past,
// which the desk presents.
func brought(t testing.TB, r *policy.Revision, scopes []string, past ...string) func(*exchange.Question) {
	t.Helper()
	return func(q *exchange.Question) {
		q.Subject.Own = &exchange.Own{Audience: "https://mcp.example/wiki", Scopes: scopes, Lineage: []exchange.ID{{1}}}
		q.Subject.Bounded, q.Subject.Bound = true, scopes
		for _, name := range past {
			a, err := policy.DescribeActor(r, name, nil)
			if err != nil {
				t.Fatal(err)
			}
			a.Proven, a.AssertedBy = false, exchange.SelfTrust
			q.Subject.Asserted = append(q.Subject.Asserted, a)
		}
		if err := policy.DescribeActing(r, q, "client:desk", nil); err != nil {
			t.Fatal(err)
		}
	}
}

// TestS7ScopesOfATokenBoundWhatComesOfIt: asked or not, nothing beyond them, and of a
// token without scopes comes none.
func TestS7ScopesOfATokenBoundWhatComesOfIt(t *testing.T) {
	r := load(t, "a.yaml", onward)
	for name, c := range map[string]struct {
		subject, target string
		bound, asked    []string
		want            []string
		refused         bool
	}{
		"all of it":                          {alice, "github", []string{"read", "call", "admin"}, nil, []string{"read", "call", "admin"}, false},
		"some of it":                         {alice, "github", []string{"call", "other"}, nil, []string{"call"}, false},
		"rule and token":                     {gateway, "github", []string{"call", "admin"}, nil, []string{"call"}, false},
		"asked within":                       {alice, "github", []string{"read", "call"}, []string{"call"}, []string{"call"}, false},
		"asked beyond":                       {alice, "github", []string{"read", "call"}, []string{"call", "admin"}, nil, true},
		"asked beyond the rule":              {gateway, "github", []string{"admin"}, []string{"admin"}, nil, true},
		"nothing in common":                  {alice, "github", []string{"write"}, nil, nil, true},
		"a token without scopes":             {alice, "github", nil, nil, nil, true},
		"a token without scopes, asked":      {alice, "github", nil, []string{"read"}, nil, true},
		"a target without":                   {alice, "rock", []string{"read"}, nil, nil, false},
		"both without":                       {alice, "rock", nil, nil, nil, false},
		"a rule names them":                  {gateway, "sand", []string{"read"}, nil, []string{"read"}, false},
		"a rule names them, the token other": {gateway, "sand", []string{"admin"}, nil, nil, true},
		"a rule names them, the token none":  {gateway, "sand", nil, nil, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := r.Decide(ask(t, r, c.subject, c.target, brought(t, r, c.bound), scopes(c.asked...)))
			if c.refused {
				if d.Allowed || d.Refusal != exchange.KindInvalidScope {
					t.Errorf("%+v", d)
				}
				return
			}
			if !d.Allowed || !slices.Equal(d.Scopes, c.want) {
				t.Errorf("%q, want %q: %s", d.Scopes, c.want, d.Explanation)
			}
		})
	}
}

// TestS15ADenyLooksAtTheWholeChain: to have another act in between does not escape
// it, and neither does an actor that is only asserted.
func TestS15ADenyLooksAtTheWholeChain(t *testing.T) {
	r := load(t, "a.yaml", onward)
	const scratch = "k8s:prod:scratch:x"
	for name, c := range map[string]struct {
		past   []string
		denied bool
	}{
		"nobody before":        {nil, false},
		"another namespace":    {[]string{agent, gateway}, false},
		"the one, just before": {[]string{scratch}, true},
		"the one, long ago":    {[]string{agent, gateway, scratch}, true},
	} {
		q := ask(t, r, alice, "github", brought(t, r, []string{"read"}, c.past...))
		d, e := r.Decide(q), r.Explain(q)
		if d.Allowed == c.denied || c.denied && d.Rule != "no-scratch" || e.Allowed != d.Allowed || e.Rule != d.Rule {
			t.Errorf("%s: %+v\n%+v", name, d, e)
		}
	}
	// What is not known of an actor that was proven here counts against it (S14); of
	// one whom another issuer asserts nothing can be known.
	unsure := ask(t, r, alice, "github", brought(t, r, []string{"read"}, agent))
	delete(unsure.Subject.Asserted[0].Attributes, "namespace")
	if d := r.Decide(unsure); d.Allowed {
		t.Error("an actor without a namespace may be of that namespace")
	}
	said := load(t, "a.yaml", onward+"  - {name: no-bob, actors: [{subject: bob}], targets: [\"*\"]}\n")
	q := ask(t, said, alice, "github", brought(t, said, []string{"read"}), asserting("bob"))
	if d := said.Decide(q); d.Allowed || d.Rule != "no-bob" {
		t.Errorf("%+v", d)
	}
}

// TestS15OnlyTheProvenActorSatisfies: the past of a token opens nothing, however
// good it was.
func TestS15OnlyTheProvenActorSatisfies(t *testing.T) {
	r := load(t, "a.yaml", house+`allow:
  - {name: agents, subjects: [{trust: corp}], actors: [{trust: prod}], targets: [github]}
`)
	if d := r.Decide(ask(t, r, alice, "github", by(t, r, agent))); !d.Allowed {
		t.Fatal(d.Explanation)
	}
	if d := r.Decide(ask(t, r, alice, "github", brought(t, r, []string{"read"}, agent))); d.Allowed {
		t.Error("an actor of the past satisfied a rule")
	}
	q := ask(t, r, alice, "github", brought(t, r, []string{"read"}, agent))
	q.Actors = nil
	if d := r.Decide(q); d.Allowed {
		t.Error("an actor of the past satisfied a rule, with nobody proven")
	}
}

// TestS7OriginMustHold: whoever vouched when a token of ours was issued vouches
// today, word for word, for the subject and for everyone who acted.
func TestS7OriginMustHold(t *testing.T) {
	r := load(t, "a.yaml", onward)
	for name, bend := range map[string]func(*exchange.Question){
		"nothing":                          func(*exchange.Question) {},
		"the subject's trust":              func(q *exchange.Question) { q.Subject.TrustHash[0]++ },
		"the subject's trust is gone":      func(q *exchange.Question) { q.Subject.Trust = "old" },
		"a past actor's trust":             func(q *exchange.Question) { q.Subject.Asserted[0].TrustHash[0]++ },
		"a past actor's trust is gone":     func(q *exchange.Question) { q.Subject.Asserted[0].Trust = "old" },
		"a past client":                    func(q *exchange.Question) { q.Subject.Asserted[1].TrustHash[0]++ },
		"a past client is gone":            func(q *exchange.Question) { q.Subject.Asserted[1].ID = "old" },
		"the client that presents it":      func(q *exchange.Question) { q.Actors[0].TrustHash[0]++ },
		"it is presented for another":      func(q *exchange.Question) { q.Actors[0].ID = "till" },
		"its client was proven before":     func(q *exchange.Question) { q.ClientHash[0]++ },
		"an actor that another issuer saw": func(q *exchange.Question) { q.Subject.Asserted[0] = exchange.Actor{Name: "x", AssertedBy: "old"} },
	} {
		t.Run(name, func(t *testing.T) {
			q := ask(t, r, alice, "github", brought(t, r, []string{"read"}, gateway, "client:desk"))
			bend(&q)
			want := exchange.KindInvalidSubject
			switch name {
			case "nothing", "an actor that another issuer saw":
				want = exchange.KindInternal
			case "the client that presents it", "it is presented for another", "its client was proven before":
				want = exchange.KindUnavailable
			}
			if d := r.Decide(q); d.Refusal != want || d.Allowed != (want == exchange.KindInternal) {
				t.Errorf("%s: %s", d.Refusal, d.Explanation)
			}
		})
	}
	// A client that was the subject itself, and whom another client brings.
	q := ask(t, r, "client:desk", "github", brought(t, r, []string{"read"}))
	if d := r.Decide(q); !d.Allowed {
		t.Error(d.Explanation)
	}
	q.Subject.TrustHash[0]++
	if d := r.Decide(q); d.Refusal != exchange.KindInvalidSubject {
		t.Errorf("%+v", d)
	}
}

// TestS7AClientActsOnlyForItself: described as in a request.
func TestS7AClientActsOnlyForItself(t *testing.T) {
	r := load(t, "a.yaml", onward)
	q := ask(t, r, alice, "github")
	if err := policy.DescribeActing(r, &q, "client:desk", nil); err != nil || q.Client != "desk" {
		t.Errorf("client %q: %v", q.Client, err)
	}
	q = ask(t, r, alice, "github", through(t, r, "till"))
	if err := policy.DescribeActing(r, &q, "client:desk", nil); err == nil {
		t.Error("one client acts in another's request")
	}
}

// TestS7OnlyTheServerOfAResource brings its tokens back.
func TestS7OnlyTheServerOfAResource(t *testing.T) {
	r := load(t, "a.yaml", strings.Replace(house, "clients: {", `clients: {mill: {serves: ["https://mcp.example/wiki"], secret: {sha256: "`+strings.Repeat("ab", 32)+`"}}, `, 1))
	s := open(t, newDatabase())
	if err := s.Activate(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	decider, err := s.Current()
	if err != nil {
		t.Fatal(err)
	}
	servers := decider.(exchange.Servers)
	for _, c := range []struct {
		client, resource string
		serves           bool
	}{
		{"mill", "https://mcp.example/wiki", true},
		{"mill", "https://mcp.example/wiki/", false},
		{"mill", "https://mcp.example/github", false},
		{"mill", "", false},
		{"desk", "https://mcp.example/wiki", false},
		{"", "https://mcp.example/wiki", false},
		{"nobody", "https://mcp.example/wiki", false},
	} {
		if servers.Serves(c.client, c.resource) != c.serves {
			t.Errorf("%q serves %q: %t", c.client, c.resource, !c.serves)
		}
	}
}

// TestS15NoTrustIsNamedSelf: what that one asserts is taken for proven here.
func TestS15NoTrustIsNamedSelf(t *testing.T) {
	faults := loadFaults(t, "a.yaml", `trusts: {self: {oidc: {issuer: "https://login.example", audiences: [cambio]}}}`)
	if !strings.Contains(faults.Error(), "built-in trust") {
		t.Error(faults)
	}
}

// TestS31LineageDeniesAreExact: a deny of a lineage holds for what descends from it
// and for nothing else, whatever else the question is.
func TestS31LineageDeniesAreExact(t *testing.T) {
	r := load(t, "a.yaml", "# x\n"+onward)
	rapid.Check(t, func(rt *rapid.T) {
		id := func() exchange.ID { return exchange.ID{rapid.ByteRange(1, 4).Draw(rt, "lease")} }
		db := newDatabase()
		denied := map[exchange.ID]bool{}
		for range rapid.IntRange(0, 3).Draw(rt, "denies") {
			lease := id()
			denied[lease] = true
			db.add(exchange.Deny{Tenant: "default", Match: map[string]string{"lineage": lease.String()}})
		}
		s := open(t, db)
		if err := s.Activate(t.Context(), r); err != nil {
			rt.Fatal(err)
		}
		q := ask(t, r, alice, "github", brought(t, r, []string{"read"}))
		q.Subject.Own.Lineage = nil
		want := true
		for range rapid.IntRange(1, 4).Draw(rt, "depth") {
			lease := id()
			q.Subject.Own.Lineage = append(q.Subject.Own.Lineage, lease)
			want = want && !denied[lease]
		}
		if d := decideNow(t, s, q); d.Allowed != want {
			rt.Fatalf("denied %v, descends from %v: %+v", denied, q.Subject.Own.Lineage, d)
		}
	})
}

// TestCasesDescribeChains: who acted before is a list, and a client acts in a
// request of its own.
func TestCasesDescribeChains(t *testing.T) {
	r := load(t, "a.yaml", onward)
	results, err := policy.RunTests(files("a_test.yaml", `cases:
  - {subject: "oidc:corp:alice", actor: "client:desk", asserted: [bob, carol], target: github, allowed: on}
  - {subject: "oidc:corp:alice", actor: "client:desk", client: desk, asserted: bob, target: github, allowed: on}
  - {subject: "oidc:corp:alice", asserted: bob, target: github, denied: true}
  - {subject: "oidc:corp:alice", actor: "k8s:prod:scratch:x", target: github, denied: no-scratch}
`), r)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range results {
		if !c.Passed {
			t.Errorf("line %d: %s", c.Line, c.Message)
		}
	}
	for text, want := range map[string]string{
		`{subject: "oidc:corp:alice", actor: "client:desk", client: till, target: github, denied: true}`:            "can be of no other",
		`{subject: "oidc:corp:alice", asserted: [a, b, c, d, e, f, g, h, i], target: github, denied: true}`:         "8 actors at most",
		`{subject: "oidc:corp:alice", asserted: [` + strings.Repeat("x", 2049) + `], target: github, denied: true}`: "2048 bytes",
		`{subject: "oidc:corp:alice", actor: "client:till", target: github, denied: true}`:                          "no client",
		`{subject: "oidc:corp:alice", asserted: [a, ], actor: "client:desk", target: github, denied: {a: b}}`:       "denied",
		`{subject: "oidc:corp:alice", asserted: {a: b}, actor: "client:desk", target: github, denied: true}`:        "a text is wanted",
	} {
		if _, err := policy.RunTests(files("a_test.yaml", "cases:\n  - "+text), r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
