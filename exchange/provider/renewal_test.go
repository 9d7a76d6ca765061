package provider_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// TestS23RenewedAheadByOne: of many callers one gets the next credential while the
// others go on with the one at hand, which is decided and capped for each of them.
func TestS23RenewedAheadByOne(t *testing.T) {
	d := newDesk(t)
	_, first := d.must(d.grant())
	d.advance(11 * time.Minute)
	ctx, cancel := d.bounded()
	defer cancel()
	leader, err := d.vendor.Reserve(ctx, d.grant())
	if err != nil || leader.Mode() != exchange.ModeUpstream {
		t.Fatalf("nobody renews: mode %d, %v", leader.Mode(), err)
	}
	for range 100 {
		mode, c := d.must(d.grant())
		if mode != exchange.ModeHit || !c.Value.Equal(first.Value) || c.Minted {
			t.Fatalf("mode %d while another renews", mode)
		}
	}
	if mode, _ := d.must(d.grant(func(g *exchange.Grant) { g.Subject.Name = "k8s:prod:llm:other" })); mode != exchange.ModeUpstream {
		t.Errorf("another subject: mode %d", mode)
	}
	next, err := leader.Vend(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.Release(ctx, next, true); err != nil {
		t.Fatal(err)
	}
	if mode, c := d.must(d.grant()); mode != exchange.ModeHit || !c.Value.Equal(next.Value) {
		t.Errorf("mode %d after the renewal", mode)
	}
}

// TestRenewalsAreSpread: what was minted in one moment is not renewed in one moment.
func TestRenewalsAreSpread(t *testing.T) {
	for chance, want := range map[byte]exchange.Mode{0: exchange.ModeHit, 255: exchange.ModeUpstream} {
		d := newDesk(t, func(o *provider.VendorOptions) { o.Deps.Random = same(chance) })
		d.must(d.grant())
		d.advance(9*time.Minute + 45*time.Second) // between four and three tenths left
		if mode, _ := d.must(d.grant()); mode != want {
			t.Errorf("chance %d: mode %d, want %d", chance, mode, want)
		}
	}
}

// same is a source of one byte.
type same byte

func (s same) Read(p []byte) (int, error) {
	return copy(p, bytes.Repeat([]byte{byte(s)}, len(p))), nil
}

// TestACredentialAtHandOutlastsAnOutage: while the provider is in trouble, what is at
// hand serves whoever may have it until it dies, and then everybody is told.
func TestACredentialAtHandOutlastsAnOutage(t *testing.T) {
	for name, trouble := range map[string]error{
		"down":      exchange.Fault(exchange.KindUnavailable, "down", nil),
		"throttles": exchange.Fault(exchange.KindThrottled, "later", nil),
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			_, c := d.must(d.grant())
			d.bank.Before = func(context.Context, exchange.Grant) error { return trouble }
			for _, later := range []time.Duration{11 * time.Minute, 2 * time.Minute, 119 * time.Second} {
				d.advance(later)
				if _, got := d.must(d.grant()); !got.Value.Equal(c.Value) || got.Minted {
					t.Error("it does not serve")
				}
			}
			if _, _, err := d.exchange(d.grant(func(g *exchange.Grant) { g.NotAfter = d.clock().Add(500 * time.Millisecond) }), true); exchange.KindOf(err) != exchange.KindOf(trouble) {
				t.Errorf("who may not have it so long got it: %v", err)
			}
			if _, _, err := d.exchange(d.grant(func(g *exchange.Grant) { g.Stopped = func(exchange.Secret) bool { return true } }), true); exchange.KindOf(err) != exchange.KindOf(trouble) {
				t.Errorf("it was stopped, and serves: %v", err)
			}
			d.advance(time.Second)
			if _, _, err := d.exchange(d.grant(), true); exchange.KindOf(err) != exchange.KindOf(trouble) {
				t.Errorf("it is dead: %v", err)
			}
		})
	}
}

// TestARefusalIsNotPaperedOver: a provider that says no ends the use of what is at
// hand for whoever asks it, even while that still lives.
func TestARefusalIsNotPaperedOver(t *testing.T) {
	d := newDesk(t)
	d.must(d.grant())
	d.bank.Before = func(context.Context, exchange.Grant) error {
		return exchange.Fault(exchange.KindProviderRefused, "no", nil)
	}
	d.advance(11 * time.Minute)
	if _, _, err := d.exchange(d.grant(), true); exchange.KindOf(err) != exchange.KindProviderRefused {
		t.Errorf("%v", err)
	}
}

// gatekeeper is a Gate that counts, and shuts when told.
type gatekeeper struct {
	shut   error
	inside int
	left   []error
}

func (g *gatekeeper) Enter(*exchange.Target) (func(error), error) {
	if g.shut != nil {
		return nil, g.shut
	}
	g.inside++
	return func(err error) { g.inside--; g.left = append(g.left, err) }, nil
}

// TestGate: the provider is asked through the gate and never otherwise, whatever
// becomes of the call, and with the gate shut what is at hand serves.
func TestGate(t *testing.T) {
	g := &gatekeeper{}
	d := newDesk(t, func(o *provider.VendorOptions) { o.Gate = g })
	d.must(d.grant())
	d.must(d.grant()) // at hand: nobody is asked
	if len(g.left) != 1 || g.left[0] != nil {
		t.Errorf("left with %v", g.left)
	}
	d.advance(11 * time.Minute)
	g.shut = exchange.Fault(exchange.KindUnavailable, "later", nil)
	if mode, _ := d.must(d.grant()); mode != exchange.ModeHit {
		t.Errorf("mode %d with the gate shut", mode)
	}
	if _, _, err := d.exchange(d.grant(func(g *exchange.Grant) { g.Subject.Name = "k8s:prod:llm:other" }), true); !errors.Is(err, g.shut) {
		t.Errorf("with nothing at hand: %v", err)
	}
	g.shut = nil
	ctx, cancel := d.bounded()
	defer cancel()
	slot, err := d.vendor.Reserve(ctx, d.grant())
	if err != nil {
		t.Fatal(err)
	}
	if err := slot.Release(ctx, exchange.Credential{}, false); err != nil { // its intent could not be written
		t.Fatal(err)
	}
	if g.inside != 0 || len(g.left) != 2 || !errors.Is(g.left[1], provider.ErrNotCalled) {
		t.Errorf("%d inside, left with %v", g.inside, g.left)
	}
	d.bank.Before = func(context.Context, exchange.Grant) error {
		return exchange.Fault(exchange.KindUnavailable, "down", nil)
	}
	d.must(d.grant())
	if g.inside != 0 || len(g.left) != 3 || exchange.KindOf(g.left[2]) != exchange.KindUnavailable {
		t.Errorf("%d inside, left with %v", g.inside, g.left)
	}
}
