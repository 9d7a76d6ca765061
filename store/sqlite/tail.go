package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/sqlite/internal/db"
)

// scannedAtOnce bounds the rows of the ledger that one call of Tail looks at, and
// one of Roll adds while others wait to write.
const scannedAtOnce = 5000

// Tail implements ledger.Audit. There is one writer, so a row's number is its
// place.
func (s *Store) Tail(ctx context.Context, q ledger.TailQuery) (page []ledger.Exchange, next ledger.Place, more bool, err error) {
	if q.Limit < 1 || q.Limit > ledger.MaxPage {
		return nil, "", false, malformed("ask for 1 to %d rows", ledger.MaxPage)
	}
	var last int64
	if err := s.readers.QueryRowContext(ctx, "select coalesce(max(seq), 0) from events").Scan(&last); err != nil {
		return nil, "", false, fmt.Errorf("following the ledger: %w", err)
	}
	if q.After == "" {
		return nil, ledger.Place(strconv.FormatInt(last, 10)), false, nil
	}
	from, err := strconv.ParseInt(string(q.After), 10, 64)
	if err != nil || from < 0 {
		return nil, "", false, malformed("this is no place in the ledger: begin at an exchange, or at the end")
	}
	if from > last {
		return nil, q.After, false, nil
	}
	end := min(last, from+scannedAtOnce)
	more = end < last
	where := condition{}
	where.sql.WriteString("tenant = ? and seq > ? and seq <= ?")
	where.args = append(where.args, q.Tenant, from, end)
	if q.Filter.Root != nil {
		where.sql.WriteString(" and ")
		if err := where.add(q.Filter.Root, 1); err != nil {
			return nil, "", false, err
		}
	}
	rows, err := s.readers.QueryContext(ctx, "select seq, id, exchange, tenant, type, at, record from exchanges where "+
		where.sql.String()+" order by seq limit ?", append(where.args, q.Limit)...)
	if err != nil {
		return nil, "", false, fmt.Errorf("following the ledger: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var row ledger.Exchange
		var seq int64
		var event, of []byte
		if err := rows.Scan(&seq, &event, &of, &row.Tenant, &row.Type, &row.At, &row.Record); err != nil {
			return nil, "", false, fmt.Errorf("following the ledger: %w", err)
		}
		row.ID, row.Exchange = id(event), id(of)
		if page = append(page, row); len(page) == q.Limit {
			end, more = seq, true
		}
	}
	if err := rows.Err(); err != nil {
		return nil, "", false, fmt.Errorf("following the ledger: %w", err)
	}
	return page, ledger.Place(strconv.FormatInt(end, 10)), more, nil
}

// After implements ledger.Audit.
func (s *Store) After(ctx context.Context, tenant string, of exchange.ID) (ledger.Place, error) {
	var seq int64
	err := s.readers.QueryRowContext(ctx, "select seq from events where tenant = ? and exchange = ? and type between 2 and 5", tenant, of[:]).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		return "", exchange.Fault(exchange.KindNotFound, "there is no such exchange, or it has no outcome yet", nil)
	}
	if err != nil {
		return "", fmt.Errorf("looking for an exchange: %w", err)
	}
	return ledger.Place(strconv.FormatInt(seq, 10)), nil
}

// Roll implements ledger.Audit.
func (s *Store) Roll(ctx context.Context) (more bool, err error) {
	// Whether there is anything to do is seen without taking the writer's turn.
	var from, last int64
	const state = "select (select seq from rolled), (select coalesce(max(seq), 0) from events)"
	if err := s.readers.QueryRowContext(ctx, state).Scan(&from, &last); err != nil {
		return false, fmt.Errorf("adding to the counts: %w", err)
	}
	if from >= last {
		return false, nil
	}
	err = s.write(ctx, func(ctx context.Context, _ *db.Queries) error {
		if err := s.conn.QueryRowContext(ctx, state).Scan(&from, &last); err != nil {
			return err
		}
		end := min(last, from+scannedAtOnce)
		more = end < last
		for _, grain := range []struct{ n, start, subject string }{
			{"1", "at - at % 3600000000", "''"},
			{"2", "at - at % 3600000000", "subject"},
			{"3", "at - at % 86400000000", "subject"},
		} {
			if _, err := s.conn.ExecContext(ctx, "insert into counts (tenant, grain, start, type, subject, target, rule, n) select tenant, "+
				grain.n+", "+grain.start+", type, "+grain.subject+", target, rule, count(*) from exchanges where seq > ? and seq <= ? group by 1, 2, 3, 4, 5, 6, 7"+
				" on conflict do update set n = n + excluded.n", from, end); err != nil {
				return err
			}
		}
		_, err := s.conn.ExecContext(ctx, "update rolled set seq = ?", end)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("adding to the counts: %w", err)
	}
	return more, nil
}
