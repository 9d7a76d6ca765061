package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/store/postgres/internal/db"
)

// HoldSession implements signing.Store.
func (s *Store) HoldSession(ctx context.Context, held exchange.Session) error {
	err := s.queries.HoldSession(ctx, db.HoldSessionParams{
		Tenant: held.Tenant, ID: held.ID, Exchange: held.Exchange, Target: held.Target, Subject: held.Subject,
		Sealed: held.Sealed, Expires: held.Expires,
	})
	if err != nil {
		return fmt.Errorf("adding a signing session: %w", err)
	}
	return nil
}

// Session implements signing.Store.
func (s *Store) Session(ctx context.Context, tenant string, id exchange.ID) (exchange.Session, error) {
	row, err := s.queries.SessionOf(ctx, tenant, id)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return exchange.Session{}, exchange.Fault(exchange.KindNotFound, "there is no such session", nil)
	case err != nil:
		return exchange.Session{}, fmt.Errorf("reading a signing session: %w", err)
	}
	return exchange.Session{
		ID: id, Tenant: tenant, Exchange: row.Exchange, Target: row.Target, Subject: row.Subject, Sealed: row.Sealed, Expires: row.Expires.UTC(),
	}, nil
}

// EndSession implements signing.Store.
func (s *Store) EndSession(ctx context.Context, tenant string, id exchange.ID) error {
	if err := s.queries.EndSession(ctx, tenant, id); err != nil {
		return fmt.Errorf("ending a signing session: %w", err)
	}
	return nil
}

// PruneSessions implements signing.Store.
func (s *Store) PruneSessions(ctx context.Context, limit int) (int, error) {
	n, err := s.queries.PruneSessions(ctx, atMost(limit))
	if err != nil {
		return 0, fmt.Errorf("forgetting expired signing sessions: %w", err)
	}
	return int(n), nil
}
