// Package store says what an engine must do: the sum of what the rooms of the
// domain declare. postgres and sqlite do it; storetest is the suite that both
// pass.
package store

import (
	"context"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/issuer"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/exchange/policy"
	"github.com/cambio-sts/cambio/exchange/signing"
)

// Store is one open database.
type Store interface {
	ledger.Log
	ledger.Audit
	issuer.Custody
	lease.Seals
	policy.State
	lease.Denies
	lease.Book
	lease.Standings
	lease.Expiries
	signing.Store
	signing.Seals
	// Lease returns one lease, or an *exchange.Error of KindNotFound.
	Lease(ctx context.Context, tenant string, id exchange.ID) (exchange.Lease, error)
	// Ping reports whether the database answers and would accept a write now.
	Ping(ctx context.Context) error
	Close() error
}
