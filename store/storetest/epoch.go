package storetest

import (
	"sync"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

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
