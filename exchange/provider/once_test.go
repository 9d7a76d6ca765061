package provider_test

import (
	"testing"

	"github.com/cambio-sts/cambio/exchange"
)

// TestS23OnceServesOnce: where a credential is good for one use, each exchange gets its
// own, those that come at the same time among them.
func TestS23OnceServesOnce(t *testing.T) {
	d := newDesk(t)
	d.target.Once = true
	ctx, cancel := d.bounded()
	defer cancel()
	first, err := d.vendor.Reserve(ctx, d.grant())
	if err != nil {
		t.Fatal(err)
	}
	second, err := d.vendor.Reserve(ctx, d.grant()) // would wait for the first
	if err != nil {
		t.Fatal(err)
	}
	var got []exchange.Credential
	for _, slot := range []exchange.Slot{first, second} {
		c, err := slot.Vend(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := slot.Release(ctx, c, true); err != nil {
			t.Fatal(err)
		}
		got = append(got, c)
	}
	third, err := d.vendor.Reserve(ctx, d.grant())
	if err != nil || third.Mode() != exchange.ModeUpstream {
		t.Errorf("what was vended before is served again: %v", err)
	}
	if got[0].Value.Equal(got[1].Value) {
		t.Error("two exchanges got one credential")
	}
}
