package lease

import (
	"context"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Book is where leases stand, and intents without an outcome. The store implements
// it.
type Book interface {
	// Outstanding returns one page of the leases that are active and not expired by
	// the database's clock, the first to expire first.
	Outstanding(ctx context.Context, q Query) ([]Outstanding, error)
	// Unsettled lists at most limit intents of a tenant that have no outcome,
	// whether due or not, in the order of their exchanges, after the one named.
	Unsettled(ctx context.Context, tenant string, after exchange.ID, limit int) ([]exchange.Intent, error)
	// RevokeLease makes an active lease revoked and writes the event, in one
	// transaction. False: the lease was not active, and nothing was written.
	RevokeLease(ctx context.Context, tenant string, id exchange.ID, event exchange.Event) (bool, error)
}

// Query selects a page of what is outstanding.
type Query struct {
	Tenant                string
	Subject, Target, Rule string    // to their exact values; empty: any
	Expires               time.Time // with After, the lease that the page before ended with
	After                 exchange.ID
	Limit                 int // at least 1
}

// Outstanding is a lease with the outcome that it was written with. The record is
// empty where the ledger has it no more.
type Outstanding struct {
	exchange.Lease
	Record exchange.Record
}
