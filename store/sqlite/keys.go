package sqlite

import (
	"context"
	"fmt"

	"github.com/cambio-sts/cambio/exchange/issuer"
	"github.com/cambio-sts/cambio/store/sqlite/internal/db"
)

// ListKeys implements issuer.Keys.
func (s *Store) ListKeys(ctx context.Context) ([]issuer.SealedKey, error) {
	rows, err := s.read.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the signing keys: %w", err)
	}
	keys := make([]issuer.SealedKey, len(rows))
	for i, r := range rows {
		keys[i] = issuer.SealedKey{
			Purpose: r.Purpose, KeyID: r.Kid, Algorithm: r.Algorithm, Sealed: r.Sealed,
			PublishAt: moment(r.PublishAt), SignAt: moment(r.SignAt), RetireAt: momentOrZero(r.RetireAt),
		}
	}
	return keys, nil
}

// AddKey implements issuer.Keys.
func (s *Store) AddKey(ctx context.Context, k issuer.SealedKey, after string) (added bool, err error) {
	err = s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		n, err := q.AddKey(ctx, db.AddKeyParams{
			Purpose: k.Purpose, Kid: k.KeyID, Algorithm: k.Algorithm, Sealed: k.Sealed,
			PublishAt: micros(k.PublishAt), SignAt: micros(k.SignAt), RetireAt: microsOrNull(k.RetireAt), After: after,
		})
		added = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("adding a signing key: %w", err)
	}
	return added, nil
}

// RetireKey implements issuer.Keys.
func (s *Store) RetireKey(ctx context.Context, purpose, kid string) error {
	err := s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		return q.RetireKey(ctx, db.RetireKeyParams{Purpose: purpose, Kid: kid})
	})
	if err != nil {
		return fmt.Errorf("retiring a signing key: %w", err)
	}
	return nil
}
