package provider_test

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// finder is a target's settings and its driver at once, which looks something up.
type finder struct {
	must  bool
	fails error
	loads atomic.Int32
	opens atomic.Int32
}

func (f *finder) Validate() []error     { return nil }
func (f *finder) Facts() exchange.Facts { return exchange.Facts{} }
func (f *finder) MustLoad() bool        { return f.must }
func (f *finder) Open(provider.Deps) (provider.Driver, error) {
	f.opens.Add(1)
	return &found{f}, nil
}

type found struct{ *finder }

func (found) Vend(context.Context, exchange.Grant) (exchange.Credential, error) {
	return exchange.Credential{}, errors.New("it vends nothing")
}

func (f found) Load(ctx context.Context) error {
	if _, bounded := ctx.Deadline(); !bounded {
		return errors.New("it may take for ever")
	}
	f.loads.Add(1)
	return f.fails
}

// TestLoad: what has to be found out is found out at once, then ever later while it
// fails, and once in an hour; what needs nothing is not even opened.
func TestLoad(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	start := now
	v := provider.NewVendor(provider.VendorOptions{Deps: provider.Deps{Now: func() time.Time { return now }, Random: rand.Reader}})
	good, bad, other := &finder{must: true}, &finder{must: true, fails: errors.New("nobody answers")}, &finder{}
	target := func(name string, f *finder, version byte) *exchange.Target {
		return &exchange.Target{Tenant: "default", Name: name, Provider: "finder", Settings: f, Hash: [32]byte{version}}
	}
	targets := []*exchange.Target{target("good", good, 1), target("bad", bad, 1), target("other", other, 1)}
	var at []time.Duration
	before := int32(0)
	for range 2 * 3600 {
		err := v.Load(t.Context(), targets)
		if n := bad.loads.Load(); n != before {
			before = n
			at = append(at, now.Sub(start))
			if err == nil || !strings.Contains(err.Error(), `target "bad": nobody answers`) {
				t.Fatal(err)
			}
		} else if err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
	}
	want := []time.Duration{0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811}
	for i := range want {
		want[i] *= time.Second
	}
	if len(at) < len(want) || !slices.Equal(at[:len(want)], want) {
		t.Errorf("it was tried at %v", at)
	}
	if n := good.loads.Load(); n != 2 {
		t.Errorf("what is found is looked up %d times in two hours", n)
	}
	if other.opens.Load() != 0 || good.opens.Load() != 1 {
		t.Error("what needs nothing was opened, or what does twice")
	}
	// Other settings are looked up at once, and what is gone is not at all.
	bad.fails = nil
	if err := v.Load(t.Context(), []*exchange.Target{target("bad", bad, 2)}); err != nil || bad.loads.Load() != before+1 || good.loads.Load() != 2 {
		t.Errorf("%v", err)
	}
	// What comes back is new.
	if err := v.Load(t.Context(), targets); err != nil || good.loads.Load() != 3 {
		t.Errorf("%v: %d", err, good.loads.Load())
	}
}

// TestLoadEndsWithItsContext: nobody waits for what is being looked up when all stops.
func TestLoadEndsWithItsContext(t *testing.T) {
	v := provider.NewVendor(provider.VendorOptions{Deps: provider.Deps{Now: time.Now, Random: rand.Reader}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := &waiting{}
	err := v.Load(ctx, []*exchange.Target{{Tenant: "default", Name: "slow", Settings: f}})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// waiting waits for its context.
type waiting struct{ finder }

func (w *waiting) MustLoad() bool                              { return true }
func (w *waiting) Open(provider.Deps) (provider.Driver, error) { return waiter{w}, nil }

type waiter struct{ *waiting }

func (waiter) Vend(context.Context, exchange.Grant) (exchange.Credential, error) {
	return exchange.Credential{}, errors.New("it vends nothing")
}
func (waiter) Load(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
