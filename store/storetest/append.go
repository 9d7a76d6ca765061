package storetest

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

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

func testStale(t *testing.T, w *world) {
	before := under(0, w.issued("default"))
	w.want(ledger.StatusInserted, before)
	_, epoch := w.deny("default")
	for name, c := range map[string]struct {
		entry ledger.Entry
		want  ledger.Status
	}{
		"an older epoch":                 {under(epoch-1, w.issued("default")), ledger.StatusStale},
		"an epoch that is not yet":       {under(epoch+1, w.issued("default")), ledger.StatusStale},
		"an intent of an older epoch":    {under(epoch-1, w.entry(w.event("default", exchange.EventIntent))), ledger.StatusStale},
		"the current epoch":              {under(epoch, w.issued("default")), ledger.StatusInserted},
		"bound to no epoch":              {under(ledger.AnyEpoch, w.entry(w.event("default", exchange.EventDenied))), ledger.StatusInserted},
		"there already, by an old epoch": {before, ledger.StatusReplayed},
		"another tenant's":               {under(0, w.issued("north")), ledger.StatusInserted},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			r := w.want(c.want, c.entry)[0]
			if c.entry.Tenant == "default" && r.Epoch != epoch {
				t.Errorf("the result says epoch %d, want %d", r.Epoch, epoch)
			}
			if durable := c.want != ledger.StatusStale; w.stored(c.entry) != durable {
				t.Errorf("stored: %v, want %v", !durable, durable)
			}
		})
	}
	t.Run("beside good neighbours", func(t *testing.T) {
		w := w.in(t)
		r := w.append(under(epoch, w.issued("default")), under(epoch-1, w.issued("default")), under(0, w.issued("north")))
		if r[0].Status != ledger.StatusInserted || r[1].Status != ledger.StatusStale || r[2].Status != ledger.StatusInserted {
			t.Errorf("got %s, %s, %s; want inserted, stale, inserted", name(r[0].Status), name(r[1].Status), name(r[2].Status))
		}
	})
	t.Run("settled otherwise is not stale", func(t *testing.T) {
		w := w.in(t)
		failed := w.entry(w.event("default", exchange.EventFailed))
		w.want(ledger.StatusInserted, failed)
		late := under(epoch, w.issued("default"))
		late.Exchange = failed.Exchange
		w.want(ledger.StatusSettled, late)
	})
}

// testNothingLandsAfterTheDeny has many callers append under the epoch they know
// while denies are added: what an old epoch had landed when AddDeny returned is all
// that it ever lands (S31).
func testNothingLandsAfterTheDeny(t *testing.T, w *world) {
	const callers, denies = 24, 12
	issued := func(epoch int64) ledger.Entry {
		e := w.event("default", exchange.EventIssued)
		e.Record.Rule = string(rune('a' + epoch))
		return under(epoch, w.entry(e))
	}
	landed := func(epoch int64) int {
		return len(w.all("default", 500, compare(ledger.FieldRule, ledger.OpEq, string(rune('a'+epoch)))))
	}
	stop := make(chan struct{})
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			epoch := int64(0)
			for range 2000 {
				select {
				case <-stop:
					return
				default:
				}
				r, err := w.s.Append(w.ctx(), []ledger.Entry{issued(epoch), issued(epoch)})
				if err != nil {
					t.Error(err)
					return
				}
				if r[0].Status != r[1].Status || r[0].Epoch != r[1].Epoch {
					t.Errorf("one batch was judged by two epochs: %v", r)
				}
				if (r[0].Status == ledger.StatusInserted) != (r[0].Epoch == epoch) {
					t.Errorf("status %s under %d while the epoch is %d", name(r[0].Status), epoch, r[0].Epoch)
				}
				epoch = r[0].Epoch
			}
		})
	}
	counts := map[int64]int{}
	for range denies {
		old := int64(len(counts))
		for landed(old) == 0 { // let someone in under each epoch
			if t.Failed() {
				break
			}
		}
		_, epoch := w.deny("default")
		if epoch != old+1 {
			t.Errorf("epoch %d after %d", epoch, old)
		}
		counts[old] = landed(old)
	}
	close(stop)
	group.Wait()
	for epoch, n := range counts {
		if now := landed(epoch); now != n {
			t.Errorf("epoch %d had %d events when the next deny was in, and has %d now", epoch, n, now)
		}
	}
}

func testSingleUse(t *testing.T, w *world) {
	burning := func(o *exchange.Once) ledger.Entry {
		e := w.issued("default")
		e.Once = o
		return e
	}
	t.Run("another exchange", func(t *testing.T) {
		w := w.in(t)
		o := w.once()
		first, second := burning(o), burning(o)
		w.want(ledger.StatusInserted, first)
		w.want(ledger.StatusUsed, second)
		if w.stored(second) {
			t.Error("stored nevertheless")
		}
		w.want(ledger.StatusReplayed, first)
	})
	t.Run("the same exchange", func(t *testing.T) {
		w := w.in(t)
		o := w.once()
		intent := w.entry(w.event("default", exchange.EventIntent))
		intent.Once = o
		w.want(ledger.StatusInserted, intent)
		outcome := burning(o)
		outcome.Exchange = intent.Exchange
		w.want(ledger.StatusInserted, outcome)
		w.want(ledger.StatusReplayed, intent, outcome)
		w.want(ledger.StatusUsed, burning(o))
	})
	t.Run("in one batch", func(t *testing.T) {
		w := w.in(t)
		o := w.once()
		first, second := burning(o), burning(o)
		r := w.append(first, w.issued("default"), second)
		count := map[ledger.Status]int{r[0].Status: 1}
		count[r[2].Status]++
		if count[ledger.StatusInserted] != 1 || count[ledger.StatusUsed] != 1 || r[1].Status != ledger.StatusInserted {
			t.Errorf("got %s and %s, beside %s; want one inserted, one used, beside inserted", name(r[0].Status), name(r[2].Status), name(r[1].Status))
		}
		if w.stored(first) == w.stored(second) {
			t.Error("both or none are stored")
		}
	})
	t.Run("realms and tenants are apart", func(t *testing.T) {
		w := w.in(t)
		o := w.once()
		other := *o
		other.Realm = "jti:corp"
		north := w.issued("north")
		north.Once = o
		w.want(ledger.StatusInserted, burning(o), burning(&other), north)
	})
	t.Run("what is stale burns nothing", func(t *testing.T) {
		w := w.in(t)
		o := w.once()
		w.want(ledger.StatusStale, under(99, burning(o)))
		w.want(ledger.StatusInserted, burning(o))
	})
	t.Run("a race", func(t *testing.T) {
		w := w.in(t)
		for range 20 {
			o := w.once()
			statuses := make(chan ledger.Status, 8)
			var group sync.WaitGroup
			for range cap(statuses) {
				e := burning(o)
				group.Go(func() {
					r, err := w.s.Append(w.ctx(), []ledger.Entry{e})
					if err != nil {
						t.Error(err)
						return
					}
					statuses <- r[0].Status
				})
			}
			group.Wait()
			close(statuses)
			count := map[ledger.Status]int{}
			for s := range statuses {
				count[s]++
			}
			if count[ledger.StatusInserted] != 1 || count[ledger.StatusUsed] != 7 {
				t.Fatalf("%d inserted, %d used; want 1 and 7", count[ledger.StatusInserted], count[ledger.StatusUsed])
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
