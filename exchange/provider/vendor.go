package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Defaults of VendorOptions.
const (
	DefaultVendTimeout = 8 * time.Second // less than an exchange's own
	DefaultCacheBytes  = 64 << 20
)

// maxDrivers bounds how many targets are open at once.
const maxDrivers = 10_000

// abandonedAfter is when a flight whose leader never released is given to another:
// well past every deadline of an exchange.
const abandonedAfter = time.Minute

// VendorOptions say what a Vendor works with.
type VendorOptions struct {
	Deps Deps
	// Target finds a target of the current policy, for Recover; nil: none is found.
	Target func(tenant, name string) (*exchange.Target, bool)
	// Meter is told how grants are served; nil: nobody is.
	Meter Meter
	// Gate is asked before a provider is; nil: every call may be made.
	Gate Gate
	// Timeout bounds one call of a driver; zero: DefaultVendTimeout.
	Timeout time.Duration
	// CacheBytes bounds the credential cache; zero: DefaultCacheBytes.
	CacheBytes int
}

// Meter counts. It must not block.
type Meter interface {
	// Reserved is told how a grant is served; waited: behind another's flight.
	Reserved(provider string, mode exchange.Mode, waited bool)
	// Vended is told of one call of a driver outside; method is Facts.Method.
	Vended(provider, method string, took time.Duration, err error)
	// Served is told how old a credential was that served again.
	Served(provider, method string, age time.Duration)
}

// Gate sheds calls to a provider in trouble, target by target.
type Gate interface {
	// Enter returns leave, to be called once with what became of the call, or with
	// ErrNotCalled where none was made; or an *exchange.Error of KindThrottled or
	// KindUnavailable, which says when to come back.
	Enter(t *exchange.Target) (leave func(error), err error)
}

// ErrNotCalled tells a Gate that the provider was not called after all.
var ErrNotCalled = errors.New("the provider was not called")

// open is the Gate of a Vendor that was given none.
type openGate struct{}

func (openGate) Enter(*exchange.Target) (func(error), error) { return func(error) {}, nil }

// Vendor implements exchange.Vendor over the drivers: it opens them, gives them a
// deadline, checks what they return, and mints once for any number of callers that
// were granted the same.
type Vendor struct {
	deps    Deps
	target  func(tenant, name string) (*exchange.Target, bool)
	meter   Meter
	gate    Gate
	timeout time.Duration
	shards  [shardCount]*shard

	loads   loads
	opening sync.Mutex
	opened  atomic.Pointer[map[targetName]*openTarget] // copied on write: each exchange reads it
}

type targetName struct{ tenant, name string }

type openTarget struct {
	hash   [32]byte
	driver Driver
}

// NewVendor makes a Vendor.
func NewVendor(o VendorOptions) *Vendor {
	if o.Timeout == 0 {
		o.Timeout = DefaultVendTimeout
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.Gate == nil {
		o.Gate = openGate{}
	}
	v := &Vendor{deps: o.Deps, target: o.Target, meter: o.Meter, gate: o.Gate, timeout: o.Timeout}
	for i := range v.shards {
		v.shards[i] = newShard(o.CacheBytes / shardCount)
	}
	v.opened.Store(&map[targetName]*openTarget{})
	return v
}

// Reserve finds how the grant will be served, and waits while another exchange
// mints for the same grant. It mints nothing.
//
// A credential that is about to run low is renewed ahead by one caller, while the
// others go on with the one at hand. Where the provider is in trouble, that one
// serves until it dies.
func (v *Vendor) Reserve(ctx context.Context, g exchange.Grant) (exchange.Slot, error) {
	driver, err := v.open(g.Target)
	if err != nil {
		return nil, err
	}
	if _, local := driver.(LocalDriver); local {
		v.count(&g, exchange.ModeLocal, false)
		return &localSlot{vendor: v, driver: driver, grant: g}, nil
	}
	key := KeyOf(&g)
	s := v.shards[key[0]%shardCount]
	waited := false
	for {
		now := v.deps.Now()
		s.mu.Lock()
		c, grade := s.get(key, &g, now)
		f := s.flights[key]
		leads := f == nil || now.After(f.abandoned)
		if grade == gradeGood || grade == gradeAging && !leads {
			s.mu.Unlock()
			return v.hit(&g, c, waited), nil
		}
		if leads {
			f = &flight{done: make(chan struct{}), once: g.Target.Once, abandoned: now.Add(abandonedAfter)}
			s.flights[key] = f
			s.mu.Unlock()
			return v.lead(&upstreamSlot{vendor: v, driver: driver, grant: g, key: key, flight: f, spare: c}, waited)
		}
		s.mu.Unlock()
		waited = true
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, exchange.Fault(exchange.KindUnavailable, "the provider did not answer in time; try again",
				fmt.Errorf("waiting for another exchange's credential: %w", ctx.Err()))
		}
		if f.landed.err != nil {
			if inTrouble(f.landed.err) && v.usable(&c, &g) {
				return v.hit(&g, c, true), nil
			}
			return nil, f.landed.err
		}
		// What was minted a moment ago serves however short it lives, or a
		// provider of short lives would be asked once by each waiter.
		if c := f.landed.credential; v.usable(&c, &g) {
			return v.hit(&g, c, true), nil
		}
	}
}

// lead asks the gate. Where that is shut, the credential at hand serves, if any.
func (v *Vendor) lead(s *upstreamSlot, waited bool) (exchange.Slot, error) {
	var err error
	if s.leave, err = v.gate.Enter(s.grant.Target); err != nil {
		v.land(s.key, s.flight, landing{err: err})
		if v.usable(&s.spare, &s.grant) {
			return v.hit(&s.grant, s.spare, waited), nil
		}
		return nil, err
	}
	v.count(&s.grant, exchange.ModeUpstream, waited)
	return s, nil
}

// usable reports whether a credential at hand may serve the grant, however little
// life it has left.
func (v *Vendor) usable(c *exchange.Credential, g *exchange.Grant) bool {
	return !c.Value.IsZero() && c.Expires.After(v.deps.Now()) && withinCaps(c, g) && (g.Stopped == nil || !g.Stopped(c.Value))
}

// inTrouble reports whether the provider could not answer, as opposed to saying no.
func inTrouble(err error) bool {
	k := exchange.KindOf(err)
	return k == exchange.KindUnavailable || k == exchange.KindThrottled
}

func (v *Vendor) hit(g *exchange.Grant, c exchange.Credential, waited bool) exchange.Slot {
	v.count(g, exchange.ModeHit, waited)
	if v.meter != nil {
		v.meter.Served(g.Target.Provider, g.Target.Method, v.deps.Now().Sub(c.Issued))
	}
	c.Minted = false
	return &hitSlot{credential: c}
}

func (v *Vendor) count(g *exchange.Grant, m exchange.Mode, waited bool) {
	if v.meter != nil {
		v.meter.Reserved(g.Target.Provider, m, waited)
	}
}

// land ends a flight and wakes its waiters.
func (v *Vendor) land(k Key, f *flight, l landing) {
	s := v.shards[k[0]%shardCount]
	var chance [1]byte
	_, _ = io.ReadFull(v.deps.Random, chance[:]) // without it they are renewed a little later
	s.mu.Lock()
	f.landed = l
	if !l.credential.Value.IsZero() && !f.once {
		s.put(k, l.credential, renewal(&l.credential, chance[0]))
	}
	if s.flights[k] == f { // unless it was taken for abandoned
		delete(s.flights, k)
	}
	s.mu.Unlock()
	close(f.done)
}

// open returns the target's driver, opened once for each version of its settings.
func (v *Vendor) open(t *exchange.Target) (Driver, error) {
	name := targetName{t.Tenant, t.Name}
	if o := (*v.opened.Load())[name]; o != nil && o.hash == t.Hash {
		return o.driver, nil
	}
	v.opening.Lock()
	defer v.opening.Unlock()
	now := *v.opened.Load()
	if o := now[name]; o != nil && o.hash == t.Hash {
		return o.driver, nil
	}
	config, ok := t.Settings.(Config)
	if !ok {
		return nil, fmt.Errorf("target %q has settings of type %T, which no provider knows", t.Name, t.Settings)
	}
	driver, err := config.Open(v.deps)
	if err != nil {
		return nil, exchange.Fault(exchange.KindMisconfigured, "the target is not set up: ask its operator",
			fmt.Errorf("opening target %q: %w", t.Name, err))
	}
	next := make(map[targetName]*openTarget, len(now)+1)
	if len(now) < maxDrivers {
		for k, o := range now {
			next[k] = o
		}
	}
	next[name] = &openTarget{hash: t.Hash, driver: driver}
	v.opened.Store(&next)
	return driver, nil
}

// ErrNotRevocable says that what was minted lives until it expires.
var ErrNotRevocable = errors.New("it cannot be revoked and ends when it expires")

// revoke takes back what a driver has minted.
func (v *Vendor) revoke(ctx context.Context, d Driver, t *exchange.Target, c exchange.Credential) error {
	r, ok := d.(Revoker)
	if !ok || c.RevokeWith.IsZero() {
		return fmt.Errorf("target %q: %w", t.Name, ErrNotRevocable)
	}
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	if err := r.Revoke(ctx, t, c.RevokeWith); err != nil {
		return fmt.Errorf("revoking at target %q: %w", t.Name, err)
	}
	return nil
}

// Revoke takes back what a target of the current policy vended, by what was kept
// with its lease. It fails with ErrNotRevocable where that cannot be done. Whatever
// comes of it, this Vendor does not hand the credential out again.
func (v *Vendor) Revoke(ctx context.Context, tenant, target string, with exchange.Secret) error {
	for _, s := range v.shards {
		s.forget(with)
	}
	t, driver, err := v.find(tenant, target)
	if err != nil {
		return err
	}
	return v.revoke(ctx, driver, t, exchange.Credential{RevokeWith: with})
}

// Renew asks that what a target of the current policy vended live until then, and
// returns until when it does.
func (v *Vendor) Renew(ctx context.Context, tenant, target string, with exchange.Secret, until time.Time) (time.Time, error) {
	t, driver, err := v.find(tenant, target)
	if err != nil {
		return time.Time{}, err
	}
	r, ok := driver.(Renewer)
	if !ok {
		return time.Time{}, exchange.Fault(exchange.KindProviderRefused, "the provider does not renew credentials", fmt.Errorf("target %q", target))
	}
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	expires, err := r.Renew(ctx, t, with, until)
	if err != nil {
		return time.Time{}, fmt.Errorf("renewing at target %q: %w", target, err)
	}
	return expires, nil
}

// CanRenew reports whether the driver of a target of the current policy renews.
func (v *Vendor) CanRenew(tenant, target string) bool {
	_, driver, err := v.find(tenant, target)
	_, renews := driver.(Renewer)
	return err == nil && renews
}

// find opens the driver of a target of the current policy.
func (v *Vendor) find(tenant, name string) (*exchange.Target, Driver, error) {
	if v.target == nil {
		return nil, nil, fmt.Errorf("target %q: %w", name, ErrNotRevocable)
	}
	t, ok := v.target(tenant, name)
	if !ok {
		return nil, nil, fmt.Errorf("target %q is no longer configured: %w", name, ErrNotRevocable)
	}
	driver, err := v.open(t)
	return t, driver, err
}

// Recover ends whatever the intent's exchange minted, when nobody heard the answer.
// It fails with ErrNotRevocable where the provider has no way to.
func (v *Vendor) Recover(ctx context.Context, i exchange.Intent) error {
	name := i.Event.Record.Target
	t, driver, err := v.find(i.Event.Tenant, name)
	if err != nil {
		return err
	}
	r, ok := driver.(Recoverer)
	if !ok {
		return fmt.Errorf("target %q: %w", name, ErrNotRevocable)
	}
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	if err := r.Recover(ctx, t, i.Event.Exchange); err != nil {
		return fmt.Errorf("recovering at target %q: %w", name, err)
	}
	return nil
}
