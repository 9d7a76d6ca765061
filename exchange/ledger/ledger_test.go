package ledger_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

var at = time.Date(2026, 11, 21, 10, 0, 0, 123456000, time.UTC)

func newID(random io.Reader) exchange.ID {
	id, err := exchange.NewID(at, random)
	if err != nil {
		panic(err)
	}
	return id
}

func event(of exchange.EventType) exchange.Event {
	return exchange.Event{
		ID: newID(rand.Reader), Exchange: newID(rand.Reader), Tenant: "default", Type: of, At: at,
		Record: exchange.Record{Subject: "k8s:prod:llm:gateway", Target: "bedrock"},
	}
}

// open starts a ledger that does not pause between attempts, unless o says so.
func open(t testing.TB, log ledger.Log, o ledger.Options) *ledger.Ledger {
	t.Helper()
	o.Log, o.Now = log, time.Now
	if o.FirstWait == 0 {
		o.FirstWait = time.Nanosecond
	}
	l := ledger.New(o)
	t.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

// step is one of the ledger's three writes.
type step struct {
	name  string
	write func(context.Context, *ledger.Ledger, exchange.Event) error
	of    exchange.EventType
}

var steps = []step{
	{"intend", func(ctx context.Context, l *ledger.Ledger, e exchange.Event) error {
		return l.Intend(ctx, exchange.Intent{Event: e, Deadline: at.Add(time.Minute)})
	}, exchange.EventIntent},
	{"settle", func(ctx context.Context, l *ledger.Ledger, e exchange.Event) error {
		return l.Settle(ctx, exchange.Outcome{Event: e, Lease: &exchange.Lease{ID: e.ID}})
	}, exchange.EventIssued},
	{"note", func(ctx context.Context, l *ledger.Ledger, e exchange.Event) error {
		return l.Note(ctx, e)
	}, exchange.EventQueried},
	{"burn", func(ctx context.Context, l *ledger.Ledger, e exchange.Event) error {
		return l.Burn(ctx, e, exchange.Once{Realm: "client:default:gw", Hash: sha256.Sum256(e.ID[:]), Expires: at.Add(time.Minute)})
	}, exchange.EventQueried},
}

// TestS29FaultTable: every write, failing in both ways, once, often and always.
func TestS29FaultTable(t *testing.T) {
	const attempts = 4
	for _, s := range steps {
		for _, c := range []struct {
			name    string
			faults  []fault // of the calls in turn; then works
			durable bool    // else the caller must withhold
		}{
			{"works", nil, true},
			{"lost once", []fault{lost}, true},
			{"persisted, reported failed, once", []fault{unsaid}, true},
			{"lost, then unsaid", []fault{lost, unsaid}, true},
			{"unsaid, then lost", []fault{unsaid, lost, lost}, true},
			{"unsaid twice", []fault{unsaid, unsaid}, true},
			{"lost always", []fault{lost, lost, lost, lost}, false},
			{"unsaid always", []fault{unsaid, unsaid, unsaid, unsaid}, false},
			{"unsaid, then lost always", []fault{unsaid, lost, lost, lost}, false},
		} {
			t.Run(s.name+"/"+c.name, func(t *testing.T) {
				log := newMemory()
				log.fail = func(call int) fault {
					if call <= len(c.faults) {
						return c.faults[call-1]
					}
					return works
				}
				l := open(t, log, ledger.Options{Attempts: attempts})
				e := event(s.of)
				err := s.write(t.Context(), l, e)
				if (err == nil) != c.durable {
					t.Fatalf("error %v, want durable: %v", err, c.durable)
				}
				if err == nil && log.times(e.ID) != 1 {
					t.Errorf("durable, and in the log %d times", log.times(e.ID))
				}
				if err != nil && (exchange.KindOf(err) != exchange.KindUnavailable || !errors.Is(err, errCut)) {
					t.Errorf("error %v, want unavailable with its cause", err)
				}
				if want := min(len(c.faults)+1, attempts); log.called() != want {
					t.Errorf("asked %d times, want %d", log.called(), want)
				}
				for _, batch := range log.batches {
					if len(batch) != 1 || batch[0].ID != e.ID || !bytes.Equal(batch[0].Record, log.batches[0][0].Record) {
						t.Error("asked again with another entry")
					}
				}
				// Whoever asks again later, with the same event, learns the truth.
				if err := s.write(t.Context(), l, e); err != nil || log.times(e.ID) != 1 {
					t.Errorf("asked once more: %v, in the log %d times", err, log.times(e.ID))
				}
			})
		}
	}
}

// answer is a Log that answers one status to everything.
type answer struct {
	*memory
	result ledger.Result
	more   int
}

func (a answer) Append(_ context.Context, es []ledger.Entry) ([]ledger.Result, error) {
	results := make([]ledger.Result, len(es)+a.more)
	for i := range results {
		results[i] = a.result
	}
	return results, nil
}

func TestStatuses(t *testing.T) {
	reason := errors.New("a reason")
	for name, c := range map[string]struct {
		answer answer
		want   error
		ok     bool
	}{
		"inserted":            {answer{result: ledger.Result{Status: ledger.StatusInserted}}, nil, true},
		"replayed":            {answer{result: ledger.Result{Status: ledger.StatusReplayed}}, nil, true},
		"settled":             {answer{result: ledger.Result{Status: ledger.StatusSettled}}, exchange.ErrSettled, false},
		"stale":               {answer{result: ledger.Result{Status: ledger.StatusStale}}, exchange.ErrStale, false},
		"used":                {answer{result: ledger.Result{Status: ledger.StatusUsed}}, exchange.ErrUsed, false},
		"faulty":              {answer{result: ledger.Result{Status: ledger.StatusFaulty, Err: reason}}, reason, false},
		"faulty and silent":   {answer{result: ledger.Result{Status: ledger.StatusFaulty}}, nil, false},
		"no status":           {answer{result: ledger.Result{}}, nil, false},
		"an unknown status":   {answer{result: ledger.Result{Status: 99}}, nil, false},
		"one result too many": {answer{result: ledger.Result{Status: ledger.StatusInserted}, more: 1}, nil, false},
		"one result too few":  {answer{result: ledger.Result{Status: ledger.StatusInserted}, more: -1}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, c.answer, ledger.Options{})
			for _, s := range steps {
				err := s.write(t.Context(), l, event(s.of))
				if (err == nil) != c.ok || (c.want != nil && !errors.Is(err, c.want)) {
					t.Errorf("%s: got %v, want %v", s.name, err, c.want)
				}
			}
		})
	}
}

// TestEntries: what each write hands to the log.
func TestEntries(t *testing.T) {
	log := newMemory()
	log.epoch = 3
	l := open(t, log, ledger.Options{})
	once := &exchange.Once{Realm: "jti:prod", Hash: [32]byte{1}}
	intent, issued, failed := event(exchange.EventIntent), event(exchange.EventIssued), event(exchange.EventFailed)
	issued.Exchange = intent.Exchange
	lease := &exchange.Lease{ID: newID(rand.Reader)}
	err := errors.Join(
		l.Intend(t.Context(), exchange.Intent{Event: intent, Deadline: at.Add(time.Minute), Epoch: 3, Once: once}),
		l.Settle(t.Context(), exchange.Outcome{Event: issued, Epoch: 3, Lease: lease, Once: once}),
		l.Settle(t.Context(), exchange.Outcome{Event: failed, Epoch: 1}), // hands nothing out: no epoch binds it
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		event    exchange.Event
		epoch    int64
		deadline int64
		once     *exchange.Once
		lease    *exchange.Lease
	}{
		{intent, 3, at.Add(time.Minute).UnixMicro(), once, nil},
		{issued, 3, 0, once, lease},
		{failed, ledger.AnyEpoch, 0, nil, nil},
	} {
		got := log.events[c.event.ID][0]
		if got.Exchange != c.event.Exchange || got.Tenant != "default" || got.Type != c.event.Type || got.At != at.UnixMicro() ||
			got.Epoch != c.epoch || got.Deadline != c.deadline || got.Once != c.once || got.Lease != c.lease ||
			!bytes.Equal(got.Record, ledger.Encode(c.event)) {
			t.Errorf("%s: got %+v", c.event.Type, got)
		}
	}
	if err := l.Settle(t.Context(), exchange.Outcome{Event: event(exchange.EventIssued), Epoch: 2}); !errors.Is(err, exchange.ErrStale) {
		t.Errorf("an old epoch: %v, want stale", err)
	}
}

func TestRefusesWhatIsOurFault(t *testing.T) {
	log := newMemory()
	l := open(t, log, ledger.Options{})
	bend := func(of exchange.EventType, f func(*exchange.Event)) exchange.Event {
		e := event(of)
		f(&e)
		return e
	}
	for name, write := range map[string]func() error{
		"an intent of another type":  func() error { return steps[0].write(t.Context(), l, event(exchange.EventIssued)) },
		"an outcome of another type": func() error { return steps[1].write(t.Context(), l, event(exchange.EventIntent)) },
		"a note of an outcome":       func() error { return steps[2].write(t.Context(), l, event(exchange.EventIssued)) },
		"a note of an intent":        func() error { return steps[2].write(t.Context(), l, event(exchange.EventIntent)) },
		"no id": func() error {
			return l.Note(t.Context(), bend(exchange.EventQueried, func(e *exchange.Event) { e.ID = exchange.ID{} }))
		},
		"no exchange": func() error {
			return l.Note(t.Context(), bend(exchange.EventQueried, func(e *exchange.Event) { e.Exchange = exchange.ID{} }))
		},
		"no time": func() error {
			return l.Note(t.Context(), bend(exchange.EventQueried, func(e *exchange.Event) { e.At = time.Time{} }))
		},
		"an unknown type": func() error { return l.Note(t.Context(), bend(99, func(*exchange.Event) {})) },
		"no tenant": func() error {
			return steps[1].write(t.Context(), l, bend(exchange.EventIssued, func(e *exchange.Event) { e.Tenant = "" }))
		},
		"a long tenant": func() error {
			return steps[0].write(t.Context(), l, bend(exchange.EventIntent, func(e *exchange.Event) { e.Tenant = strings.Repeat("t", 129) }))
		},
		"a tenant with NUL": func() error {
			return steps[1].write(t.Context(), l, bend(exchange.EventIssued, func(e *exchange.Event) { e.Tenant = "a\x00" }))
		},
	} {
		if err := write(); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	if log.called() != 0 {
		t.Errorf("the log was asked %d times", log.called())
	}
}

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

// TestS13BurnOutsideAnExchange: a value burns once, whatever asks for it; an exchange
// that comes later finds it used.
func TestS13BurnOutsideAnExchange(t *testing.T) {
	log := newMemory()
	l := open(t, log, ledger.Options{})
	once := exchange.Once{Realm: "client:default:gw", Hash: sha256.Sum256([]byte("j1")), Expires: at.Add(time.Minute)}
	first, second := event(exchange.EventQueried), event(exchange.EventQueried)
	if err := l.Burn(t.Context(), first, once); err != nil {
		t.Fatal(err)
	}
	if err := l.Burn(t.Context(), second, once); !errors.Is(err, exchange.ErrUsed) || log.times(second.ID) != 0 {
		t.Errorf("again: %v", err)
	}
	if err := l.Settle(t.Context(), exchange.Outcome{Event: event(exchange.EventIssued), Once: &once}); !errors.Is(err, exchange.ErrUsed) {
		t.Errorf("by an exchange: %v", err)
	}
	if err := l.Burn(t.Context(), event(exchange.EventIssued), exchange.Once{Realm: "r"}); err == nil || errors.Is(err, exchange.ErrUsed) {
		t.Errorf("an outcome: %v", err)
	}
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

// TestS29NobodyWaits: an unknown fate is asked for only as long as someone waits,
// and within the pauses that are allowed.
func TestS29NobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemory()
		log.fail = func(int) fault { return lost }
		l := open(t, log, ledger.Options{Attempts: 1000, FirstWait: 5 * time.Millisecond})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		begun := time.Now()
		err := l.Settle(ctx, exchange.Outcome{Event: event(exchange.EventIssued)})
		if exchange.KindOf(err) != exchange.KindUnavailable || time.Since(begun) != 2*time.Second {
			t.Errorf("%v after %v, want unavailable at the deadline", err, time.Since(begun))
		}
		asked := log.called()
		if asked < 5 || asked > 10 { // at 0, 5, 25, 105, 425, 925, 1425, 1925 ms
			t.Errorf("asked %d times in 2 s", asked)
		}
		time.Sleep(time.Hour) // in the bubble's time
		if log.called() > asked+1 {
			t.Errorf("asked %d times more after the last caller left", log.called()-asked)
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
