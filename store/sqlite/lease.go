package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
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

// Lease returns one lease.
func (s *Store) Lease(ctx context.Context, tenant string, lease exchange.ID) (exchange.Lease, error) {
	r, err := s.read.Lease(ctx, db.LeaseParams{Tenant: tenant, ID: lease[:]})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return exchange.Lease{}, exchange.Fault(exchange.KindNotFound, "there is no such lease", nil)
	case err != nil:
		return exchange.Lease{}, fmt.Errorf("reading a lease: %w", err)
	}
	return leaseOf(r), nil
}

func leaseOf(r db.Lease) exchange.Lease {
	l := exchange.Lease{
		ID: id(r.ID), Tenant: r.Tenant, Exchange: id(r.Exchange), Target: r.Target, Provider: r.Provider,
		Subject: r.Subject, Rule: r.Rule, Handle: r.Handle, Sealed: r.Sealed,
		Issued: moment(r.Issued), Expires: moment(r.Expires), State: exchange.LeaseState(r.State),
		Actor: r.Actor.String, Latest: momentOrZero(r.Latest), Origin: r.Origin,
	}
	for text := range strings.FieldsSeq(r.Lineage.String) {
		if ancestor, err := exchange.ParseID(text); err == nil { // we wrote it
			l.Lineage = append(l.Lineage, ancestor)
		}
	}
	return l
}
