package sqlite

import (
	"context"
	"fmt"

	"github.com/cambio-sts/cambio/exchange/issuer"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/store/sqlite/internal/db"
)

// ChangeKeys implements issuer.Custody.
func (s *Store) ChangeKeys(ctx context.Context, c issuer.KeyChange) (done bool, err error) {
	err = s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		n, err := q.AddKey(ctx, db.AddKeyParams{
			Purpose: c.Add.Purpose, Kid: c.Add.KeyID, Algorithm: c.Add.Algorithm, Sealed: c.Add.Sealed,
			PublishAt: micros(c.Add.PublishAt), SignAt: micros(c.Add.SignAt), RetireAt: microsOrNull(c.Add.RetireAt), After: c.After,
		})
		if err != nil || n == 0 {
			return err
		}
		for _, kid := range c.Remove {
			if err := q.RetireKey(ctx, db.RetireKeyParams{Purpose: c.Add.Purpose, Kid: kid}); err != nil {
				return err
			}
		}
		done = true
		return appendOne(ctx, q, c.Event)
	})
	if err != nil {
		return false, fmt.Errorf("changing the signing keys: %w", err)
	}
	return done, nil
}

// ReplaceSealed implements issuer.Custody.
func (s *Store) ReplaceSealed(ctx context.Context, purpose, kid string, old, sealed []byte) (replaced bool, err error) {
	err = s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		n, err := q.ReplaceSealed(ctx, db.ReplaceSealedParams{Fresh: sealed, Purpose: purpose, Kid: kid, Old: old})
		replaced = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("replacing a sealed key: %w", err)
	}
	return replaced, nil
}

// ListSealed implements lease.Seals.
func (s *Store) ListSealed(ctx context.Context, header []byte, after lease.Sealed, limit int) ([]lease.Sealed, error) {
	rows, err := s.read.ListSealed(ctx, db.ListSealedParams{Tenant: after.Tenant, ID: after.ID[:], Header: header, Most: int64(max(limit, 0))})
	if err != nil {
		return nil, fmt.Errorf("reading leases: %w", err)
	}
	seals := make([]lease.Sealed, len(rows))
	for i, r := range rows {
		seals[i] = lease.Sealed{Tenant: r.Tenant, ID: id(r.ID), Sealed: r.Sealed, Origin: r.Origin}
	}
	return seals, nil
}

// ReplaceSeals implements lease.Seals.
func (s *Store) ReplaceSeals(ctx context.Context, seals []lease.Sealed) (replaced int, err error) {
	err = s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		for _, l := range seals {
			n, err := q.ReplaceSeal(ctx, db.ReplaceSealParams{
				Fresh: l.Fresh, FreshOrigin: l.FreshOrigin, Tenant: l.Tenant, ID: l.ID[:], Old: l.Sealed, OldOrigin: l.Origin,
			})
			if err != nil {
				return err
			}
			replaced += int(n)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("replacing what leases have sealed: %w", err)
	}
	return replaced, nil
}
