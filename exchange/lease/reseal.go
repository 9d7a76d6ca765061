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
	// ReplaceSeals puts what is Fresh in each in the place of what was sealed, where
	// the lease still holds both as they were, in one transaction, and returns how
	// many leases it changed.
	ReplaceSeals(ctx context.Context, seals []Sealed) (int, error)
}

// Sealed are the sealed parts of one lease: what revokes it, and for whom a token of
// ours was issued. Nil: it has none, and among the fresh: it stays.
type Sealed struct {
	Tenant             string
	ID                 exchange.ID
	Sealed, Origin     []byte
	Fresh, FreshOrigin []byte
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
			// The pipeline seals under ("lease", id) and ("origin", id).
			for _, part := range []struct {
				purpose string
				sealed  []byte
				fresh   *[]byte
			}{{"lease", l.Sealed, &l.Fresh}, {"origin", l.Origin, &l.FreshOrigin}} {
				if len(part.sealed) == 0 {
					continue
				}
				if *part.fresh, err = sealer.Reseal(part.purpose, l.ID.String(), part.sealed); err != nil {
					done.Fault(fmt.Errorf("lease %s: %w", l.ID, err))
				}
			}
			if l.Fresh != nil || l.FreshOrigin != nil {
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
