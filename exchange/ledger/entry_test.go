package ledger_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// TestEntries: what each write hands to the log.
func TestEntries(t *testing.T) {
	log := newMemory()
	log.epoch = 3
	l := open(t, log, ledger.Options{})
	once := &exchange.Once{Realm: "jti:prod", Hash: [32]byte{1}}
	intent, issued, failed := event(exchange.EventIntent), event(exchange.EventIssued), event(exchange.EventFailed)
	issued.Exchange = intent.Exchange
	lease := &exchange.Lease{ID: newID(rand.Reader)}
	err := errors.Join(
		l.Intend(t.Context(), exchange.Intent{Event: intent, Deadline: at.Add(time.Minute), Epoch: 3, Once: once}),
		l.Settle(t.Context(), exchange.Outcome{Event: issued, Epoch: 3, Lease: lease, Once: once}),
		l.Settle(t.Context(), exchange.Outcome{Event: failed, Epoch: 1}), // hands nothing out: no epoch binds it
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		event    exchange.Event
		epoch    int64
		deadline int64
		once     *exchange.Once
		lease    *exchange.Lease
	}{
		{intent, 3, at.Add(time.Minute).UnixMicro(), once, nil},
		{issued, 3, 0, once, lease},
		{failed, ledger.AnyEpoch, 0, nil, nil},
	} {
		got := log.events[c.event.ID][0]
		if got.Exchange != c.event.Exchange || got.Tenant != "default" || got.Type != c.event.Type || got.At != at.UnixMicro() ||
			got.Epoch != c.epoch || got.Deadline != c.deadline || got.Once != c.once || got.Lease != c.lease ||
			!bytes.Equal(got.Record, ledger.Encode(c.event)) {
			t.Errorf("%s: got %+v", c.event.Type, got)
		}
	}
	if err := l.Settle(t.Context(), exchange.Outcome{Event: event(exchange.EventIssued), Epoch: 2}); !errors.Is(err, exchange.ErrStale) {
		t.Errorf("an old epoch: %v, want stale", err)
	}
}

func TestRefusesWhatIsOurFault(t *testing.T) {
	log := newMemory()
	l := open(t, log, ledger.Options{})
	bend := func(of exchange.EventType, f func(*exchange.Event)) exchange.Event {
		e := event(of)
		f(&e)
		return e
	}
	for name, write := range map[string]func() error{
		"an intent of another type":  func() error { return steps[0].write(t.Context(), l, event(exchange.EventIssued)) },
		"an outcome of another type": func() error { return steps[1].write(t.Context(), l, event(exchange.EventIntent)) },
		"a note of an outcome":       func() error { return steps[2].write(t.Context(), l, event(exchange.EventIssued)) },
		"a note of an intent":        func() error { return steps[2].write(t.Context(), l, event(exchange.EventIntent)) },
		"no id": func() error {
			return l.Note(t.Context(), bend(exchange.EventQueried, func(e *exchange.Event) { e.ID = exchange.ID{} }))
		},
		"no exchange": func() error {
			return l.Note(t.Context(), bend(exchange.EventQueried, func(e *exchange.Event) { e.Exchange = exchange.ID{} }))
		},
		"no time": func() error {
			return l.Note(t.Context(), bend(exchange.EventQueried, func(e *exchange.Event) { e.At = time.Time{} }))
		},
		"an unknown type": func() error { return l.Note(t.Context(), bend(99, func(*exchange.Event) {})) },
		"no tenant": func() error {
			return steps[1].write(t.Context(), l, bend(exchange.EventIssued, func(e *exchange.Event) { e.Tenant = "" }))
		},
		"a long tenant": func() error {
			return steps[0].write(t.Context(), l, bend(exchange.EventIntent, func(e *exchange.Event) { e.Tenant = strings.Repeat("t", 129) }))
		},
		"a tenant with NUL": func() error {
			return steps[1].write(t.Context(), l, bend(exchange.EventIssued, func(e *exchange.Event) { e.Tenant = "a\x00" }))
		},
	} {
		if err := write(); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	if log.called() != 0 {
		t.Errorf("the log was asked %d times", log.called())
	}
}

// TestS13BurnOutsideAnExchange: a value burns once, whatever asks for it; an exchange
// that comes later finds it used.
func TestS13BurnOutsideAnExchange(t *testing.T) {
	log := newMemory()
	l := open(t, log, ledger.Options{})
	once := exchange.Once{Realm: "client:default:gw", Hash: sha256.Sum256([]byte("j1")), Expires: at.Add(time.Minute)}
	first, second := event(exchange.EventQueried), event(exchange.EventQueried)
	if err := l.Burn(t.Context(), first, once); err != nil {
		t.Fatal(err)
	}
	if err := l.Burn(t.Context(), second, once); !errors.Is(err, exchange.ErrUsed) || log.times(second.ID) != 0 {
		t.Errorf("again: %v", err)
	}
	if err := l.Settle(t.Context(), exchange.Outcome{Event: event(exchange.EventIssued), Once: &once}); !errors.Is(err, exchange.ErrUsed) {
		t.Errorf("by an exchange: %v", err)
	}
	if err := l.Burn(t.Context(), event(exchange.EventIssued), exchange.Once{Realm: "r"}); err == nil || errors.Is(err, exchange.ErrUsed) {
		t.Errorf("an outcome: %v", err)
	}
}
