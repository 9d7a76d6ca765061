package governor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Defaults of GateOptions.
const (
	DefaultInFlight = 256 // calls of one target at once
	DefaultTrip     = 5   // failures in a row
)

// Bounds of a gate's patience.
const (
	firstPause = 500 * time.Millisecond // after the circuit opened
	maxPause   = 5 * time.Second        // so that recovery takes seconds
	minHold    = time.Second            // after throttling that says nothing of when
	maxHold    = time.Minute            // whatever a provider says
	calm       = 10 * time.Minute       // without throttling, after which its limit is forgotten
	maxGates   = 10_000                 // targets remembered
)

// GateOptions say what a Gate lets through.
type GateOptions struct {
	// InFlight bounds the calls of one target that are under way on this replica;
	// zero: DefaultInFlight.
	InFlight int
	// Trip is how many calls must fail in a row before the circuit opens; zero:
	// DefaultTrip.
	Trip int
	Now  func() time.Time
	// NotCalled tells of a call that was not made after all.
	NotCalled error
}

// Gate stands before the providers and keeps, for each target, a circuit and a quota:
// a provider that is down is asked seldom, one that throttles no oftener than it can
// bear, and callers hear so at once instead of piling up. It is safe for concurrent
// use.
type Gate struct {
	o GateOptions

	mu    sync.Mutex
	gates map[gateKey]*gate
}

type gateKey struct{ tenant, target string }

// gate is the state of one target.
type gate struct {
	mu       sync.Mutex
	inFlight int

	failures int
	pause    time.Duration
	shut     time.Time // the circuit is open until then
	probing  bool      // one call finds out

	throttled time.Time // when it was last
	hold      time.Time // no calls until then
	rate      float64   // calls a second that it bore; zero: no limit is known
	tokens    float64
	refilled  time.Time
	seen      float64 // calls a second, a moving mean
	last      time.Time
}

// NewGate makes a Gate with every circuit closed and no limit known.
func NewGate(o GateOptions) *Gate {
	if o.InFlight == 0 {
		o.InFlight = DefaultInFlight
	}
	if o.Trip == 0 {
		o.Trip = DefaultTrip
	}
	return &Gate{o: o, gates: map[gateKey]*gate{}}
}

// Enter asks for one call of a target's provider. leave must be called once with
// what became of it. An error is an *exchange.Error of KindUnavailable or
// KindThrottled that says when to come back.
func (g *Gate) Enter(t *exchange.Target) (leave func(error), err error) {
	now := g.o.Now()
	one := g.of(gateKey{t.Tenant, t.Name})
	one.mu.Lock()
	defer one.mu.Unlock()
	switch {
	case one.inFlight >= g.o.InFlight:
		return nil, shed(exchange.KindUnavailable, time.Second, t, "too many calls are under way")
	case now.Before(one.shut):
		return nil, shed(exchange.KindUnavailable, one.shut.Sub(now), t, "its circuit is open")
	case one.failures >= g.o.Trip && one.probing:
		return nil, shed(exchange.KindUnavailable, time.Second, t, "its circuit is half open, and a call is finding out")
	case now.Before(one.hold):
		return nil, shed(exchange.KindThrottled, one.hold.Sub(now), t, "it asked to be left alone")
	}
	if wait := one.take(now); wait > 0 {
		return nil, shed(exchange.KindThrottled, wait, t, fmt.Sprintf("it bears %.1f calls a second", one.rate))
	}
	probe := one.failures >= g.o.Trip
	one.probing = one.probing || probe
	one.inFlight++
	var once sync.Once
	return func(err error) { once.Do(func() { g.leave(one, now, probe, err) }) }, nil
}

// shed is the answer to a call that is not made.
func shed(kind exchange.Kind, wait time.Duration, t *exchange.Target, why string) error {
	return &exchange.Error{
		Kind: kind, RetryAfter: wait, Advice: "the provider is in trouble; try again later",
		Err: fmt.Errorf("target %q is not called: %s", t.Name, why),
	}
}

func (g *Gate) of(k gateKey) *gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.gates[k]
	if one == nil {
		if len(g.gates) >= maxGates { // policies came and went
			clear(g.gates)
		}
		one = &gate{}
		g.gates[k] = one
	}
	return one
}

// leave learns from what became of a call that began then.
func (g *Gate) leave(one *gate, begun time.Time, probe bool, err error) {
	now := g.o.Now()
	one.mu.Lock()
	defer one.mu.Unlock()
	one.inFlight--
	if probe {
		one.probing = false
	}
	if g.o.NotCalled != nil && errors.Is(err, g.o.NotCalled) {
		return
	}
	one.count(now)
	switch kind := exchange.KindOf(err); {
	case err != nil && kind == exchange.KindThrottled:
		one.failures, one.pause = 0, 0 // it answers
		one.slow(now, begun, err)
	case err != nil && (kind == exchange.KindUnavailable || errors.Is(err, context.DeadlineExceeded)):
		if one.failures++; one.failures >= g.o.Trip {
			one.pause = min(max(2*one.pause, firstPause), maxPause)
			one.shut = now.Add(one.pause)
		}
	default:
		one.failures, one.pause = 0, 0
		one.ease(now)
	}
}

// count keeps the moving mean of calls a second.
func (g *gate) count(now time.Time) {
	if gap := now.Sub(g.last).Seconds(); !g.last.IsZero() && gap > 0 {
		weight := min(1, gap) // what is over a second ago counts no more
		g.seen += weight * (1/gap - g.seen)
	} else {
		g.seen++
	}
	g.last = now
}

// slow takes a third off what the target bore, and leaves it alone for as long as it
// asked. Calls that were under way when another was throttled say the same as that one
// did, and take nothing more off: a burst would else end in next to no calls.
func (g *gate) slow(now, begun time.Time, err error) {
	hold := minHold
	var e *exchange.Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		hold = min(max(e.RetryAfter, minHold), maxHold)
	}
	if !g.throttled.IsZero() && !begun.After(g.throttled) {
		if until := now.Add(hold); until.After(g.hold) {
			g.hold, g.refilled = until, until
		}
		return
	}
	bore := g.seen
	if g.rate > 0 {
		bore = min(bore, g.rate)
	}
	g.rate = max(0.5, bore*2/3)
	g.hold, g.throttled = now.Add(hold), now
	g.tokens, g.refilled = 1, g.hold
}

// ease lets a target that answers have a little more, and forgets its limit after a
// calm time.
func (g *gate) ease(now time.Time) {
	switch {
	case g.rate == 0:
	case now.Sub(g.throttled) >= calm:
		g.rate = 0
	default:
		g.rate += 0.02 * g.rate
	}
}

// take takes a call from the quota, or says how long to wait for one.
func (g *gate) take(now time.Time) time.Duration {
	if g.rate == 0 {
		return 0
	}
	if passed := now.Sub(g.refilled).Seconds(); passed > 0 {
		g.tokens = min(max(1, g.rate), g.tokens+passed*g.rate)
		g.refilled = now
	}
	if g.tokens >= 1 {
		g.tokens--
		return 0
	}
	return time.Duration((1 - g.tokens) / g.rate * float64(time.Second))
}
