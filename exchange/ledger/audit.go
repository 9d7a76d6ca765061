package ledger

import (
	"context"

	"github.com/cambio-sts/cambio/exchange"
)

// Audit is what an engine does for those who watch the ledger and count it.
type Audit interface {
	// Tail returns exchanges in the order in which they became durable, from after
	// a place on, and the place after the last row that was looked at. It looks at a
	// bounded number of rows: fewer than Limit, or none, do not mean that there are
	// no more, more does. Rows of transactions that may still be joined by earlier
	// ones wait, so that nobody who goes on from a place misses any.
	Tail(ctx context.Context, q TailQuery) (rows []Exchange, next Place, more bool, err error)

	// After is the place right after the outcome of an exchange, or an
	// *exchange.Error of KindNotFound where the tenant has no such outcome.
	After(ctx context.Context, tenant string, id exchange.ID) (Place, error)

	// Summarize counts exchanges by their outcome. It is exact at the moment of the
	// call, whatever has been rolled up until then.
	Summarize(ctx context.Context, q SummaryQuery) (Summary, error)

	// Deeds returns one page of what belongs to no exchange, newest first, and where
	// the next begins; empty: there is none.
	Deeds(ctx context.Context, q DeedQuery) ([]Exchange, Cursor, error)

	// Roll adds a bounded number of rows of the ledger to the counts that Summarize
	// goes by, in one transaction with the mark of how far they go, and says
	// whether there are more. Any number of replicas may call it at any time: each
	// row is counted once.
	Roll(ctx context.Context) (more bool, err error)
}

// Place is where a tail stands, in the engine's own terms. The empty one is the
// end of the ledger at the time of the call.
type Place string

// TailQuery selects what a tail shows.
type TailQuery struct {
	Tenant string
	Filter Filter
	Limit  int // 1 to MaxPage
	After  Place
}

// Dimension is what a summary tells apart.
type Dimension string

// The dimensions.
const (
	ByHour    Dimension = "hour" // of the outcome, UTC
	BySubject Dimension = "subject"
	ByTarget  Dimension = "target"
	ByRule    Dimension = "rule"
	ByOutcome Dimension = "outcome"
)

// Dimensions lists every dimension.
func Dimensions() []Dimension {
	return []Dimension{ByHour, BySubject, ByTarget, ByRule, ByOutcome}
}

// MaxSummary is the greatest Limit of a SummaryQuery.
const MaxSummary = 10_000

// Hour is an hour in microseconds. Summaries begin and end with one.
const Hour int64 = 3600_000_000

// SummaryQuery selects what is counted: outcomes at From or later and before
// Until, in Unix microseconds, both whole hours.
type SummaryQuery struct {
	Tenant string
	Filter Filter
	From   int64
	Until  int64
	By     []Dimension // each at most once; none: one count of everything
	Limit  int         // 1 to MaxSummary
}

// Summary is a count for each combination of what was told apart: by hour where
// that is a dimension, then the greatest first.
type Summary struct {
	Rows   []Count
	Groups int64 // how many combinations there are, those beyond the limit too
	Total  int64 // how many exchanges, likewise
}

// Count is one row of a Summary. What is not among the dimensions is zero.
type Count struct {
	Hour    int64 // Unix microseconds
	Subject string
	Target  string
	Rule    string
	Outcome exchange.EventType
	N       int64
}

// Counted reports whether the counts alone can tell which rows the filter takes:
// whether it names only what they keep apart.
func (f Filter) Counted() bool { return f.Root == nil || f.Root.counted() }

// Names reports whether the filter names the field.
func (f Filter) Names(field Field) bool { return f.Root != nil && f.Root.names(field) }

func (n *Node) counted() bool {
	if n == nil {
		return false
	}
	for _, inner := range n.Nodes {
		if !inner.counted() {
			return false
		}
	}
	switch n.Op {
	case OpAnd, OpOr, OpNot:
		return true
	}
	switch n.Field {
	case FieldSubject, FieldTarget, FieldRule, FieldOutcome:
		return true
	}
	return false
}

func (n *Node) names(field Field) bool {
	if n == nil {
		return false
	}
	for _, inner := range n.Nodes {
		if inner.names(field) {
			return true
		}
	}
	return n.Field == field && len(n.Nodes) == 0
}

// Check returns what is wrong with the query, apart from its filter, as an
// *exchange.Error of KindInvalidRequest.
func (q SummaryQuery) Check() error {
	fault := ""
	seen := map[Dimension]bool{}
	for _, d := range q.By {
		known := false
		for _, k := range Dimensions() {
			known = known || d == k
		}
		if !known || seen[d] {
			fault = "a summary is by hour, subject, target, rule or outcome, each at most once"
		}
		seen[d] = true
	}
	switch {
	case fault != "":
	case q.Limit < 1 || q.Limit > MaxSummary:
		fault = "a summary has 1 to 10000 rows"
	case q.From%Hour != 0 || q.Until%Hour != 0 || q.From < 0 || q.Until <= q.From:
		fault = "a summary goes from one whole hour to a later one"
	}
	if fault != "" {
		return exchange.Fault(exchange.KindInvalidRequest, fault, nil)
	}
	return nil
}

// The grains that engines count in.
const (
	GrainHours    = 1 // hours, without the subject
	GrainSubjects = 2 // hours, with the subject
	GrainDays     = 3 // days (UTC), with the subject
)

// Part is a span of time and the grain that answers for it.
type Part struct {
	Grain       int
	From, Until int64
}

// Parts covers the time of the query with the coarsest counts that can tell what
// it wants told apart.
func (q SummaryQuery) Parts() []Part {
	bySubject, byHour := q.Filter.Names(FieldSubject), false
	for _, d := range q.By {
		bySubject, byHour = bySubject || d == BySubject, byHour || d == ByHour
	}
	const day = 24 * Hour
	first, last := (q.From+day-1)/day*day, q.Until/day*day
	switch {
	case !bySubject:
		return []Part{{GrainHours, q.From, q.Until}}
	case byHour || first >= last:
		return []Part{{GrainSubjects, q.From, q.Until}}
	}
	return []Part{{GrainSubjects, q.From, first}, {GrainDays, first, last}, {GrainSubjects, last, q.Until}}
}
