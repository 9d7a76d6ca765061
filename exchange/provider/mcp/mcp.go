package mcp

import (
	"context"
	"io"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

type driver struct {
	settings Settings
	minter   provider.Minter
	now      func() time.Time
	random   io.Reader
}

// Local marks that nothing is left outside.
func (*driver) Local() {}

// Vend signs an access token for the resource.
func (d *driver) Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error) {
	t, err := newToken(g, exchange.MaxAccessTokenLifetime, d.now(), d.random)
	if err != nil {
		return exchange.Credential{}, err
	}
	t.Audience, t.ClientID = d.settings.Resource, clientID(g)
	token, err := d.minter.Mint(ctx, t)
	if err != nil {
		return exchange.Credential{}, err
	}
	return exchange.Credential{
		Value: token, TokenType: "Bearer", IssuedType: exchange.TokenTypeAccessToken,
		Issued: t.Issued, Expires: t.Expires, Scopes: g.Scopes, Handle: t.ID.String(), Lease: t.ID,
	}, nil
}

// newToken is what a grant says of whatever is signed for it, with an id of its own.
func newToken(g exchange.Grant, longest time.Duration, now time.Time, random io.Reader) (exchange.AccessToken, error) {
	t := exchange.AccessToken{
		Subject: g.Subject.Name, Scopes: g.Scopes, Issued: g.Now.Truncate(time.Second), Expires: expiry(g, longest),
		Actors: g.Actors, MayAct: g.Subject.MayAct,
	}
	if !t.Expires.After(now) {
		return t, exchange.Fault(exchange.KindInvalidLifetime,
			"the token you brought is about to expire: bring a fresh one", nil)
	}
	var err error
	t.ID, err = exchange.NewID(now, random)
	return t, err
}

// expiry is the least of the caps, in whole seconds, since `exp` has no others:
// rounding up would outlive a cap (S5).
func expiry(g exchange.Grant, longest time.Duration) time.Time {
	expires := g.Now.Add(longest)
	if wished := g.Now.Add(g.Lifetime); g.Lifetime > 0 && wished.Before(expires) {
		expires = wished
	}
	if g.NotAfter.Before(expires) {
		expires = g.NotAfter
	}
	return expires.Truncate(time.Second)
}

// clientID follows S3: the registered client, else the actor that was proven, else
// the subject itself.
func clientID(g exchange.Grant) string {
	if g.Client != "" {
		return g.Client
	}
	for _, a := range g.Actors {
		if a.Proven {
			return a.Name
		}
	}
	return g.Subject.Name
}
