package provider_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// TestOneFlightForTenThousand: 10,000 callers at once for one grant are one call,
// and each gets a credential whose outcome the leader made durable first.
func TestOneFlightForTenThousand(t *testing.T) {
	d := newDesk(t)
	const callers = 10_000
	ctx, cancel := d.bounded()
	defer cancel()
	leader, err := d.vendor.Reserve(ctx, d.grant())
	if err != nil || leader.Mode() != exchange.ModeUpstream {
		t.Fatal(err)
	}
	var settled atomic.Bool
	var started, ended sync.WaitGroup
	var hits atomic.Int64
	started.Add(callers)
	for range callers {
		g := d.grant()
		ended.Go(func() {
			started.Done()
			slot, err := d.vendor.Reserve(ctx, g)
			if err != nil {
				t.Error(err)
				return
			}
			if !settled.Load() {
				t.Error("a follower saw the credential before its outcome was durable")
			}
			c, err := slot.Vend(ctx)
			if err == nil && slot.Mode() == exchange.ModeHit && !c.Minted {
				hits.Add(1)
			}
			if err := slot.Release(ctx, c, true); err != nil {
				t.Error(err)
			}
		})
	}
	started.Wait()
	c, err := leader.Vend(ctx)
	if err != nil {
		t.Fatal(err)
	}
	settled.Store(true)
	if err := leader.Release(ctx, c, true); err != nil {
		t.Fatal(err)
	}
	ended.Wait()
	if hits.Load() != callers || d.bank.Calls() != 1 {
		t.Errorf("%d of %d were hits, by %d calls", hits.Load(), callers, d.bank.Calls())
	}
}

// TestFollowers: what a leader's end means for those who wait.
func TestFollowers(t *testing.T) {
	refused := exchange.Fault(exchange.KindProviderRefused, "the provider said no", nil)
	for name, c := range map[string]struct {
		fails   error // of the leader's Vend
		vends   bool
		settles bool
		calls   int           // of the bank, in the end, with 20 followers
		kind    exchange.Kind // that every follower gets; internal: a credential
	}{
		"published":                          {vends: true, settles: true, calls: 1},
		"the provider refuses all alike":     {vends: true, fails: refused, calls: 1, kind: exchange.KindProviderRefused},
		"down":                               {vends: true, fails: exchange.Fault(exchange.KindUnavailable, "down", nil), calls: 1, kind: exchange.KindUnavailable},
		"throttled":                          {vends: true, fails: exchange.Fault(exchange.KindThrottled, "slower", nil), calls: 1, kind: exchange.KindThrottled},
		"the leader's own life is too short": {vends: true, fails: exchange.Fault(exchange.KindInvalidLifetime, "longer", nil), calls: 2},
		"withheld after minting":             {vends: true, calls: 2},
		"the intent failed":                  {calls: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t)
				ctx := t.Context()
				slot, err := d.vendor.Reserve(ctx, d.grant())
				if err != nil {
					t.Fatal(err)
				}
				const followers = 20
				results := make(chan error, followers)
				for range followers {
					g := d.grant()
					go func() {
						_, _, err := d.exchange(g, true)
						results <- err
					}()
				}
				synctest.Wait() // all of them wait for the flight
				if len(results) != 0 {
					t.Fatal("a follower did not wait")
				}
				var credential exchange.Credential
				if c.vends {
					failing := c.fails
					d.bank.Before = func(context.Context, exchange.Grant) error { return failing }
					credential, err = slot.Vend(ctx)
					if (err != nil) != (c.fails != nil) {
						t.Fatal(err)
					}
					d.bank.Before = nil
				}
				if err := slot.Release(ctx, credential, c.settles); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				for range followers {
					err := <-results
					if c.kind == exchange.KindInternal && err != nil || c.kind != exchange.KindInternal && exchange.KindOf(err) != c.kind {
						t.Errorf("a follower got %v", err)
					}
				}
				if d.bank.Calls() != c.calls {
					t.Errorf("the bank was called %d times, want %d", d.bank.Calls(), c.calls)
				}
				if withheld := c.vends && !c.settles && c.fails == nil; withheld != (d.bank.Revocations() == 1) {
					t.Errorf("%d revocations", d.bank.Revocations())
				}
			})
		})
	}
}

// TestS5FollowersHaveTheirOwnCaps: one who waited for a credential that lives past
// its own caps gets another.
func TestS5FollowersHaveTheirOwnCaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		slot, err := d.vendor.Reserve(t.Context(), d.grant())
		if err != nil {
			t.Fatal(err)
		}
		brief := d.grant(func(g *exchange.Grant) { g.NotAfter = noon.Add(5 * time.Minute) })
		var follower exchange.Credential
		var waiting sync.WaitGroup
		waiting.Go(func() { _, follower = d.must(brief) })
		synctest.Wait()
		c, err := slot.Vend(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := slot.Release(t.Context(), c, true); err != nil {
			t.Fatal(err)
		}
		waiting.Wait()
		if follower.Expires.After(brief.NotAfter) || d.bank.Calls() != 2 {
			t.Errorf("with a cap at %v it got one until %v, by %d calls", brief.NotAfter, follower.Expires, d.bank.Calls())
		}
	})
}

// TestFollowersLeaveAlone: one whose time ends leaves, and the flight goes on.
func TestFollowersLeaveAlone(t *testing.T) {
	d := newDesk(t)
	ctx, cancel := d.bounded()
	defer cancel()
	leader, err := d.vendor.Reserve(ctx, d.grant())
	if err != nil {
		t.Fatal(err)
	}
	gone, leave := context.WithCancel(ctx)
	leave()
	if _, err := d.vendor.Reserve(gone, d.grant()); exchange.KindOf(err) != exchange.KindUnavailable || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	c, err := leader.Vend(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := leader.Release(ctx, c, true); err != nil {
		t.Fatal(err)
	}
	if mode, _ := d.must(d.grant()); mode != exchange.ModeHit {
		t.Errorf("afterwards mode %d", mode)
	}
}

// TestAnAbandonedFlightIsTaken: a leader that never releases keeps nobody for ever,
// and may still release without harm.
func TestAnAbandonedFlightIsTaken(t *testing.T) {
	d := newDesk(t)
	ctx, cancel := d.bounded()
	defer cancel()
	lost, err := d.vendor.Reserve(ctx, d.grant())
	if err != nil {
		t.Fatal(err)
	}
	d.advance(time.Minute + 1)
	if mode, _ := d.must(d.grant()); mode != exchange.ModeUpstream {
		t.Errorf("mode %d", mode)
	}
	if err := lost.Release(ctx, exchange.Credential{}, false); err != nil {
		t.Error(err)
	}
	if mode, _ := d.must(d.grant()); mode != exchange.ModeHit {
		t.Errorf("afterwards mode %d", mode)
	}
}

func TestSlotsAreUsedOnce(t *testing.T) {
	d := newDesk(t)
	ctx, cancel := d.bounded()
	defer cancel()
	for range 2 { // upstream, then hit
		slot, err := d.vendor.Reserve(ctx, d.grant())
		if err != nil {
			t.Fatal(err)
		}
		c, err := slot.Vend(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if slot.Mode() == exchange.ModeUpstream {
			if _, err := slot.Vend(ctx); err == nil {
				t.Error("a slot vends twice")
			}
		}
		if err := slot.Release(ctx, c, true); err != nil {
			t.Fatal(err)
		}
		if err := slot.Release(ctx, c, false); err == nil {
			t.Error("a slot is released twice")
		}
	}
	if d.bank.Calls() != 1 || d.bank.Revocations() != 0 {
		t.Errorf("%d calls, %d revocations", d.bank.Calls(), d.bank.Revocations())
	}
}

// TestS29WithheldIsRevokedAndNotReused: a credential whose outcome is not durable
// is dropped, and taken back where that can be done, or it is said that it cannot.
func TestS29WithheldIsRevokedAndNotReused(t *testing.T) {
	d := newDesk(t)
	_, c, err := d.exchange(d.grant(), false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.bank.Use(c.Value); err == nil {
		t.Error("a withheld credential is honoured")
	}
	if mode, _ := d.must(d.grant()); mode != exchange.ModeUpstream {
		t.Error("a withheld credential is reused")
	}
	d.bank.RevokeFails = errors.New("no route")
	other := func(g *exchange.Grant) { g.Client = "other" }
	if _, _, err := d.exchange(d.grant(other), false); err == nil || !strings.Contains(err.Error(), "no route") {
		t.Errorf("a revocation that failed: %v", err)
	}
	d.bank.RevokeFails = nil
	d.bank.After = func(_ context.Context, _ exchange.Grant, c *exchange.Credential) error {
		c.RevokeWith = exchange.Secret{}
		return nil
	}
	if _, _, err := d.exchange(d.grant(other), false); !errors.Is(err, provider.ErrNotRevocable) {
		t.Errorf("nothing to revoke with: %v", err)
	}
}
