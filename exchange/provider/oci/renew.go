package oci

import (
	"context"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Renew lets a session live on: a fresh assertion says of the subject what the first
// one said, and its token names the same key, so whatever is signed meanwhile is
// signed with a key that its token names. It implements provider.Renewer.
func (d *signingDriver) Renew(ctx context.Context, target *exchange.Target, revokeWith exchange.Secret, until time.Time) (time.Time, error) {
	id, err := sessionOf(revokeWith)
	if err != nil {
		return time.Time{}, err
	}
	was, expires, err := d.sessions.Held(ctx, target.Tenant, id)
	if err != nil {
		return time.Time{}, ended(err)
	}
	s, key, err := release(was)
	if err != nil {
		return time.Time{}, err
	}
	if s.From != d.origin() {
		return time.Time{}, exchange.Fault(exchange.KindProviderRefused, "the target asks for its tokens otherwise by now", nil)
	}
	t, err := d.obtain(ctx, wish{tenant: target.Tenant, target: target.Name, identity: s.identity, notAfter: until}, &key.PublicKey)
	if err != nil {
		return time.Time{}, err
	}
	if t.expires.After(until) {
		if !d.settings.MayOutlive {
			return time.Time{}, exchange.Fault(exchange.KindProviderRefused, "the identity domain gives no life so short", nil)
		}
		t.expires = until // what signs stays here, so it stops then
	}
	if !t.expires.After(expires) {
		return time.Time{}, exchange.Fault(exchange.KindProviderRefused, "the identity domain gives no longer life", nil)
	}
	snapshot, err := d.seize(key, t, s.identity)
	if err != nil {
		return time.Time{}, err
	}
	if expires, err = d.sessions.Replace(ctx, target.Tenant, id, was, snapshot, t.expires); err != nil {
		return time.Time{}, ended(err)
	}
	return expires, nil
}

// ended says that a session is gone, or that nobody knows.
func ended(err error) error {
	if exchange.KindOf(err) == exchange.KindNotFound {
		return exchange.Fault(exchange.KindProviderRefused, "the session has ended", err)
	}
	return exchange.Fault(exchange.KindUnavailable, "the session could not be looked up, or not be kept; try again", err)
}
