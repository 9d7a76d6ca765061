package storetest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

func testLeases(t *testing.T, w *world) {
	get := func(l *exchange.Lease) (exchange.Lease, bool) {
		t.Helper()
		got, err := w.s.Lease(w.ctx(), l.Tenant, l.ID)
		if err != nil && exchange.KindOf(err) != exchange.KindNotFound {
			t.Fatalf("Lease: %v", err)
		}
		return got, err == nil
	}
	leased := func() ledger.Entry {
		e := w.issued("default")
		e.Lease = w.lease("default", e.Exchange)
		return e
	}
	t.Run("with its outcome", func(t *testing.T) {
		w := w.in(t)
		e := leased()
		w.want(ledger.StatusInserted, e)
		got, found := get(e.Lease)
		if !found {
			t.Fatal("no lease")
		}
		want := *e.Lease
		if !bytes.Equal(got.Sealed, want.Sealed) {
			t.Errorf("sealed %x, want %x", got.Sealed, want.Sealed)
		}
		got.Sealed, want.Sealed = nil, nil
		if gotText, wantText := describe(got), describe(want); gotText != wantText {
			t.Errorf("got  %s\nwant %s", gotText, wantText)
		}
		w.want(ledger.StatusReplayed, e)
		if _, found := get(&exchange.Lease{ID: want.ID, Tenant: "north"}); found {
			t.Error("another tenant sees it")
		}
	})
	t.Run("that cannot be revoked there", func(t *testing.T) {
		w := w.in(t)
		e := leased()
		e.Lease.Sealed = nil
		w.want(ledger.StatusInserted, e)
		if got, found := get(e.Lease); !found || len(got.Sealed) > 0 {
			t.Errorf("got %v with sealed %x", found, got.Sealed)
		}
	})
	t.Run("what few have, beside those without", func(t *testing.T) {
		w := w.in(t)
		full := func(change func(*exchange.Lease)) ledger.Entry {
			e := leased()
			change(e.Lease)
			return e
		}
		entries := []ledger.Entry{
			leased(),
			full(func(l *exchange.Lease) { l.Actor = `k8s:prod:"a,{}":agent` }),
			leased(),
			full(func(l *exchange.Lease) { l.Lineage = []exchange.ID{w.id(time.Now())} }),
			full(func(l *exchange.Lease) {
				l.Lineage = []exchange.ID{w.id(time.Now()), w.id(time.Now()), w.id(time.Now())}
				l.Actor, l.Latest, l.Origin = "oidc:corp:ada", l.Expires.Add(time.Hour), []byte{1, 0, 0xff}
			}),
			full(func(l *exchange.Lease) { l.Latest = l.Expires }),
			w.issued("default"),
			full(func(l *exchange.Lease) { l.Origin = []byte("sealed") }),
			leased(),
		}
		w.want(ledger.StatusInserted, entries...)
		for i, e := range entries {
			if e.Lease == nil {
				continue
			}
			if got, _ := get(e.Lease); describe(got) != describe(*e.Lease) {
				t.Errorf("%d: got  %s\nwant %s", i, describe(got), describe(*e.Lease))
			}
		}
	})
	t.Run("never without", func(t *testing.T) {
		w := w.in(t)
		stale := under(99, leased())
		w.want(ledger.StatusStale, stale)
		o := w.once()
		burner := w.issued("default")
		burner.Once = o
		w.want(ledger.StatusInserted, burner)
		used := leased()
		used.Once = o
		w.want(ledger.StatusUsed, used)
		failed := w.entry(w.event("default", exchange.EventFailed))
		w.want(ledger.StatusInserted, failed)
		settled := leased()
		settled.Exchange = failed.Exchange
		w.want(ledger.StatusSettled, settled)
		for what, e := range map[string]ledger.Entry{"stale": stale, "used": used, "settled": settled} {
			if _, found := get(e.Lease); found {
				t.Errorf("%s, and has a lease", what)
			}
		}
	})
}

func describe(l exchange.Lease) string {
	return strings.Join([]string{
		l.ID.String(), l.Tenant, l.Exchange.String(), l.Target, l.Provider, l.Subject, l.Rule, l.Handle,
		l.Issued.Format(time.RFC3339Nano), l.Expires.Format(time.RFC3339Nano), string(rune('0' + l.State)),
		l.Actor, fmt.Sprint(l.Lineage), l.Latest.Format(time.RFC3339Nano), fmt.Sprintf("%x", l.Origin),
	}, " | ")
}

func testPending(t *testing.T, w *world) {
	now := time.Now()
	// intend appends an intent made `ago` with a deadline `within`.
	intend := func(tenant string, ago, within time.Duration) ledger.Entry {
		event := w.eventAt(tenant, exchange.EventIntent, now.Add(-ago))
		event.Record.Epoch = 7
		e := w.entry(event)
		e.Deadline = now.Add(-ago + within).UnixMicro()
		w.want(ledger.StatusInserted, e)
		return e
	}
	settle := func(e ledger.Entry, of exchange.EventType) {
		event := w.event(e.Tenant, of)
		event.Exchange = e.Exchange
		w.want(ledger.StatusInserted, w.entry(event))
	}
	oldest := intend("default", 40*time.Minute, 10*time.Minute)
	newest := intend("default", 10*time.Minute, time.Minute)
	middle := intend("north", 20*time.Minute, 2*time.Minute)
	intend("default", 10*time.Minute, 6*time.Minute) // past its deadline once, not twice
	intend("default", time.Second, time.Minute)      // not past it
	for of := exchange.EventIssued; of <= exchange.EventUnknown; of++ {
		settle(intend("default", 30*time.Minute, time.Minute), of)
	}
	settle(middle, exchange.EventSigned) // which is no outcome

	pending := func(limit int) []exchange.Intent {
		t.Helper()
		intents, err := w.s.Pending(w.ctx(), limit)
		if err != nil {
			t.Fatal(err)
		}
		return intents
	}
	got := pending(100)
	want := []ledger.Entry{oldest, middle, newest}
	if len(got) != len(want) {
		t.Fatalf("%d pending, want %d", len(got), len(want))
	}
	for i, e := range want {
		p := got[i]
		if p.Event.ID != e.ID || p.Event.Exchange != e.Exchange || p.Event.Tenant != e.Tenant || p.Event.Type != exchange.EventIntent {
			t.Errorf("%d: got %v of %s", i, p.Event.ID, p.Event.Tenant)
		}
		if p.Event.At.UnixMicro() != e.At || p.Deadline.UnixMicro() != e.Deadline {
			t.Errorf("%d: at %v until %v", i, p.Event.At, p.Deadline)
		}
		if p.Event.Record.Target != "bedrock" || p.Event.Record.Exchange != e.Exchange.String() || p.Epoch != 7 || p.Once != nil {
			t.Errorf("%d: got %+v", i, p)
		}
	}
	if two := pending(2); len(two) != 2 || two[0].Event.ID != oldest.ID || two[1].Event.ID != middle.ID {
		t.Errorf("with a limit of 2: %d, not the oldest", len(two))
	}
	settle(oldest, exchange.EventUnknown)
	if left := pending(100); len(left) != 2 || left[0].Event.ID != middle.ID {
		t.Errorf("after the reaper settled the oldest: %d pending", len(left))
	}
}
