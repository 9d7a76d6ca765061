package sqlite

import (
	"context"
	"fmt"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/sqlite/internal/db"
)

// Pending implements ledger.Log.
func (s *Store) Pending(ctx context.Context, limit int) ([]exchange.Intent, error) {
	rows, err := s.read.Pending(ctx, db.PendingParams{Limit: int64(max(limit, 0))})
	if err != nil {
		return nil, fmt.Errorf("reading the pending intents: %w", err)
	}
	intents := make([]exchange.Intent, len(rows))
	for i, r := range rows {
		if intents[i], err = ledger.IntentOf(id(r.ID), id(r.Exchange), r.Tenant, moment(r.At), moment(r.Deadline), []byte(r.Record)); err != nil {
			return nil, err
		}
	}
	return intents, nil
}

// Get implements ledger.Log.
func (s *Store) Get(ctx context.Context, tenant string, of exchange.ID) ([]ledger.Exchange, error) {
	rows, err := s.read.EventsOf(ctx, db.EventsOfParams{Tenant: tenant, Exchange: of[:]})
	if err != nil {
		return nil, fmt.Errorf("reading an exchange: %w", err)
	}
	events := make([]ledger.Exchange, len(rows))
	for i, r := range rows {
		events[i] = ledger.Exchange{
			ID: id(r.ID), Exchange: id(r.Exchange), Tenant: r.Tenant, Type: exchange.EventType(r.Type),
			At: r.At, Record: []byte(r.Record),
		}
	}
	return events, nil
}
