package main

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/cambio-sts/cambio/exchange/governor"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// atOnce lets so many callers go in one moment and returns what each was told.
func atOnce(n int, call func(i int) told) []told {
	all := make([]told, n)
	start := make(chan struct{})
	var ready, done sync.WaitGroup
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-start
			all[i] = call(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
	return all
}

// tally counts answers by status.
func tally(all []told) map[int]int {
	by := map[int]int{}
	for _, a := range all {
		by[a.status]++
	}
	return by
}

// again asks until the ledger is there, which a busy disk keeps from thousands of
// callers for a while: they are told to try again, and nothing was issued.
func (m *models) again(token, target string, more url.Values) (a told) {
	for range 50 {
		a = m.ask(token, target, more)
		if a.status != http.StatusServiceUnavailable || !strings.Contains(a.text("error_description"), "recorded") {
			break
		}
	}
	return a
}

// refusals counts what callers were told who got nothing.
func refusals(all []told) map[string]int {
	by := map[string]int{}
	for _, a := range all {
		if a.status != http.StatusOK {
			by[a.text("error_description")]++
		}
	}
	return by
}

// counted is the value of a counter of ours with these labels, in their order.
func (m *models) counted(v *prometheus.CounterVec, labels ...string) int {
	m.Helper()
	var d dto.Metric
	if err := v.WithLabelValues(labels...).Write(&d); err != nil {
		m.Fatal(err)
	}
	return int(d.GetCounter().GetValue())
}

// TestACrowdIsOneCall: ten thousand callers at once, for one subject and target, through the
// token endpoint and the ledger. The provider is held until many have come.
func TestACrowdIsOneCall(t *testing.T) {
	const many = 64
	m := openModels(t, 2*time.Minute)
	claude := m.stands["claude"]
	if got := m.ask(m.token("evals", "runner", "cambio"), "claude", map[string][]string{"reason": {"first"}}); got.status != http.StatusOK {
		t.Fatal(got.text("error_description"))
	}
	before := claude.weather.Calls()
	var come atomic.Int64
	crowded := make(chan struct{})
	hold := func() { <-crowded }
	claude.hold.Store(&hold)
	token := m.token("llm", "gateway", "cambio")
	all := atOnce(crowd, func(int) told {
		if come.Add(1) == many {
			close(crowded)
		}
		return m.again(token, "claude", nil)
	})
	if by := tally(all); by[http.StatusOK] != crowd {
		t.Fatalf("the answers are %v, %v", by, refusals(all))
	}
	if calls := claude.weather.Calls() - before; calls != 1 {
		t.Errorf("%d callers are %d calls", crowd, calls)
	}
	first := all[0]
	exchanges := map[string]bool{}
	for _, a := range all {
		if a.text("access_token") != first.text("access_token") || a.text("lease_id") != first.text("lease_id") {
			t.Fatal("two callers have two credentials")
		}
		exchanges[a.text("exchange_id")] = true
	}
	if len(exchanges) != crowd {
		t.Errorf("%d exchanges", len(exchanges))
	}
	if issued := m.counted(m.meters.exchanges, "oauth", "issued", ""); issued != crowd+1 {
		t.Errorf("%d are on record as issued", issued)
	}
}

// TestDistinctPairsAreAsManyCalls: each subject has its own credential at each target,
// and no other's.
func TestDistinctPairsAreAsManyCalls(t *testing.T) {
	const subjects, each = 20, 10
	m := openModels(t, 2*time.Minute)
	targets := []string{"claude", "vertex"}
	tokens := make([]string, subjects)
	for i := range tokens {
		tokens[i] = m.token("evals", fmt.Sprintf("runner-%02d", i), "cambio")
	}
	pair := func(i int) (subject int, target string) { return i % subjects, targets[i/subjects%len(targets)] }
	all := atOnce(subjects*len(targets)*each, func(i int) told {
		subject, target := pair(i)
		return m.again(tokens[subject], target, map[string][]string{"reason": {"run 1"}})
	})
	if by := tally(all); by[http.StatusOK] != len(all) {
		t.Fatalf("the answers are %v: %v", by, all[0].body["error_description"])
	}
	owner := map[string]string{}
	for i, a := range all {
		subject, target := pair(i)
		name := fmt.Sprint(subject, " ", target)
		if had, ok := owner[a.text("access_token")]; ok && had != name {
			t.Fatalf("%s has the credential of %s", name, had)
		}
		owner[a.text("access_token")] = name
	}
	if len(owner) != subjects*len(targets) {
		t.Errorf("%d credentials for %d pairs", len(owner), subjects*len(targets))
	}
	for _, target := range targets {
		if calls := m.stands[target].weather.Calls(); calls != subjects {
			t.Errorf("%s was called %d times for %d subjects", target, calls, subjects)
		}
	}
}

// TestCachedCredentialsOutliveAnOutage: while the provider is down, who has a
// credential goes on with it until it dies, and who has none is told when to come
// back; when the provider is there again, one pause later everybody is served.
func TestCachedCredentialsOutliveAnOutage(t *testing.T) {
	for name, mood := range map[string]sandbox.Mood{"down": sandbox.Down, "lying": sandbox.HTML, "endless": sandbox.Huge} {
		t.Run(name, func(t *testing.T) {
			m := openModels(t, 30*time.Second)
			claude := m.stands["claude"]
			ask := func(account string) told {
				return m.ask(m.token("evals", account, "cambio"), "claude", map[string][]string{"reason": {"outage"}})
			}
			had := ask("early")
			if had.status != http.StatusOK {
				t.Fatal(had.text("error_description"))
			}
			life := had.left(m)
			restore := claude.weather.Set(mood)
			before := claude.weather.Calls()
			for _, left := range []time.Duration{life, life / 2, life / 10, 5 * time.Second} {
				m.ahead(had.left(m) - left)
				got := ask("early")
				if got.status != http.StatusOK || got.text("access_token") != had.text("access_token") {
					t.Fatalf("with %v left: %d %s", left, got.status, got.text("error_description"))
				}
				m.unavailable(ask("late"))
			}
			m.ahead(had.left(m) + time.Second)
			m.unavailable(ask("early")) // it is dead
			if calls := claude.weather.Calls() - before; calls == 0 || calls > 10 {
				t.Errorf("the provider was asked %d times in an outage", calls)
			}
			restore()
			m.ahead(longestPause)
			for _, account := range []string{"early", "late"} {
				if got := ask(account); got.status != http.StatusOK || got.text("access_token") == had.text("access_token") {
					t.Errorf("%s, after it: %d %s", account, got.status, got.text("error_description"))
				}
			}
		})
	}
}

// longestPause is how long a circuit stays open at most.
const longestPause = 5 * time.Second

// left is what a credential has left.
func (a told) left(m *models) time.Duration {
	seconds, _ := a.body["expires_in"].(float64)
	return a.at.Add(time.Duration(seconds) * time.Second).Sub(m.clock.now())
}

// unavailable wants the answer of an outage.
func (m *models) unavailable(a told) {
	m.Helper()
	if a.status != http.StatusServiceUnavailable || a.text("error") != "temporarily_unavailable" || a.text("access_token") != "" {
		m.Errorf("%d %s", a.status, a.text("error"))
	}
}

// TestNothingPilesUp: a provider that never answers holds so many calls and no more.
// Everybody else is told at once; when their time ends nothing is left, and the circuit
// lets nobody near it until it is there again.
func TestNothingPilesUp(t *testing.T) {
	const callers = 1000
	m := openModels(t, 3*time.Second)
	claude := m.stands["claude"]
	tokens := make([]string, callers)
	for i := range tokens {
		tokens[i] = m.token("evals", fmt.Sprintf("runner-%04d", i), "cambio")
	}
	ask := func(i int) told { return m.ask(tokens[i], "claude", map[string][]string{"reason": {"outage"}}) }
	if got := ask(0); got.status != http.StatusOK {
		t.Fatal(got.text("error_description"))
	}
	quiet := runtime.NumGoroutine()
	restore := claude.weather.Set(sandbox.Slow)
	all := atOnce(callers-1, func(i int) told { return ask(i + 1) })
	for _, a := range all {
		m.unavailable(a)
	}
	if most := claude.most.Load(); most > governor.DefaultInFlight {
		t.Errorf("%d calls were under way at once", most)
	}
	if !eventually(func() bool { return claude.under.Load() == 0 && runtime.NumGoroutine() < quiet+200 }) {
		t.Errorf("%d calls and %d goroutines are left, of %d before", claude.under.Load(), runtime.NumGoroutine(), quiet)
	}
	before := claude.weather.Calls()
	unsaid := 0
	for i := range 100 {
		got := ask(i + 1)
		if m.unavailable(got); got.retry == "" {
			unsaid++
		}
	}
	if unsaid > 1 { // one call may find out how the provider is
		t.Errorf("%d of 100 are not told when to come back", unsaid)
	}
	if calls := claude.weather.Calls() - before; calls > 1 {
		t.Errorf("with its circuit open it was called %d times", calls)
	}
	if got := ask(0); got.status != http.StatusOK {
		t.Errorf("who has a credential: %d", got.status)
	}
	if got := m.ask(m.token("llm", "gateway", "cambio"), "gpt", nil); got.status != http.StatusOK {
		t.Errorf("at another provider: %d", got.status)
	}
	restore()
	m.ahead(longestPause)
	if got := ask(1); got.status != http.StatusOK {
		t.Errorf("after it: %d %s", got.status, got.text("error_description"))
	}
}

// TestThrottlingIsLearnt: a provider that says "later" is left alone for as long as it
// asked, callers are told so, and then it is asked no oftener than it bore.
func TestThrottlingIsLearnt(t *testing.T) {
	m := openModels(t, 30*time.Second)
	claude := m.stands["claude"]
	n := 0
	ask := func() told {
		n++
		return m.ask(m.token("evals", fmt.Sprintf("runner-%04d", n), "cambio"), "claude", map[string][]string{"reason": {"burst"}})
	}
	restore := claude.weather.Set(sandbox.Throttling)
	first := ask()
	if first.status != http.StatusTooManyRequests || first.retry == "" {
		t.Fatalf("%d, come back after %q: %s", first.status, first.retry, first.text("error_description"))
	}
	calls := claude.weather.Calls()
	restore()
	for range 50 {
		if got := ask(); got.status != http.StatusTooManyRequests || got.retry == "" || got.retry == "0" {
			t.Fatalf("%d, come back after %q", got.status, got.retry)
		}
	}
	if claude.weather.Calls() != calls {
		t.Error("it is asked although it wants to be left alone")
	}
	m.ahead(time.Minute) // longer than it asked
	served := 0
	for range 50 { // in one moment
		if ask().status == http.StatusOK {
			served++
		}
	}
	if served == 0 || served > 25 {
		t.Errorf("%d of 50 in one moment are let through, after it throttled one", served)
	}
	m.ahead(10 * time.Minute) // of calm
	if got := ask(); got.status != http.StatusOK {
		t.Fatal(got.text("error_description"))
	}
	for range 50 {
		if got := ask(); got.status != http.StatusOK {
			t.Fatalf("after a calm time: %d %s", got.status, got.text("error_description"))
		}
	}
}
