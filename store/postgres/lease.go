package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/store/postgres/internal/db"
)

// Lease returns one lease of a tenant.
func (s *Store) Lease(ctx context.Context, tenant string, id exchange.ID) (exchange.Lease, error) {
	row, err := s.queries.Lease(ctx, tenant, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return exchange.Lease{}, exchange.Fault(exchange.KindNotFound, "there is no such lease", nil)
	}
	if err != nil {
		return exchange.Lease{}, fmt.Errorf("reading a lease: %w", err)
	}
	return leaseOf(tenant, row), nil
}

func leaseOf(tenant string, row db.LeaseRow) exchange.Lease {
	return exchange.Lease{
		ID: row.ID, Tenant: tenant, Exchange: row.Exchange, Target: row.Target, Provider: row.Provider,
		Subject: row.Subject, Rule: row.Rule, Handle: row.Handle, Sealed: row.Sealed,
		Issued: row.Issued, Expires: row.Expires, State: exchange.LeaseState(row.State),
		Actor: row.Actor.String, Lineage: row.Lineage, Latest: orZero(row.Latest), Origin: row.Origin,
	}
}
