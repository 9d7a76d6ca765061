package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange/policy"
)

// manyRules is a policy of n allow rules, a tenth of them with patterns, and n/100
// denies.
func manyRules(b *testing.B, n int) *policy.Revision {
	b.Helper()
	var text strings.Builder
	text.WriteString(house + "allow:\n")
	for i := range n {
		namespace := fmt.Sprintf("team-%d", i)
		if i%10 == 0 {
			namespace = fmt.Sprintf("team-%d-*", i)
		}
		fmt.Fprintf(&text, "  - {name: rule-%d, subjects: [{trust: prod, namespace: %q, service_account: gateway}], targets: [github, wiki], max_ttl: 1h}\n", i, namespace)
	}
	text.WriteString("deny:\n")
	for i := range n/100 + 1 {
		fmt.Fprintf(&text, "  - {name: deny-%d, subjects: [{trust: prod, namespace: \"preview-%d-*\"}]}\n", i, i)
	}
	return load(b, "a.yaml", text.String())
}

func benchmarkDecide(b *testing.B, n int) {
	r := manyRules(b, n)
	last := n - 1
	if last%10 == 0 {
		last--
	}
	q := ask(b, r, fmt.Sprintf("k8s:prod:team-%d:gateway", last), "github")
	if d := r.Decide(q); !d.Allowed {
		b.Fatal(d)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Decide(q)
	}
}

func BenchmarkDecide10(b *testing.B)    { benchmarkDecide(b, 10) }
func BenchmarkDecide1000(b *testing.B)  { benchmarkDecide(b, 1000) }
func BenchmarkDecide10000(b *testing.B) { benchmarkDecide(b, 10_000) }

func BenchmarkDecide10000Refused(b *testing.B) {
	r := manyRules(b, 10_000)
	q := ask(b, r, "k8s:prod:nobody:gateway", "github")
	b.ReportAllocs()
	for b.Loop() {
		r.Decide(q)
	}
}

func BenchmarkDecide10000Pattern(b *testing.B) {
	r := manyRules(b, 10_000)
	q := ask(b, r, "k8s:prod:team-9990-x:gateway", "github")
	if !r.Decide(q).Allowed {
		b.Fatal("refused")
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Decide(q)
	}
}

// BenchmarkDecideGroups is a person in 200 groups, with a rule for each of 10,000.
func BenchmarkDecideGroups(b *testing.B) {
	var text strings.Builder
	text.WriteString(house + "allow:\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "  - {name: rule-%d, subjects: [{trust: corp, groups: group-%d}], targets: [rock]}\n", i, i)
	}
	r := load(b, "a.yaml", text.String())
	groups := make([]string, 200)
	for i := range groups {
		groups[i] = fmt.Sprintf("group-%d", i*50)
	}
	q := ask(b, r, alice, "rock", with("groups", groups...))
	if !r.Decide(q).Allowed {
		b.Fatal("refused")
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Decide(q)
	}
}

func BenchmarkDecideWhen(b *testing.B) {
	r := load(b, "a.yaml", house+`allow: [{name: a, subjects: [{trust: prod}], targets: [wiki], when: 'cidr("10.0.0.0/8").containsIP(request.client_ip) && now.getHours("UTC") < 20'}]`)
	q := ask(b, r, gateway, "wiki")
	if !r.Decide(q).Allowed {
		b.Fatal("refused")
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Decide(q)
	}
}

func BenchmarkLoad10000(b *testing.B) {
	var text strings.Builder
	text.WriteString(house + "allow:\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "  - {name: rule-%d, subjects: [{trust: prod, namespace: team-%d}], targets: [wiki], when: 'request.client != \"c%d\"'}\n", i, i, i)
	}
	folder := files("a.yaml", text.String())
	for b.Loop() {
		if _, err := policy.Load(folder, policy.Options{Providers: shelf{}}); err != nil {
			b.Fatal(err)
		}
	}
}
