package sqlite

import (
	"bytes"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// earliest is how far an outcome may be before its exchange, whose id has the time:
// clocks of replicas agree within five minutes, and a ledger may come from them.
const earliest = 5 * time.Minute

// indexed are the fields whose values have an index that is in the order of the walk;
// the greater, the fewer rows one of their values usually has.
var indexed = map[ledger.Field]int{ledger.FieldSubject: 1, ledger.FieldCredential: 2}

// span is the exchanges that a walk looks at, both ends among them. It is one range,
// since of two bounds at one end an index would serve one.
type span struct{ from, upTo exchange.ID }

func everything() span {
	s := span{}
	for i := range s.upTo {
		s.upTo[i] = 0xff
	}
	return s
}

func (s *span) noEarlier(id exchange.ID) {
	if bytes.Compare(id[:], s.from[:]) > 0 {
		s.from = id
	}
}

func (s *span) noLater(id exchange.ID) {
	if bytes.Compare(id[:], s.upTo[:]) < 0 {
		s.upTo = id
	}
}

// walk is the condition on the rows that a page looks at: what all that the filter
// takes have in common and an index finds. Of values one is looked up, so that no row
// is passed by for not having another.
func (s span) walk(tenant string, filter *ledger.Node) (*condition, error) {
	var value *ledger.Node
	for _, n := range conjuncts(filter) {
		switch n.Field {
		case ledger.FieldTime:
			if n.Op == ledger.OpLt || n.Op == ledger.OpLe || n.Op == ledger.OpEq {
				s.noLater(exchange.FirstID(time.UnixMicro(n.Value.Time).Add(earliest)))
			}
		case ledger.FieldExchange:
			id, err := exchange.ParseID(n.Value.Text)
			if err != nil {
				continue
			}
			if n.Op == ledger.OpLt || n.Op == ledger.OpLe || n.Op == ledger.OpEq {
				s.noLater(id)
			}
			if n.Op == ledger.OpGt || n.Op == ledger.OpGe || n.Op == ledger.OpEq {
				s.noEarlier(id)
			}
		default:
			if n.Op == ledger.OpEq && indexed[n.Field] > 0 && (value == nil || indexed[n.Field] > indexed[value.Field]) {
				value = n
			}
		}
	}
	c := &condition{}
	c.sql.WriteString("tenant = ? and exchange between ? and ?")
	c.args = append(c.args, tenant, s.from[:], s.upTo[:])
	if value == nil {
		return c, nil
	}
	c.sql.WriteString(" and ")
	return c, c.compare(value)
}

// conjuncts are comparisons each of which a row has to meet.
func conjuncts(n *ledger.Node) (all []*ledger.Node) {
	switch {
	case n == nil:
	case n.Op == ledger.OpAnd:
		for _, each := range n.Nodes {
			all = append(all, conjuncts(each)...)
		}
	case len(n.Nodes) == 0:
		all = append(all, n)
	}
	return all
}

// before is the greatest id that is less.
func before(id exchange.ID) exchange.ID {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]--; id[i] != 0xff {
			break
		}
	}
	return id
}
