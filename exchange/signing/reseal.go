package signing

import (
	"context"
	"fmt"

	"github.com/cambio-sts/cambio/exchange"
)

// Seals is where sealed sessions are kept. The store implements it.
type Seals interface {
	// ListSealedSessions returns at most limit sessions whose sealed part does not
	// begin with header, after the one named, by tenant and id.
	ListSealedSessions(ctx context.Context, header []byte, after Sealed, limit int) ([]Sealed, error)
	// ReplaceSessionSeals puts what is Fresh in each in the place of what was sealed,
	// where the session still has that, in one transaction, and returns how many it
	// changed.
	ReplaceSessionSeals(ctx context.Context, seals []Sealed) (int, error)
}

// Sealed is the sealed part of one session.
type Sealed struct {
	Tenant        string
	ID            exchange.ID
	Sealed, Fresh []byte
}

// resealBatch is how many sessions change in one transaction: some milliseconds.
const resealBatch = 500

// Reseal seals under the sealer's current key whatever sessions hold under another,
// as lease.Reseal does: batch by batch, never twice. What is renewed or ended
// meanwhile stays as it is then. progress is told after each batch. dry only counts.
func Reseal(ctx context.Context, s Seals, sealer *exchange.Sealer, dry bool, progress func(exchange.Resealed)) (exchange.Resealed, error) {
	var done exchange.Resealed
	var last Sealed
	for {
		batch, err := s.ListSealedSessions(ctx, sealer.Header(), last, resealBatch)
		if err != nil {
			return done, fmt.Errorf("reading what sessions have sealed: %w", err)
		}
		var fresh []Sealed
		for _, held := range batch {
			if held.Fresh, err = sealer.Reseal(sealPurpose, held.ID.String(), held.Sealed); err != nil {
				done.Fault(fmt.Errorf("session %s: %w", held.ID, err))
			} else if held.Fresh != nil {
				fresh = append(fresh, held)
			}
		}
		replaced := len(fresh)
		if replaced > 0 && !dry {
			if replaced, err = s.ReplaceSessionSeals(ctx, fresh); err != nil {
				return done, fmt.Errorf("resealing sessions: %w", err)
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
