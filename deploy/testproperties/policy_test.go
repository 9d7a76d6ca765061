package testproperties

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/policy"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/mcp"
)

// book is a random policy: as it was made up, which is what the oracle goes by, and
// as the engine has loaded it.
type book struct {
	targets []target
	serves  [clients]uint // bits: the targets whose server a client is
	allow   []rule
	deny    []rule
	text    string

	revision *policy.Revision
	trusts   map[string]exchange.Trust
	vendor   *provider.Vendor
}

type target struct {
	resource string
	scopes   []string // nil: none
}

type rule struct {
	subject, actor string // who; an empty actor: of an allow, nobody; of a deny, anybody or nobody
	target         int    // -1: every one
	scopes         []string
	minutes        int // of an allow
}

// clients and targets are so few that they meet.
const (
	clients = 3
	targets = 3
)

// agentClient proves itself by a token of the agent a0, whom a may_act can name.
const agentClient = 2

var someScopes = []string{"read", "call", "admin"}

func clientName(n int) string { return fmt.Sprintf("c%d", n) }

// clientSecret has the form of one that a machine made.
func clientSecret(n int) string {
	return "cambio_secret_" + strings.Repeat("A", 41) + string(rune('B'+n)) + "A"
}

// makeUp makes a policy up.
func makeUp(r *rand.Rand) *book {
	b := &book{}
	for n := range targets {
		b.targets = append(b.targets, target{resource: fmt.Sprintf("https://mcp.example/t%d", n), scopes: someOf(r, someScopes)})
	}
	for n := range b.serves {
		b.serves[n] = uint(r.IntN(1<<targets)) | 1<<r.IntN(targets)
	}
	whos := []string{"trust:corp", "trust:prod", "*", "*", "subject:client:c0", "subject:client:*", "subject:oidc:corp:alice"}
	acts := []string{"", "", "*", "*", "trust:prod", "subject:client:*", "subject:client:*", "subject:client:*", "subject:client:c0"}
	pick := func(from []string) string { return from[r.IntN(len(from))] }
	for range 4 + r.IntN(6) {
		b.allow = append(b.allow, rule{
			subject: pick(whos[:5]), actor: pick(acts), target: max(-1, r.IntN(2*targets)-targets), scopes: someOf(r, someScopes), minutes: 1 + r.IntN(30),
		})
	}
	for range r.IntN(3) {
		d := rule{target: r.IntN(targets+1) - 1, scopes: someOf(r, someScopes)}
		if r.IntN(3) > 0 {
			d.actor = pick([]string{"subject:k8s:prod:agents:a1", "subject:client:c1", "subject:mallory"})
		} else {
			d.subject = pick([]string{"subject:oidc:corp:bob", "subject:client:c1"})
		}
		b.deny = append(b.deny, d)
	}
	b.text = b.write()
	return b
}

// someOf is a random part, nil as often as whole.
func someOf(r *rand.Rand, all []string) []string {
	if r.IntN(3) == 0 {
		return nil
	}
	var some []string
	for _, s := range all {
		if r.IntN(3) > 0 {
			some = append(some, s)
		}
	}
	return some
}

func (b *book) write() string {
	var w strings.Builder
	w.WriteString("trusts:\n")
	w.WriteString("  corp: {oidc: {issuer: \"https://login.example\", audiences: [cambio], clientless: true}}\n")
	w.WriteString("  prod: {kubernetes: {issuer: \"https://prod.example\", audiences: [cambio], clientless: true}}\n")
	w.WriteString("targets:\n")
	for n, t := range b.targets {
		fmt.Fprintf(&w, "  t%d: {mcp: {resource: %q", n, t.resource)
		if len(t.scopes) > 0 {
			fmt.Fprintf(&w, ", scopes: [%s]", strings.Join(t.scopes, ", "))
		}
		w.WriteString("}}\n")
	}
	w.WriteString("clients:\n")
	for n, bits := range b.serves {
		sum := sha256.Sum256([]byte(clientSecret(n)))
		proof := fmt.Sprintf("secret: {sha256: %q}", hex.EncodeToString(sum[:]))
		if n == agentClient {
			proof = "trust: {trust: prod, namespace: agents, service_account: a0}"
		}
		fmt.Fprintf(&w, "  %s: {%s", clientName(n), proof)
		var serves []string
		for i, t := range b.targets {
			if bits>>i&1 == 1 {
				serves = append(serves, fmt.Sprintf("%q", t.resource))
			}
		}
		if len(serves) > 0 {
			fmt.Fprintf(&w, ", serves: [%s]", strings.Join(serves, ", "))
		}
		w.WriteString("}\n")
	}
	for name, rules := range map[string][]rule{"allow": b.allow, "deny": b.deny} {
		fmt.Fprintf(&w, "%s:\n", name)
		for n, r := range rules {
			fmt.Fprintf(&w, "  - {name: %s-%d", name, n)
			if r.subject != "" {
				fmt.Fprintf(&w, ", subjects: [%s]", who(r.subject))
			}
			if r.actor != "" {
				fmt.Fprintf(&w, ", actors: [%s]", who(r.actor))
			}
			if r.target < 0 {
				w.WriteString(`, targets: ["*"]`)
			} else {
				fmt.Fprintf(&w, `, targets: ["*t%d"]`, r.target) // a pattern: it may name scopes that the target lacks
			}
			if len(r.scopes) > 0 {
				fmt.Fprintf(&w, ", scopes: [%s]", strings.Join(r.scopes, ", "))
			}
			if r.minutes > 0 {
				fmt.Fprintf(&w, ", max_ttl: %dm", r.minutes)
			}
			w.WriteString("}\n")
		}
	}
	return w.String()
}

// who writes one matcher.
func who(w string) string {
	attribute, value, ok := strings.Cut(w, ":")
	if !ok {
		return `{subject: "*"}`
	}
	return fmt.Sprintf("{%s: %q}", attribute, value)
}

// is reports whether a matcher is of someone, as the oracle reads it.
func is(w, name, trust string) bool {
	attribute, value, _ := strings.Cut(w, ":")
	switch {
	case w == "*":
		return true
	case attribute == "trust":
		return trust == value
	case strings.HasSuffix(value, "*"):
		return strings.HasPrefix(name, strings.TrimSuffix(value, "*"))
	}
	return name == value
}

// load has the engine load it.
func (b *book) load(t testing.TB, deps provider.Deps) {
	t.Helper()
	var err error
	b.revision, err = policy.Load(fstest.MapFS{"policy.yaml": {Data: []byte(b.text)}}, policy.Options{Providers: provider.NewRegistry(mcp.Kind())})
	if err != nil {
		t.Fatalf("%v\n%s", err, b.text)
	}
	b.trusts = map[string]exchange.Trust{}
	for _, trust := range b.revision.Trusts() {
		b.trusts[trust.Name] = trust
	}
	b.vendor = provider.NewVendor(provider.VendorOptions{Deps: deps})
}

// permits reports whether the policy, read by the oracle, lets all of this be.
func (b *book) permits(of *token, actor *link, target int, scopes []string, minutes float64) bool {
	delegated := actor != nil || len(of.chain) > 0
	matches := func(r *rule) bool {
		return (r.subject == "" || is(r.subject, of.subject, of.trust)) && (r.target < 0 || r.target == target)
	}
	for i := range b.deny {
		r := &b.deny[i]
		acts := r.actor == "" || actor != nil && is(r.actor, actor.name, actor.trust) ||
			slices.ContainsFunc(of.chain, func(a link) bool { return is(r.actor, a.name, a.trust) })
		touches := len(r.scopes) == 0 || slices.ContainsFunc(scopes, func(s string) bool { return slices.Contains(r.scopes, s) })
		if matches(r) && acts && touches {
			return false
		}
	}
	return slices.ContainsFunc(b.allow, func(r rule) bool {
		acts := r.actor == "" && !delegated || r.actor != "" && actor != nil && is(r.actor, actor.name, actor.trust)
		covers := len(r.scopes) == 0 || !slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(r.scopes, s) })
		return matches(&r) && acts && covers && minutes <= float64(r.minutes)
	})
}
