package policy_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/policy"
)

// The words that random policies and questions are made of: few, so that they meet.
var (
	someNames    = []string{"a", "ab", "abc", "b", "ba"}
	somePatterns = []string{"a", "ab", "b", "*", "a*", "*b", "?", "a?", "*b*", "a*c"}
	someTargets  = []string{"github", "wiki", "rock", "sand", "*", "*i*", "s*", "?iki"}
	someScopes   = []string{"read", "call", "admin"}
	someWhens    = []string{
		`"read" in request.scopes`, `request.lifetime < duration("10m")`, `subject.attributes.groups[0] == "a"`,
		`subject.name.startsWith("k8s:")`, `actor.attributes.namespace == ["a"]`, `cidr("10.0.0.0/8").containsIP(request.client_ip)`,
	}
)

func list(words []string) string { return "[\"" + strings.Join(words, `", "`) + "\"]" }

// whoText is a random matcher of subjects or actors.
func whoText(t *rapid.T) string {
	attributes := []string{}
	pick := func(name string, from []string) {
		if rapid.Bool().Draw(t, name) {
			attributes = append(attributes, name+": "+list(rapid.SliceOfNDistinct(rapid.SampledFrom(from), 1, 2, rapid.ID).Draw(t, name+" values")))
		}
	}
	switch trust := rapid.SampledFrom([]string{"prod", "corp", "*", ""}).Draw(t, "trust"); trust {
	case "prod":
		pick("namespace", somePatterns)
		pick("service_account", somePatterns)
		pick("node", somePatterns)
		attributes = append(attributes, "trust: prod")
	case "corp":
		pick("groups", somePatterns)
		pick("team", somePatterns)
		attributes = append(attributes, "trust: corp")
	case "*":
		pick("groups", somePatterns)
		pick("namespace", somePatterns)
		attributes = append(attributes, `trust: "*"`)
	default:
		pick("subject", []string{"k8s:prod:a:*", "oidc:corp:a", "*:b", "client:*"})
		pick("namespace", somePatterns)
		if len(attributes) == 0 {
			attributes = append(attributes, `subject: "*"`)
		}
	}
	return "{" + strings.Join(attributes, ", ") + "}"
}

func whosText(t *rapid.T, label string) string {
	return "[" + strings.Join(rapid.SliceOfN(rapid.Custom(whoText), 1, 2).Draw(t, label), ", ") + "]"
}

// ruleText is a random rule. Scopes of an allow are patterns that each target with
// scopes has some of.
func ruleText(t *rapid.T, name string, deny bool) string {
	keys := []string{"name: " + name}
	if !deny || rapid.Bool().Draw(t, "subjects?") {
		keys = append(keys, "subjects: "+whosText(t, "subjects"))
	}
	if rapid.IntRange(0, 2).Draw(t, "actors?") == 0 {
		keys = append(keys, "actors: "+whosText(t, "actors"))
	}
	if rapid.IntRange(0, 3).Draw(t, "clients?") == 0 {
		keys = append(keys, "clients: "+list(rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"desk", "till", "*", "d*", "?i*"}), 1, 2, rapid.ID).Draw(t, "clients")))
	}
	keys = append(keys, "targets: "+list(rapid.SliceOfNDistinct(rapid.SampledFrom(someTargets), 1, 2, rapid.ID).Draw(t, "targets")))
	if rapid.IntRange(0, 2).Draw(t, "scopes?") == 0 {
		keys = append(keys, "scopes: "+list(rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"read", "r*", "*"}), 1, 2, rapid.ID).Draw(t, "scopes")))
	}
	if rapid.IntRange(0, 2).Draw(t, "when?") == 0 {
		keys = append(keys, "when: '"+rapid.SampledFrom(someWhens).Draw(t, "when")+"'")
	}
	if !deny && rapid.Bool().Draw(t, "max_ttl?") {
		keys = append(keys, "max_ttl: "+rapid.SampledFrom([]string{"15m", "30m", "1h"}).Draw(t, "max_ttl"))
	}
	if !deny && rapid.IntRange(0, 3).Draw(t, "reason?") == 0 {
		keys = append(keys, "require_reason: true")
	}
	return "  - {" + strings.Join(keys, ", ") + "}\n"
}

func policyText(t *rapid.T) string {
	var b strings.Builder
	b.WriteString(house + "allow:\n")
	for i := range rapid.IntRange(1, 6).Draw(t, "allows") {
		b.WriteString(ruleText(t, fmt.Sprintf("allow-%d", i), false))
	}
	b.WriteString("deny:\n")
	for i := range rapid.IntRange(0, 3).Draw(t, "denies") {
		b.WriteString(ruleText(t, fmt.Sprintf("deny-%d", i), true))
	}
	return b.String()
}

func someone(t *rapid.T, r *policy.Revision) exchange.Subject {
	attributes := map[string][]string{}
	name := "k8s:prod:" + rapid.SampledFrom(someNames).Draw(t, "namespace") + ":" + rapid.SampledFrom(someNames).Draw(t, "account")
	if rapid.Bool().Draw(t, "person") {
		name = "oidc:corp:" + rapid.SampledFrom(someNames).Draw(t, "sub")
		if rapid.Bool().Draw(t, "groups?") {
			attributes["groups"] = rapid.SliceOfN(rapid.SampledFrom(someNames), 0, 3).Draw(t, "groups")
		}
	} else if rapid.Bool().Draw(t, "node?") {
		attributes["node"] = []string{rapid.SampledFrom(someNames).Draw(t, "node")}
	}
	s, err := policy.Describe(r, name, attributes)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func question(t *rapid.T, r *policy.Revision) exchange.Question {
	q := exchange.Question{
		Tenant: "default", Subject: someone(t, r), Now: noon,
		Audiences: []string{rapid.SampledFrom([]string{"github", "wiki", "rock", "sand", "nowhere"}).Draw(t, "target")},
		Lifetime:  rapid.SampledFrom([]time.Duration{0, 0, 5 * time.Minute, 20 * time.Minute, 2 * time.Hour}).Draw(t, "lifetime"),
		Reason:    rapid.SampledFrom([]string{"", "why"}).Draw(t, "reason"),
	}
	if rapid.Bool().Draw(t, "scopes asked?") {
		q.Scopes = rapid.SliceOfNDistinct(rapid.SampledFrom(someScopes), 0, 2, rapid.ID).Draw(t, "asked scopes")
	}
	if rapid.Bool().Draw(t, "ip?") {
		q.ClientIP = netip.MustParseAddr("10.1.1.1")
	}
	if rapid.Bool().Draw(t, "actor?") {
		a := someone(t, r)
		q.Actors = []exchange.Actor{{Name: a.Name, Trust: a.Trust, Attributes: a.Attributes, Proven: true, TrustHash: a.TrustHash}}
	}
	if err := policy.DescribeClient(r, &q, rapid.SampledFrom([]string{"", "desk", "till"}).Draw(t, "client")); err != nil {
		t.Fatal(err)
	}
	for range rapid.IntRange(-6, 3).Draw(t, "asserted") {
		a := someone(t, r)
		q.Subject.Asserted = append(q.Subject.Asserted, exchange.Actor{
			Name: a.Name, Trust: a.Trust, Attributes: a.Attributes, TrustHash: a.TrustHash, AssertedBy: exchange.SelfTrust,
		})
	}
	if rapid.IntRange(0, 3).Draw(t, "bounded?") == 0 {
		q.Subject.Bounded = true
		q.Subject.Bound = rapid.SliceOfNDistinct(rapid.SampledFrom(someScopes), 0, 2, rapid.ID).Draw(t, "bound")
		q.Subject.Own = &exchange.Own{Scopes: q.Subject.Bound, Lineage: []exchange.ID{{1}}}
		if q.Client == "desk" && rapid.Bool().Draw(t, "client acts?") {
			if err := policy.DescribeActing(r, &q, "client:desk", nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	return q
}

func loadText(t *rapid.T, text string) *policy.Revision {
	r, err := policy.Load(files("a.yaml", text), policy.Options{Providers: shelf{}})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return r
}

// TestIndexAgreesWithEachRuleByItself: Explain looks at every rule without the
// index, so the two ways must come to the same answer.
func TestIndexAgreesWithEachRuleByItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := loadText(t, policyText(t))
		for range 20 {
			q := question(t, r)
			d, e := r.Decide(q), r.Explain(q)
			var denied, allowed string
			for _, v := range e.Rules {
				switch {
				case v.Matched && v.Effect == "deny" && denied == "":
					denied = v.Rule
				case v.Matched && v.Effect == "allow" && allowed == "":
					allowed = v.Rule
				}
			}
			want := allowed != "" && denied == "" && q.Audiences[0] != "nowhere"
			if d.Allowed != want || d.Allowed && d.Rule != allowed || denied != "" && d.Rule != denied || e.Allowed != d.Allowed || e.Rule != d.Rule {
				t.Fatalf("decide says %+v\nexplain says %+v\nquestion %+v", d, e, q)
			}
		}
	})
}

func TestNothingWiderThanRuleTargetAndRequest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := loadText(t, policyText(t))
		for range 20 {
			q := question(t, r)
			d := r.Decide(q)
			if !d.Allowed {
				if len(d.Scopes) > 0 || d.Lifetime != 0 {
					t.Fatalf("a refusal grants: %+v", d)
				}
				continue
			}
			for _, s := range d.Scopes {
				if offered := d.Target.Scopes; offered != nil && !slices.Contains(offered, s) || len(q.Scopes) > 0 && !slices.Contains(q.Scopes, s) ||
					q.Subject.Bounded && !slices.Contains(q.Subject.Bound, s) {
					t.Fatalf("scope %s was not offered, not asked or beyond the token: %+v", s, d)
				}
			}
			if d.Lifetime <= 0 || q.Lifetime > 0 && d.Lifetime > q.Lifetime || d.Target.MaxTTL > 0 && d.Lifetime > d.Target.MaxTTL {
				t.Fatalf("lifetime %s: %+v", d.Lifetime, d)
			}
		}
	})
}

func TestS14AddingADenyNeverAllowsMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := policyText(t)
		fewer := loadText(t, text)
		more := loadText(t, text+ruleText(t, "one-more", true))
		for range 20 {
			q := question(t, fewer)
			before, after := fewer.Decide(q), more.Decide(q)
			if after.Allowed && (!before.Allowed || after.Rule != before.Rule || !reflect.DeepEqual(after.Scopes, before.Scopes) || after.Lifetime != before.Lifetime) {
				t.Fatalf("before %+v\nafter %+v", before, after)
			}
		}
	})
}

// TestS15DroppingTheActorNeverHelps: without the actor, only a rule for undelegated
// requests can allow, and never for a token that says that it is delegated. And
// what an issuer asserts opens nothing that silence does not.
func TestS15DroppingTheActorNeverHelps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := policyText(t)
		r := loadText(t, text)
		withActors := map[string]bool{}
		for line := range strings.SplitSeq(text, "\n") {
			if name, _, ok := strings.Cut(strings.TrimPrefix(line, "  - {name: "), ","); ok && strings.Contains(line, "actors: ") {
				withActors[name] = true
			}
		}
		for range 20 {
			q := question(t, r)
			q.Actors = nil
			d := r.Decide(q)
			if d.Allowed && (withActors[d.Rule] || len(q.Subject.Asserted) > 0) {
				t.Fatalf("allowed without an actor: %+v", d)
			}
			q.Subject.Asserted = []exchange.Actor{{Name: "oidc:corp:a", Trust: "corp", AssertedBy: q.Subject.Trust}}
			if d := r.Decide(q); d.Allowed {
				t.Fatalf("an asserted actor satisfied a rule: %+v", d)
			}
		}
	})
}

func TestDecideIsPure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := policyText(t)
		r, again := loadText(t, text), loadText(t, text)
		q := question(t, r)
		if a, b := r.Decide(q), again.Decide(q); !reflect.DeepEqual(a, b) {
			t.Fatalf("%+v\n%+v", a, b)
		}
	})
}
