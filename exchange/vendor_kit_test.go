package exchange_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// vendor is a bank with one counter. In ModeUpstream it mints only after the intent
// is durable.
type vendor struct {
	t      testing.TB
	mode   exchange.Mode // of what is at hand; what replaces that is minted upstream
	ledger *ledger
	life   time.Duration
	spare  bool // upstream gives what was at hand
	// endless: there is always another one at hand.
	endless bool

	reserve   error
	vend      func(ctx context.Context) error // fails instead of minting
	afterMint func()                          // once it is minted
	revoke    error                           // revocation fails

	grants []exchange.Grant
	slots  []*slot
}

type slot struct {
	vendor   *vendor
	mode     exchange.Mode
	value    exchange.Secret
	grant    exchange.Grant
	minted   bool
	revoked  bool
	released int
	settled  bool
}

func (v *vendor) Reserve(_ context.Context, g exchange.Grant) (exchange.Slot, error) {
	v.grants = append(v.grants, g)
	if v.reserve != nil {
		return nil, v.reserve
	}
	s := &slot{vendor: v, grant: g, mode: v.mode}
	for _, before := range v.slots {
		if g.Stopped != nil && g.Stopped(before.value) && !v.endless {
			s.mode = exchange.ModeUpstream
		}
	}
	v.slots = append(v.slots, s)
	return s, nil
}

func (s *slot) Mode() exchange.Mode { return s.mode }

func (s *slot) Vend(ctx context.Context) (exchange.Credential, error) {
	v := s.vendor
	if s.mode == exchange.ModeUpstream {
		if !v.ledger.intended(s.grant.Exchange) {
			v.t.Error("minted outside without a durable intent")
		}
		if _, bounded := ctx.Deadline(); !bounded {
			v.t.Error("minted without a deadline")
		}
	}
	if v.vend != nil {
		if err := v.vend(ctx); err != nil {
			return exchange.Credential{}, err
		}
	}
	s.minted = true
	if v.afterMint != nil {
		v.afterMint()
	}
	id, err := exchange.NewID(noon, rand.Reader)
	if err != nil {
		return exchange.Credential{}, err
	}
	s.value = exchange.NewSecret(mintedPrefix + id.String())
	return exchange.Credential{
		Value: s.value, TokenType: "Bearer", IssuedType: exchange.TokenTypeAccessToken,
		Issued: noon, Expires: noon.Add(v.life), Scopes: s.grant.Scopes, Handle: "h1",
		RevokeWith: exchange.NewSecret(revokeSecret), Lease: id, Minted: s.mode != exchange.ModeHit && !v.spare,
	}, nil
}

func (s *slot) Release(ctx context.Context, _ exchange.Credential, settled bool) error {
	if _, bounded := ctx.Deadline(); !bounded || ctx.Err() != nil {
		s.vendor.t.Error("released without time to do so")
	}
	s.released++
	s.settled = settled
	if settled || !s.minted || s.mode != exchange.ModeUpstream {
		return nil
	}
	if s.vendor.revoke != nil {
		return s.vendor.revoke
	}
	s.revoked = true
	return nil
}

// check: each slot is released once, the last one of an exchange as settled only if
// its credential left, those before it as not settled, and what was minted outside and did not leave is revoked.
func (v *vendor) check(id exchange.ID, left bool) {
	v.t.Helper()
	for i, s := range v.slots {
		if s.released != 1 {
			v.t.Errorf("a slot was released %d times", s.released)
		}
		last := i == len(v.slots)-1 || v.slots[i+1].grant.Exchange != id
		if s.grant.Exchange == id && s.settled != (left && last) {
			v.t.Errorf("a slot was released as settled: %t; it is the last: %t; a credential left: %t", s.settled, last, left)
		}
		if s.mode == exchange.ModeUpstream && s.minted && !s.settled && !s.revoked && v.revoke == nil {
			v.t.Error("a withheld credential was not revoked")
		}
	}
}
