package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/postgres/internal/db"
)

// Deny returns one deny of a tenant, ended or not.
func (s *Store) Deny(ctx context.Context, tenant string, id exchange.ID) (exchange.Deny, error) {
	row, err := s.queries.DenyOf(ctx, tenant, id)
	if errors.Is(err, pgx.ErrNoRows) {
		return exchange.Deny{}, exchange.Fault(exchange.KindNotFound, "there is no such deny", nil)
	}
	if err != nil {
		return exchange.Deny{}, unread(ctx, "reading a deny", err)
	}
	return denyOf(tenant, row)
}

// ListDenies returns a page of denies, newest first.
func (s *Store) ListDenies(ctx context.Context, tenant string, below int64, ended bool, limit int) ([]exchange.Deny, error) {
	found, err := s.queries.ListDenies(ctx, tenant, below, ended, atMost(limit))
	if err != nil {
		return nil, unread(ctx, "listing the denies", err)
	}
	list := make([]exchange.Deny, len(found))
	for i, row := range found {
		if list[i], err = denyOf(tenant, db.DenyOfRow(row)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func denyOf(tenant string, row db.DenyOfRow) (exchange.Deny, error) {
	d := exchange.Deny{
		ID: row.ID, Tenant: tenant, Epoch: row.Epoch, Reason: row.Reason, Created: row.Created,
		Expires: orZero(row.Expires), Removed: orZero(row.Removed),
	}
	if err := json.Unmarshal(row.Match, &d.Match); err != nil {
		return exchange.Deny{}, fmt.Errorf("reading deny %s: %w", d.ID, err)
	}
	return d, nil
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

func atMost(limit int) int32 { return int32(min(max(limit, 0), math.MaxInt32)) }

// Unsettled lists a tenant's intents without an outcome.
func (s *Store) Unsettled(ctx context.Context, tenant string, after exchange.ID, limit int) ([]exchange.Intent, error) {
	found, err := s.queries.Unsettled(ctx, tenant, after, atMost(limit))
	if err != nil {
		return nil, unread(ctx, "listing the intents without an outcome", err)
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

// relisten is how long a broken listening connection waits for its next try.
const relisten = time.Second

// ListenDenies calls heard whenever the denies of some tenant have changed, on a
// connection of its own, until ctx ends; and each time that it begins to listen,
// since what was said before that was not heard. A database that does not pass
// notifications on (a pooler in transaction mode) costs nothing but time: whoever
// listens asks now and then, too.
func (s *Store) ListenDenies(ctx context.Context, heard func()) {
	for ctx.Err() == nil {
		if err := s.listenOnce(ctx, heard); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "listening for emergency denies broke off", "error", err)
		}
		timer := time.NewTimer(relisten)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
}

func (s *Store) listenOnce(ctx context.Context, heard func()) error {
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := db.New(conn).ListenForDenies(ctx); err != nil {
		return fmt.Errorf("beginning to listen: %w", err)
	}
	for {
		heard()
		if _, err := conn.WaitForNotification(ctx); err != nil {
			return fmt.Errorf("waiting: %w", err)
		}
	}
}
