package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/cambio-sts/cambio/exchange"
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
