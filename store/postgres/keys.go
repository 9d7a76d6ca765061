package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/exchange/issuer"
	"github.com/cambio-sts/cambio/store/postgres/internal/db"
)

// keyLock orders the additions of signing keys.
const keyLock = 7165064744911531012

// ListKeys returns every key row, oldest first.
func (s *Store) ListKeys(ctx context.Context) ([]issuer.SealedKey, error) {
	found, err := s.queries.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the signing keys: %w", err)
	}
	keys := make([]issuer.SealedKey, len(found))
	for i, row := range found {
		keys[i] = issuer.SealedKey{
			Purpose: row.Purpose, KeyID: row.Kid, Algorithm: row.Algorithm, Sealed: row.Sealed,
			PublishAt: row.PublishAt, SignAt: row.SignAt,
		}
		if row.RetireAt != nil {
			keys[i].RetireAt = *row.RetireAt
		}
	}
	return keys, nil
}

// AddKey inserts a key if the newest of its purpose is still the one named after.
func (s *Store) AddKey(ctx context.Context, k issuer.SealedKey, after string) (bool, error) {
	var added bool
	err := s.inTransaction(ctx, func(q *db.Queries) error {
		if err := q.OwnKeys(ctx, keyLock); err != nil {
			return err
		}
		newest, err := q.NewestKey(ctx, k.Purpose)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if newest != after {
			return nil
		}
		var retire *time.Time
		if !k.RetireAt.IsZero() {
			retire = &k.RetireAt
		}
		n, err := q.AddKey(ctx, db.AddKeyParams{
			Purpose: k.Purpose, Kid: k.KeyID, Algorithm: k.Algorithm, Sealed: k.Sealed,
			PublishAt: k.PublishAt, SignAt: k.SignAt, RetireAt: retire,
		})
		added = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("adding a signing key: %w", err)
	}
	return added, nil
}

// RetireKey deletes a key that has expired.
func (s *Store) RetireKey(ctx context.Context, purpose, kid string) error {
	if err := s.queries.RetireKey(ctx, purpose, kid); err != nil {
		return fmt.Errorf("deleting a signing key: %w", err)
	}
	return nil
}
