package provider_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// apart are the members of a grant that must not tell two grants apart, each with
// the reason. Every other member must: one that is added to the vocabulary and
// forgotten in the key fails TestS23EveryMemberCounts.
var apart = map[string]string{
	"Grant.Exchange": "each exchange is another",
	"Grant.Revision": "RuleHash stands for it, see TestS23RevisionCounts",
	"Grant.Now":      "a hit is later than what it serves from",
	"Grant.Lifetime": "checked at each hit", "Grant.NotAfter": "checked at each hit",
	"Grant.Stopped":   "asked at each hit",
	"Grant.Rejected":  "compared at each hit",
	"Target.Facts":    "part of the settings, whose hash counts",
	"Target.Settings": "their hash counts", "Target.Returns": "part of the target's hash",

	// Of the one token that was presented, and of what it may do here.
	"Subject.Record": "for the ledger", "Subject.Issued": "the token's", "Subject.Expires": "a cap", "Subject.JTI": "the token's",
	"Subject.KeyID": "the token's", "Subject.Audience": "the token's", "Subject.Fingerprint": "the token's",
	"Subject.Clientless": "decided before", "Subject.Asserted": "in Grant.Actors", "Subject.MayAct": "decided before",
	"Subject.Once": "burns in the ledger", "Subject.Bounded": "decided before", "Subject.Bound": "decided before",
	"Subject.Assertion": "decided before", "Actor.Expires": "a cap",
}

// TestS23EveryMemberCounts changes each member of a grant alone.
func TestS23EveryMemberCounts(t *testing.T) {
	build := func() *exchange.Grant {
		return &exchange.Grant{
			Target: &exchange.Target{}, Actors: []exchange.Actor{{}}, RuleHash: [32]byte{1},
		}
	}
	base := provider.KeyOf(build())
	try := func(owner string, pick func(*exchange.Grant) reflect.Value) {
		for n := range pick(build()).NumField() {
			g := build()
			v := pick(g)
			name := owner + "." + v.Type().Field(n).Name
			if name == "Grant.Target" || name == "Grant.Subject" || name == "Grant.Actors" {
				continue // their members are tried one by one
			}
			change(t, name, v.Field(n))
			differs := provider.KeyOf(g) != base
			if _, excepted := apart[name]; differs == excepted {
				t.Errorf("%s: a change makes another key: %t", name, differs)
			}
		}
	}
	try("Grant", func(g *exchange.Grant) reflect.Value { return reflect.ValueOf(g).Elem() })
	try("Target", func(g *exchange.Grant) reflect.Value { return reflect.ValueOf(g.Target).Elem() })
	try("Subject", func(g *exchange.Grant) reflect.Value { return reflect.ValueOf(&g.Subject).Elem() })
	try("Actor", func(g *exchange.Grant) reflect.Value { return reflect.ValueOf(&g.Actors[0]).Elem() })

	more := build()
	more.Actors = append(more.Actors, exchange.Actor{})
	if provider.KeyOf(more) == base {
		t.Error("another actor makes the same key")
	}
}

// change sets a value to something that is not zero.
func change(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	switch x := v.Addr().Interface().(type) {
	case *exchange.Attributes:
		*x = exchange.Attributes{"a": {"b"}}
	case *exchange.Token:
		*x = exchange.Token{Value: exchange.NewSecret("t")}
	case *time.Time:
		*x = noon
	case *[]exchange.Actor:
		*x = []exchange.Actor{{Name: "x"}}
	case *exchange.Facts:
		x.MaxTTL = time.Hour
	case *any:
		*x = "settings"
	case *exchange.Revision:
		x.Hash = "other"
	case **exchange.MayAct:
		*x = &exchange.MayAct{ID: "x"}
	case **exchange.Own:
		*x = &exchange.Own{Lineage: []exchange.ID{{1}}}
	case **exchange.IdentityAssertion:
		*x = &exchange.IdentityAssertion{Resource: "x"}
	case **exchange.Once:
		*x = &exchange.Once{Realm: "x"}
	case *[]string:
		*x = []string{"s"}
	case *[]byte:
		*x = []byte{1}
	case *func(exchange.Secret) bool:
		*x = func(exchange.Secret) bool { return true }
	default:
		switch v.Kind() {
		case reflect.String:
			v.SetString("changed")
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Int64:
			v.SetInt(7)
		case reflect.Uint8:
			v.SetUint(7)
		case reflect.Array:
			v.Index(5).SetUint(7)
		default:
			t.Fatalf("the test does not know how to change %s, a %v", name, v.Type())
		}
	}
}

// TestS23RevisionCounts where the rule has no hash of its own.
func TestS23RevisionCounts(t *testing.T) {
	key := func(rule [32]byte, revision string) provider.Key {
		return provider.KeyOf(&exchange.Grant{
			Target: &exchange.Target{}, RuleHash: rule, Revision: exchange.Revision{Hash: revision},
		})
	}
	if key([32]byte{}, "a") == key([32]byte{}, "b") {
		t.Error("with no rule hash, two revisions make one key")
	}
	if key([32]byte{1}, "a") != key([32]byte{1}, "b") {
		t.Error("the same rule in another revision makes another key")
	}
}

// shape is what tells grants apart, as text that cannot be ambiguous.
func shape(g *exchange.Grant) string {
	scopes := slices.Sorted(slices.Values(g.Scopes))
	return fmt.Sprintf("%q %q %q %q %#v %#v %t %q %#v", g.Tenant, g.Target.Name, g.Rule, g.Client, g.Subject.Attributes, g.Actors,
		g.Scopes == nil, scopes, g.Subject.Name+"\x00"+g.Subject.ID)
}

// TestS23DistinctGrantsHaveDistinctKeys, and equal ones the same, however the parts
// are cut.
func TestS23DistinctGrantsHaveDistinctKeys(t *testing.T) {
	text := rapid.StringOfN(rapid.SampledFrom([]rune{'a', 'b'}), 0, 3, -1)
	list := rapid.SliceOfN(text, 0, 2)
	attributes := rapid.MapOfN(text, list, 0, 2)
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(label string) *exchange.Grant {
			g := &exchange.Grant{Target: &exchange.Target{}, RuleHash: [32]byte{1}}
			g.Tenant, g.Target.Name = text.Draw(rt, label), text.Draw(rt, label)
			g.Rule, g.Client = text.Draw(rt, label), text.Draw(rt, label)
			g.Subject.Name, g.Subject.ID = text.Draw(rt, label), text.Draw(rt, label)
			g.Subject.Attributes = attributes.Draw(rt, label)
			for range rapid.IntRange(0, 2).Draw(rt, label) {
				g.Actors = append(g.Actors, exchange.Actor{Name: text.Draw(rt, label), ID: text.Draw(rt, label), Attributes: attributes.Draw(rt, label)})
			}
			if rapid.Bool().Draw(rt, label) {
				g.Scopes = list.Draw(rt, label)
			}
			return g
		}
		a, b := draw("a"), draw("b")
		if (provider.KeyOf(a) == provider.KeyOf(b)) != (shape(a) == shape(b)) {
			rt.Fatalf("%s\n%s", shape(a), shape(b))
		}
		slices.Reverse(a.Scopes)
		again := *a
		if provider.KeyOf(a) != provider.KeyOf(&again) {
			rt.Fatal("one grant has two keys")
		}
	})
}

// TestS23PartsAreNotRunTogether: the same letters cut elsewhere make another key.
func TestS23PartsAreNotRunTogether(t *testing.T) {
	const letters = "aaaaaaaa"
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(label string) (cuts []int, g *exchange.Grant) {
			g = &exchange.Grant{Target: &exchange.Target{}, RuleHash: [32]byte{1}}
			rest := letters
			for _, part := range []*string{
				&g.Tenant, &g.Target.Tenant, &g.Target.Name, &g.Target.Provider, &g.Rule, &g.Subject.Tenant, &g.Subject.Name, &g.Subject.Trust,
			} {
				n := rapid.IntRange(0, min(2, len(rest))).Draw(rt, label)
				*part, rest = rest[:n], rest[n:]
				cuts = append(cuts, n)
			}
			attribute := rapid.IntRange(0, len(rest)).Draw(rt, label)
			g.Subject.Attributes = exchange.Attributes{rest[:attribute]: {rest[attribute:]}}
			return append(cuts, attribute), g
		}
		cutsA, a := draw("a")
		cutsB, b := draw("b")
		if (provider.KeyOf(a) == provider.KeyOf(b)) != slices.Equal(cutsA, cutsB) {
			rt.Fatalf("cut at %v and at %v", cutsA, cutsB)
		}
	})
}

// TestS23SharedLeavesOutTheSubject and nothing else.
func TestS23SharedLeavesOutTheSubject(t *testing.T) {
	key := func(subject, client string, shared bool) provider.Key {
		return provider.KeyOf(&exchange.Grant{
			Target: &exchange.Target{Facts: exchange.Facts{Shared: shared}}, RuleHash: [32]byte{1}, Client: client,
			Subject: exchange.Subject{Name: subject, Attributes: exchange.Attributes{"n": {subject}}},
		})
	}
	if key("a", "c", true) != key("b", "c", true) {
		t.Error("two subjects of a shared target have two keys")
	}
	if key("a", "c", true) == key("a", "d", true) || key("a", "c", false) == key("b", "c", false) || key("", "c", true) == key("", "c", false) {
		t.Error("unlike grants have one key")
	}
}
