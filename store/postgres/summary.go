package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// errRestored is for a cluster whose transactions are numbered from below those of
// the rows that it was given: their order says nothing any more.
var errRestored = errors.New("the database numbers its transactions below those of the ledger: it was restored into a new cluster; advance them as the guide to restoring says")

// roll adds rows of transactions from $1 on and before $2 to the counts. One
// parse of each record, and one pass over the rows for the three grains.
const roll = `
with told as materialized (
	select e.tenant, date_trunc('hour', e.at) as start, coalesce(r.subject, '') as subject,
		coalesce(r.target, '') as target, coalesce(r.rule, '') as rule, e.type, count(*) as n
	from cambio.events e cross join lateral json_to_record(e.record) as r(subject text, target text, rule text)
	where e.tx >= $1::text::xid8 and e.tx < $2::text::xid8 and e.type between 2 and 5
	group by 1, 2, 3, 4, 5, 6
), grains as (
	select tenant, 1 as grain, start, '' as subject, target, rule, type, sum(n) as n from told group by tenant, start, target, rule, type
	union all
	select tenant, 2, start, subject, target, rule, type, n from told
	union all
	select tenant, 3, date_trunc('day', start), subject, target, rule, type, sum(n) from told group by 1, 2, 3, 4, 5, 6, 7
)
insert into cambio.counts as c (tenant, grain, start, type, digest, subject, target, rule, n)
select tenant, grain, start, type, sha256(convert_to(json_build_array(subject, target, rule)::text, 'UTF8')), subject, target, rule, n
from grains
on conflict (tenant, grain, start, type, digest) do update set n = c.n + excluded.n`

// Roll implements ledger.Audit. The row of cambio.rolled is the lock: a replica
// that finds it held has nothing to do, since another is at it.
func (s *Store) Roll(ctx context.Context) (more bool, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		var text string
		err := tx.QueryRow(ctx, "select tx::text from cambio.rolled for update skip locked").Scan(&text)
		if err == pgx.ErrNoRows {
			return nil
		}
		if err != nil {
			return err
		}
		from, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return err
		}
		end, err := complete(ctx, tx)
		if err != nil {
			return err
		}
		if end < from {
			return errRestored
		}
		if err := plan(ctx, tx); err != nil {
			return err
		}
		if end, more, err = upTo(ctx, tx, from, end); err != nil {
			return err
		}
		added, err := tx.Exec(ctx, roll, pgx.QueryExecModeCacheDescribe, xid(from), xid(end))
		if err != nil {
			return err
		}
		if added.RowsAffected() == 0 && !more && end-from < scannedAtOnce {
			return nil // not worth a write: an idle ledger stays idle
		}
		_, err = tx.Exec(ctx, "update cambio.rolled set tx = $1::text::xid8", xid(end))
		return err
	})
	if err != nil {
		return false, fmt.Errorf("adding to the counts: %w", err)
	}
	return more, nil
}

// counted maps what a filter may name in the counts to their columns.
var counted = map[ledger.Field]string{
	ledger.FieldSubject: "subject", ledger.FieldTarget: "target", ledger.FieldRule: "rule",
}

// Summarize implements ledger.Audit: the counts, and beside them, in the same
// snapshot, the rows that they do not have yet. A filter that names what the
// counts do not keep apart is answered from the ledger alone.
func (s *Store) Summarize(ctx context.Context, q ledger.SummaryQuery) (out ledger.Summary, err error) {
	if err := q.Check(); err != nil {
		return out, err
	}
	err = pgx.BeginTxFunc(ctx, s.pool, oneSnapshot, func(tx pgx.Tx) error {
		var rolled string
		if err := tx.QueryRow(ctx, "select tx::text from cambio.rolled").Scan(&rolled); err != nil {
			return err
		}
		end, err := complete(ctx, tx)
		if err != nil {
			return err
		}
		if n, err := strconv.ParseUint(rolled, 10, 64); err != nil || end < n {
			return errors.Join(err, errRestored)
		}
		if err := plan(ctx, tx); err != nil {
			return err
		}
		statement, arguments, err := summary(q, rolled)
		if err != nil {
			return exchange.Fault(exchange.KindInvalidRequest, "the filter cannot be used: "+err.Error(), nil)
		}
		found, err := tx.Query(ctx, statement, append([]any{pgx.QueryExecModeCacheDescribe}, arguments...)...)
		if err != nil {
			return err
		}
		var c ledger.Count
		var hour *time.Time
		var kind int16
		_, err = pgx.ForEachRow(found, []any{&hour, &c.Subject, &c.Target, &c.Rule, &kind, &c.N, &out.Groups, &out.Total}, func() error {
			c.Outcome, c.Hour = exchange.EventType(kind), 0
			if hour != nil {
				c.Hour = hour.UnixMicro()
			}
			out.Rows = append(out.Rows, c)
			return nil
		})
		return err
	})
	var known *exchange.Error
	switch {
	case err == nil:
		return out, nil
	case errors.As(err, &known):
		return ledger.Summary{}, err
	case sqlState(err) == "57014" && ctx.Err() == nil: // statement_timeout
		return ledger.Summary{}, exchange.Fault(exchange.KindUnavailable, "the count took too long: ask for less time, or filter by subject, target, rule and outcome only", err)
	}
	return ledger.Summary{}, fmt.Errorf("summarizing: %w", err)
}

// summary writes the statement.
func summary(q ledger.SummaryQuery, rolled string) (string, []any, error) {
	r := renderer{arguments: []any{q.Tenant, time.UnixMicro(q.From), time.UnixMicro(q.Until)}}
	var sources []string
	ledgerToo := ""
	if q.Filter.Counted() {
		on := r
		on.columns = counted
		condition, err := on.filter(q.Filter)
		if err != nil {
			return "", nil, err
		}
		r = renderer{arguments: on.arguments}
		for _, g := range q.Parts() {
			sources = append(sources, "select start, subject, target, rule, type, n from cambio.counts where tenant = $1 and grain = "+strconv.Itoa(g.Grain)+
				" and start >= "+r.value(time.UnixMicro(g.From))+" and start < "+r.value(time.UnixMicro(g.Until))+condition)
		}
		ledgerToo = " and tx >= " + r.value(rolled) + "::text::xid8"
	}
	condition, err := r.filter(q.Filter)
	if err != nil {
		return "", nil, err
	}
	since := r.value([16]byte(exchange.FirstID(time.UnixMicro(q.From).Add(-latest))))
	before := r.value([16]byte(exchange.FirstID(time.UnixMicro(q.Until).Add(earliest))))
	for _, where := range []string{
		"type between 2 and 5 and exchange >= " + since + " and exchange < " + before,
		"type = 5 and exchange < " + since,
	} {
		sources = append(sources, `select date_trunc('hour', at) as start, coalesce(record->>'subject', '') as subject,
			coalesce(record->>'target', '') as target, coalesce(record->>'rule', '') as rule, type, 1 as n
			from cambio.events where tenant = $1 and `+where+" and at >= $2 and at < $3"+ledgerToo+condition)
	}
	columns := map[ledger.Dimension]string{
		ledger.ByHour: "null::timestamptz", ledger.BySubject: "''", ledger.ByTarget: "''", ledger.ByRule: "''", ledger.ByOutcome: "0::smallint",
	}
	var group, order []string
	for _, d := range q.By {
		column := map[ledger.Dimension]string{
			ledger.ByHour: "start", ledger.BySubject: `subject collate "C"`, ledger.ByTarget: `target collate "C"`, ledger.ByRule: `rule collate "C"`, ledger.ByOutcome: "type",
		}[d]
		columns[d] = column
		group = append(group, column)
		if d == ledger.ByHour {
			order = append(order, column)
		}
	}
	order = append(append(order, "sum(n) desc"), group...)
	grouping := ""
	if len(group) > 0 {
		grouping = " group by " + strings.Join(group, ", ")
	}
	statement := "select " + columns[ledger.ByHour] + ", " + columns[ledger.BySubject] + ", " + columns[ledger.ByTarget] + ", " +
		columns[ledger.ByRule] + ", " + columns[ledger.ByOutcome] + ", sum(n)::bigint, count(*) over (), (sum(sum(n)) over ())::bigint from (" +
		strings.Join(sources, " union all ") + ") as s" + grouping +
		" having sum(n) > 0 order by " + strings.Join(order, ", ") + " limit " + strconv.Itoa(q.Limit)
	return statement, r.arguments, nil
}
