package exchange_test

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
)

// ledger is a ledger in memory, with the constraints of the real one.
type ledger struct {
	t      testing.TB
	sealer *exchange.Sealer

	mu     sync.Mutex
	epoch  int64
	events []exchange.Event
	leases []exchange.Lease
	used   map[exchange.Once]exchange.ID
	// revoked are leases that nothing may rely on; fells, if any, says so of others.
	revoked map[exchange.ID]bool
	fells   func(lease exchange.ID) bool

	// before and after, if any, run around a write that is at hand; an error from
	// before means that it is not persisted, one from after that it is and the
	// answer is lost.
	before, after func(ctx context.Context, e exchange.Event) error
}

func (l *ledger) Intend(ctx context.Context, i exchange.Intent) error {
	if i.Event.Type != exchange.EventIntent {
		l.t.Errorf("an intent of type %v", i.Event.Type)
	}
	if !i.Deadline.After(i.Event.At) {
		l.t.Error("an intent whose deadline is not after it")
	}
	l.relies(i.Event, i.Relies)
	return l.write(ctx, i.Event, i.Epoch, true, i.Once, nil, i.Relies)
}

func (l *ledger) Settle(ctx context.Context, o exchange.Outcome) error {
	if !o.Event.Type.Terminal() {
		l.t.Errorf("an outcome of type %v", o.Event.Type)
	}
	l.relies(o.Event, o.Relies)
	return l.write(ctx, o.Event, o.Epoch, o.Event.Type == exchange.EventIssued, o.Once, o.Lease, o.Relies)
}

// relies checks that an event relies on all that it says it descends from, and on the
// lease of what was at hand; and that what hands nothing out relies on nothing.
func (l *ledger) relies(e exchange.Event, on []exchange.ID) {
	var want []string
	if e.Type == exchange.EventIntent || e.Type == exchange.EventIssued {
		want = slices.Clone(e.Record.Lineage)
	}
	if e.Record.Reused {
		want = append(want, e.Record.Lease)
	}
	var got []string
	for _, lease := range on {
		got = append(got, lease.String())
	}
	if !slices.Equal(got, want) {
		l.t.Errorf("the %s relies on %v, want %v", e.Type, got, want)
	}
}

func (l *ledger) Note(context.Context, exchange.Event) error { return nil }

func (l *ledger) write(ctx context.Context, e exchange.Event, epoch int64, bound bool, once *exchange.Once, lease *exchange.Lease, relies []exchange.ID) error {
	if _, limited := ctx.Deadline(); !limited {
		l.t.Error("a write without a deadline")
	}
	if l.before != nil {
		if err := l.before(ctx, e); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := l.append(e, epoch, bound, once, lease, relies); err != nil {
		return err
	}
	if l.after != nil {
		return l.after(ctx, e)
	}
	return nil
}

func (l *ledger) append(e exchange.Event, epoch int64, bound bool, once *exchange.Once, lease *exchange.Lease, relies []exchange.ID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if bound && epoch != l.epoch {
		return exchange.ErrStale
	}
	for _, old := range l.events {
		if old.Exchange == e.Exchange && (old.Type == e.Type || old.Type.Terminal() && e.Type.Terminal()) {
			return exchange.ErrSettled
		}
	}
	for _, id := range relies {
		if l.revoked[id] || l.fells != nil && l.fells(id) {
			return &exchange.FallenError{Lease: id}
		}
	}
	if once != nil {
		if by, burnt := l.used[*once]; burnt && by != e.Exchange {
			return exchange.ErrUsed
		}
		l.used[*once] = e.Exchange
	}
	l.events = append(l.events, e)
	if lease != nil {
		l.leases = append(l.leases, *lease)
	}
	return nil
}

// deny raises the epoch, as an emergency deny does.
func (l *ledger) deny() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch++
}

func (l *ledger) currentEpoch() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

func (l *ledger) outcome(id exchange.ID) (exchange.Event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.Exchange == id && e.Type.Terminal() {
			return e, true
		}
	}
	return exchange.Event{}, false
}

func (l *ledger) intended(id exchange.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e.Exchange == id && e.Type == exchange.EventIntent {
			return true
		}
	}
	return false
}

// check looks for secrets, and for records that do not say what happened.
func (l *ledger) check() {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		b, err := json.Marshal(e.Record)
		if err != nil {
			l.t.Error(err)
		}
		noSecret(l.t, "an event", string(b))
		if e.Record.Exchange != e.Exchange.String() || e.Record.Type != e.Type.String() || e.Record.Subject == "" {
			l.t.Errorf("the record does not say what its event does: %s", b)
		}
	}
	for _, lease := range l.leases {
		if bytes.Contains(lease.Sealed, []byte(revokeSecret)) {
			l.t.Error("a lease keeps its secret in clear")
		}
	}
}
