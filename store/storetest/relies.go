package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// relying is an entry that relies on leases.
func relying(e ledger.Entry, on ...exchange.ID) ledger.Entry {
	e.Relies = on
	return e
}

// revoke takes a lease back.
func (w *world) revoke(l *exchange.Lease) {
	w.t.Helper()
	e := w.event(l.Tenant, exchange.EventRevoked)
	e.Exchange = l.Exchange
	if done, err := w.s.RevokeLease(w.ctx(), l.Tenant, l.ID, e); err != nil || !done {
		w.t.Fatalf("revoking: %t, %v", done, err)
	}
}

// testRelies: what relies on leases is written while all of them stand.
func testRelies(t *testing.T, w *world) {
	good, other, dead := w.lend("default"), w.lend("default"), w.lend("default")
	expired, foreign := w.lend("default", dies(-time.Second)), w.lend("north")
	before := relying(w.issued("default"), good.ID, dead.ID)
	w.want(ledger.StatusInserted, before)
	w.revoke(dead)
	unknown := w.id(time.Now())

	t.Run("what stands", func(t *testing.T) {
		w := w.in(t)
		intent := w.entry(w.event("default", exchange.EventIntent))
		w.want(ledger.StatusInserted, relying(w.issued("default"), good.ID), relying(intent, good.ID, other.ID),
			relying(w.issued("default"), good.ID, good.ID), relying(w.issued("north"), foreign.ID))
	})
	for what, c := range map[string]struct {
		on     []exchange.ID
		fallen exchange.ID
	}{
		"revoked":              {[]exchange.ID{dead.ID}, dead.ID},
		"expired":              {[]exchange.ID{expired.ID}, expired.ID},
		"another tenant's":     {[]exchange.ID{foreign.ID}, foreign.ID},
		"never there":          {[]exchange.ID{unknown}, unknown},
		"one of several":       {[]exchange.ID{good.ID, dead.ID, other.ID}, dead.ID},
		"the first of several": {[]exchange.ID{good.ID, unknown, dead.ID, expired.ID}, unknown},
	} {
		t.Run(what, func(t *testing.T) {
			w := w.in(t)
			once := w.once()
			first, last := w.issued("default"), relying(w.issued("default"), other.ID)
			e := relying(w.issued("default"), c.on...)
			e.Once, e.Lease = once, w.lease("default", e.Exchange)
			r := w.append(first, e, last)
			if r[0].Status != ledger.StatusInserted || r[1].Status != ledger.StatusFallen || r[2].Status != ledger.StatusInserted {
				t.Fatalf("got %s, %s, %s; want inserted, fallen, inserted", name(r[0].Status), name(r[1].Status), name(r[2].Status))
			}
			if r[1].Fallen != c.fallen {
				t.Errorf("%s fell, want %s", r[1].Fallen, c.fallen)
			}
			if w.stored(e) {
				t.Error("it is stored nevertheless")
			}
			if _, err := w.s.Lease(w.ctx(), "default", e.Lease.ID); exchange.KindOf(err) != exchange.KindNotFound {
				t.Errorf("its lease is there: %v", err)
			}
			burning := w.issued("default")
			burning.Once = once
			w.want(ledger.StatusInserted, burning) // what has fallen burns nothing
			intent := relying(w.entry(w.event("default", exchange.EventIntent)), c.on...)
			w.want(ledger.StatusFallen, intent)
		})
	}
	t.Run("what was there before is a replay", func(t *testing.T) { w.in(t).want(ledger.StatusReplayed, before) })
	t.Run("what is settled otherwise is settled", func(t *testing.T) {
		event := w.event("default", exchange.EventFailed)
		event.Exchange = before.Exchange
		w.in(t).want(ledger.StatusSettled, relying(w.entry(event), dead.ID))
	})
	t.Run("what is stale is stale", func(t *testing.T) {
		w.in(t).want(ledger.StatusStale, under(99, relying(w.issued("default"), dead.ID)))
	})
	t.Run("in one batch with another that burns", func(t *testing.T) {
		w := w.in(t)
		fallen, stands := relying(w.issued("default"), dead.ID), relying(w.issued("default"), good.ID)
		fallen.Once = w.once()
		stands.Once = fallen.Once
		if r := w.append(w.issued("default"), fallen, stands); r[1].Status != ledger.StatusFallen || r[2].Status != ledger.StatusInserted {
			t.Errorf("got %s and %s; want fallen and inserted", name(r[1].Status), name(r[2].Status))
		}
	})
}

// testNothingLandsAfterTheRevocation: callers append what relies on leases, by
// themselves and several in one batch, while the leases are revoked one by one. What
// is there when a revocation is durable is all there will ever be.
func testNothingLandsAfterTheRevocation(t *testing.T, w *world) {
	const callers, count = 8, 12
	leases := make([]*exchange.Lease, count)
	for i := range leases {
		leases[i] = w.lend("default")
	}
	rule := func(i int) string { return fmt.Sprint("relies-on-", i) }
	entry := func(i int, also exchange.ID) ledger.Entry {
		e := w.event("default", exchange.EventIssued)
		e.Record.Rule = rule(i)
		if also.IsZero() || also == leases[i].ID {
			return relying(w.entry(e), leases[i].ID)
		}
		return relying(w.entry(e), leases[i].ID, also)
	}
	landed := func(i int) int {
		return len(w.all("default", 500, compare(ledger.FieldRule, ledger.OpEq, rule(i))))
	}
	last := leases[count-1].ID // revoked last
	var group sync.WaitGroup
	stop := make(chan struct{})
	for c := range callers {
		group.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				i, j := (n+c)%count, (n*5+c)%count
				batch := []ledger.Entry{entry(i, exchange.ID{}), w.issued("default"), entry(j, last)}
				r, err := w.s.Append(w.ctx(), batch)
				if err != nil {
					t.Error(err)
					return
				}
				for k := range r {
					if s := r[k].Status; s != ledger.StatusInserted && s != ledger.StatusFallen || s == ledger.StatusFallen && k == 1 {
						t.Errorf("entry %d: status %s", k, name(s))
					}
				}
			}
		})
	}
	were := make([]int, count)
	for i, l := range leases {
		for landed(i) == 0 { // let someone in on each of them
			if t.Failed() {
				break
			}
		}
		w.revoke(l)
		were[i] = landed(i)
	}
	close(stop)
	group.Wait()
	for i := range leases {
		if now := landed(i); now != were[i] {
			t.Errorf("%d relied on lease %d when it was revoked, and %d do now", were[i], i, now)
		}
	}
	for i := range leases {
		w.want(ledger.StatusFallen, entry(i, exchange.ID{}))
	}
}
