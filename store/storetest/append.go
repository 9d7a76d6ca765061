package storetest

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

func testAppend(t *testing.T, w *world) {
	t.Run("nothing", func(t *testing.T) {
		w := w.in(t)
		w.append()
	})
	t.Run("inserted, then replayed", func(t *testing.T) {
		w := w.in(t)
		e := w.issued("default")
		for i, r := range w.want(ledger.StatusInserted, e) {
			if r.Epoch != 0 {
				t.Errorf("result %d: epoch %d of a tenant that never had a deny", i, r.Epoch)
			}
		}
		if !w.stored(e) {
			t.Error("inserted, and not there")
		}
		w.want(ledger.StatusReplayed, e)
		events, err := w.s.Get(w.ctx(), "default", e.Exchange)
		if err != nil || len(events) != 1 {
			t.Errorf("after a replay there are %d events (%v), want 1", len(events), err)
		}
	})
	t.Run("twice in one batch", func(t *testing.T) {
		w := w.in(t)
		e := w.issued("default")
		r := w.append(e, w.issued("default"), e)
		if r[0].Status != ledger.StatusInserted || r[1].Status != ledger.StatusInserted || r[2].Status != ledger.StatusReplayed {
			t.Errorf("got %s, %s, %s; want inserted, inserted, replayed", name(r[0].Status), name(r[1].Status), name(r[2].Status))
		}
	})
	t.Run("the same id with other bytes", func(t *testing.T) {
		w := w.in(t)
		e := w.issued("default")
		w.want(ledger.StatusInserted, e)
		other := e
		other.Record = bytes.Replace(e.Record, []byte("bedrock"), []byte("azure"), 1)
		if r := w.append(other)[0]; r.Status == ledger.StatusInserted || r.Status == ledger.StatusReplayed {
			t.Errorf("status %s: an event must not be taken for another", name(r.Status))
		}
		if !w.stored(e) || w.stored(other) {
			t.Error("the event changed")
		}
	})
	t.Run("every type", func(t *testing.T) {
		w := w.in(t)
		for of := exchange.EventIntent; of <= exchange.EventKeysChanged; of++ {
			w.want(ledger.StatusInserted, w.entry(w.event("default", of)))
		}
	})
	t.Run("many at once, of several tenants", func(t *testing.T) {
		w := w.in(t)
		var entries []ledger.Entry
		for i := range 1000 {
			entries = append(entries, w.issued([]string{"default", "north", "south"}[i%3]))
		}
		w.want(ledger.StatusInserted, entries...)
		w.want(ledger.StatusReplayed, entries...)
	})
	t.Run("half of them again", func(t *testing.T) {
		w := w.in(t)
		first := w.issued("default")
		w.want(ledger.StatusInserted, first)
		r := w.append(w.issued("default"), first, w.issued("default"))
		if r[0].Status != ledger.StatusInserted || r[1].Status != ledger.StatusReplayed || r[2].Status != ledger.StatusInserted {
			t.Errorf("got %s, %s, %s; want inserted, replayed, inserted", name(r[0].Status), name(r[1].Status), name(r[2].Status))
		}
	})
	t.Run("a caller that has gone", func(t *testing.T) {
		w := w.in(t)
		e := w.issued("default")
		gone, cancel := context.WithCancel(w.ctx())
		cancel()
		if _, err := w.s.Append(gone, []ledger.Entry{e}); err == nil {
			t.Log("it was appended nevertheless, which is allowed")
		}
		if r := w.append(e)[0]; r.Status != ledger.StatusInserted && r.Status != ledger.StatusReplayed {
			t.Errorf("asked again: status %s", name(r.Status))
		}
	})
	t.Run("from many callers", func(t *testing.T) {
		w := w.in(t)
		var group sync.WaitGroup
		entries := make([][]ledger.Entry, 16)
		for i := range entries {
			for range 50 {
				entries[i] = append(entries[i], w.issued("default"))
			}
			group.Go(func() {
				for _, e := range entries[i] {
					r, err := w.s.Append(w.ctx(), []ledger.Entry{e})
					if err != nil || r[0].Status != ledger.StatusInserted {
						t.Errorf("Append: %v, %v", r, err)
					}
				}
			})
		}
		group.Wait()
		for _, batch := range entries {
			w.want(ledger.StatusReplayed, batch...)
		}
	})
}

func testOneOutcome(t *testing.T, w *world) {
	sibling := func(e ledger.Entry, of exchange.EventType) ledger.Entry {
		event := w.event(e.Tenant, of)
		event.Exchange = e.Exchange
		return w.entry(event)
	}
	t.Run("a second outcome", func(t *testing.T) {
		w := w.in(t)
		for first := exchange.EventIssued; first <= exchange.EventUnknown; first++ {
			for second := exchange.EventIssued; second <= exchange.EventUnknown; second++ {
				e := w.entry(w.event("default", first))
				w.want(ledger.StatusInserted, e)
				w.want(ledger.StatusSettled, sibling(e, second))
			}
		}
	})
	t.Run("a second intent", func(t *testing.T) {
		w := w.in(t)
		e := w.entry(w.event("default", exchange.EventIntent))
		w.want(ledger.StatusInserted, e)
		w.want(ledger.StatusSettled, sibling(e, exchange.EventIntent))
		w.want(ledger.StatusInserted, sibling(e, exchange.EventIssued))
		w.want(ledger.StatusReplayed, e)
	})
	t.Run("what follows an outcome", func(t *testing.T) {
		w := w.in(t)
		e := w.issued("default")
		w.want(ledger.StatusInserted, e)
		w.want(ledger.StatusInserted, sibling(e, exchange.EventRenewed), sibling(e, exchange.EventRenewed), sibling(e, exchange.EventRevoked))
	})
	t.Run("two outcomes in one batch", func(t *testing.T) {
		w := w.in(t)
		e := w.issued("default")
		other := sibling(e, exchange.EventFailed)
		r := w.append(e, w.issued("default"), other)
		statuses := map[ledger.Status]int{r[0].Status: 1}
		statuses[r[2].Status]++
		if statuses[ledger.StatusInserted] != 1 || statuses[ledger.StatusSettled] != 1 || r[1].Status != ledger.StatusInserted {
			t.Errorf("got %s and %s, beside %s; want one inserted, one settled, beside inserted", name(r[0].Status), name(r[2].Status), name(r[1].Status))
		}
		if w.stored(e) == w.stored(other) {
			t.Error("both or none are stored")
		}
	})
	t.Run("a race for the outcome", func(t *testing.T) {
		w := w.in(t)
		for range 20 {
			e := w.issued("default")
			results := make([]ledger.Result, 8)
			var group sync.WaitGroup
			for i := range results {
				mine := sibling(e, exchange.EventIssued+exchange.EventType(i%4))
				group.Go(func() {
					r, err := w.s.Append(w.ctx(), []ledger.Entry{mine, w.issued("default")})
					if err != nil {
						t.Error(err)
						return
					}
					results[i] = r[0]
				})
			}
			group.Wait()
			count := map[ledger.Status]int{}
			for _, r := range results {
				count[r.Status]++
			}
			if count[ledger.StatusInserted] != 1 || count[ledger.StatusSettled] != 7 {
				t.Fatalf("%d inserted, %d settled; want 1 and 7", count[ledger.StatusInserted], count[ledger.StatusSettled])
			}
			if events, err := w.s.Get(w.ctx(), "default", e.Exchange); err != nil || len(events) != 1 {
				t.Fatalf("the exchange has %d outcomes (%v)", len(events), err)
			}
		}
	})
	t.Run("the same event from two sides", func(t *testing.T) {
		w := w.in(t)
		for range 20 {
			e := w.issued("default")
			var group sync.WaitGroup
			inserted := make(chan ledger.Status, 4)
			for range 4 {
				group.Go(func() {
					r, err := w.s.Append(w.ctx(), []ledger.Entry{e})
					if err != nil {
						t.Error(err)
						return
					}
					inserted <- r[0].Status
				})
			}
			group.Wait()
			close(inserted)
			n := 0
			for s := range inserted {
				if s == ledger.StatusInserted {
					n++
				} else if s != ledger.StatusReplayed {
					t.Errorf("status %s, want replayed", name(s))
				}
			}
			if n != 1 {
				t.Fatalf("inserted %d times", n)
			}
		}
	})
}

func testFaults(t *testing.T, w *world) {
	bent := func(record string) ledger.Entry {
		e := w.issued("default")
		e.Record = []byte(record)
		return e
	}
	noID, noExchange, noTenant, longTenant, noType := w.issued("default"), w.issued("default"), w.issued("default"), w.issued("default"), w.issued("default")
	noID.ID, noExchange.Exchange, noTenant.Tenant, noType.Type = exchange.ID{}, exchange.ID{}, "", 0
	longTenant.Tenant = strings.Repeat("t", ledger.MaxTenant+1)
	noLease := w.issued("default")
	noLease.Lease = &exchange.Lease{}
	note := bent(`{"broken`)
	note.Type = exchange.EventQueried
	for name, faulty := range map[string]ledger.Entry{
		"no JSON":             bent(`{"subject":`),
		"no JSON, of a note":  note,
		"no object":           bent(`"text"`),
		"empty":               bent(``),
		"NUL":                 bent("{\"subject\":\"a\x00b\"}"),
		"escaped NUL":         bent(`{"subject":"a\u0000b"}`),
		"invalid UTF-8":       bent("{\"subject\":\"\xff\"}"),
		"too large":           bent(`{"subject":"` + strings.Repeat("x", ledger.MaxRecord) + `"}`),
		"no id":               noID,
		"no exchange":         noExchange,
		"no tenant":           noTenant,
		"a tenant too long":   longTenant,
		"no type":             noType,
		"a lease with no id":  noLease,
		"two texts in a row ": bent(`{} {}`),
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			before, after := w.issued("default"), w.issued("north")
			r := w.append(before, faulty, after)
			if r[0].Status != ledger.StatusInserted || r[1].Status != ledger.StatusFaulty || r[2].Status != ledger.StatusInserted {
				t.Errorf("got %d, %d, %d (%v); want inserted, faulty, inserted", r[0].Status, r[1].Status, r[2].Status, r[1].Err)
			}
			if r[1].Err == nil {
				t.Error("the fault has no reason")
			}
			if !w.stored(before) || !w.stored(after) {
				t.Error("a neighbour did not land")
			}
		})
	}
	t.Run("an escaped backslash before u0000 is no NUL", func(t *testing.T) {
		w := w.in(t)
		e := bent(`{"subject":"a\\u0000b"}`)
		w.want(ledger.StatusInserted, e)
	})
}
