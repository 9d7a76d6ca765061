package lease

import (
	"context"
	"fmt"

	"github.com/cambio-sts/cambio/exchange"
)

// Seals is where the sealed parts of leases are kept. The store implements it.
type Seals interface {
	// ListSealed returns at most limit leases that have something sealed which does
	// not begin with header, after the lease named, by tenant and id.
	ListSealed(ctx context.Context, header []byte, after Sealed, limit int) ([]Sealed, error)
	// ReplaceSeals puts each Fresh in the place of its Sealed, where that is what
	// the lease still holds, in one transaction, and returns how many it replaced.
	ReplaceSeals(ctx context.Context, seals []Sealed) (int, error)
}

// Sealed is the sealed part of one lease.
type Sealed struct {
	Tenant string
	ID     exchange.ID
	Sealed []byte
	Fresh  []byte
}

// resealBatch is how many leases change in one transaction: some milliseconds.
const resealBatch = 500

// Reseal seals under the sealer's current key whatever leases hold under another,
// batch by batch. What was done stays done when it is interrupted, and is not done
// again. progress is told after each batch. dry only counts.
func Reseal(ctx context.Context, s Seals, sealer *exchange.Sealer, dry bool, progress func(exchange.Resealed)) (exchange.Resealed, error) {
	var done exchange.Resealed
	var last Sealed
	for {
		batch, err := s.ListSealed(ctx, sealer.Header(), last, resealBatch)
		if err != nil {
			return done, fmt.Errorf("reading what leases have sealed: %w", err)
		}
		var fresh []Sealed
		for _, l := range batch {
			// The pipeline seals under ("lease", id).
			if l.Fresh, err = sealer.Reseal("lease", l.ID.String(), l.Sealed); err != nil {
				done.Fault(fmt.Errorf("lease %s: %w", l.ID, err))
			} else if l.Fresh != nil {
				fresh = append(fresh, l)
			}
		}
		replaced := len(fresh)
		if replaced > 0 && !dry {
			if replaced, err = s.ReplaceSeals(ctx, fresh); err != nil {
				return done, fmt.Errorf("resealing leases: %w", err)
			}
		}
		if done.Done += replaced; len(batch) > 0 {
			progress(done)
		}
		if len(batch) < resealBatch {
			return done, nil
		}
		last = batch[len(batch)-1]
	}
}
