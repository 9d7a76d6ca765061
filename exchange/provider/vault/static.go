package vault

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// static hands out values that stay as they are until somebody changes them.
type static struct{ *core }

// Vend reads the value. What is told as its expiry is when it is to be read again.
func (d *static) Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error) {
	if err := d.fits(&g); err != nil {
		return exchange.Credential{}, err
	}
	l, err := d.login(ctx, &g)
	if err != nil {
		return exchange.Credential{}, err
	}
	defer d.dismiss(ctx, l)
	issued := d.now()
	a, err := d.wire.ask(ctx, call{
		method: http.MethodGet, path: d.settings.Path, token: l.token, wrap: min(d.settings.Wrap, g.NotAfter.Sub(issued)),
	})
	if err != nil {
		return exchange.Credential{}, err
	}
	if a.Status != http.StatusOK {
		return exchange.Credential{}, d.pathRefused(a)
	}
	var said answer
	if err := a.Decode(&said); err != nil {
		return exchange.Credential{}, err
	}
	if d.settings.Wrap > 0 {
		return d.wrapped(&g, a, &said, issued)
	}
	if d.settings.Version != 1 {
		if said.Data, err = current(a, said.Data); err != nil {
			return exchange.Credential{}, err
		}
	}
	if said.Data == nil {
		return exchange.Credential{}, a.Unusable(errors.New("it has no data"))
	}
	value, kind, err := d.value(a, lease{Data: said.Data})
	if err != nil {
		return exchange.Credential{}, err
	}
	expires := issued.Add(d.settings.refresh())
	if g.NotAfter.Before(expires) {
		expires = g.NotAfter
	}
	return exchange.Credential{
		Value: value, TokenType: "N_A", IssuedType: kind, Issued: issued, Expires: expires, Handle: handle(said.RequestID, &g),
		RevokeWith: d.seal(snapshot{Read: g.Exchange.String()}),
	}, nil
}

// current takes the fields out of an answer of the KV engine's version 2, which has
// the metadata beside them.
func current(a *provider.Answer, data map[string]json.RawMessage) (map[string]json.RawMessage, error) {
	if _, ok := data["metadata"]; !ok {
		return nil, misconfigured(nil, "the target's path does not answer as the KV engine's version 2: the operator must check path and version")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data["data"], &fields); err != nil || fields == nil {
		return nil, a.Unusable(errors.New("it has no fields"))
	}
	return fields, nil
}

// wrapped is the credential that a wrapping token is.
func (d *static) wrapped(g *exchange.Grant, a *provider.Answer, said *answer, issued time.Time) (exchange.Credential, error) {
	token, accessor, err := wrapping(a, said)
	if err != nil {
		return exchange.Credential{}, err
	}
	lives, err := life(a, said.WrapInfo.TTL)
	if err != nil {
		return exchange.Credential{}, err
	}
	return exchange.Credential{
		Value: token, TokenType: "N_A", IssuedType: TokenTypeWrapping, Issued: issued, Expires: issued.Add(lives), Handle: handle(accessor, g),
		RevokeWith: d.seal(snapshot{Wrapping: token.Reveal()}),
	}, nil
}

// Revoke takes back a wrapping token that nobody has used. Of a value that is out it
// says so.
func (d *static) Revoke(ctx context.Context, _ *exchange.Target, with exchange.Secret) error {
	s, err := d.open(with)
	if err != nil {
		return err
	}
	if s.Wrapping == "" {
		return exchange.ErrHandedOut
	}
	unused, err := d.unwrap(ctx, exchange.NewSecret(s.Wrapping))
	if err == nil && !unused {
		return exchange.ErrHandedOut
	}
	return err
}
