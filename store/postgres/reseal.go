package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/exchange/issuer"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/store/postgres/internal/db"
)

// resealLock keeps two changes of the seals of leases, or of sessions, from meeting
// row by row.
const resealLock = 7165064744911531013

// ChangeKeys adds a key, removes others and writes the event, if the newest of the
// purpose is still the one named.
func (s *Store) ChangeKeys(ctx context.Context, c issuer.KeyChange) (bool, error) {
	done := false
	err := s.inTransaction(ctx, func(q *db.Queries) error {
		if err := q.OwnKeys(ctx, keyLock); err != nil {
			return err
		}
		newest, err := q.NewestKey(ctx, c.Add.Purpose)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if newest != c.After {
			return nil
		}
		var retire *time.Time
		if !c.Add.RetireAt.IsZero() {
			retire = &c.Add.RetireAt
		}
		n, err := q.AddKey(ctx, db.AddKeyParams{
			Purpose: c.Add.Purpose, Kid: c.Add.KeyID, Algorithm: c.Add.Algorithm, Sealed: c.Add.Sealed,
			PublishAt: c.Add.PublishAt, SignAt: c.Add.SignAt, RetireAt: retire,
		})
		if err != nil || n == 0 {
			return err
		}
		for _, kid := range c.Remove {
			if err := q.RetireKey(ctx, c.Add.Purpose, kid); err != nil {
				return err
			}
		}
		done = true
		return insertEvent(ctx, q, c.Event)
	})
	if err != nil {
		return false, fmt.Errorf("changing the signing keys: %w", err)
	}
	return done, nil
}

// ReplaceSealed puts sealed in the place of old, if the key still holds that.
func (s *Store) ReplaceSealed(ctx context.Context, purpose, kid string, old, sealed []byte) (bool, error) {
	n, err := s.queries.ReplaceSealed(ctx, sealed, purpose, kid, old)
	if err != nil {
		return false, fmt.Errorf("replacing a sealed key: %w", err)
	}
	return n == 1, nil
}

// ListSealed lists what leases have sealed that does not begin with header.
func (s *Store) ListSealed(ctx context.Context, header []byte, after lease.Sealed, limit int) ([]lease.Sealed, error) {
	found, err := s.queries.ListSealed(ctx, after.Tenant, after.ID, header, atMost(limit))
	if err != nil {
		return nil, unread(ctx, "reading leases", err)
	}
	seals := make([]lease.Sealed, len(found))
	for i, row := range found {
		seals[i] = lease.Sealed{Tenant: row.Tenant, ID: row.ID, Sealed: row.Sealed, Origin: row.Origin}
	}
	return seals, nil
}

// ReplaceSeals puts what is fresh in the place of what was sealed.
func (s *Store) ReplaceSeals(ctx context.Context, seals []lease.Sealed) (int, error) {
	var p db.ReplaceSealsParams
	for _, l := range seals {
		p.Tenants, p.Ids = append(p.Tenants, l.Tenant), append(p.Ids, l.ID)
		p.Olds, p.Freshs = append(p.Olds, l.Sealed), append(p.Freshs, l.Fresh)
		p.OldOrigins, p.FreshOrigins = append(p.OldOrigins, l.Origin), append(p.FreshOrigins, l.FreshOrigin)
	}
	var replaced int64
	err := s.inTransaction(ctx, func(q *db.Queries) error {
		err := q.OwnKeys(ctx, resealLock)
		if err == nil {
			err = q.OwnLeases(ctx, p.Tenants, p.Ids)
		}
		if err == nil {
			replaced, err = q.ReplaceSeals(ctx, p)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("replacing what leases have sealed: %w", err)
	}
	return int(replaced), nil
}
