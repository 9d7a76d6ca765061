package sqlite

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// columns is the closed table of what a filter may name. Text of a filter never
// becomes SQL: a field is looked up here, a value travels as a parameter.
var columns = map[ledger.Field]string{
	ledger.FieldTime:       "at",
	ledger.FieldSubject:    "subject",
	ledger.FieldActor:      "actor",
	ledger.FieldTrust:      "trust",
	ledger.FieldClient:     "client",
	ledger.FieldTarget:     "target",
	ledger.FieldProvider:   "provider",
	ledger.FieldOutcome:    "outcome",
	ledger.FieldErrorKind:  "error_kind",
	ledger.FieldRule:       "rule",
	ledger.FieldRevision:   "revision",
	ledger.FieldClientIP:   "client_ip",
	ledger.FieldCredential: "credential",
	ledger.FieldHandle:     "handle",
	ledger.FieldReason:     "reason",
	ledger.FieldExchange:   "exchange_text",
}

var comparisons = map[ledger.Op]string{
	ledger.OpEq: "=", ledger.OpNe: "<>", ledger.OpLt: "<", ledger.OpLe: "<=", ledger.OpGt: ">", ledger.OpGe: ">=",
}

// List implements ledger.Log. A page looks at a bounded number of rows, whatever the
// filter: it walks from the newest on, and shows the records of those that match.
func (s *Store) List(ctx context.Context, q ledger.Query) ([]ledger.Exchange, ledger.Cursor, error) {
	if q.Limit < 1 || q.Limit > ledger.MaxPage {
		return nil, "", malformed("ask for 1 to %d rows", ledger.MaxPage)
	}
	matches := condition{}
	if q.Filter.Root == nil {
		matches.sql.WriteString("true")
	} else if err := matches.add(q.Filter.Root, 1); err != nil {
		return nil, "", err
	}
	over := everything()
	if q.After != "" {
		after, err := exchange.ParseID(string(q.After))
		if err != nil {
			return nil, "", malformed("the page token is not one of this list: begin again without it")
		}
		over.upTo = before(after)
	}
	walk, err := over.walk(q.Tenant, q.Filter.Root)
	if err != nil {
		return nil, "", err
	}
	rows, err := s.readers.QueryContext(ctx, "select id, exchange, tenant, type, at, case when "+matches.sql.String()+" then record end from exchanges where "+
		walk.sql.String()+" order by exchange desc limit ?", append(append(matches.args, walk.args...), s.looks)...)
	if err != nil {
		return nil, "", fmt.Errorf("listing exchanges: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var page []ledger.Exchange
	var last exchange.ID
	looked := 0
	for ; rows.Next(); looked++ {
		var row ledger.Exchange
		var event, of []byte
		if err := rows.Scan(&event, &of, &row.Tenant, &row.Type, &row.At, &row.Record); err != nil {
			return nil, "", fmt.Errorf("listing exchanges: %w", err)
		}
		row.ID, row.Exchange = id(event), id(of)
		last = row.Exchange
		if row.Record == nil {
			continue
		}
		if len(page) == q.Limit {
			return page, ledger.Cursor(page[q.Limit-1].Exchange.String()), nil
		}
		page = append(page, row)
	}
	if err := rows.Err(); err != nil {
		return nil, "", fmt.Errorf("listing exchanges: %w", err)
	}
	if looked < s.looks {
		return page, "", nil
	}
	return page, ledger.Cursor(last.String()), nil
}

func malformed(format string, args ...any) error {
	return exchange.Fault(exchange.KindInvalidRequest, fmt.Sprintf(format, args...), nil)
}

// condition is SQL under way, with its parameters.
type condition struct {
	sql   strings.Builder
	args  []any
	nodes int
}

func (c *condition) add(n *ledger.Node, depth int) error {
	if c.nodes++; c.nodes > ledger.MaxNodes {
		return malformed("the filter is too long: %d comparisons at most", ledger.MaxNodes)
	}
	if depth > ledger.MaxDepth {
		return malformed("the filter is nested too deep: %d levels at most", ledger.MaxDepth)
	}
	switch n.Op {
	case ledger.OpAnd, ledger.OpOr:
		return c.combine(n, depth)
	case ledger.OpNot:
		if len(n.Nodes) != 1 || n.Nodes[0] == nil {
			return malformed("NOT takes one comparison")
		}
		c.sql.WriteString("not ")
		return c.add(n.Nodes[0], depth+1)
	default:
		return c.compare(n)
	}
}

func (c *condition) combine(n *ledger.Node, depth int) error {
	word := " and "
	if n.Op == ledger.OpOr {
		word = " or "
	}
	if len(n.Nodes) == 0 {
		return malformed("AND and OR take comparisons")
	}
	c.sql.WriteByte('(')
	for i, each := range n.Nodes {
		if i > 0 {
			c.sql.WriteString(word)
		}
		if each == nil {
			return malformed("AND and OR take comparisons")
		}
		if err := c.add(each, depth+1); err != nil {
			return err
		}
	}
	c.sql.WriteByte(')')
	return nil
}

func (c *condition) compare(n *ledger.Node) error {
	column, known := columns[n.Field]
	if !known {
		return malformed("there is no field of that name to filter by")
	}
	if !utf8.ValidString(n.Value.Text) || strings.Contains(n.Value.Text, "\x00") {
		return malformed("the filter holds NUL or what is not UTF-8")
	}
	if n.Op == ledger.OpHas && n.Field != ledger.FieldTime {
		c.sql.WriteString("(instr(" + column + ", ?) > 0)")
		c.args = append(c.args, n.Value.Text)
		return nil
	}
	sign, known := comparisons[n.Op]
	switch {
	case !known:
		return malformed("%s cannot be compared that way", n.Field)
	case n.Field == ledger.FieldTime:
		c.args = append(c.args, n.Value.Time)
	case n.Field == ledger.FieldExchange && n.Op == ledger.OpEq:
		// By key where the text is an id; any other text equals none.
		of, err := exchange.ParseID(n.Value.Text)
		if err != nil {
			c.sql.WriteString("(1 = 0)")
			return nil
		}
		column = "exchange"
		c.args = append(c.args, of[:])
	default:
		c.args = append(c.args, n.Value.Text)
	}
	c.sql.WriteString("(" + column + " " + sign + " ?)")
	return nil
}
