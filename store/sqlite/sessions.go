package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/signing"
	"github.com/cambio-sts/cambio/store/sqlite/internal/db"
)

// HoldSession implements signing.Store.
func (s *Store) HoldSession(ctx context.Context, held exchange.Session) error {
	err := s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		return q.HoldSession(ctx, db.HoldSessionParams{
			Tenant: held.Tenant, ID: held.ID[:], Exchange: held.Exchange[:], Target: held.Target, Subject: held.Subject,
			Sealed: held.Sealed, Expires: micros(held.Expires),
		})
	})
	if err != nil {
		return fmt.Errorf("adding a signing session: %w", err)
	}
	return nil
}

// Session implements signing.Store.
func (s *Store) Session(ctx context.Context, tenant string, of exchange.ID) (exchange.Session, error) {
	row, err := s.read.SessionOf(ctx, db.SessionOfParams{Tenant: tenant, ID: of[:]})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return exchange.Session{}, exchange.Fault(exchange.KindNotFound, "there is no such session", nil)
	case err != nil:
		return exchange.Session{}, fmt.Errorf("reading a signing session: %w", err)
	}
	return exchange.Session{
		ID: of, Tenant: tenant, Exchange: id(row.Exchange), Target: row.Target, Subject: row.Subject, Sealed: row.Sealed,
		Expires: moment(row.Expires),
	}, nil
}

// ReplaceSession implements signing.Store.
func (s *Store) ReplaceSession(ctx context.Context, held exchange.Session, old []byte) (replaced bool, err error) {
	err = s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		n, err := q.ReplaceSession(ctx, db.ReplaceSessionParams{
			Fresh: held.Sealed, Expires: micros(held.Expires), Tenant: held.Tenant, ID: held.ID[:], Old: old,
		})
		replaced = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("replacing a signing session: %w", err)
	}
	return replaced, nil
}

// EndSession implements signing.Store.
func (s *Store) EndSession(ctx context.Context, tenant string, of exchange.ID) error {
	err := s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		return q.EndSession(ctx, db.EndSessionParams{Tenant: tenant, ID: of[:]})
	})
	if err != nil {
		return fmt.Errorf("ending a signing session: %w", err)
	}
	return nil
}

// PruneSessions implements signing.Store.
func (s *Store) PruneSessions(ctx context.Context, limit int) (pruned int, err error) {
	err = s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		n, err := q.PruneSessions(ctx, db.PruneSessionsParams{Most: int64(max(limit, 0))})
		pruned = int(n)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("forgetting expired signing sessions: %w", err)
	}
	return pruned, nil
}

// ListSealedSessions implements signing.Seals.
func (s *Store) ListSealedSessions(ctx context.Context, header []byte, after signing.Sealed, limit int) ([]signing.Sealed, error) {
	rows, err := s.read.ListSealedSessions(ctx, db.ListSealedSessionsParams{Tenant: after.Tenant, ID: after.ID[:], Header: header, Most: int64(max(limit, 0))})
	if err != nil {
		return nil, fmt.Errorf("reading signing sessions: %w", err)
	}
	seals := make([]signing.Sealed, len(rows))
	for i, r := range rows {
		seals[i] = signing.Sealed{Tenant: r.Tenant, ID: id(r.ID), Sealed: r.Sealed}
	}
	return seals, nil
}

// ReplaceSessionSeals implements signing.Seals.
func (s *Store) ReplaceSessionSeals(ctx context.Context, seals []signing.Sealed) (replaced int, err error) {
	err = s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		for _, held := range seals {
			n, err := q.ReplaceSessionSeal(ctx, db.ReplaceSessionSealParams{Fresh: held.Fresh, Tenant: held.Tenant, ID: held.ID[:], Old: held.Sealed})
			if err != nil {
				return err
			}
			replaced += int(n)
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("replacing what signing sessions have sealed: %w", err)
	}
	return replaced, nil
}
