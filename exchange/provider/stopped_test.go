package provider_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// TestS31StoppedCredentialIsNotHandedOutAgain: a deny of one credential drops it
// from the cache, and leaves others alone.
func TestS31StoppedCredentialIsNotHandedOutAgain(t *testing.T) {
	d := newDesk(t)
	_, first := d.must(d.grant())
	stopped := func(g *exchange.Grant) {
		g.Stopped = func(value exchange.Secret) bool { return value.Equal(first.Value) }
	}
	mode, second := d.must(d.grant(stopped))
	if mode != exchange.ModeUpstream || second.Value.Equal(first.Value) {
		t.Fatalf("after the stop: mode %d, and the same credential: %t", mode, second.Value.Equal(first.Value))
	}
	for name, g := range map[string]exchange.Grant{"who asks": d.grant(stopped), "who does not": d.grant()} {
		if mode, c := d.must(g); mode != exchange.ModeHit || !c.Value.Equal(second.Value) {
			t.Errorf("%s: mode %d, the second credential: %t", name, mode, c.Value.Equal(second.Value))
		}
	}
}

// denier stops single credentials by their fingerprints.
type denier struct {
	*office
	fingerprint atomic.Pointer[string]
}

func (d *denier) Current() (exchange.Decider, error) { return d, nil }

func (d *denier) DeniesCredentials(exchange.Question, exchange.Decision) func(string) bool {
	one := d.fingerprint.Load()
	if one == nil {
		return nil
	}
	return func(fingerprint string) bool { return fingerprint == *one }
}

// TestS31StoppedWhileItIsSettled: the deny comes between the cache and the ledger.
func TestS31StoppedWhileItIsSettled(t *testing.T) {
	o := newOffice(t)
	d := &denier{office: o}
	o.bureau.Policy = d
	first, err := o.ask("k8s:prod:llm:gateway")
	if err != nil {
		t.Fatal(err)
	}
	fingerprint := o.bureau.Sealer.Fingerprint(first.Credential.Value)
	var once atomic.Bool
	o.write = func(e exchange.Event) error {
		if e.Type == exchange.EventIssued && !once.Swap(true) {
			d.fingerprint.Store(&fingerprint)
			o.epoch.Add(1)
		}
		return nil
	}
	_, err = o.ask("k8s:prod:llm:gateway")
	if known := (*exchange.Error)(nil); !errors.As(err, &known) || known.Kind != exchange.KindUnavailable {
		t.Errorf("stopped before it was settled: %v", err)
	}
	if n := o.count(exchange.EventIssued); n != 1 {
		t.Errorf("%d issued, want the one before the deny", n)
	}
	again, err := o.ask("k8s:prod:llm:gateway")
	if err != nil || again.Credential.Value.Equal(first.Credential.Value) {
		t.Errorf("asked again: %v, the same credential: %t", err, err == nil && again.Credential.Value.Equal(first.Credential.Value))
	}
}

func TestRevokeByLease(t *testing.T) {
	d := newDesk(t)
	_, c := d.must(d.grant())
	ctx, cancel := d.bounded()
	defer cancel()
	for name, bad := range map[string]struct {
		tenant, target string
		with           exchange.Secret
	}{
		"another tenant":         {"other", "bank", c.RevokeWith},
		"a target that was":      {"default", "shop", c.RevokeWith},
		"nothing to revoke with": {"default", "bank", exchange.Secret{}},
	} {
		if err := d.vendor.Revoke(ctx, bad.tenant, bad.target, bad.with); !errors.Is(err, provider.ErrNotRevocable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	d.bank.RevokeFails = errors.New("the bank is closed")
	if err := d.vendor.Revoke(ctx, "default", "bank", c.RevokeWith); !errors.Is(err, d.bank.RevokeFails) {
		t.Errorf("a bank that fails: %v", err)
	}
	d.bank.RevokeFails = nil
	d.advance(time.Second)
	for range 2 { // what is gone is gone
		if err := d.vendor.Revoke(ctx, "default", "bank", c.RevokeWith); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.bank.Use(c.Value); err == nil {
		t.Error("the bank still honours it")
	}
}
