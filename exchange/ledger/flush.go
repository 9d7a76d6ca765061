package ledger

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// flusher takes what is queued and makes it durable, one flush at a time.
type flusher struct {
	*Ledger
	batch   []*waiter
	entries []Entry
	held    *waiter // taken, but too large for the batch it came to
	waited  *time.Timer
}

func (f *flusher) run() {
	for {
		if f.held != nil {
			f.batch = append(f.batch, f.held)
			f.held = nil
		} else {
			w, open := <-f.queue
			if !open {
				return
			}
			f.take(w, 0)
		}
		first := f.await()
		f.muster()
		if len(f.batch) > 0 {
			f.flush()
		}
		if first {
			<-f.turn
		}
		clear(f.batch)
		clear(f.entries)
		f.batch, f.entries = f.batch[:0], f.entries[:0]
	}
}

// await lets a flush under way finish first, for as long as Patience: what queues up
// meanwhile goes in one flush, and a row in a full flush costs the database half of
// what it costs in a small one. A slow disk, or a connection that hangs, is not
// waited for: then flushes overlap. It reports whether this flush is the one that
// others wait for.
func (f *flusher) await() bool {
	select {
	case f.turn <- struct{}{}:
		return true
	default:
	}
	if f.waited == nil {
		f.waited = time.NewTimer(f.Patience)
	} else {
		f.waited.Reset(f.Patience)
	}
	defer f.waited.Stop()
	select {
	case f.turn <- struct{}{}:
		return true
	case <-f.waited.C:
		return false
	}
}

// turnsGiven bounds how often a flush lets others run before it starts.
const turnsGiven = 4

// muster gathers, and lets those who are ready to run do so first, as long as that
// brings more: on a busy machine they are about to queue, and on an idle one there is
// nobody, so that this costs nothing.
func (f *flusher) muster() {
	f.gather()
	for range turnsGiven {
		before := len(f.batch)
		runtime.Gosched()
		if f.gather(); len(f.batch) == before {
			return
		}
	}
}

// gather takes what waits without waiting for more, up to the bounds of a batch.
func (f *flusher) gather() {
	size := 0
	for _, w := range f.batch {
		size += len(w.entry.Record)
	}
	for len(f.batch) < f.MaxBatch && f.held == nil {
		select {
		case w, open := <-f.queue:
			if !open {
				return
			}
			size = f.take(w, size)
		default:
			return
		}
	}
}

// take adds a waiter to the batch, unless it has gone; or holds it for the next
// one. It returns the bytes of the batch.
func (f *flusher) take(w *waiter, size int) int {
	if !w.state.CompareAndSwap(waiting, taken) {
		return size
	}
	if len(f.batch) > 0 && size+len(w.entry.Record) > f.MaxBytes {
		f.held = w
		return size
	}
	f.batch = append(f.batch, w)
	return size + len(w.entry.Record)
}

// flush appends the batch, asking again with the same entries as long as their
// fate is unknown and someone still waits to know it (S29).
func (f *flusher) flush() {
	pause := f.FirstWait
	var unknown error
	for attempt := range f.Attempts {
		if attempt > 0 {
			if !f.pause(pause) {
				break
			}
			pause = min(pause*4, longestWait)
		}
		results, err := f.attempt()
		if err == nil {
			for i, w := range f.batch {
				w.result <- outcome(results[i])
			}
			return
		}
		unknown = err
	}
	for _, w := range f.batch {
		w.result <- withheld(unknown)
	}
}

// pause waits before another attempt; false: nobody waits any more, or Close gave
// up. The last caller's deadline bounds it.
func (f *flusher) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-f.ctx.Done():
		return false
	}
	for _, w := range f.batch {
		if w.ctx.Err() == nil {
			return f.ctx.Err() == nil
		}
	}
	return false
}

func (f *flusher) attempt() ([]Result, error) {
	f.entries = f.entries[:0]
	size := 0
	for _, w := range f.batch {
		f.entries = append(f.entries, w.entry)
		size += len(w.entry.Record)
	}
	ctx, cancel := context.WithTimeout(f.ctx, f.Timeout)
	defer cancel()
	begun := f.Now()
	results, err := f.Log.Append(ctx, f.entries)
	if err == nil && len(results) != len(f.entries) {
		err = fmt.Errorf("the log answered %d results to %d entries", len(results), len(f.entries))
	}
	f.Meter.Flushed(len(f.entries), size, f.Now().Sub(begun), err)
	return results, err
}

// outcome is what a caller is told of its entry. Whatever is not surely durable is
// an error.
func outcome(r Result) error {
	switch r.Status {
	case StatusInserted, StatusReplayed:
		return nil
	case StatusSettled:
		return exchange.ErrSettled
	case StatusStale:
		return exchange.ErrStale
	case StatusUsed:
		return exchange.ErrUsed
	case StatusFallen:
		return &exchange.FallenError{Lease: r.Fallen}
	case StatusFaulty:
		if r.Err == nil {
			return errors.New("the database refused the event's data")
		}
		return fmt.Errorf("the database refused the event's data: %w", r.Err)
	default:
		return fmt.Errorf("the log answered an unknown status %d", r.Status)
	}
}
