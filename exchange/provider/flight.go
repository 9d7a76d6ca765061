package provider

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// flight is one upstream call that others wait for. It belongs to no caller: a
// waiter leaves when its own context ends, and the leader's slot ends the flight.
type flight struct {
	// done is closed when the leader has released; landed is written before.
	done   chan struct{}
	landed landing
	once   bool // what lands serves nobody else
	// abandoned is when a leader that never came back loses the flight.
	abandoned time.Time
}

// landing is what became of a flight: a credential whose outcome is durable, an
// error that the provider would give every waiter alike, or neither: then a waiter
// leads next.
type landing struct {
	credential exchange.Credential
	err        error
}

// shareable reports whether the provider would tell each waiter the same, so that
// one failure is not asked for again by thousands.
func shareable(err error) bool {
	var e *exchange.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Kind {
	case exchange.KindProviderRefused, exchange.KindMisconfigured, exchange.KindThrottled,
		exchange.KindUnavailable, exchange.KindInternal:
		return true
	}
	return false // this grant's own fault, such as a life too short
}

// Errors of slots that are used wrongly.
var (
	errReleased = errors.New("the slot was released before")
	errVended   = errors.New("the slot has vended before")
)

// hitSlot serves a credential that is at hand.
type hitSlot struct {
	credential exchange.Credential
	released   atomic.Bool
}

func (*hitSlot) Mode() exchange.Mode { return exchange.ModeHit }

func (s *hitSlot) Vend(context.Context) (exchange.Credential, error) { return s.credential, nil }

// Release leaves the credential where it is: whoever minted it settled it.
func (s *hitSlot) Release(context.Context, exchange.Credential, bool) error {
	if s.released.Swap(true) {
		return errReleased
	}
	return nil
}

// localSlot makes a credential of our own.
type localSlot struct {
	vendor   *Vendor
	driver   Driver
	grant    exchange.Grant
	vended   bool
	released atomic.Bool
}

func (*localSlot) Mode() exchange.Mode { return exchange.ModeLocal }

func (s *localSlot) Vend(ctx context.Context) (exchange.Credential, error) {
	if s.vended {
		return exchange.Credential{}, errVended
	}
	s.vended = true
	c, err := s.vendor.mint(ctx, s.driver, &s.grant)
	if err != nil {
		return exchange.Credential{}, err
	}
	return c, nil
}

// Release has nothing to take back: what is not handed out was never anywhere.
func (s *localSlot) Release(context.Context, exchange.Credential, bool) error {
	if s.released.Swap(true) {
		return errReleased
	}
	return nil
}

// upstreamSlot leads a flight.
type upstreamSlot struct {
	vendor   *Vendor
	driver   Driver
	grant    exchange.Grant
	key      Key
	flight   *flight
	vended   bool
	spare    exchange.Credential // at hand, for when the provider is in trouble; zero: none
	leave    func(error)         // of the gate
	minted   exchange.Credential // whatever the driver gave, good or not
	failure  error
	released atomic.Bool
}

func (*upstreamSlot) Mode() exchange.Mode { return exchange.ModeUpstream }

func (s *upstreamSlot) Vend(ctx context.Context) (exchange.Credential, error) {
	if s.vended {
		return exchange.Credential{}, errVended
	}
	s.vended = true
	v, t := s.vendor, s.grant.Target
	begun := v.deps.Now()
	s.minted, s.failure = v.mint(ctx, s.driver, &s.grant)
	s.leave(s.failure)
	if v.meter != nil {
		v.meter.Vended(t.Provider, t.Method, v.deps.Now().Sub(begun), s.failure)
	}
	switch {
	case s.failure == nil:
		return s.minted, nil
	case inTrouble(s.failure) && v.usable(&s.spare, &s.grant):
		c := s.spare
		c.Minted = false
		return c, nil
	default:
		return exchange.Credential{}, s.failure
	}
}

// Release lands the flight: it publishes what is settled, and otherwise lets the
// waiters go on and takes back what was minted.
func (s *upstreamSlot) Release(ctx context.Context, _ exchange.Credential, settled bool) error {
	if s.released.Swap(true) {
		return errReleased
	}
	if !s.vended {
		s.leave(ErrNotCalled)
	}
	switch {
	case settled && s.failure == nil && !s.minted.Value.IsZero():
		s.vendor.land(s.key, s.flight, landing{credential: s.minted})
		return nil
	case s.failure != nil && shareable(s.failure):
		s.vendor.land(s.key, s.flight, landing{err: s.failure})
	default:
		s.vendor.land(s.key, s.flight, landing{})
	}
	if s.minted.Value.IsZero() && s.minted.RevokeWith.IsZero() {
		return nil
	}
	if err := s.vendor.revoke(ctx, s.driver, s.grant.Target, s.minted); !errors.Is(err, exchange.ErrHandedOut) { // nobody has it
		return err
	}
	return nil
}
