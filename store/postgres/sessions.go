package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/signing"
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
		return exchange.Session{}, unread(ctx, "reading a signing session", err)
	}
	return exchange.Session{
		ID: id, Tenant: tenant, Exchange: row.Exchange, Target: row.Target, Subject: row.Subject, Sealed: row.Sealed, Expires: row.Expires.UTC(),
	}, nil
}

// ReplaceSession implements signing.Store.
func (s *Store) ReplaceSession(ctx context.Context, held exchange.Session, old []byte) (bool, error) {
	n, err := s.queries.ReplaceSession(ctx, db.ReplaceSessionParams{
		Fresh: held.Sealed, Expires: held.Expires, Tenant: held.Tenant, ID: held.ID, Old: old,
	})
	if err != nil {
		return false, fmt.Errorf("replacing a signing session: %w", err)
	}
	return n == 1, nil
}

// EndSession implements signing.Store.
func (s *Store) EndSession(ctx context.Context, tenant string, id exchange.ID) error {
	if err := s.queries.EndSession(ctx, tenant, id); err != nil {
		return fmt.Errorf("ending a signing session: %w", err)
	}
	return nil
}

// PruneSessions implements signing.Store. What another changes at the moment is left
// to a later turn.
func (s *Store) PruneSessions(ctx context.Context, limit int) (int, error) {
	n, err := s.queries.PruneSessions(ctx, atMost(limit))
	if err != nil {
		return 0, fmt.Errorf("forgetting expired signing sessions: %w", err)
	}
	return int(n), nil
}

// ListSealedSessions implements signing.Seals.
func (s *Store) ListSealedSessions(ctx context.Context, header []byte, after signing.Sealed, limit int) ([]signing.Sealed, error) {
	found, err := s.queries.ListSealedSessions(ctx, after.Tenant, after.ID, header, atMost(limit))
	if err != nil {
		return nil, unread(ctx, "reading signing sessions", err)
	}
	seals := make([]signing.Sealed, len(found))
	for i, row := range found {
		seals[i] = signing.Sealed{Tenant: row.Tenant, ID: row.ID, Sealed: row.Sealed}
	}
	return seals, nil
}

// ReplaceSessionSeals implements signing.Seals.
func (s *Store) ReplaceSessionSeals(ctx context.Context, seals []signing.Sealed) (int, error) {
	var tenants []string
	var ids []exchange.ID
	var olds, freshs [][]byte
	for _, held := range seals {
		tenants, ids = append(tenants, held.Tenant), append(ids, held.ID)
		olds, freshs = append(olds, held.Sealed), append(freshs, held.Fresh)
	}
	var replaced int64
	err := s.inTransaction(ctx, func(q *db.Queries) error {
		err := q.OwnKeys(ctx, resealLock)
		if err == nil {
			err = q.OwnSessions(ctx, tenants, ids)
		}
		if err == nil {
			replaced, err = q.ReplaceSessionSeals(ctx, tenants, ids, olds, freshs)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("replacing what signing sessions have sealed: %w", err)
	}
	return int(replaced), nil
}
