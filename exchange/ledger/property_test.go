package ledger_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"pgregory.net/rapid"
)

// TestS27S29Property: whatever fails in between and in whatever order callers come,
// no error from the ledger means that this very event is in the log exactly once,
// and no exchange has two outcomes.
func TestS27S29Property(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		seed := rapid.Uint64().Draw(r, "seed")
		random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
		faults := rapid.SliceOfN(rapid.SampledFrom([]fault{works, works, lost, unsaid}), 1, 30).Draw(r, "faults")
		log := newMemory()
		log.fail = func(call int) fault {
			if call%7 == 0 { // a deny, now and then
				log.epoch++
			}
			return faults[call%len(faults)]
		}
		l := open(t, log, ledger.Options{
			Flushers: rapid.IntRange(1, 3).Draw(r, "flushers"), MaxBatch: rapid.IntRange(1, 5).Draw(r, "batch"),
			MaxQueue: rapid.IntRange(1, 20).Draw(r, "queue"), Attempts: rapid.IntRange(1, 4).Draw(r, "attempts"),
		})
		type try struct {
			outcome exchange.Outcome
			err     error
		}
		var tries []*try
		exchanges := rapid.IntRange(1, 6).Draw(r, "exchanges")
		for range exchanges {
			of := newID(random)
			var once *exchange.Once
			if rapid.Bool().Draw(r, "once") {
				once = &exchange.Once{Realm: "r", Hash: [32]byte{byte(rapid.IntRange(0, 2).Draw(r, "value"))}}
			}
			for range rapid.IntRange(1, 4).Draw(r, "outcomes") {
				e := event(rapid.SampledFrom([]exchange.EventType{
					exchange.EventIssued, exchange.EventIssued, exchange.EventFailed, exchange.EventUnknown,
				}).Draw(r, "type"))
				e.ID, e.Exchange = newID(random), of
				o := exchange.Outcome{Event: e, Epoch: int64(rapid.IntRange(0, 2).Draw(r, "epoch")), Once: once}
				for range rapid.IntRange(1, 2).Draw(r, "times") { // the same event may be asked for twice
					tries = append(tries, &try{outcome: o})
				}
			}
		}
		var group sync.WaitGroup
		for _, each := range tries {
			group.Go(func() { each.err = l.Settle(t.Context(), each.outcome) })
		}
		group.Wait()

		burnt := map[[32]byte]exchange.ID{}
		ended := map[exchange.ID]exchange.ID{}
		for _, each := range tries {
			e := each.outcome.Event
			stored := log.events[e.ID]
			if each.err == nil && len(stored) != 1 {
				r.Fatalf("no error, and in the log %d times", len(stored))
			}
			if errors.Is(each.err, exchange.ErrSettled) && log.ends[e.Exchange] == e.ID {
				r.Fatal("settled otherwise, and the outcome is its own")
			}
			if each.err != nil {
				continue
			}
			if string(stored[0].Record) != string(ledger.Encode(e)) {
				r.Fatalf("another record was stored: %s", stored[0].Record)
			}
			if other, found := ended[e.Exchange]; found && other != e.ID {
				r.Fatal("two outcomes of one exchange were both durable")
			}
			ended[e.Exchange] = e.ID
			if o := each.outcome.Once; o != nil {
				if by, found := burnt[o.Hash]; found && by != e.Exchange {
					r.Fatal("one single-use value bought two exchanges")
				}
				burnt[o.Hash] = e.Exchange
			}
		}
		for id, stored := range log.events {
			if len(stored) > 1 {
				r.Fatalf("%s is in the log %d times", id, len(stored))
			}
		}
	})
}
