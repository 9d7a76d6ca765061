package lease

import (
	"context"

	"github.com/cambio-sts/cambio/exchange"
)

// Intents is where the reaper finds intents without an outcome. The store
// implements it.
type Intents interface {
	// Pending lists at most limit intents whose deadline has passed twice over, by
	// the database's clock (S27), oldest first.
	Pending(ctx context.Context, limit int) ([]exchange.Intent, error)
}
