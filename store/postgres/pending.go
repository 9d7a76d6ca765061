package postgres

import (
	"context"
	"fmt"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// settledAtOnce bounds how many settled intents one call forgets.
const settledAtOnce = 10_000

// Pending lists intents that are due and without an outcome, by the database's
// clock (S27), oldest first. On the way it forgets due intents that have theirs.
func (s *Store) Pending(ctx context.Context, limit int) ([]exchange.Intent, error) {
	if _, err := s.queries.CloseIntents(ctx, settledAtOnce); err != nil {
		return nil, fmt.Errorf("forgetting settled intents: %w", err)
	}
	found, err := s.queries.Pending(ctx, int32(min(max(limit, 0), settledAtOnce)))
	if err != nil {
		return nil, fmt.Errorf("looking for intents without an outcome: %w", err)
	}
	intents := make([]exchange.Intent, len(found))
	for i, row := range found {
		deadline := row.At
		if row.Deadline != nil {
			deadline = *row.Deadline
		}
		if intents[i], err = ledger.IntentOf(row.ID, row.Exchange, row.Tenant, row.At, deadline, row.Record); err != nil {
			return nil, err
		}
	}
	return intents, nil
}

// Get returns every event of one exchange in order of time.
func (s *Store) Get(ctx context.Context, tenant string, id exchange.ID) ([]ledger.Exchange, error) {
	found, err := s.queries.Get(ctx, tenant, id)
	if err != nil {
		return nil, fmt.Errorf("reading an exchange: %w", err)
	}
	events := make([]ledger.Exchange, len(found))
	for i, row := range found {
		events[i] = ledger.Exchange{
			ID: row.ID, Exchange: row.Exchange, Tenant: row.Tenant, Type: exchange.EventType(row.Type),
			At: row.At.UnixMicro(), Record: row.Record,
		}
	}
	return events, nil
}
