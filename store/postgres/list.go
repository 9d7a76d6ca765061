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

// List returns one page of exchanges, newest first. It is the one statement that
// sqlc cannot write, since its condition comes from the caller: names come from
// the closed table below and values are parameters. A page looks at a bounded
// number of rows, whatever the filter.
func (s *Store) List(ctx context.Context, q ledger.Query) ([]ledger.Exchange, ledger.Cursor, error) {
	if q.Limit < 1 || q.Limit > ledger.MaxPage {
		return nil, "", exchange.Fault(exchange.KindInvalidRequest, fmt.Sprintf("a page has 1 to %d exchanges", ledger.MaxPage), nil)
	}
	if q.After != "" {
		if _, err := exchange.ParseID(string(q.After)); err != nil {
			return nil, "", exchange.Fault(exchange.KindInvalidRequest, "the page token is not one of ours: start again without it", nil)
		}
	}
	r := renderer{arguments: []any{q.Tenant}}
	statement, err := r.page(q, s.looks)
	if err != nil {
		return nil, "", exchange.Fault(exchange.KindInvalidRequest, "the filter cannot be used: "+err.Error(), nil)
	}
	page := make([]ledger.Exchange, 0, min(q.Limit+1, 64))
	var next ledger.Cursor // where the walk ended, if not with the ledger
	var e ledger.Exchange
	var id, of [16]byte
	var kind int16
	var at time.Time
	var matches, last bool
	err = pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, inOrder); err != nil {
			return err
		}
		// Unnamed: filters have too many shapes to keep each prepared.
		found, err := tx.Query(ctx, statement, append([]any{pgx.QueryExecModeCacheDescribe}, r.arguments...)...)
		if err != nil {
			return err
		}
		_, err = pgx.ForEachRow(found, []any{&id, &of, &e.Tenant, &kind, &at, &e.Record, &matches, &last}, func() error {
			e.ID, e.Exchange, e.Type, e.At = id, of, exchange.EventType(kind), at.UnixMicro()
			if last {
				next = ledger.Cursor(e.Exchange.String())
			}
			if matches {
				page = append(page, e)
			}
			e.Record = nil
			return nil
		})
		return err
	})
	if err != nil {
		return nil, "", unread(ctx, "listing exchanges", err)
	}
	if len(page) > q.Limit {
		page = page[:q.Limit]
		next = ledger.Cursor(page[q.Limit-1].Exchange.String())
	}
	return page, next, nil
}

// members maps the fields that are members of the record to their names there.
// fact is the column of the hash by which an equal value is found, where there is one.
var members = map[ledger.Field]struct{ name, fact string }{
	ledger.FieldSubject:    {"subject", "subject_fact"},
	ledger.FieldActor:      {"actor", "actor_fact"},
	ledger.FieldTrust:      {"trust", ""},
	ledger.FieldClient:     {"client", ""},
	ledger.FieldTarget:     {"target", "target_fact"},
	ledger.FieldProvider:   {"provider", ""},
	ledger.FieldOutcome:    {"outcome", ""},
	ledger.FieldErrorKind:  {"error_kind", ""},
	ledger.FieldRule:       {"rule", ""},
	ledger.FieldRevision:   {"revision", ""},
	ledger.FieldClientIP:   {"client_ip", "client_ip_fact"},
	ledger.FieldCredential: {"credential", "credential_fact"},
	ledger.FieldHandle:     {"handle", "handle_fact"},
	ledger.FieldReason:     {"reason", ""},
}

var comparisons = map[ledger.Op]string{
	ledger.OpEq: "=", ledger.OpNe: "<>", ledger.OpLt: "<", ledger.OpLe: "<=", ledger.OpGt: ">", ledger.OpGe: ">=",
}

// renderer turns a filter into a condition.
type renderer struct {
	arguments []any
	nodes     int
	columns   map[ledger.Field]string // where members are columns, as in the counts; nil: in the ledger
}

func (r *renderer) value(v any) string {
	r.arguments = append(r.arguments, v)
	return "$" + strconv.Itoa(len(r.arguments))
}

func (r *renderer) filter(f ledger.Filter) (string, error) {
	if f.Root == nil {
		return "", nil
	}
	condition, err := r.node(f.Root, 1)
	if err != nil {
		return "", err
	}
	return " and " + condition, nil
}

func (r *renderer) node(n *ledger.Node, depth int) (string, error) {
	if r.nodes++; r.nodes > ledger.MaxNodes || depth > ledger.MaxDepth {
		return "", fmt.Errorf("it has more than %d comparisons, or %d levels", ledger.MaxNodes, ledger.MaxDepth)
	}
	if n == nil {
		return "", errors.New("it has an empty part")
	}
	switch n.Op {
	case ledger.OpAnd:
		return r.join(n.Nodes, " and ", depth)
	case ledger.OpOr:
		return r.join(n.Nodes, " or ", depth)
	case ledger.OpNot:
		if len(n.Nodes) != 1 {
			return "", errors.New("a negation has one part")
		}
		inner, err := r.node(n.Nodes[0], depth+1)
		return "(not " + inner + ")", err
	}
	return r.comparison(n)
}

func (r *renderer) join(nodes []*ledger.Node, with string, depth int) (string, error) {
	if len(nodes) == 0 {
		return "", errors.New("it combines nothing")
	}
	parts := make([]string, len(nodes))
	for i, n := range nodes {
		var err error
		if parts[i], err = r.node(n, depth+1); err != nil {
			return "", err
		}
	}
	return "(" + strings.Join(parts, with) + ")", nil
}

// comparison renders to a condition that is true or false and never null, so that
// a negation means what it says: a member that is missing is the empty text.
func (r *renderer) comparison(n *ledger.Node) (string, error) {
	operator, compares := comparisons[n.Op]
	if !compares && n.Op != ledger.OpHas {
		return "", fmt.Errorf("it has an unknown operator %d", n.Op)
	}
	switch n.Field {
	case ledger.FieldTime:
		if !compares {
			return "", errors.New("a time cannot be contained: compare it")
		}
		return "(at " + operator + " " + r.value(time.UnixMicro(n.Value.Time)) + ")", nil
	case ledger.FieldExchange:
		if id, err := exchange.ParseID(n.Value.Text); err == nil && compares {
			return "(exchange " + operator + " " + r.value([16]byte(id)) + ")", nil
		}
		if n.Op == ledger.OpEq {
			return "false", nil
		}
		return r.textual("exchange::text", operator, n.Value.Text), nil
	case ledger.FieldOutcome:
		if n.Op == ledger.OpEq {
			for t := exchange.EventIssued; t.Terminal(); t++ {
				if t.String() == n.Value.Text {
					return "(type = " + strconv.Itoa(int(t)) + ")", nil
				}
			}
			return "false", nil
		}
	}
	if r.columns != nil {
		if n.Field == ledger.FieldOutcome {
			return r.textual("(case type when 2 then 'issued' when 3 then 'denied' when 4 then 'failed' else 'unknown' end)", operator, n.Value.Text), nil
		}
		column, ok := r.columns[n.Field]
		if !ok {
			return "", fmt.Errorf("it names %q, which the counts do not have", n.Field)
		}
		return r.textual(column, operator, n.Value.Text), nil
	}
	m, ok := members[n.Field]
	if !ok {
		return "", fmt.Errorf("it names an unknown field %q", n.Field)
	}
	member := "coalesce(record->>'" + m.name + "', '')"
	condition := r.textual(member, operator, n.Value.Text)
	if n.Op == ledger.OpEq && m.fact != "" && n.Value.Text != "" && isText(n.Value.Text) {
		// Not null even where the hash is: the second part is false then. It is a case
		// so that the planner does not take it for as rare as the hash, and the two
		// together for rarer than they are.
		condition = "(" + m.fact + " = " + r.value(ledger.FactOf(n.Value.Text)) + " and case when " + condition + " then true else false end)"
	}
	return condition, nil
}

// textual compares bytewise, as the other engine does. Without an operator it asks
// whether the value is contained. A value that the server takes for no text, such
// as half a letter, is compared as bytes.
func (r *renderer) textual(member, operator, value string) string {
	v := ""
	if isText(value) {
		v = r.value(value) + "::text"
	} else {
		v = r.value([]byte(value)) + "::bytea"
		member = "convert_to(" + member + ", 'UTF8')"
	}
	switch {
	case operator == "":
		return "(position(" + v + " in " + member + ") > 0)"
	case strings.HasSuffix(v, "bytea"):
		return "(" + member + " " + operator + " " + v + ")"
	}
	return "(" + member + ` collate "C" ` + operator + " " + v + ")"
}
