package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

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

// TestS26Fallen: what an entry relies on reaches the log, and the lease that fell the
// caller.
func TestS26Fallen(t *testing.T) {
	l := open(t, answer{result: ledger.Result{Status: ledger.StatusFallen, Fallen: exchange.ID{7}}}, ledger.Options{})
	for _, s := range steps {
		var fallen *exchange.FallenError
		if err := s.write(t.Context(), l, event(s.of)); !errors.As(err, &fallen) || fallen.Lease != (exchange.ID{7}) {
			t.Errorf("%s: %v", s.name, err)
		}
	}
	log := newMemory()
	l = open(t, log, ledger.Options{})
	relies := []exchange.ID{{7}, {8}}
	intent, outcome := event(exchange.EventIntent), event(exchange.EventIssued)
	if err := l.Intend(t.Context(), exchange.Intent{Event: intent, Deadline: intent.At.Add(time.Second), Relies: relies}); err != nil {
		t.Fatal(err)
	}
	if err := l.Settle(t.Context(), exchange.Outcome{Event: outcome, Relies: relies}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []exchange.ID{intent.ID, outcome.ID} {
		if got := log.events[id][0].Relies; !slices.Equal(got, relies) {
			t.Errorf("the log was told of %v", got)
		}
	}
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
