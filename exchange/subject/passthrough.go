package subject

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// VerifyPassthrough proves that a token, meant for a provider and so for another
// audience than ours, is of the very subject whose own token was verified: the same
// trust, and all that the two tokens say about who it is (S8). Without this a caller
// could have somebody else's stolen token presented from here.
//
// Nothing is kept of it: such a token comes once for each credential that a provider
// mints.
func (v *Verifier) VerifyPassthrough(ctx context.Context, t exchange.Token, of exchange.Subject, now time.Time) error {
	raw := t.Value.Reveal()
	if err := checkForm(raw); err != nil {
		return asPassthrough(err)
	}
	p, c, trust, k, err := v.signed(ctx, raw, now)
	if err != nil {
		return asPassthrough(err)
	}
	if err := trust.checkUse(p, c, now); err != nil {
		return asPassthrough(err)
	}
	s, err := trust.build(c, k, fingerprintOf(raw))
	if err != nil {
		return asPassthrough(err)
	}
	same := s.Tenant == of.Tenant && s.Trust == of.Trust && s.TrustHash == of.TrustHash && s.Name == of.Name &&
		s.Issuer == of.Issuer && s.ID == of.ID && slices.Equal(s.Attributes["uid"], of.Attributes["uid"])
	if !same || len(s.Asserted) > 0 || s.MayAct != nil {
		return errNotSame
	}
	return nil
}

var errNotSame = exchange.Fault(exchange.KindInvalidRequest, "passthrough_token: it is not a token of the subject itself: bring one of the same issuer for the same subject", nil)

// asPassthrough says which of the request's tokens was refused.
func asPassthrough(err error) error {
	var e *exchange.Error
	if errors.As(err, &e) && e.Kind == exchange.KindInvalidSubject {
		return exchange.Fault(exchange.KindInvalidRequest, "passthrough_token: "+e.Advice, err)
	}
	return err
}
