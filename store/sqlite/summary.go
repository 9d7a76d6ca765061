package sqlite

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/cambio-sts/cambio/exchange/ledger"
)

// outcomeName is the word for a type of outcome: what the counts keep is the type.
const outcomeName = "(case type when 2 then 'issued' when 3 then 'denied' when 4 then 'failed' else 'unknown' end) as outcome"

// Summarize implements ledger.Audit: the counts, and beside them, in the same
// snapshot, the rows that they do not have yet. A filter that names what the
// counts do not keep apart is answered from the ledger alone.
func (s *Store) Summarize(ctx context.Context, q ledger.SummaryQuery) (out ledger.Summary, err error) {
	if err := q.Check(); err != nil {
		return out, err
	}
	var statement strings.Builder
	var args []any
	add := func(source string, given ...any) error {
		where := condition{}
		if q.Filter.Root != nil {
			where.sql.WriteString(" and ")
			if err := where.add(q.Filter.Root, 1); err != nil {
				return err
			}
		}
		if statement.Len() > 0 {
			statement.WriteString(" union all ")
		}
		statement.WriteString("select * from (" + source + ") where true" + where.sql.String())
		args = append(append(args, given...), where.args...)
		return nil
	}
	var fields []string
	if !q.Filter.Counted() {
		for field, column := range columns {
			switch field {
			case ledger.FieldSubject, ledger.FieldTarget, ledger.FieldRule, ledger.FieldOutcome:
			case ledger.FieldExchange:
				fields = append(fields, ", exchange, "+column)
			default:
				fields = append(fields, ", "+column)
			}
		}
	}
	after := " and seq > (select seq from rolled)"
	if !q.Filter.Counted() {
		after = ""
	}
	err = add("select at - at % 3600000000 as start, subject, target, rule, type, 1 as n, outcome"+strings.Join(fields, "")+
		" from exchanges where tenant = ? and at >= ? and at < ?"+after, q.Tenant, q.From, q.Until)
	for _, g := range q.Parts() {
		if err == nil && q.Filter.Counted() {
			err = add("select start, subject, target, rule, type, n, "+outcomeName+" from counts where tenant = ? and grain = "+
				strconv.Itoa(g.Grain)+" and start >= ? and start < ?", q.Tenant, g.From, g.Until)
		}
	}
	if err != nil {
		return out, err
	}
	selected := map[ledger.Dimension]string{ledger.ByHour: "0", ledger.BySubject: "''", ledger.ByTarget: "''", ledger.ByRule: "''", ledger.ByOutcome: "0"}
	var group, order []string
	for _, d := range q.By {
		column := map[ledger.Dimension]string{
			ledger.ByHour: "start", ledger.BySubject: "subject", ledger.ByTarget: "target", ledger.ByRule: "rule", ledger.ByOutcome: "type",
		}[d]
		selected[d] = column
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
	rows, err := s.readers.QueryContext(ctx, "select "+selected[ledger.ByHour]+", "+selected[ledger.BySubject]+", "+selected[ledger.ByTarget]+", "+
		selected[ledger.ByRule]+", "+selected[ledger.ByOutcome]+", sum(n), count(*) over (), sum(sum(n)) over () from ("+statement.String()+")"+
		grouping+" having sum(n) > 0 order by "+strings.Join(order, ", ")+" limit ?", append(args, q.Limit)...)
	if err != nil {
		return out, fmt.Errorf("summarizing: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var c ledger.Count
		if err := rows.Scan(&c.Hour, &c.Subject, &c.Target, &c.Rule, &c.Outcome, &c.N, &out.Groups, &out.Total); err != nil {
			return ledger.Summary{}, fmt.Errorf("summarizing: %w", err)
		}
		out.Rows = append(out.Rows, c)
	}
	if err := rows.Err(); err != nil {
		return ledger.Summary{}, fmt.Errorf("summarizing: %w", err)
	}
	return out, nil
}
