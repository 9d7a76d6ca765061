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

// dynamic hands out what an engine makes for each who asks.
type dynamic struct{ *core }

// Vend has the engine make credentials. With an error RevokeWith may be there all the
// same: the login whose end takes with it whatever was made and not heard of.
func (d *dynamic) Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error) {
	if err := d.fits(&g); err != nil {
		return exchange.Credential{}, err
	}
	l, err := d.login(ctx, &g)
	if err != nil {
		return exchange.Credential{}, err
	}
	var c exchange.Credential
	if d.settings.Wrap > 0 {
		c, err = d.wrapped(ctx, &g, l)
	} else {
		c, err = d.plain(ctx, &g, l)
	}
	if err != nil {
		return exchange.Credential{RevokeWith: d.seal(snapshot{Token: l.token.Reveal()})}, err
	}
	return c, nil
}

// mint asks the engine.
func (d *dynamic) mint(ctx context.Context, l login, lives, wrap time.Duration) (*provider.Answer, *answer, error) {
	parameters := map[string]any{}
	for name, value := range d.settings.Parameters {
		parameters[name] = value
	}
	if d.settings.TTLParameter != "" {
		parameters[d.settings.TTLParameter] = seconds(lives)
	}
	c := call{method: http.MethodGet, path: d.settings.Path, token: l.token, wrap: wrap}
	if d.settings.Method == WritePath {
		c.method, c.body = http.MethodPost, parameters
	} else {
		c.query = query(parameters)
	}
	a, err := d.wire.ask(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	if a.Status != http.StatusOK {
		return nil, nil, d.pathRefused(a)
	}
	said := &answer{}
	return a, said, a.Decode(said)
}

// plain is the credential that the engine made, cut to what the exchange may give.
func (d *dynamic) plain(ctx context.Context, g *exchange.Grant, l login) (exchange.Credential, error) {
	issued := d.now()
	lives := d.wish(g, issued)
	a, said, err := d.mint(ctx, l, lives, 0)
	if err != nil {
		return exchange.Credential{}, err
	}
	if said.Data == nil {
		return exchange.Credential{}, a.Unusable(errors.New("it has no data"))
	}
	if said.LeaseID == "" {
		return d.leaseless(ctx, g, l, a, said, issued)
	}
	asked, err := life(a, said.LeaseDuration)
	if err != nil {
		return exchange.Credential{}, err
	}
	ends := issued.Add(asked)
	if asked > lives && said.Renewable { // Vault takes a shorter life, too, for the asking
		if ends, err = d.renewLease(ctx, l.token, said.LeaseID, lives); err != nil {
			return exchange.Credential{}, err
		}
	}
	// The login that keeps the lease alive lives as long, and no longer.
	if left := ends.Sub(d.now()); l.ends.IsZero() || l.ends.Before(ends) || l.ends.After(ends.Add(time.Minute)) {
		if l, err = d.prolong(ctx, l, max(left, time.Second)); err != nil {
			return exchange.Credential{}, err
		}
	}
	if !l.ends.IsZero() && l.ends.Before(ends) {
		ends = l.ends
	}
	if err := d.within(g, ends); err != nil {
		return exchange.Credential{}, err
	}
	value, kind, err := d.value(a, lease{LeaseID: said.LeaseID, Renewable: said.Renewable, Data: said.Data})
	if err != nil {
		return exchange.Credential{}, err
	}
	kept := snapshot{Token: l.token.Reveal(), Lease: said.LeaseID}
	if !l.renewable {
		kept.LoginEnds = l.ends
	}
	return exchange.Credential{
		Value: value, TokenType: "N_A", IssuedType: kind, Issued: issued, Expires: ends, Handle: handle(said.LeaseID, g),
		RevokeWith: d.seal(kept),
	}, nil
}

// leaseless is what an engine made that keeps no lease of it, such as a certificate.
// Nothing takes it back, and nothing hangs on the login.
func (d *dynamic) leaseless(ctx context.Context, g *exchange.Grant, l login, a *provider.Answer, said *answer, issued time.Time) (exchange.Credential, error) {
	var ends int64 // Unix seconds
	if json.Unmarshal(said.Data["expiration"], &ends) != nil || ends <= 0 || ends > 1<<40 {
		return exchange.Credential{}, misconfigured(nil, "the target's path gives neither a lease nor an expiration: a value that stays is of kind kv; the operator must check path and kind")
	}
	expires := time.Unix(ends, 0)
	if err := d.within(g, expires); err != nil {
		return exchange.Credential{}, err
	}
	value, kind, err := d.value(a, lease{Data: said.Data})
	if err != nil {
		return exchange.Credential{}, err
	}
	d.dismiss(ctx, l)
	return exchange.Credential{
		Value: value, TokenType: "N_A", IssuedType: kind, Issued: issued, Expires: expires, Handle: handle(said.RequestID, g),
	}, nil
}

// wrapped is a wrapping token around what the engine made. Its lease is then known to
// whoever unwraps it and to nobody here; but it ends with the login, whose end is known.
func (d *dynamic) wrapped(ctx context.Context, g *exchange.Grant, l login) (exchange.Credential, error) {
	lives := d.wish(g, d.now())
	l, err := d.prolong(ctx, l, lives)
	if err != nil {
		return exchange.Credential{}, err
	}
	if l.ends.IsZero() {
		return exchange.Credential{}, misconfigured(nil, "Vault gives a login that never ends, and what is wrapped would live as long: the operator must give the role a token_ttl")
	}
	if err := d.within(g, l.ends); err != nil {
		return exchange.Credential{}, err
	}
	issued := d.now()
	a, said, err := d.mint(ctx, l, lives, min(d.settings.Wrap, lives))
	if err != nil {
		return exchange.Credential{}, err
	}
	token, accessor, err := wrapping(a, said)
	if err != nil {
		return exchange.Credential{}, err
	}
	return exchange.Credential{
		Value: token, TokenType: "N_A", IssuedType: TokenTypeWrapping, Issued: issued, Expires: l.ends, Handle: handle(accessor, g),
		RevokeWith: d.seal(snapshot{Token: l.token.Reveal(), Wrapping: token.Reveal()}),
	}, nil
}
