package vault_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/vault"
)

// TestKV: one field or all, of both versions, and no login is left.
func TestKV(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run(fmt.Sprint("version ", version), func(t *testing.T) {
			y := newYard(t)
			s := y.kv(t, version, map[string]any{"key": "vended-value-one", "port": 1234567890123456, "hosts": []string{"a", "b"}})
			c := y.must(t, s)
			if want := `{"renewable":false,"data":{"hosts":["a","b"],"key":"vended-value-one","port":1234567890123456}}`; c.Value.Reveal() != want {
				t.Error("all fields are another document")
			}
			if c.IssuedType != vault.TokenTypeLease || c.TokenType != "N_A" || c.Handle == "" || c.Expires.Sub(c.Issued) != 5*time.Minute {
				t.Errorf("%s, %s, %q, %v", c.IssuedType, c.TokenType, c.Handle, c.Expires.Sub(c.Issued))
			}
			for field, want := range map[string]string{"key": "vended-value-one", "port": "1234567890123456", "hosts": `["a","b"]`} {
				s.Field = field
				if c := y.must(t, s); c.Value.Reveal() != want || c.IssuedType != vault.TokenTypeSecret {
					t.Errorf("%s is another, of type %s", field, c.IssuedType)
				}
			}
			if n := y.tokens(t); n != 0 {
				t.Errorf("%d logins live on", n)
			}
		})
	}
}

// TestWrappedKV: one holder unwraps, once; what nobody has unwrapped is taken back.
func TestWrappedKV(t *testing.T) {
	y := newYard(t)
	s := y.kv(t, 2, map[string]any{"key": "vended-value-one"})
	s.Wrap = time.Hour
	g := y.grant(t, s, within(10*time.Minute))
	c, err := y.driver(t, s).Vend(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if c.IssuedType != vault.TokenTypeWrapping || c.Expires.After(g.NotAfter) || !s.Facts().Once {
		t.Errorf("%s until %v, the cap is %v", c.IssuedType, c.Expires, g.NotAfter)
	}
	data, err := y.unwrap(t, c)
	if err != nil || fmt.Sprint(data["data"]) != "map[key:vended-value-one]" {
		t.Errorf("unwrapping: %v", err)
	}
	if _, err := y.unwrap(t, c); err == nil {
		t.Error("it unwraps twice")
	}
	revoker := y.driver(t, s).(provider.Revoker)
	if err := revoker.Revoke(t.Context(), nil, c.RevokeWith); !errors.Is(err, exchange.ErrHandedOut) {
		t.Errorf("what is out is said to be dead: %v", err)
	}
	c = y.must(t, s)
	if err := revoker.Revoke(t.Context(), nil, c.RevokeWith); err != nil {
		t.Error(err)
	}
	if _, err := y.unwrap(t, c); err == nil {
		t.Error("it unwraps after its revocation")
	}
}

// served is a vendor with a clock of the test's own.
type served struct {
	*provider.Vendor
	now    time.Time
	target *exchange.Target
}

func (y *yard) vendor(t *testing.T, s *vault.Settings) *served {
	t.Helper()
	v := &served{now: time.Now(), target: y.grant(t, s).Target}
	deps := y.deps
	deps.Now, deps.Random = func() time.Time { return v.now }, rand.Reader
	v.Vendor = provider.NewVendor(provider.VendorOptions{
		Deps: deps, Target: func(string, string) (*exchange.Target, bool) { return v.target, true },
	})
	return v
}

// exchange is what the pipeline does with a vendor, and says whether Vault was asked.
func (v *served) exchange(t *testing.T, y *yard, s *vault.Settings) (exchange.Credential, bool) {
	t.Helper()
	g := y.grant(t, s)
	g.Target, g.Now, g.NotAfter = v.target, v.now, v.now.Add(15*time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	slot, err := v.Reserve(ctx, g)
	if err != nil {
		t.Fatal(err)
	}
	c, err := slot.Vend(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := slot.Release(ctx, c, true); err != nil {
		t.Fatal(err)
	}
	return c, slot.Mode() == exchange.ModeUpstream
}

// TestRefresh: a value that was changed is served at the next exchange after it is due,
// and at once after its lease is revoked.
func TestRefresh(t *testing.T) {
	y := newYard(t)
	s := y.kv(t, 2, map[string]any{"key": "vended-value-1"})
	s.Field, s.Refresh, s.Auth = "key", 10*time.Minute, y.appRole(t, nil)
	v := y.vendor(t, s)
	check := func(when string, want int, upstream bool) exchange.Credential {
		t.Helper()
		c, asked := v.exchange(t, y, s)
		if c.Value.Reveal() != fmt.Sprint("vended-value-", want) || asked != upstream {
			t.Errorf("%s: another value, or Vault was asked: %t", when, asked)
		}
		return c
	}
	check("at first", 1, true)
	y.put(t, s, map[string]any{"key": "vended-value-2"})
	check("changed", 1, false)
	v.now = v.now.Add(5 * time.Minute)
	check("changed, not due", 1, false)
	v.now = v.now.Add(5 * time.Minute)
	c := check("due", 2, true)
	y.put(t, s, map[string]any{"key": "vended-value-3"})
	check("changed again", 2, false)
	// That the value lives on where somebody has it is said, and not that it is dead.
	err := v.Revoke(t.Context(), "default", "suite", c.RevokeWith)
	if !errors.Is(err, exchange.ErrHandedOut) {
		t.Errorf("%v", err)
	}
	check("revoked", 3, true)
	if v.CanRenew("default", "suite") {
		t.Error("a value that stays is said to be renewable")
	}
}

// TestWrappingTokensAreNotShared, not even with the same subject.
func TestWrappingTokensAreNotShared(t *testing.T) {
	y := newYard(t)
	s := y.kv(t, 2, map[string]any{"key": "vended-value-one"})
	s.Wrap = 10 * time.Minute
	v := y.vendor(t, s)
	a, _ := v.exchange(t, y, s)
	b, asked := v.exchange(t, y, s)
	if !asked || a.Value.Equal(b.Value) {
		t.Error("a wrapping token is handed out twice")
	}
}

// TestS5AValueThatStaysNeedsConsent, and is told to be read again within the caps.
func TestS5AValueThatStaysNeedsConsent(t *testing.T) {
	y := newYard(t)
	s := y.kv(t, 2, map[string]any{"key": "vended-value-one"})
	s.MayOutlive = false
	if faults := s.Validate(); len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), "may_outlive: ") {
		t.Errorf("%v", faults)
	}
	s.MayOutlive, s.Refresh = true, time.Hour
	g := y.grant(t, s, within(3*time.Minute))
	if c, err := y.driver(t, s).Vend(t.Context(), g); err != nil || !c.Expires.Equal(g.NotAfter) {
		t.Errorf("until %v, the cap is %v: %v", c.Expires, g.NotAfter, err)
	}
	if _, err := y.vend(t, s, within(0)); exchange.KindOf(err) != exchange.KindInvalidLifetime {
		t.Errorf("with no life left: %v", err)
	}
}
