package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/sqlite/internal/db"
)

// Deny implements lease.Denies.
func (s *Store) Deny(ctx context.Context, tenant string, deny exchange.ID) (exchange.Deny, error) {
	row, err := s.read.DenyOf(ctx, db.DenyOfParams{Tenant: tenant, ID: deny[:]})
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return exchange.Deny{}, exchange.Fault(exchange.KindNotFound, "there is no such deny", nil)
	case err != nil:
		return exchange.Deny{}, fmt.Errorf("reading a deny: %w", err)
	}
	return denyOf(tenant, row)
}

// ListDenies implements lease.Denies.
func (s *Store) ListDenies(ctx context.Context, tenant string, below int64, ended bool, limit int) ([]exchange.Deny, error) {
	p := db.ListDeniesParams{Tenant: tenant, Below: below, Most: int64(max(limit, 0))}
	if ended {
		p.Ended = 1
	}
	rows, err := s.read.ListDenies(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("listing the denies: %w", err)
	}
	list := make([]exchange.Deny, len(rows))
	for i, row := range rows {
		if list[i], err = denyOf(tenant, db.DenyOfRow(row)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func denyOf(tenant string, row db.DenyOfRow) (exchange.Deny, error) {
	d := exchange.Deny{
		ID: id(row.ID), Tenant: tenant, Epoch: row.Epoch, Reason: row.Reason, Created: moment(row.Created),
		Expires: momentOrZero(row.Expires), Removed: momentOrZero(row.Removed),
	}
	if err := json.Unmarshal([]byte(row.Match), &d.Match); err != nil {
		return exchange.Deny{}, fmt.Errorf("reading the deny %s: %w", d.ID, err)
	}
	return d, nil
}

// Unsettled implements lease.Book.
func (s *Store) Unsettled(ctx context.Context, tenant string, after exchange.ID, limit int) ([]exchange.Intent, error) {
	rows, err := s.read.Unsettled(ctx, db.UnsettledParams{Tenant: tenant, After: after[:], Most: int64(max(limit, 0))})
	if err != nil {
		return nil, fmt.Errorf("listing the intents without an outcome: %w", err)
	}
	intents := make([]exchange.Intent, len(rows))
	for i, r := range rows {
		if intents[i], err = ledger.IntentOf(id(r.ID), id(r.Exchange), r.Tenant, moment(r.At), moment(r.Deadline), []byte(r.Record)); err != nil {
			return nil, err
		}
	}
	return intents, nil
}
