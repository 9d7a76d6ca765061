package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/store/sqlite/internal/db"
)

// Standing implements lease.Standings. A revocation that comes in between its reads
// is seen, or comes after them all.
func (s *Store) Standing(ctx context.Context, tenant string, of exchange.ID) (lease.Standing, error) {
	r, err := s.read.Standing(ctx, db.StandingParams{Tenant: tenant, ID: of[:]})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return lease.Standing{}, errNoLease
	case err != nil:
		return lease.Standing{}, fmt.Errorf("reading what a lease stands on: %w", err)
	}
	l, err := outstandingOf(db.OutstandingRow{
		Tenant: r.Tenant, ID: r.ID, Exchange: r.Exchange, Target: r.Target, Provider: r.Provider, Subject: r.Subject, Rule: r.Rule,
		Handle: r.Handle, Sealed: r.Sealed, Issued: r.Issued, Expires: r.Expires, State: r.State, Revoked: r.Revoked,
		Actor: r.Actor, Lineage: r.Lineage, Latest: r.Latest, Origin: r.Origin, Record: r.Record,
	})
	if err != nil {
		return lease.Standing{}, err
	}
	standing := lease.Standing{Outstanding: l, Epoch: r.Epoch}
	for _, ancestor := range l.Lineage {
		state, err := s.read.StateOf(ctx, db.StateOfParams{Tenant: tenant, ID: ancestor[:]})
		switch {
		case errors.Is(err, sql.ErrNoRows):
			standing.Orphaned = true
		case err != nil:
			return lease.Standing{}, fmt.Errorf("reading a lease that another descends from: %w", err)
		case exchange.LeaseState(state) == exchange.LeaseRevoked:
			standing.Orphaned = true
		}
	}
	return standing, nil
}
