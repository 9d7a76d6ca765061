package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// deeds goes by the index whose condition "type >= 10" is; the greatest id stands
// for the newest.
const deeds = `select id, exchange, tenant, type, at, record from cambio.events
	where tenant = $1 and type >= 10 and type = any($2::smallint[]) and id < $3 order by id desc limit $4`

// Deeds implements ledger.Audit.
func (s *Store) Deeds(ctx context.Context, q ledger.DeedQuery) ([]ledger.Exchange, ledger.Cursor, error) {
	if q.Limit < 1 || q.Limit > ledger.MaxPage {
		return nil, "", exchange.Fault(exchange.KindInvalidRequest, fmt.Sprintf("a page has 1 to %d events", ledger.MaxPage), nil)
	}
	types := q.Types
	if len(types) == 0 {
		types = ledger.Deeds()
	}
	numbers := make([]int16, len(types))
	for i, t := range types {
		numbers[i] = int16(t)
	}
	below := [16]byte{0: 0xff, 1: 0xff, 2: 0xff, 3: 0xff, 4: 0xff, 5: 0xff, 6: 0xff, 7: 0xff}
	if q.After != "" {
		after, err := exchange.ParseID(string(q.After))
		if err != nil {
			return nil, "", exchange.Fault(exchange.KindInvalidRequest, "the page token is not one of ours: start again without it", nil)
		}
		below = after
	}
	found, err := s.pool.Query(ctx, deeds, q.Tenant, numbers, below, q.Limit+1)
	if err != nil {
		return nil, "", unread(ctx, "listing events", err)
	}
	var page []ledger.Exchange
	var e ledger.Exchange
	var id, of [16]byte
	var kind int16
	var at time.Time
	if _, err := pgx.ForEachRow(found, []any{&id, &of, &e.Tenant, &kind, &at, &e.Record}, func() error {
		e.ID, e.Exchange, e.Type, e.At = id, of, exchange.EventType(kind), at.UnixMicro()
		page = append(page, e)
		e.Record = nil
		return nil
	}); err != nil {
		return nil, "", unread(ctx, "listing events", err)
	}
	if len(page) <= q.Limit {
		return page, "", nil
	}
	page = page[:q.Limit]
	return page, ledger.Cursor(page[q.Limit-1].ID.String()), nil
}
