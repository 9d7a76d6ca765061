package governor_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/governor"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// gate is a governor with a clock that a test moves.
type gate struct {
	*governor.Governor
	t   testing.TB
	now atomic.Int64
}

func newGate(t testing.TB, o governor.Options) *gate {
	g := &gate{t: t}
	g.now.Store(noon.UnixNano())
	o.Now = func() time.Time { return time.Unix(0, g.now.Load()) }
	g.Governor = governor.New(o)
	return g
}

// admit comes n times, and returns how often it was let in, and the last refusal.
func (g *gate) admit(tenant, subject string, allowed bool, n int) (in int, refusal error) {
	g.t.Helper()
	for range n {
		release, err := g.Admit(g.t.Context(), exchange.Question{Tenant: tenant, Subject: exchange.Subject{Name: subject}},
			exchange.Decision{Allowed: allowed})
		if err != nil {
			refusal = err
			continue
		}
		release(nil)
		in++
	}
	return in, refusal
}

func TestPerSubject(t *testing.T) {
	g := newGate(t, governor.Options{PerSubject: 10})
	if in, _ := g.admit("default", "a", true, 100); in != 20 {
		t.Errorf("at once %d are let in, want twice the rate", in)
	}
	for name, subject := range map[string][2]string{"another subject": {"default", "b"}, "another tenant": {"other", "a"}} {
		if in, _ := g.admit(subject[0], subject[1], true, 20); in != 20 {
			t.Errorf("%s is let in %d times", name, in)
		}
	}
	g.now.Add(int64(time.Second))
	if in, _ := g.admit("default", "a", true, 100); in != 10 {
		t.Errorf("after a second %d are let in", in)
	}
	g.now.Add(int64(time.Hour))
	if in, _ := g.admit("default", "a", true, 100); in != 20 {
		t.Errorf("after an hour %d are let in", in)
	}
	g.now.Add(-int64(time.Hour)) // a clock that is set back gives nothing, and takes nothing
	if in, _ := g.admit("default", "a", true, 100); in != 0 {
		t.Errorf("before that hour %d are let in", in)
	}
}

func TestRetryAfterIsWhenOneIsLetIn(t *testing.T) {
	for _, rate := range []float64{0.1, 0.3, 1, 50} {
		g := newGate(t, governor.Options{PerSubject: rate})
		_, refusal := g.admit("default", "a", true, 1000)
		e, ok := refusal.(*exchange.Error)
		if !ok || e.Kind != exchange.KindThrottled || e.Advice == "" {
			t.Fatalf("at %v a second: %v", rate, refusal)
		}
		if e.RetryAfter < time.Second || e.RetryAfter%time.Second != 0 {
			t.Errorf("at %v a second: come back in %v", rate, e.RetryAfter)
		}
		g.now.Add(int64(e.RetryAfter))
		if in, _ := g.admit("default", "a", true, 1); in != 1 {
			t.Errorf("at %v a second: after %v it is still refused", rate, e.RetryAfter)
		}
	}
}

// TestS32DenialsHaveTheirOwnBudget: refusals fill a tenth of the rate with rows, and
// take nothing from what the subject may have.
func TestS32DenialsHaveTheirOwnBudget(t *testing.T) {
	for _, rate := range []float64{50, -1} {
		g := newGate(t, governor.Options{PerSubject: rate})
		if in, _ := g.admit("default", "a", false, 1000); in != 10 {
			t.Errorf("%d refusals are written at once", in)
		}
		g.now.Add(int64(time.Second))
		if in, _ := g.admit("default", "a", false, 1000); in != 5 {
			t.Errorf("after a second %d more", in)
		}
		if in, _ := g.admit("default", "a", true, 100); in != 100 {
			t.Errorf("%d of what is allowed is let in", in)
		}
	}
	small := newGate(t, governor.Options{PerSubject: 0.5})
	if in, _ := small.admit("default", "a", false, 10); in != 1 {
		t.Errorf("at a small rate %d refusals are written, want at least the first", in)
	}
}

func TestUnlimited(t *testing.T) {
	g := newGate(t, governor.Options{PerSubject: -1})
	if in, _ := g.admit("default", "a", true, 10_000); in != 10_000 {
		t.Errorf("%d are let in", in)
	}
}

// TestManySubjectsAreForgotten: memory is bounded, and who comes often is
// remembered.
func TestManySubjectsAreForgotten(t *testing.T) {
	g := newGate(t, governor.Options{PerSubject: 1, MaxSubjects: 640})
	g.admit("default", "busy", true, 2)
	for n := range 5000 {
		g.admit("default", fmt.Sprint("s", n), true, 2)
		if in, _ := g.admit("default", "busy", true, 1); in != 0 {
			t.Fatalf("after %d others the busy one is forgotten", n)
		}
	}
	if in, _ := g.admit("default", "s0", true, 2); in != 2 {
		t.Error("the first of them is remembered still")
	}
}

// TestNeverMoreThanTheRate: over any walk of time no subject gets more than its
// allowance and what refills.
func TestNeverMoreThanTheRate(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rate := rapid.Float64Range(0.5, 20).Draw(rt, "rate")
		g := newGate(t, governor.Options{PerSubject: rate})
		in, passed := 0, time.Duration(0)
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			step := time.Duration(rapid.IntRange(0, 2000).Draw(rt, "ms")) * time.Millisecond
			g.now.Add(int64(step))
			passed += step
			n, _ := g.admit("default", "a", true, rapid.IntRange(1, 50).Draw(rt, "n"))
			in += n
			if most := max(1, 2*rate) + rate*passed.Seconds() + 1e-6; float64(in) > most {
				rt.Fatalf("%d in %v, at %v a second", in, passed, rate)
			}
		}
	})
}

func TestConcurrentUse(t *testing.T) {
	g := newGate(t, governor.Options{PerSubject: 100})
	var all sync.WaitGroup
	var in atomic.Int64
	for range 16 {
		all.Go(func() {
			n, _ := g.admit("default", "a", true, 100)
			in.Add(int64(n))
		})
	}
	all.Wait()
	if in.Load() != 200 {
		t.Errorf("%d are let in", in.Load())
	}
}

func BenchmarkAdmit(b *testing.B) {
	g := governor.New(governor.Options{PerSubject: 1e9, Now: time.Now})
	q := exchange.Question{Tenant: "default", Subject: exchange.Subject{Name: "k8s:prod:llm:gateway"}}
	d := exchange.Decision{Allowed: true}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Admit(b.Context(), q, d); err != nil {
			b.Fatal(err)
		}
	}
}
