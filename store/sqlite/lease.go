package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/sqlite/internal/db"
)

func leaseRow(e *ledger.Entry) db.InsertLeaseParams {
	l := e.Lease
	return db.InsertLeaseParams{
		Tenant: e.Tenant, ID: l.ID[:], Exchange: e.Exchange[:], Target: l.Target, Provider: l.Provider,
		Subject: l.Subject, Rule: l.Rule, Handle: l.Handle, Sealed: l.Sealed,
		Issued: micros(l.Issued), Expires: micros(l.Expires), State: int64(l.State),
		Actor:   sql.NullString{String: l.Actor, Valid: l.Actor != ""},
		Lineage: lineageRow(l.Lineage), Latest: microsOrNull(l.Latest), Origin: l.Origin,
	}
}

// lineageRow writes ids with a space after each, so that one is found in the text
// wherever it stands.
func lineageRow(ids []exchange.ID) sql.NullString {
	var text strings.Builder
	for _, id := range ids {
		text.WriteString(id.String())
		text.WriteByte(' ')
	}
	return sql.NullString{String: text.String(), Valid: len(ids) > 0}
}

var errNoLease = exchange.Fault(exchange.KindNotFound, "there is no such lease", nil)

// Lease returns one lease.
func (s *Store) Lease(ctx context.Context, tenant string, of exchange.ID) (exchange.Lease, error) {
	r, err := s.read.Lease(ctx, db.LeaseParams{Tenant: tenant, ID: of[:]})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return exchange.Lease{}, errNoLease
	case err != nil:
		return exchange.Lease{}, fmt.Errorf("reading a lease: %w", err)
	}
	return leaseOf(db.Lease(r)), nil
}

func leaseOf(r db.Lease) exchange.Lease {
	l := exchange.Lease{
		ID: id(r.ID), Tenant: r.Tenant, Exchange: id(r.Exchange), Target: r.Target, Provider: r.Provider,
		Subject: r.Subject, Rule: r.Rule, Handle: r.Handle, Sealed: r.Sealed,
		Issued: moment(r.Issued), Expires: moment(r.Expires), State: exchange.LeaseState(r.State), Revoked: momentOrZero(r.Revoked),
		Actor: r.Actor.String, Latest: momentOrZero(r.Latest), Origin: r.Origin,
	}
	for text := range strings.FieldsSeq(r.Lineage.String) {
		if ancestor, err := exchange.ParseID(text); err == nil { // we wrote it
			l.Lineage = append(l.Lineage, ancestor)
		}
	}
	return l
}

// LeaseWithRecord implements lease.Book.
func (s *Store) LeaseWithRecord(ctx context.Context, tenant string, of exchange.ID) (lease.Outstanding, error) {
	r, err := s.read.LeaseWithRecord(ctx, db.LeaseWithRecordParams{Tenant: tenant, ID: of[:]})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return lease.Outstanding{}, errNoLease
	case err != nil:
		return lease.Outstanding{}, fmt.Errorf("reading a lease: %w", err)
	}
	return outstandingOf(db.OutstandingRow(r))
}

func outstandingOf(r db.OutstandingRow) (lease.Outstanding, error) {
	l := lease.Outstanding{Lease: leaseOf(db.Lease{
		Tenant: r.Tenant, ID: r.ID, Exchange: r.Exchange, Target: r.Target, Provider: r.Provider, Subject: r.Subject, Rule: r.Rule,
		Handle: r.Handle, Sealed: r.Sealed, Issued: r.Issued, Expires: r.Expires, State: r.State, Revoked: r.Revoked,
		Actor: r.Actor, Lineage: r.Lineage, Latest: r.Latest, Origin: r.Origin,
	})}
	if r.Record == "" {
		return l, nil
	}
	var err error
	if l.Record, err = ledger.DecodeRecord([]byte(r.Record)); err != nil {
		return lease.Outstanding{}, fmt.Errorf("reading the record of lease %s: %w", l.ID, err)
	}
	return l, nil
}

// Outstanding implements lease.Book.
func (s *Store) Outstanding(ctx context.Context, q lease.Query) ([]lease.Outstanding, error) {
	p := db.OutstandingParams{
		Tenant: q.Tenant, Subject: q.Subject, Target: q.Target, Rule: q.Rule,
		AfterExpires: micros(q.Expires), AfterID: q.After[:], Most: int64(max(q.Limit, 0)),
	}
	var rows []db.OutstandingRow
	var err error
	if q.Lineage.IsZero() {
		rows, err = s.read.Outstanding(ctx, p)
	} else {
		var family []db.DescendantsRow
		family, err = s.read.Descendants(ctx, db.DescendantsParams{
			Tenant: p.Tenant, Root: q.Lineage[:], Lineage: lineageRow([]exchange.ID{q.Lineage}).String,
			Subject: p.Subject, Target: p.Target, Rule: p.Rule, AfterExpires: p.AfterExpires, AfterID: p.AfterID, Most: p.Most,
		})
		for _, r := range family {
			rows = append(rows, db.OutstandingRow(r))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listing the outstanding leases: %w", err)
	}
	list := make([]lease.Outstanding, len(rows))
	for i, r := range rows {
		if list[i], err = outstandingOf(r); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// ListLeases implements lease.Book.
func (s *Store) ListLeases(ctx context.Context, q lease.List) ([]exchange.Lease, error) {
	below, place := q.Below()
	p := db.ListLeasesParams{
		Tenant: q.Tenant, Owner: q.Owner, Subject: q.Subject, Actor: q.Actor, Target: q.Target, Provider: q.Provider, Rule: q.Rule,
		ExpiresAfter: micros(q.ExpiresAfter), BelowExpires: micros(below), BelowID: place[:], Most: int64(max(q.Limit, 0)),
	}
	if q.Ended {
		p.Ended = 1
	}
	rows, err := s.read.ListLeases(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("listing leases: %w", err)
	}
	list := make([]exchange.Lease, len(rows))
	for i, r := range rows {
		list[i] = leaseOf(db.Lease(r))
	}
	return list, nil
}

// RevokeLease implements lease.Book.
func (s *Store) RevokeLease(ctx context.Context, tenant string, of exchange.ID, event exchange.Event) (revoked bool, err error) {
	err = s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		n, err := q.RevokeLease(ctx, db.RevokeLeaseParams{Tenant: tenant, ID: of[:]})
		if revoked = n == 1; err != nil || !revoked {
			return err
		}
		return appendOne(ctx, q, event)
	})
	if err != nil {
		return false, fmt.Errorf("revoking a lease: %w", err)
	}
	return revoked, nil
}

// RenewLease implements lease.Book.
func (s *Store) RenewLease(ctx context.Context, r lease.Renewal) (renewed bool, err error) {
	err = s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		p := db.RenewLeaseParams{Fresh: micros(r.Until), Tenant: r.Tenant, ID: r.Lease[:], Old: micros(r.From)}
		var n int64
		var err error
		if r.Corrects {
			n, err = q.CorrectLease(ctx, db.CorrectLeaseParams(p))
		} else {
			epoch, unread := q.Epoch(ctx, db.EpochParams{Tenant: r.Tenant})
			switch {
			case unread != nil && !errors.Is(unread, sql.ErrNoRows):
				return unread
			case epoch != r.Epoch:
				return exchange.ErrStale
			}
			n, err = q.RenewLease(ctx, p)
		}
		if renewed = n == 1; err != nil || !renewed {
			return err
		}
		return appendOne(ctx, q, r.Event)
	})
	if err != nil {
		return false, fmt.Errorf("moving the expiry of a lease: %w", err)
	}
	return renewed, nil
}

// PruneLeases implements lease.Expiries.
func (s *Store) PruneLeases(ctx context.Context, keep time.Duration, limit int) (pruned int, err error) {
	for tenant := ""; pruned < limit; {
		tenant, err = s.read.NextLeaseTenant(ctx, db.NextLeaseTenantParams{Tenant: tenant})
		if errors.Is(err, sql.ErrNoRows) {
			break
		}
		if err != nil {
			return pruned, fmt.Errorf("looking for old leases: %w", err)
		}
		err = s.write(ctx, func(ctx context.Context, q *db.Queries) error {
			n, err := q.PruneLeases(ctx, db.PruneLeasesParams{Tenant: tenant, Keep: keep.Microseconds(), Most: int64(limit - pruned)})
			pruned += int(n)
			return err
		})
		if err != nil {
			return pruned, fmt.Errorf("forgetting old leases: %w", err)
		}
	}
	return pruned, nil
}
