package lease

import (
	"context"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Intents is where the reaper finds intents without an outcome. The store
// implements it.
type Intents interface {
	// Pending lists at most limit intents whose deadline has passed twice over, by
	// the database's clock (S27), oldest first.
	Pending(ctx context.Context, limit int) ([]exchange.Intent, error)
}

// Expiries is where the reaper finds leases to forget. The store implements it.
type Expiries interface {
	// PruneLeases forgets at most limit leases that expired longer than keep ago, by
	// the database's clock, and returns how many. Any number may call it at once.
	PruneLeases(ctx context.Context, keep time.Duration, limit int) (int, error)
}
