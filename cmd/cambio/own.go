package main

import (
	"context"
	"crypto/rand"
	"log/slog"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/policy"
	"github.com/cambio-sts/cambio/exchange/subject"
	"github.com/cambio-sts/cambio/server/oauth"
)

// openOwn makes what knows tokens of ours: whether they are, and whether they stand.
func (h *house) openOwn(sealer *exchange.Sealer) exchange.OwnTokens {
	h.register = lease.NewRegister(h.store, h.now)
	h.self = subject.NewSelf(subject.SelfOptions{
		Tenant: policy.DefaultTenant, Issuer: h.issuer.URL(), Keys: h.issuer.AccessJWKS,
		Standing: h.standing, Open: sealer.OpenOrigin,
	})
	return h.self
}

func (h *house) standing(ctx context.Context, tenant string, id exchange.ID) (exchange.Lease, error) {
	l, err := h.register.Standing(ctx, tenant, id)
	return l.Lease, err
}

// ownTokens is what the OAuth door asks about tokens of ours.
func (h *house) ownTokens() *oauth.OwnTokens {
	return &oauth.OwnTokens{
		Read: h.self.Read, Standing: h.standing, Revoke: h.revokeOwn, Burn: h.ledger.Burn, Random: rand.Reader,
	}
}

// revokeOwn takes back a token of ours and what was obtained with it. What a provider
// would not take back is dead to us all the same, and the log has it.
func (h *house) revokeOwn(ctx context.Context, tenant string, id exchange.ID, by exchange.Record) error {
	return takeBack(ctx, h.desk.Revoke, h.log, lease.Revocation{Tenant: tenant, Lease: id, Reason: "given back by its client", By: by})
}

// takeBack goes on from page to page until everything has been looked at. The token
// itself is dead with the first; an error means that it is not, or that time ran out
// before all that came of it was seen to.
func takeBack(
	ctx context.Context, revoke func(context.Context, lease.Revocation, lease.Place) (lease.Revoked, error), log *slog.Logger, r lease.Revocation,
) error {
	for from, more := (lease.Place{}), true; more; {
		page, err := revoke(ctx, r, from)
		for i := range page.Credentials {
			switch c := &page.Credentials[i]; {
			case c.Fate != lease.FateNotStopped:
			case c.Lease.ID == r.Lease:
				return exchange.Fault(exchange.KindUnavailable, "that the token is revoked could not be recorded; try again", nil)
			default:
				log.WarnContext(ctx, "a credential that descends from a revoked token was not taken back", "lease", c.Lease.ID.String(), "why", c.Why)
			}
		}
		switch {
		case err != nil && from == (lease.Place{}):
			return err
		case err == nil:
			err = ctx.Err()
		}
		if err != nil {
			return exchange.Fault(exchange.KindUnavailable, "the token is revoked, and not all that was obtained with it in the time there was: send the same request again to go on", err)
		}
		from, more = page.Next, page.More
	}
	return nil
}
