package governor_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/governor"
)

var (
	errDown      = exchange.Fault(exchange.KindUnavailable, "down", nil)
	errRefused   = exchange.Fault(exchange.KindProviderRefused, "no", nil)
	errThrottled = &exchange.Error{Kind: exchange.KindThrottled, RetryAfter: 3 * time.Second}
	errNotCalled = errors.New("not called")
)

// street is a gate with a clock that the test moves.
type street struct {
	t    *testing.T
	gate *governor.Gate
	now  atomic.Int64
}

func newStreet(t *testing.T, o governor.GateOptions) *street {
	s := &street{t: t}
	s.now.Store(noon.UnixNano())
	o.Now, o.NotCalled = func() time.Time { return time.Unix(0, s.now.Load()) }, errNotCalled
	s.gate = governor.NewGate(o)
	return s
}

func (s *street) advance(d time.Duration) { s.now.Add(int64(d)) }

// call goes through the gate of a target with that result.
func (s *street) call(target string, result error) error {
	leave, err := s.gate.Enter(&exchange.Target{Tenant: "default", Name: target})
	if err == nil {
		leave(result)
	}
	return err
}

func (s *street) wants(target string, result error, kind exchange.Kind) {
	s.t.Helper()
	err := s.call(target, result)
	if kind == exchange.KindInternal {
		if err != nil {
			s.t.Errorf("shed: %v", err)
		}
		return
	}
	var e *exchange.Error
	if !errors.As(err, &e) || e.Kind != kind || e.RetryAfter <= 0 || e.RetryAfter > time.Minute {
		s.t.Errorf("got %v, want %s with a time to come back", err, kind)
	}
}

const open = exchange.KindInternal // no error

// TestCircuit: a provider that is down is left alone, asked by one call at a time,
// and taken back within seconds.
func TestCircuit(t *testing.T) {
	s := newStreet(t, governor.GateOptions{})
	for range governor.DefaultTrip {
		s.wants("down", errDown, open)
	}
	s.wants("down", nil, exchange.KindUnavailable)
	s.wants("other", nil, open) // each target has its own
	s.advance(600 * time.Millisecond)
	probe, err := s.gate.Enter(&exchange.Target{Tenant: "default", Name: "down"})
	if err != nil {
		t.Fatalf("nobody finds out: %v", err)
	}
	s.wants("down", nil, exchange.KindUnavailable) // one call finds out, no more
	probe(errDown)
	s.advance(600 * time.Millisecond)
	s.wants("down", nil, exchange.KindUnavailable) // and the pause has grown
	for range 10 {
		s.advance(5 * time.Second)
		s.wants("down", errDown, open)
	}
	s.advance(5 * time.Second) // never longer than that
	s.wants("down", nil, open)
	for range 100 {
		s.wants("down", nil, open) // closed again
	}
}

// TestOnlyOutagesTrip: a provider that says no is up, and a call that was not made
// says nothing.
func TestOnlyOutagesTrip(t *testing.T) {
	s := newStreet(t, governor.GateOptions{})
	for range 4 * governor.DefaultTrip {
		s.wants("bank", errRefused, open)
	}
	for range governor.DefaultTrip - 1 {
		s.wants("bank", errDown, open)
	}
	for range governor.DefaultTrip {
		s.wants("bank", errNotCalled, open)
	}
	s.wants("bank", nil, open)
	for range governor.DefaultTrip - 1 {
		s.wants("bank", errDown, open)
	}
	s.wants("bank", nil, open)
}

// TestQuotaIsLearnt: after throttling a target is left alone for as long as it asked,
// then called less often than before, and more with time.
func TestQuotaIsLearnt(t *testing.T) {
	s := newStreet(t, governor.GateOptions{})
	for range 100 { // thirty calls a second
		s.wants("bank", nil, open)
		s.advance(time.Second / 30)
	}
	s.wants("bank", errThrottled, open)
	s.advance(2 * time.Second)
	s.wants("bank", nil, exchange.KindThrottled)
	s.advance(1100 * time.Millisecond)
	through := func() (n int) {
		for range 100 {
			if s.call("bank", nil) == nil {
				n++
			}
			s.advance(time.Second / 100)
		}
		return n
	}
	if n := through(); n < 10 || n > 40 {
		t.Errorf("%d calls in a second, want about two thirds of thirty", n)
	}
	for range 20 {
		through()
	}
	if n := through(); n < 60 {
		t.Errorf("%d calls in a second after a while, want more", n)
	}
	s.advance(11 * time.Minute)
	s.wants("bank", nil, open)
	if n := through(); n != 100 {
		t.Errorf("%d calls in a second after a calm time, want all", n)
	}
}

// TestABurstIsThrottledOnce: what was under way together is refused together, and that
// is one lesson and not thirty.
func TestABurstIsThrottledOnce(t *testing.T) {
	s := newStreet(t, governor.GateOptions{})
	for range 100 {
		s.wants("bank", nil, open)
		s.advance(time.Second / 30)
	}
	bank := &exchange.Target{Tenant: "default", Name: "bank"}
	var leaves []func(error)
	for range 30 {
		leave, err := s.gate.Enter(bank)
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, leave)
	}
	for _, leave := range leaves {
		s.advance(10 * time.Millisecond)
		leave(errThrottled)
	}
	s.advance(2900 * time.Millisecond)
	s.wants("bank", nil, exchange.KindThrottled) // the last one asked for three seconds
	s.advance(200 * time.Millisecond)
	n := 0
	for range 100 {
		if s.call("bank", nil) == nil {
			n++
		}
		s.advance(time.Second / 100)
	}
	if n < 10 {
		t.Errorf("%d calls in the second after, of the thirty and more that it bore", n)
	}
}

// TestNothingPilesUp: a provider that does not answer keeps so many callers and no
// more, and a probe that was not made lets the next one try.
func TestNothingPilesUp(t *testing.T) {
	s := newStreet(t, governor.GateOptions{InFlight: 8})
	bank := &exchange.Target{Tenant: "default", Name: "bank"}
	var in, shed atomic.Int64
	leaves := make(chan func(error), 1000)
	var all sync.WaitGroup
	for range 1000 {
		all.Go(func() {
			leave, err := s.gate.Enter(bank)
			if err != nil {
				shed.Add(1)
				return
			}
			in.Add(1)
			leaves <- leave
		})
	}
	all.Wait()
	if in.Load() != 8 || shed.Load() != 992 {
		t.Errorf("%d entered, %d were shed", in.Load(), shed.Load())
	}
	for range 8 {
		leave := <-leaves
		leave(errDown)
		leave(nil) // a second word does not count
	}
	s.wants("bank", nil, exchange.KindUnavailable)
	s.advance(6 * time.Second)
	s.wants("bank", errNotCalled, open)
	s.wants("bank", nil, open)
}
