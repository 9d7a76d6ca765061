package policy_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/policy"
)

func TestS31EmergencyDeniesBind(t *testing.T) {
	text := house + `
allow:
  - {name: alone, subjects: [{trust: corp}], targets: [wiki, github]}
  - {name: together, subjects: [{trust: corp}], actors: [{trust: prod}], targets: [wiki]}
  - {name: on, subjects: [{trust: corp}], actors: [{subject: "client:desk"}], targets: [wiki]}
`
	type match = map[string]string
	acting := func(q *exchange.Question) {
		q.Actors = []exchange.Actor{{Name: agent, Trust: "prod", Proven: true, Attributes: exchange.Attributes{"namespace": {"agents"}}}}
	}
	lineage := []exchange.ID{{1, 2}, {3, 4}}
	// Issued for alice while the agent acted, and brought by the desk.
	ours := func(q *exchange.Question) {
		q.Subject.Own = &exchange.Own{Lineage: lineage}
		q.Subject.Asserted = []exchange.Actor{{Name: agent, Trust: "prod", AssertedBy: exchange.SelfTrust}}
		q.Actors = []exchange.Actor{{Name: "client:desk", ID: "desk", Proven: true}}
	}
	for name, c := range map[string]struct {
		deny   match
		change func(*exchange.Question)
		denied bool
	}{
		"subject":                      {match{"subject": alice}, nil, true},
		"another subject":              {match{"subject": "oidc:corp:bob"}, nil, false},
		"a pattern is no subject":      {match{"subject": "*"}, nil, false},
		"trust of the subject":         {match{"trust": "corp"}, nil, true},
		"trust of an actor":            {match{"trust": "prod"}, acting, true},
		"trust of nobody here":         {match{"trust": "prod"}, nil, false},
		"actor":                        {match{"actor": agent}, acting, true},
		"actor who is not there":       {match{"actor": agent}, nil, false},
		"target":                       {match{"target": "wiki"}, nil, true},
		"another target":               {match{"target": "github"}, nil, false},
		"rule":                         {match{"rule": "alone"}, nil, true},
		"rule that is not picked":      {match{"rule": "together"}, nil, false},
		"all members must hold":        {match{"subject": alice, "target": "github"}, nil, false},
		"all members hold":             {match{"subject": alice, "target": "wiki", "trust": "corp"}, nil, true},
		"a credential that is out":     {match{"credential": "abc"}, nil, false},
		"and a subject":                {match{"credential": "abc", "subject": alice}, nil, false},
		"unknown kinds hold":           {match{"moon": "full"}, nil, true},
		"unknown beside a known":       {match{"moon": "full", "subject": "oidc:corp:bob"}, nil, false},
		"lineage of no token of ours":  {match{"lineage": lineage[0].String()}, nil, false},
		"lineage, the oldest":          {match{"lineage": lineage[0].String()}, ours, true},
		"lineage, the token itself":    {match{"lineage": lineage[1].String()}, ours, true},
		"lineage, of another":          {match{"lineage": "01890a5d-ac96-774b-bcce-b302099a8057"}, ours, false},
		"lineage, not whole":           {match{"lineage": lineage[0].String()[:35]}, ours, false},
		"lineage and a subject":        {match{"lineage": lineage[0].String(), "subject": alice}, ours, true},
		"lineage, another subject":     {match{"lineage": lineage[0].String(), "subject": "oidc:corp:bob"}, ours, false},
		"actor of a token's past":      {match{"actor": agent}, ours, true},
		"trust of that actor":          {match{"trust": "prod"}, ours, true},
		"without members: all of them": {match{}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := load(t, "a.yaml", text)
				db := newDatabase()
				db.add(exchange.Deny{Tenant: "default", Match: c.deny, Reason: "fire"})
				s := open(t, db)
				if err := s.Activate(context.Background(), r); err != nil {
					t.Fatal(err)
				}
				q := ask(t, r, alice, "wiki")
				if c.change != nil {
					c.change(&q)
					prove(t, r, &q)
				}
				q.Now = time.Now()
				if !r.Decide(q).Allowed {
					t.Fatal("policy itself refuses")
				}
				d := decideNow(t, s, q)
				if d.Allowed == c.denied || d.Epoch != 1 {
					t.Errorf("%+v", d)
				}
				if nowhere := r.Decide(ask(t, r, alice, "nowhere")); c.denied && (d.Refusal != nowhere.Refusal || d.Advice != nowhere.Advice) {
					t.Errorf("a denied request looks unlike an unknown target: %+v", d)
				}
			})
		})
	}
}

func TestS31DeniesEndAndAreOneTenants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := load(t, "a.yaml", house+"allow: [{name: a, subjects: [{trust: corp}], targets: [wiki]}]")
		db := newDatabase()
		db.add(exchange.Deny{Tenant: "default", Match: map[string]string{"subject": alice}, Expires: time.Now().Add(5 * time.Second)})
		db.add(exchange.Deny{Tenant: "other", Match: map[string]string{}})
		s := open(t, db)
		if err := s.Activate(context.Background(), r); err != nil {
			t.Fatal(err)
		}
		q := ask(t, r, alice, "wiki")
		q.Now = time.Now()
		if decideNow(t, s, q).Allowed {
			t.Error("denied")
		}
		q.Now = q.Now.Add(5 * time.Second)
		if !decideNow(t, s, q).Allowed {
			t.Error("the deny has ended")
		}
	})
}

func decideNow(t *testing.T, s *policy.Set, q exchange.Question) exchange.Decision {
	t.Helper()
	decider, err := s.Current()
	if err != nil {
		t.Fatal(err)
	}
	return decider.Decide(q)
}

// TestS31CredentialDenies: a deny of one credential decides nothing, and is found by
// whoever holds that credential, if its other members hold.
func TestS31CredentialDenies(t *testing.T) {
	type match = map[string]string
	text := house + "\nallow:\n  - {name: alone, subjects: [{trust: corp}], targets: [wiki]}\n"
	for name, c := range map[string]struct {
		deny    match
		expires time.Duration
		stops   bool
	}{
		"this one":               {deny: match{"credential": "abc"}, stops: true},
		"another one":            {deny: match{"credential": "abd"}},
		"this one, of hers":      {deny: match{"credential": "abc", "subject": alice}, stops: true},
		"this one, of another":   {deny: match{"credential": "abc", "subject": "oidc:corp:bob"}},
		"this one, by the rule":  {deny: match{"credential": "abc", "rule": "alone", "target": "wiki"}, stops: true},
		"this one, another rule": {deny: match{"credential": "abc", "rule": "together"}},
		"until in a while":       {deny: match{"credential": "abc"}, expires: time.Hour, stops: true},
		"until a while ago":      {deny: match{"credential": "abc"}, expires: -time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := load(t, "a.yaml", text)
				db := newDatabase()
				d := exchange.Deny{Tenant: "default", Match: c.deny, Reason: "fire"}
				q := ask(t, r, alice, "wiki")
				if c.expires != 0 {
					d.Expires = q.Now.Add(c.expires)
				}
				db.add(d)
				s := open(t, db)
				if err := s.Activate(context.Background(), r); err != nil {
					t.Fatal(err)
				}
				decider, err := s.Current()
				if err != nil {
					t.Fatal(err)
				}
				decision := decider.Decide(q)
				if !decision.Allowed {
					t.Fatalf("the exchange itself is denied: %s", decision.Explanation)
				}
				denies := decider.(exchange.CredentialDenier).DeniesCredentials(q, decision)
				if got := denies("abc"); got != c.stops {
					t.Errorf("stops it: %t, want %t", got, c.stops)
				}
			})
		})
	}
}
