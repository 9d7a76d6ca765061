package provider_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// TestS26RevokedIsNotHandedOutAgain: whoever exchanges after a revocation gets another
// credential, one that works.
func TestS26RevokedIsNotHandedOutAgain(t *testing.T) {
	d := newDesk(t)
	_, first := d.must(d.grant())
	if mode, again := d.must(d.grant()); mode != exchange.ModeHit || !again.Value.Equal(first.Value) {
		t.Fatal("it was not at hand")
	}
	ctx, cancel := d.bounded()
	defer cancel()
	if err := d.vendor.Revoke(ctx, "default", "bank", first.RevokeWith); err != nil {
		t.Fatal(err)
	}
	mode, fresh := d.must(d.grant())
	if _, err := d.bank.Use(fresh.Value); err != nil || mode != exchange.ModeUpstream || fresh.Value.Equal(first.Value) {
		t.Errorf("mode %d, %v", mode, err)
	}
}

// TestS26RenewAtTheProvider: it says until when, and what it cannot do.
func TestS26RenewAtTheProvider(t *testing.T) {
	d := newDesk(t)
	_, c := d.must(d.grant())
	ctx, cancel := d.bounded()
	defer cancel()
	if !d.vendor.CanRenew("default", "bank") || d.vendor.CanRenew("default", "gone") || d.vendor.CanRenew("elsewhere", "bank") {
		t.Error("who can renew is mixed up")
	}
	until := noon.Add(time.Hour)
	if given, err := d.vendor.Renew(ctx, "default", "bank", c.RevokeWith, until); err != nil || !given.Equal(until) {
		t.Errorf("until %v, %v", given, err)
	}
	d.advance(59 * time.Minute)
	if _, err := d.bank.Use(c.Value); err != nil {
		t.Errorf("a renewed one: %v", err)
	}
	d.bank.MostRenewed = 90 * time.Minute
	if given, err := d.vendor.Renew(ctx, "default", "bank", c.RevokeWith, noon.Add(2*time.Hour)); err != nil || !given.Equal(noon.Add(90*time.Minute)) {
		t.Errorf("further than it goes: until %v, %v", given, err)
	}
	if _, err := d.vendor.Renew(ctx, "default", "gone", c.RevokeWith, until); !errors.Is(err, provider.ErrNotRevocable) {
		t.Errorf("a target that is gone: %v", err)
	}
	if err := d.vendor.Revoke(ctx, "default", "bank", c.RevokeWith); err != nil {
		t.Fatal(err)
	}
	if _, err := d.vendor.Renew(ctx, "default", "bank", c.RevokeWith, noon.Add(80*time.Minute)); exchange.KindOf(err) != exchange.KindProviderRefused {
		t.Errorf("a revoked one: %v", err)
	}
	d.target.Settings, d.target.Hash = forgetful{d.bank}, [32]byte{2}
	if _, err := d.vendor.Renew(ctx, "default", "bank", c.RevokeWith, until); exchange.KindOf(err) != exchange.KindProviderRefused || d.vendor.CanRenew("default", "bank") {
		t.Errorf("a driver that does not renew: %v", err)
	}
}
