package ledger_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// TestGroupCommit: what comes while a flush is under way goes with the next one.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemory()
		log.gate = make(chan struct{})
		meter := &counter{}
		l := open(t, log, ledger.Options{Flushers: 1, MaxBatch: 64, Meter: meter})
		var group sync.WaitGroup
		var events []exchange.Event
		settle := func() {
			e := event(exchange.EventIssued)
			events = append(events, e)
			group.Go(func() {
				if err := l.Settle(t.Context(), exchange.Outcome{Event: e}); err != nil {
					t.Error(err)
				}
			})
		}
		settle()
		synctest.Wait() // the flusher is at the gate with one
		for range 100 {
			settle()
		}
		synctest.Wait()
		if l.Depth() != 100 {
			t.Errorf("%d are queued, want 100", l.Depth())
		}
		for range 3 {
			log.gate <- struct{}{}
		}
		group.Wait()
		if len(log.batches) != 3 || len(log.batches[0]) != 1 || len(log.batches[1]) != 64 || len(log.batches[2]) != 36 {
			t.Errorf("%d flushes, want 3 of 1, 64 and 36", len(log.batches))
		}
		for _, e := range events {
			if log.times(e.ID) != 1 {
				t.Errorf("an event is in the log %d times", log.times(e.ID))
			}
		}
		if meter.flushes != 3 || meter.entries != 101 || meter.failed != 0 || meter.bytes_ == 0 {
			t.Errorf("the meter counted %+v", meter)
		}
	})
}

// TestBytesBoundAFlush: a batch closes before the bound, and one entry always goes.
func TestBytesBoundAFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemory()
		log.gate = make(chan struct{}, 100)
		size := len(ledger.Encode(event(exchange.EventIssued)))
		l := open(t, log, ledger.Options{Flushers: 1, MaxBytes: 2*size + 1})
		var group sync.WaitGroup
		settle := func(e exchange.Event) {
			group.Go(func() {
				if err := l.Settle(t.Context(), exchange.Outcome{Event: e}); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		settle(event(exchange.EventIssued))
		for range 5 {
			settle(event(exchange.EventIssued))
		}
		big := event(exchange.EventIssued)
		big.Record.Reason = strings.Repeat("x", 900)
		settle(big)
		for range 100 {
			select {
			case log.gate <- struct{}{}:
			default:
			}
		}
		group.Wait()
		var sizes []string
		for _, b := range log.batches {
			sizes = append(sizes, fmt.Sprint(len(b)))
		}
		if got := strings.Join(sizes, " "); got != "1 2 2 1 1" {
			t.Errorf("flushes of %s, want 1 2 2 1 1", got)
		}
	})
}

// TestFullQueue: the queue is bounded, and says so at once.
func TestFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemory()
		log.gate = make(chan struct{})
		meter := &counter{}
		l := open(t, log, ledger.Options{Flushers: 1, MaxQueue: 2, Meter: meter})
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				if err := l.Settle(t.Context(), exchange.Outcome{Event: event(exchange.EventIssued)}); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		refused := event(exchange.EventIssued)
		if err := l.Settle(t.Context(), exchange.Outcome{Event: refused}); exchange.KindOf(err) != exchange.KindUnavailable {
			t.Errorf("error %v, want unavailable", err)
		}
		if meter.refused != 1 {
			t.Errorf("%d refused, want 1", meter.refused)
		}
		log.gate <- struct{}{}
		log.gate <- struct{}{}
		group.Wait()
		if log.times(refused.ID) != 0 {
			t.Error("refused, and written")
		}
	})
}
