package lease

import (
	"context"

	"github.com/cambio-sts/cambio/exchange"
)

// Leases returns a page of leases, the last to expire first.
func (k *Desk) Leases(ctx context.Context, q List) ([]exchange.Lease, error) {
	list, err := k.o.Book.ListLeases(ctx, q)
	if err != nil {
		return nil, unreadable(err)
	}
	return list, nil
}

// Lease returns one lease with its outcome, ended or not. An unknown one is an
// *exchange.Error of KindNotFound.
func (k *Desk) Lease(ctx context.Context, tenant string, id exchange.ID) (Outstanding, error) {
	l, err := k.o.Book.LeaseWithRecord(ctx, tenant, id)
	if err != nil {
		return Outstanding{}, unreadable(err)
	}
	return l, nil
}

// Way is how a credential is taken back.
type Way uint8

// The ways.
const (
	WayNone     Way = iota // it works until it expires
	WayProvider            // its provider ends it
	WayHere                // introspection and exchange here refuse it
)

// WayOf is how the credential of a lease is taken back.
func WayOf(l exchange.Lease) Way {
	switch {
	case len(l.Sealed) > 0:
		return WayProvider
	case ours(&l):
		return WayHere
	}
	return WayNone
}
