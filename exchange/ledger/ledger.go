// Package ledger makes events durable: it encodes them once, gathers what many
// callers write into few flushes (group commit), and lets each caller go when its
// own event is on disk, and not before.
//
// Log is the database's half. The fate of a flush whose answer was lost is asked
// for again, with the same entries, as long as someone waits for it (S29); what
// stays unknown is an error, and the caller withholds.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Options set up a Ledger. Zero values mean the defaults named here.
type Options struct {
	Log Log
	// Now is used to time flushes for the Meter. It must be set.
	Now   func() time.Time
	Meter Meter // nil: nobody counts

	Flushers  int           // flushes at once; default 2
	Patience  time.Duration // how long a flush lets another one finish first; default 8 ms
	MaxBatch  int           // entries in a flush; default 512
	MaxBytes  int           // bytes of records in a flush; default 1 MiB; one entry always goes
	MaxQueue  int           // entries waiting; more are refused; default 16384
	Attempts  int           // how often the same flush is asked; default 6
	Timeout   time.Duration // of one attempt; default 2 s
	FirstWait time.Duration // between the first two attempts, four times as long each time, 500 ms at most; default 5 ms
}

// Meter is told how the ledger does. It must not block.
type Meter interface {
	// Flushed is told of each attempt of a flush: its entries, the bytes of their
	// records, how long it took, and the error by which their fate is unknown.
	Flushed(entries, bytes int, took time.Duration, err error)
	// Refused is told of each entry that found the queue full.
	Refused()
}

const longestWait = 500 * time.Millisecond

// Ledger implements exchange.Ledger by group commit. It is safe for concurrent
// use.
type Ledger struct {
	Options
	queue    chan *waiter
	turn     chan struct{} // holds the flush that others wait for
	flushers sync.WaitGroup

	closing sync.RWMutex // held shared while queueing, so that nothing follows the close
	closed  bool

	ctx    context.Context // of the flushes; ends when Close gives up
	cancel context.CancelFunc
}

// New starts the flushers. Close ends them.
func New(o Options) *Ledger {
	orDefault(&o.Flushers, 2)
	orDefault(&o.MaxBatch, 512)
	orDefault(&o.MaxBytes, 1<<20)
	orDefault(&o.MaxQueue, 16384)
	orDefault(&o.Attempts, 6)
	orDefault(&o.Timeout, 2*time.Second)
	orDefault(&o.FirstWait, 5*time.Millisecond)
	orDefault(&o.Patience, 8*time.Millisecond)
	if o.Meter == nil {
		o.Meter = nobody{}
	}
	l := &Ledger{Options: o, queue: make(chan *waiter, o.MaxQueue), turn: make(chan struct{}, 1)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.flushers.Add(o.Flushers)
	for range o.Flushers {
		go func() {
			defer l.flushers.Done()
			(&flusher{Ledger: l}).run()
		}()
	}
	return l
}

func orDefault[T int | time.Duration](value *T, otherwise T) {
	if *value == 0 {
		*value = otherwise
	}
}

type nobody struct{}

func (nobody) Flushed(int, int, time.Duration, error) {}
func (nobody) Refused()                               {}

// Depth is how many entries wait for a flush.
func (l *Ledger) Depth() int { return len(l.queue) }

// Intend makes an intent durable.
func (l *Ledger) Intend(ctx context.Context, i exchange.Intent) error {
	if i.Event.Type != exchange.EventIntent {
		return fmt.Errorf("an event of type %q is no intent", i.Event.Type)
	}
	e, err := NewEntry(i.Event)
	if err != nil {
		return err
	}
	e.Deadline, e.Epoch, e.Once = i.Deadline.UnixMicro(), i.Epoch, i.Once
	e.Relies = i.Relies
	return l.write(ctx, e)
}

// Settle makes a terminal outcome durable. Only what was issued is bound to the
// deny epoch: a refusal or a failure hands nothing out.
func (l *Ledger) Settle(ctx context.Context, o exchange.Outcome) error {
	if !o.Event.Type.Terminal() {
		return fmt.Errorf("an event of type %q is no outcome", o.Event.Type)
	}
	e, err := NewEntry(o.Event)
	if err != nil {
		return err
	}
	e.Lease, e.Once, e.Relies = o.Lease, o.Once, o.Relies
	if o.Event.Type == exchange.EventIssued {
		e.Epoch = o.Epoch
	}
	return l.write(ctx, e)
}

// Note makes an event durable that is neither intent nor outcome.
func (l *Ledger) Note(ctx context.Context, e exchange.Event) error {
	if e.Type == exchange.EventIntent || e.Type.Terminal() {
		return fmt.Errorf("an event of type %q is not for a note", e.Type)
	}
	entry, err := NewEntry(e)
	if err != nil {
		return err
	}
	return l.write(ctx, entry)
}

// Burn is a Note that a single-use value burns with (S13). exchange.ErrUsed: something
// else has burnt it, and nothing was written.
func (l *Ledger) Burn(ctx context.Context, e exchange.Event, once exchange.Once) error {
	if e.Type == exchange.EventIntent || e.Type.Terminal() {
		return fmt.Errorf("an event of type %q is not for a note", e.Type)
	}
	entry, err := NewEntry(e)
	if err != nil {
		return err
	}
	entry.Once = &once
	return l.write(ctx, entry)
}

// Close refuses what comes from now on, waits until what was queued is durable,
// and ends the flushers. When ctx ends first, the context of what is still under
// way ends too, and its callers get an error.
func (l *Ledger) Close(ctx context.Context) error {
	l.closing.Lock()
	if !l.closed {
		l.closed = true
		close(l.queue)
	}
	l.closing.Unlock()
	drained := make(chan struct{})
	go func() {
		l.flushers.Wait()
		close(drained)
	}()
	defer l.cancel()
	select {
	case <-drained:
		return nil
	case <-ctx.Done():
		l.cancel()
		<-drained
		return fmt.Errorf("draining the ledger: %w", ctx.Err())
	}
}

// waiter is a caller and its entry.
type waiter struct {
	entry Entry
	ctx   context.Context
	// state goes from waiting to taken by a flusher, or to gone by the caller:
	// what nobody waits for any more before a flush took it is never written.
	state  atomic.Uint32
	result chan error // of one; written once, by the flusher that took it
}

const (
	waiting uint32 = iota
	taken
	gone
)

var (
	errClosed = exchange.Fault(exchange.KindUnavailable, "the server is stopping; try again", errors.New("the ledger is closed"))
	errFull   = exchange.Fault(exchange.KindUnavailable, "the ledger is overloaded; try again", errors.New("the ledger's queue is full"))
)

func (l *Ledger) write(ctx context.Context, e Entry) error {
	if err := ctx.Err(); err != nil {
		return withheld(err)
	}
	w := &waiter{entry: e, ctx: ctx, result: make(chan error, 1)}
	if err := l.enqueue(w); err != nil {
		return err
	}
	select {
	case err := <-w.result:
		return err
	case <-ctx.Done():
		if !w.state.CompareAndSwap(waiting, gone) {
			select {
			case err := <-w.result: // just in time
				return err
			default:
			}
		}
		return withheld(ctx.Err())
	}
}

func (l *Ledger) enqueue(w *waiter) error {
	l.closing.RLock()
	defer l.closing.RUnlock()
	if l.closed {
		return errClosed
	}
	select {
	case l.queue <- w:
		return nil
	default:
		l.Meter.Refused()
		return errFull
	}
}

// withheld is the answer to a caller whose event may or may not be on disk.
func withheld(cause error) error {
	return exchange.Fault(exchange.KindUnavailable, "the exchange could not be recorded in time; try again",
		fmt.Errorf("waiting for the ledger: %w", cause))
}
