package lease_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// books are a ledger and its open intents in memory, with one outcome to an
// exchange.
type books struct {
	t  testing.TB
	mu sync.Mutex

	now      func() time.Time
	intents  []exchange.Intent
	outcomes map[exchange.ID]exchange.Event
	notes    []exchange.Event
	listFail error
	fail     func(e exchange.Event) error // before a write
	lost     func(e exchange.Event) error // after it
	listed   int

	old, batches int
	pruneFail    error
}

func newBooks(t testing.TB) *books {
	return &books{t: t, now: func() time.Time { return noon }, outcomes: map[exchange.ID]exchange.Event{}}
}

// open adds an intent that is long past its deadline.
func (b *books) open(age time.Duration) exchange.Intent {
	at := b.now().Add(-age)
	id, err := exchange.NewID(at, rand.Reader)
	if err != nil {
		b.t.Fatal(err)
	}
	i := exchange.Intent{
		Deadline: at.Add(15 * time.Second),
		Event: exchange.Event{
			ID: id, Exchange: id, Tenant: "default", Type: exchange.EventIntent, At: at,
			Record: exchange.Record{
				Exchange: id.String(), Type: "intent", Tenant: "default", Subject: "k8s:prod:llm:gateway", Target: "bank",
				Provider: "test", Rule: "r1", Revision: "rev", Epoch: 3, Reason: "tests",
			},
		},
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.intents = append(b.intents, i)
	return i
}

func (b *books) Pending(_ context.Context, limit int) ([]exchange.Intent, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listed++
	if b.listFail != nil {
		return nil, b.listFail
	}
	var open []exchange.Intent
	for _, i := range b.intents {
		_, settled := b.outcomes[i.Event.Exchange]
		if overdue := i.Event.At.Add(2 * i.Deadline.Sub(i.Event.At)).Before(b.now()); overdue && !settled && len(open) < limit {
			open = append(open, i)
		}
	}
	return open, nil
}

// PruneLeases has leases that ended, as many as old says.
func (b *books) PruneLeases(_ context.Context, keep time.Duration, limit int) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if keep != 24*time.Hour || limit < 1 {
		return 0, errors.New("not what anybody would forget")
	}
	n := min(b.old, limit)
	b.old -= n
	b.batches++
	return n, b.pruneFail
}

func (b *books) Intend(context.Context, exchange.Intent) error {
	return errors.New("the reaper intends nothing")
}

func (b *books) Settle(ctx context.Context, o exchange.Outcome) error {
	if _, bounded := ctx.Deadline(); !bounded || ctx.Err() != nil {
		b.t.Error("a write without time to do it")
	}
	if b.fail != nil {
		if err := b.fail(o.Event); err != nil {
			return err
		}
	}
	b.mu.Lock()
	_, settled := b.outcomes[o.Event.Exchange]
	if !settled {
		b.outcomes[o.Event.Exchange] = o.Event
	}
	b.mu.Unlock()
	if settled {
		return exchange.ErrSettled
	}
	if b.lost != nil {
		return b.lost(o.Event)
	}
	return nil
}

func (b *books) Note(_ context.Context, e exchange.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.notes = append(b.notes, e)
	return nil
}

// meter counts.
type meter struct {
	mu      sync.Mutex
	revoked int
	alive   int
	failed  []error
	pruned  int
}

func (m *meter) Reaped(_ string, revoked bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if revoked {
		m.revoked++
	} else {
		m.alive++
	}
}

func (m *meter) Pruned(leases int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pruned += leases
}

func (m *meter) Failed(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed = append(m.failed, err)
}

func reaper(b *books, m *meter, recover func(context.Context, exchange.Intent) error) *lease.Reaper {
	return lease.NewReaper(lease.ReaperOptions{Intents: b, Expiries: b, Ledger: b, Recover: recover, Now: b.now, Random: rand.Reader, Meter: m})
}

// TestReap says what becomes of an intent by what the provider answers.
func TestReap(t *testing.T) {
	for name, c := range map[string]struct {
		answer error
		age    time.Duration
		ended  bool
		says   string
	}{
		"revoked":            {nil, time.Minute, true, "has been revoked"},
		"cannot be":          {errors.New("it cannot be revoked and ends when it expires"), time.Minute, true, "not revoked: it cannot be revoked"},
		"the provider's no":  {exchange.Fault(exchange.KindProviderRefused, "", nil), time.Minute, true, "not revoked"},
		"down for a moment":  {exchange.Fault(exchange.KindUnavailable, "", nil), time.Minute, false, ""},
		"throttled":          {fmt.Errorf("x: %w", exchange.Fault(exchange.KindThrottled, "", nil)), time.Minute, false, ""},
		"late":               {context.DeadlineExceeded, time.Minute, false, ""},
		"down for two hours": {exchange.Fault(exchange.KindUnavailable, "", nil), 2 * time.Hour, true, "not revoked"},
	} {
		t.Run(name, func(t *testing.T) {
			b, m := newBooks(t), &meter{}
			i := b.open(c.age)
			var asked []exchange.Intent
			n, err := reaper(b, m, func(ctx context.Context, i exchange.Intent) error {
				if _, bounded := ctx.Deadline(); !bounded {
					t.Error("the provider is asked without a deadline")
				}
				asked = append(asked, i)
				return c.answer
			}).Reap(t.Context())
			if len(asked) != 1 || asked[0].Event.Exchange != i.Event.Exchange {
				t.Fatalf("the provider was asked of %+v", asked)
			}
			if !c.ended {
				if n != 0 || err == nil || len(b.outcomes) != 0 {
					t.Errorf("%d ended, %v, %d outcomes", n, err, len(b.outcomes))
				}
				return
			}
			e := b.outcomes[i.Event.Exchange]
			if n != 1 || err != nil || e.Type != exchange.EventUnknown || e.Tenant != "default" || e.ID == i.Event.ID || e.ID.IsZero() {
				t.Fatalf("%d ended, %v, outcome %+v", n, err, e)
			}
			r := e.Record
			if r.Outcome != "unknown" || r.Type != "unknown" || r.Subject != "k8s:prod:llm:gateway" || r.Rule != "r1" || r.Reason != "tests" ||
				r.ErrorKind == "" || r.At != exchange.FormatTime(noon) || !strings.Contains(r.Explanation, c.says) {
				t.Errorf("the record is %+v", r)
			}
			if want := c.answer == nil; (m.revoked == 1) != want || (m.alive == 1) == want {
				t.Errorf("the meter was told: revoked %d, alive %d", m.revoked, m.alive)
			}
		})
	}
}

// TestReapLeavesWhatIsNotDue: before twice its deadline an intent is its process's.
func TestReapLeavesWhatIsNotDue(t *testing.T) {
	b := newBooks(t)
	b.open(29 * time.Second)
	n, err := reaper(b, &meter{}, func(context.Context, exchange.Intent) error {
		t.Error("the provider is asked")
		return nil
	}).Reap(t.Context())
	if n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// TestS27TheReaperRacesASlowSettle: one of them wins. If the settle does, what it
// handed out is dead by then, and the ledger says that too.
func TestS27TheReaperRacesASlowSettle(t *testing.T) {
	for name, c := range map[string]struct {
		answer error
		notes  int
	}{"revoked": {nil, 1}, "not revoked": {errors.New("cannot"), 0}} {
		t.Run(name, func(t *testing.T) {
			b, m := newBooks(t), &meter{}
			i := b.open(time.Minute)
			n, err := reaper(b, m, func(context.Context, exchange.Intent) error {
				b.outcomes[i.Event.Exchange] = exchange.Event{Type: exchange.EventIssued} // at this very moment
				return c.answer
			}).Reap(t.Context())
			if n != 0 || err != nil || b.outcomes[i.Event.Exchange].Type != exchange.EventIssued {
				t.Errorf("%d ended, %v, outcome %v", n, err, b.outcomes[i.Event.Exchange].Type)
			}
			if len(b.notes) != c.notes {
				t.Fatalf("%d notes", len(b.notes))
			}
			for _, e := range b.notes {
				if e.Type != exchange.EventRevoked || e.Exchange != i.Event.Exchange || e.Record.Outcome != "" || e.Record.Type != "revoked" {
					t.Errorf("the note is %+v", e)
				}
			}
			if m.revoked+m.alive != 0 {
				t.Error("the meter counts what was not reaped")
			}
		})
	}
}

// TestReapFaults: a write that fails, in either way, is made good by a later round,
// and spoils no other intent's.
func TestReapFaults(t *testing.T) {
	lost := errors.New("the connection was lost")
	for name, persisted := range map[string]bool{"not persisted": false, "persisted, reported failed": true} {
		t.Run(name, func(t *testing.T) {
			b := newBooks(t)
			first, second := b.open(time.Minute), b.open(time.Minute)
			hook := func(e exchange.Event) error {
				if e.Exchange == first.Event.Exchange {
					return lost
				}
				return nil
			}
			if persisted {
				b.lost = hook
			} else {
				b.fail = hook
			}
			r := reaper(b, &meter{}, func(context.Context, exchange.Intent) error { return nil })
			if n, err := r.Reap(t.Context()); n != 1 || !errors.Is(err, lost) {
				t.Errorf("%d, %v", n, err)
			}
			if _, ok := b.outcomes[second.Event.Exchange]; !ok {
				t.Error("the other intent was left")
			}
			b.fail, b.lost = nil, nil
			if _, err := r.Reap(t.Context()); err != nil {
				t.Error(err)
			}
			if len(b.outcomes) != 2 {
				t.Errorf("%d outcomes", len(b.outcomes))
			}
		})
	}
	b := newBooks(t)
	b.listFail = lost
	if _, err := reaper(b, &meter{}, nil).Reap(t.Context()); !errors.Is(err, lost) {
		t.Errorf("a list that fails: %v", err)
	}
}

// TestManyReplicasReapOnce: each exchange has one outcome, however many reap.
func TestManyReplicasReapOnce(t *testing.T) {
	b, m := newBooks(t), &meter{}
	for range 600 { // more than a batch
		b.open(time.Minute)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := reaper(b, m, func(context.Context, exchange.Intent) error { return nil }).Reap(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(b.outcomes) != 600 || m.revoked != 600 {
		t.Errorf("%d outcomes, %d counted", len(b.outcomes), m.revoked)
	}
}

// TestABacklogIsNotWaitedFor: a full batch at a provider that is down does not keep
// the reaper from what is behind it.
func TestABacklogIsNotWaitedFor(t *testing.T) {
	b, m := newBooks(t), &meter{}
	for range 300 {
		b.open(time.Minute)
	}
	n, err := reaper(b, m, func(context.Context, exchange.Intent) error {
		return exchange.Fault(exchange.KindUnavailable, "", nil)
	}).Reap(t.Context())
	if n != 256 || err == nil {
		t.Errorf("%d ended, %v", n, err)
	}
}

func TestReapStopsWithItsContext(t *testing.T) {
	b := newBooks(t)
	b.open(time.Minute)
	b.open(time.Minute)
	ctx, stop := context.WithCancel(t.Context())
	n, err := reaper(b, &meter{}, func(context.Context, exchange.Intent) error { stop(); return nil }).Reap(ctx)
	if n != 1 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d, %v: what was revoked is recorded, and no more begun", n, err)
	}
}

// TestRun reaps at once, then every so often, and goes on after a failure.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, m := newBooks(t), &meter{}
		b.now = time.Now
		b.open(time.Minute)
		r := lease.NewReaper(lease.ReaperOptions{
			Intents: b, Expiries: b, Ledger: b, Now: time.Now, Random: rand.Reader, Every: 10 * time.Second, Meter: m,
			Recover: func(context.Context, exchange.Intent) error { return nil },
		})
		ctx, stop := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		ended.Go(func() { r.Run(ctx) })
		synctest.Wait()
		if len(b.outcomes) != 1 {
			t.Error("it does not reap at once")
		}
		listed := []int{}
		for range 5 {
			time.Sleep(20 * time.Second) // of the bubble's time
			synctest.Wait()
			b.mu.Lock()
			listed = append(listed, b.listed)
			b.listFail = errors.New("down")
			b.mu.Unlock()
		}
		stop()
		ended.Wait()
		if !slices.IsSorted(listed) || listed[4] < 9 || listed[4] > 13 {
			t.Errorf("the rounds by 20, 40 … seconds: %v", listed)
		}
		if len(m.failed) < 6 {
			t.Errorf("%d failures were reported", len(m.failed))
		}
	})
}

// TestS26EndedLeasesAreForgotten in bounded batches, and the meter is told.
func TestS26EndedLeasesAreForgotten(t *testing.T) {
	b, m := newBooks(t), &meter{}
	b.old = 4500
	r := reaper(b, m, nil)
	if n, err := r.Prune(t.Context()); err != nil || n != 4500 || b.batches != 3 || m.pruned != 4500 {
		t.Errorf("%d in %d batches, the meter has %d, %v", n, b.batches, m.pruned, err)
	}
	b.pruneFail = errors.New("the connection was lost")
	if _, err := r.Prune(t.Context()); !errors.Is(err, b.pruneFail) {
		t.Errorf("%v", err)
	}
}
