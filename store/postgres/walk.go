package postgres

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// apart is how many times as much it costs to look at rows that lie in a block
// each, as those of one value may, as at rows that follow one another.
const apart = 4

// mostWalks bounds the alternatives of a filter that are each looked up.
const mostWalks = 16

// How far the time in an exchange's id may be from that of its outcome. Clocks of
// replicas agree within five minutes, so an outcome is hardly earlier than its
// exchange. It is later by the seconds that an exchange may take: what is issued has
// deadlines. What a replica that stood still has to say afterwards is that something
// was denied or failed, and an abandoned exchange ends as unknown whenever a replica
// comes by: those are rare, and looked for apart. Each list of what came after a time
// looks in vain through as much at its end.
const (
	earliest = 5 * time.Minute
	prompt   = 5 * time.Minute // what is issued
	latest   = time.Hour       // all but what ends as unknown
)

// inOrder makes a page be planned for its values, and as walks by index in the
// order of exchanges: never by reading and sorting what may be the whole ledger.
// The rows of a value lie in the order of the walk, so a block costs no more than
// the next one.
const inOrder = `select set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_seqscan', 'off', true),
	set_config('enable_bitmapscan', 'off', true), set_config('enable_sort', 'off', true), set_config('random_page_cost', '1', true)`

// indexed ranks the fields that have an index, by how few rows one of their values
// usually has.
var indexed = []ledger.Field{
	ledger.FieldExchange, ledger.FieldCredential, ledger.FieldHandle, ledger.FieldClientIP, ledger.FieldSubject,
	ledger.FieldActor, ledger.FieldTarget, ledger.FieldOutcome,
}

// facts are the columns of the hashes.
const facts = "subject_fact, actor_fact, target_fact, client_ip_fact, credential_fact, handle_fact"

// page writes the statement of a page: walk back, looking at so many rows at most,
// and show those that match, and where the walk was cut off.
func (r *renderer) page(q ledger.Query, looks int) (string, error) {
	condition := "true"
	if q.Filter.Root != nil {
		var err error
		if condition, err = r.node(q.Filter.Root, 1); err != nil {
			return "", err
		}
	}
	var s span
	if q.After != "" {
		after, err := exchange.ParseID(string(q.After))
		if err != nil {
			return "", err
		}
		s.where = " and exchange < " + r.value([16]byte(after))
	}
	if err := r.narrow(&s, q.Filter.Root); err != nil {
		return "", err
	}
	values := []string{""}
	if found, ok := lookup(q.Filter.Root); ok {
		looks, values = max(looks/apart, 1), nil
		for _, n := range found.values {
			value, err := r.comparison(n)
			if err != nil {
				return "", err
			}
			values = append(values, " and "+value)
		}
	}
	most := strconv.Itoa(looks)
	var walks []string
	walk := func(where string) {
		walks = append(walks, "(select id, exchange, tenant, type, at, record, "+facts+" from cambio.events where tenant = $1 and type between 2 and 5"+
			where+" order by exchange desc limit "+most+")")
	}
	for _, value := range values {
		where := s.where + value
		if s.since != "" {
			where += " and exchange >= " + s.since
		}
		walk(where)
	}
	for _, late := range s.late {
		walk(s.where + late)
	}
	rows := strings.Join(walks, " union all ")
	if len(values) > 1 { // a row may have several of them
		rows = "(select distinct on (exchange) * from (" + rows + ") as w order by exchange desc)"
	}
	return "select id, exchange, tenant, type, at, record, matches, n = " + most + " from (" +
		"select w.*, " + condition + " as matches, row_number() over (order by exchange desc) as n from (" + rows + ") as w limit " + most +
		") as w where matches or n = " + most + " order by exchange desc limit " + strconv.Itoa(q.Limit+1), nil
}

// span is which exchanges a walk has to look at.
type span struct {
	where string   // a condition on all of them
	since string   // parameter: no earlier one, except late ones; or empty
	late  []string // conditions on those, each with an index that is in order
}

// narrow adds what every row has to meet by its time or its id.
func (r *renderer) narrow(s *span, n *ledger.Node) error {
	switch {
	case n == nil:
	case n.Op == ledger.OpAnd:
		for _, inner := range n.Nodes {
			if err := r.narrow(s, inner); err != nil {
				return err
			}
		}
	case n.Field == ledger.FieldTime:
		t := time.UnixMicro(n.Value.Time)
		if n.Op == ledger.OpLt || n.Op == ledger.OpLe || n.Op == ledger.OpEq {
			s.where += " and exchange < " + r.value([16]byte(exchange.FirstID(t.Add(earliest))))
		}
		// One such bound is enough: people give one.
		if (n.Op == ledger.OpGt || n.Op == ledger.OpGe || n.Op == ledger.OpEq) && s.since == "" {
			s.since = r.value([16]byte(exchange.FirstID(t.Add(-prompt))))
			late := " and at >= " + r.value(t) + " and exchange < " + s.since
			hour := " and exchange >= " + r.value([16]byte(exchange.FirstID(t.Add(-latest))))
			s.late = []string{" and type = 5" + late, " and type = 4" + late + hour, " and type = 3" + late + hour}
		}
	case n.Field == ledger.FieldExchange && n.Op != ledger.OpNe:
		if _, err := exchange.ParseID(n.Value.Text); err == nil && comparisons[n.Op] != "" {
			condition, err := r.comparison(n)
			if err != nil {
				return err
			}
			s.where += " and " + condition
		}
	}
	return nil
}

// way is how rows are looked up: they have one of these values.
type way struct {
	values []*ledger.Node
	rank   int // the place of its fields among the indexed
}

// lookup finds the values by which to look up what a filter takes, in which no
// part is nil; false where there are none, and all rows are to be looked at.
func lookup(n *ledger.Node) (best way, ok bool) {
	if n == nil {
		return way{}, false
	}
	switch n.Op {
	case ledger.OpAnd:
		for _, inner := range n.Nodes {
			if w, found := lookup(inner); found && (!ok || w.rank < best.rank || w.rank == best.rank && len(w.values) < len(best.values)) {
				best, ok = w, true
			}
		}
		return best, ok
	case ledger.OpOr:
		for _, inner := range n.Nodes {
			w, found := lookup(inner)
			if !found {
				return way{}, false
			}
			best.values, best.rank = append(best.values, w.values...), max(best.rank, w.rank)
		}
		return best, len(best.values) <= mostWalks
	case ledger.OpEq:
		if rank := slices.Index(indexed, n.Field); rank >= 0 && found(n) {
			return way{[]*ledger.Node{n}, rank}, true
		}
	}
	return way{}, false
}

// found reports whether an index says which rows have the value.
func found(n *ledger.Node) bool {
	text := n.Value.Text
	switch n.Field {
	case ledger.FieldExchange:
		return true
	case ledger.FieldOutcome:
		return text != exchange.EventIssued.String() // nearly everything was issued
	}
	return text != "" && isText(text)
}

// isText reports whether the server takes a value for text.
func isText(value string) bool {
	return utf8.ValidString(value) && strings.IndexByte(value, 0) < 0
}
