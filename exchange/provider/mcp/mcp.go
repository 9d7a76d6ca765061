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
	issued := g.Now.Truncate(time.Second)
	expires := expiry(g)
	if !expires.After(d.now()) {
		return exchange.Credential{}, exchange.Fault(exchange.KindInvalidLifetime,
			"the token you brought is about to expire: bring a fresh one", nil)
	}
	id, err := exchange.NewID(d.now(), d.random)
	if err != nil {
		return exchange.Credential{}, err
	}
	token, err := d.minter.Mint(ctx, exchange.AccessToken{
		ID: id, Subject: g.Subject.Name, Audience: d.settings.Resource, ClientID: clientID(g),
		Scopes: g.Scopes, Issued: issued, Expires: expires, Actors: g.Actors, MayAct: g.Subject.MayAct,
	})
	if err != nil {
		return exchange.Credential{}, err
	}
	return exchange.Credential{
		Value: token, TokenType: "Bearer", IssuedType: exchange.TokenTypeAccessToken,
		Issued: issued, Expires: expires, Scopes: g.Scopes, Handle: id.String(), Lease: id,
	}, nil
}

// expiry is the least of the caps, in whole seconds, since `exp` has no others:
// rounding up would outlive a cap (S5).
func expiry(g exchange.Grant) time.Time {
	expires := g.Now.Add(exchange.MaxAccessTokenLifetime)
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
