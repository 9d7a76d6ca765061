package sqlite

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// Deeds implements ledger.Audit. "type >= 10" is the condition of their index.
func (s *Store) Deeds(ctx context.Context, q ledger.DeedQuery) ([]ledger.Exchange, ledger.Cursor, error) {
	if q.Limit < 1 || q.Limit > ledger.MaxPage {
		return nil, "", malformed("ask for 1 to %d events", ledger.MaxPage)
	}
	types := q.Types
	if len(types) == 0 {
		types = ledger.Deeds()
	}
	numbers := make([]string, len(types))
	for i, t := range types {
		numbers[i] = strconv.Itoa(int(t))
	}
	where, args := "tenant = ? and type >= 10 and type in ("+strings.Join(numbers, ", ")+")", []any{q.Tenant}
	if q.After != "" {
		after, err := exchange.ParseID(string(q.After))
		if err != nil {
			return nil, "", malformed("the page token is not one of this list: begin again without it")
		}
		where, args = where+" and id < ?", append(args, after[:])
	}
	rows, err := s.readers.QueryContext(ctx, whole("select id, exchange, tenant, type, at, record from events where "+where+
		" order by id desc limit ?"), append(args, q.Limit+1)...)
	if err != nil {
		return nil, "", fmt.Errorf("listing events: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var page []ledger.Exchange
	for rows.Next() {
		var row ledger.Exchange
		var event, of []byte
		if err := rows.Scan(&event, &of, &row.Tenant, &row.Type, &row.At, &row.Record); err != nil {
			return nil, "", fmt.Errorf("listing events: %w", err)
		}
		row.ID, row.Exchange = id(event), id(of)
		page = append(page, row)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("listing events: %w", err)
	}
	if len(page) <= q.Limit {
		return page, "", nil
	}
	page = page[:q.Limit]
	return page, ledger.Cursor(page[q.Limit-1].ID.String()), nil
}
