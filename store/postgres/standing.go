package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/store/postgres/internal/db"
)

// Standing returns what decides whether a credential still stands, by one statement
// and so of one snapshot.
func (s *Store) Standing(ctx context.Context, tenant string, id exchange.ID) (lease.Standing, error) {
	row, err := s.queries.Standing(ctx, tenant, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return lease.Standing{}, errNoLease
	}
	if err != nil {
		return lease.Standing{}, fmt.Errorf("reading what a lease stands on: %w", err)
	}
	l, err := outstandingOf(tenant, db.OutstandingRow{
		ID: row.ID, Exchange: row.Exchange, Target: row.Target, Provider: row.Provider, Subject: row.Subject, Rule: row.Rule,
		Handle: row.Handle, Sealed: row.Sealed, Issued: row.Issued, Expires: row.Expires, State: row.State, Revoked: row.Revoked,
		Actor: row.Actor, Lineage: row.Lineage, Latest: row.Latest, Origin: row.Origin, Record: row.Record,
	})
	return lease.Standing{Outstanding: l, Orphaned: row.Orphaned, Epoch: row.Epoch}, err
}
