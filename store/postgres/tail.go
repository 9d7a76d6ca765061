package postgres

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// scannedAtOnce bounds the rows of the ledger that one call of Tail looks at, and
// one of Roll adds: enough of them to be worth a round trip, in well under a
// second.
const scannedAtOnce = 20_000

// place is where a tail stands: after the row of an exchange in a transaction, or
// at the beginning of one.
type place struct {
	tx       uint64
	exchange exchange.ID
}

func (p place) String() string {
	return strconv.FormatUint(p.tx, 10) + "/" + hex.EncodeToString(p.exchange[:])
}

func parsePlace(text ledger.Place) (p place, err error) {
	tx, id, _ := strings.Cut(string(text), "/")
	p.tx, err = strconv.ParseUint(tx, 10, 64)
	if n, bad := hex.Decode(p.exchange[:], []byte(id[:min(len(id), 32)])); err != nil || bad != nil || n != 16 || len(id) != 32 {
		return place{}, exchange.Fault(exchange.KindInvalidRequest, "this is no place in the ledger: begin at an exchange, or at the end", nil)
	}
	return p, nil
}

// xid writes a transaction's number as the parameter that queries cast to xid8.
func xid(n uint64) string { return strconv.FormatUint(n, 10) }

// complete is the number before which every transaction has ended, in the
// transaction's own snapshot: rows below it are all there, and no more can come.
func complete(ctx context.Context, tx pgx.Tx) (n uint64, err error) {
	var text string
	if err := tx.QueryRow(ctx, "select pg_snapshot_xmin(pg_current_snapshot())::text").Scan(&text); err != nil {
		return 0, fmt.Errorf("reading which transactions have ended: %w", err)
	}
	return strconv.ParseUint(text, 10, 64)
}

// A column that is shown as text has its name: to order by the number and not by
// its digits, statements name the table too.

// upTo is where a walk of scannedAtOnce rows from one transaction on ends, at
// limit at the latest. One transaction is never cut.
func upTo(ctx context.Context, tx pgx.Tx, from, limit uint64) (end uint64, more bool, err error) {
	var text string
	err = tx.QueryRow(ctx, `select e.tx::text from cambio.events e where e.tx >= $1::text::xid8 and e.tx < $2::text::xid8
		order by e.tx offset $3 limit 1`, pgx.QueryExecModeCacheDescribe, xid(from), xid(limit), scannedAtOnce).Scan(&text)
	if err == pgx.ErrNoRows {
		return limit, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("walking the ledger: %w", err)
	}
	if end, err = strconv.ParseUint(text, 10, 64); err != nil {
		return 0, false, err
	}
	return max(end, from+1), true, nil
}

// plan makes the statements of a transaction be planned for their values, and by
// index: the walks are short and the ledger is long.
func plan(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "select set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_seqscan', 'off', true)")
	return err
}

var oneSnapshot = pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

// Tail implements ledger.Audit. The order is that of transactions, which no later
// commit can disturb below the oldest one that runs; within one, by exchange.
func (s *Store) Tail(ctx context.Context, q ledger.TailQuery) (page []ledger.Exchange, next ledger.Place, more bool, err error) {
	if q.Limit < 1 || q.Limit > ledger.MaxPage {
		return nil, "", false, exchange.Fault(exchange.KindInvalidRequest, fmt.Sprintf("a page has 1 to %d exchanges", ledger.MaxPage), nil)
	}
	r := renderer{arguments: []any{q.Tenant}}
	condition, err := r.filter(q.Filter)
	if err != nil {
		return nil, "", false, exchange.Fault(exchange.KindInvalidRequest, "the filter cannot be used: "+err.Error(), nil)
	}
	var from place
	if q.After != "" {
		if from, err = parsePlace(q.After); err != nil {
			return nil, "", false, err
		}
	}
	err = pgx.BeginTxFunc(ctx, s.pool, oneSnapshot, func(tx pgx.Tx) error {
		end, err := complete(ctx, tx)
		if err != nil {
			return err
		}
		if q.After == "" {
			next = ledger.Place(place{tx: end}.String())
			return nil
		}
		if err := plan(ctx, tx); err != nil {
			return err
		}
		if end, more, err = upTo(ctx, tx, from.tx, end); err != nil {
			return err
		}
		begin := r.value(xid(from.tx)) + "::text::xid8"
		statement := "select id, exchange, tenant, type, at, record, tx::text from cambio.events e where tenant = $1 and type between 2 and 5" +
			" and tx >= " + begin + " and tx < " + r.value(xid(end)) + "::text::xid8 and (tx > " + begin + " or exchange > " + r.value([16]byte(from.exchange)) + ")" +
			condition + " order by e.tx, exchange limit " + strconv.Itoa(q.Limit)
		found, err := tx.Query(ctx, statement, append([]any{pgx.QueryExecModeCacheDescribe}, r.arguments...)...)
		if err != nil {
			return err
		}
		var e ledger.Exchange
		var id, of [16]byte
		var kind int16
		var at time.Time
		var in string
		if _, err = pgx.ForEachRow(found, []any{&id, &of, &e.Tenant, &kind, &at, &e.Record, &in}, func() error {
			e.ID, e.Exchange, e.Type, e.At = id, of, exchange.EventType(kind), at.UnixMicro()
			page = append(page, e)
			e.Record = nil
			return nil
		}); err != nil {
			return err
		}
		stop := place{tx: max(end, from.tx)}
		if end < from.tx { // nothing has ended since
			stop = from
		}
		if end == from.tx {
			stop.exchange = from.exchange
		}
		if len(page) == q.Limit {
			if stop.tx, err = strconv.ParseUint(in, 10, 64); err != nil {
				return err
			}
			stop.exchange, more = of, true
		}
		next = ledger.Place(stop.String())
		return nil
	})
	if err != nil {
		return nil, "", false, fmt.Errorf("following the ledger: %w", err)
	}
	return page, next, more, nil
}

// After implements ledger.Audit.
func (s *Store) After(ctx context.Context, tenant string, id exchange.ID) (ledger.Place, error) {
	var text string
	err := s.pool.QueryRow(ctx, `select tx::text from cambio.events
		where tenant = $1 and exchange = $2 and slot = '00000000-0000-0000-0000-000000000002'`, tenant, [16]byte(id)).Scan(&text)
	if err == pgx.ErrNoRows {
		return "", exchange.Fault(exchange.KindNotFound, "there is no such exchange, or it has no outcome yet", nil)
	}
	if err != nil {
		return "", fmt.Errorf("looking for an exchange: %w", err)
	}
	return ledger.Place(text + "/" + hex.EncodeToString(id[:])), nil
}
