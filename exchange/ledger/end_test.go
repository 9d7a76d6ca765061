package ledger_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// TestCallerLeaves: whoever hangs up gets an error at once; what no flush had taken
// by then is never written.
func TestCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemory()
		log.gate = make(chan struct{})
		l := open(t, log, ledger.Options{Flushers: 1})
		taken, queued, stays := event(exchange.EventIssued), event(exchange.EventIssued), event(exchange.EventIssued)
		leave, cancel := context.WithCancel(t.Context())
		errs := make(chan error, 3)
		go func() { errs <- l.Settle(leave, exchange.Outcome{Event: taken}) }()
		synctest.Wait()
		go func() { errs <- l.Settle(leave, exchange.Outcome{Event: queued}) }()
		synctest.Wait()
		cancel()
		for range 2 {
			if err := <-errs; exchange.KindOf(err) != exchange.KindUnavailable || !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want unavailable", err)
			}
		}
		if err := l.Settle(leave, exchange.Outcome{Event: event(exchange.EventIssued)}); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller who had left before: %v", err)
		}
		go func() { errs <- l.Settle(t.Context(), exchange.Outcome{Event: stays}) }()
		synctest.Wait()
		log.gate <- struct{}{}
		log.gate <- struct{}{}
		if err := <-errs; err != nil {
			t.Errorf("the one who stayed: %v", err)
		}
		if log.times(taken.ID) != 1 || log.times(queued.ID) != 0 || log.times(stays.ID) != 1 {
			t.Errorf("in the log: %d, %d, %d times; want 1, 0, 1", log.times(taken.ID), log.times(queued.ID), log.times(stays.ID))
		}
	})
}

// TestHungLog: a call that does not return is given up, and asked again.
func TestHungLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemory()
		log.gate = make(chan struct{})
		l := open(t, log, ledger.Options{Timeout: time.Second})
		e := event(exchange.EventIssued)
		done := make(chan error)
		go func() { done <- l.Settle(t.Context(), exchange.Outcome{Event: e}) }()
		time.Sleep(1500 * time.Millisecond) // in the bubble's time
		log.gate <- struct{}{}
		if err := <-done; err != nil || log.times(e.ID) != 1 {
			t.Errorf("%v, in the log %d times", err, log.times(e.ID))
		}
	})
}

func TestClose(t *testing.T) {
	t.Run("drains", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			log := newMemory()
			log.gate = make(chan struct{}, 100)
			l := open(t, log, ledger.Options{MaxBatch: 3})
			results := make(chan error, 10)
			for range cap(results) {
				go func() { results <- l.Settle(t.Context(), exchange.Outcome{Event: event(exchange.EventIssued)}) }()
			}
			synctest.Wait()
			closed := make(chan error)
			go func() { closed <- l.Close(t.Context()) }()
			synctest.Wait()
			late := event(exchange.EventIssued)
			if err := l.Settle(t.Context(), exchange.Outcome{Event: late}); exchange.KindOf(err) != exchange.KindUnavailable {
				t.Errorf("after Close began: %v, want unavailable", err)
			}
			for range 100 {
				log.gate <- struct{}{}
			}
			if err := <-closed; err != nil {
				t.Errorf("Close: %v", err)
			}
			for range cap(results) {
				if err := <-results; err != nil {
					t.Errorf("what was queued before: %v", err)
				}
			}
			if len(log.events) != 10 || log.times(late.ID) != 0 {
				t.Errorf("%d events, want 10", len(log.events))
			}
			if err := l.Close(t.Context()); err != nil {
				t.Errorf("closing again: %v", err)
			}
		})
	})
	t.Run("gives up in the end", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			log := newMemory()
			log.gate = make(chan struct{})
			l := open(t, log, ledger.Options{Timeout: time.Hour})
			results := make(chan error, 10)
			for range cap(results) {
				go func() { results <- l.Settle(t.Context(), exchange.Outcome{Event: event(exchange.EventIssued)}) }()
			}
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := l.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Close: %v, want its deadline", err)
			}
			for range cap(results) {
				if err := <-results; err == nil {
					t.Error("not durable, and no error")
				}
			}
		})
	})
}
