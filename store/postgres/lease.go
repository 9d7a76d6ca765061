package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/postgres/internal/db"
)

var errNoLease = exchange.Fault(exchange.KindNotFound, "there is no such lease", nil)

// Lease returns one lease of a tenant.
func (s *Store) Lease(ctx context.Context, tenant string, id exchange.ID) (exchange.Lease, error) {
	row, err := s.queries.Lease(ctx, tenant, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return exchange.Lease{}, errNoLease
	}
	if err != nil {
		return exchange.Lease{}, unread(ctx, "reading a lease", err)
	}
	return leaseOf(tenant, row), nil
}

func leaseOf(tenant string, row db.LeaseRow) exchange.Lease {
	return exchange.Lease{
		ID: row.ID, Tenant: tenant, Exchange: row.Exchange, Target: row.Target, Provider: row.Provider,
		Subject: row.Subject, Rule: row.Rule, Handle: row.Handle, Sealed: row.Sealed,
		Issued: row.Issued, Expires: row.Expires, State: exchange.LeaseState(row.State), Revoked: orZero(row.Revoked),
		Actor: row.Actor.String, Lineage: row.Lineage, Latest: orZero(row.Latest), Origin: row.Origin,
	}
}

// LeaseWithRecord returns one lease of a tenant with the outcome that it came with.
func (s *Store) LeaseWithRecord(ctx context.Context, tenant string, id exchange.ID) (lease.Outstanding, error) {
	row, err := s.queries.LeaseWithRecord(ctx, tenant, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return lease.Outstanding{}, errNoLease
	}
	if err != nil {
		return lease.Outstanding{}, unread(ctx, "reading a lease", err)
	}
	return outstandingOf(tenant, db.OutstandingRow(row))
}

func outstandingOf(tenant string, row db.OutstandingRow) (lease.Outstanding, error) {
	l := lease.Outstanding{Lease: leaseOf(tenant, db.LeaseRow{
		ID: row.ID, Exchange: row.Exchange, Target: row.Target, Provider: row.Provider, Subject: row.Subject, Rule: row.Rule,
		Handle: row.Handle, Sealed: row.Sealed, Issued: row.Issued, Expires: row.Expires, State: row.State, Revoked: row.Revoked,
		Actor: row.Actor, Lineage: row.Lineage, Latest: row.Latest, Origin: row.Origin,
	})}
	if len(row.Record) == 0 {
		return l, nil
	}
	var err error
	if l.Record, err = ledger.DecodeRecord(row.Record); err != nil {
		return lease.Outstanding{}, fmt.Errorf("reading the record of lease %s: %w", row.ID, err)
	}
	return l, nil
}

// Outstanding returns a page of the leases that are active and not expired.
func (s *Store) Outstanding(ctx context.Context, q lease.Query) ([]lease.Outstanding, error) {
	p := db.OutstandingParams{
		Tenant: q.Tenant, Subject: q.Subject, Target: q.Target, Rule: q.Rule,
		AfterExpires: q.Expires, AfterID: q.After, Most: atMost(q.Limit),
	}
	var found []db.OutstandingRow
	var err error
	if q.Lineage.IsZero() {
		found, err = s.queries.Outstanding(ctx, p)
	} else {
		var family []db.DescendantsRow
		family, err = s.queries.Descendants(ctx, db.DescendantsParams{
			Tenant: p.Tenant, Root: q.Lineage, Subject: p.Subject, Target: p.Target, Rule: p.Rule,
			AfterExpires: p.AfterExpires, AfterID: p.AfterID, Most: p.Most,
		})
		for _, row := range family {
			found = append(found, db.OutstandingRow(row))
		}
	}
	if err != nil {
		return nil, unread(ctx, "listing the outstanding leases", err)
	}
	list := make([]lease.Outstanding, len(found))
	for i, row := range found {
		if list[i], err = outstandingOf(q.Tenant, row); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// ListLeases returns a page of leases, the last to expire first.
func (s *Store) ListLeases(ctx context.Context, q lease.List) ([]exchange.Lease, error) {
	below, id := q.Below()
	found, err := s.queries.ListLeases(ctx, db.ListLeasesParams{
		Tenant: q.Tenant, Owner: q.Owner, Ended: q.Ended, Subject: q.Subject, Actor: q.Actor, Target: q.Target,
		Provider: q.Provider, Rule: q.Rule, ExpiresAfter: q.ExpiresAfter, BelowExpires: below, BelowID: id, Most: atMost(q.Limit),
	})
	if err != nil {
		return nil, unread(ctx, "listing leases", err)
	}
	list := make([]exchange.Lease, len(found))
	for i, row := range found {
		list[i] = leaseOf(q.Tenant, db.LeaseRow(row))
	}
	return list, nil
}

// RevokeLease makes an active lease revoked, with its event.
func (s *Store) RevokeLease(ctx context.Context, tenant string, id exchange.ID, event exchange.Event) (bool, error) {
	var revoked bool
	err := s.inTransaction(ctx, func(q *db.Queries) error {
		n, err := q.RevokeLease(ctx, tenant, id)
		if revoked = n == 1; err != nil || !revoked {
			return err
		}
		return insertEvent(ctx, q, event)
	})
	if err != nil {
		return false, fmt.Errorf("revoking a lease: %w", err)
	}
	return revoked, nil
}

// RenewLease moves the expiry of a lease, with its event. As an append does, it
// looks at the deny epoch after it shares the lock that a deny takes whole (S31).
func (s *Store) RenewLease(ctx context.Context, r lease.Renewal) (bool, error) {
	var renewed bool
	err := s.inTransaction(ctx, func(q *db.Queries) error {
		move := q.CorrectLease
		if !r.Corrects {
			move = q.RenewLease
			if err := q.ShareEpoch(ctx, epochLock); err != nil {
				return err
			}
			switch epoch, err := q.CurrentEpoch(ctx, r.Tenant); {
			case err != nil:
				return err
			case epoch != r.Epoch:
				return exchange.ErrStale
			}
		}
		n, err := move(ctx, r.Until, r.Tenant, r.Lease, r.From)
		if renewed = n == 1; err != nil || !renewed {
			return err
		}
		return insertEvent(ctx, q, r.Event)
	})
	if err != nil {
		return false, fmt.Errorf("moving the expiry of a lease: %w", err)
	}
	return renewed, nil
}

// PruneLeases forgets leases that ended long ago. What another is about to forget is
// left to it.
func (s *Store) PruneLeases(ctx context.Context, keep time.Duration, limit int) (int, error) {
	tenants, err := s.queries.LeaseTenants(ctx)
	if err != nil {
		return 0, fmt.Errorf("looking for old leases: %w", err)
	}
	age := pgtype.Interval{Microseconds: keep.Microseconds(), Valid: true}
	pruned := 0
	for _, tenant := range tenants {
		if pruned >= limit {
			break
		}
		n, err := s.queries.PruneLeases(ctx, tenant, age, atMost(limit-pruned))
		if err != nil {
			return pruned, fmt.Errorf("forgetting old leases: %w", err)
		}
		pruned += int(n)
	}
	return pruned, nil
}
