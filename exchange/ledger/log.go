package ledger

import (
	"context"

	"github.com/cambio-sts/cambio/exchange"
)

// Log is the engine's half of the ledger: what Postgres and SQLite each do.
type Log interface {
	// Append makes the entries durable in one round trip and one transaction, and
	// says what became of each, in order. An error means that the fate of all of
	// them is unknown: the caller asks again with the same entries, which is safe,
	// since an entry whose event is there already is Replayed. A fault in one
	// entry's data is that entry's StatusFaulty and spoils no neighbour (S28).
	//
	// Entries of kind issued or intent whose Epoch is not the tenant's current
	// deny epoch are not written: StatusStale. The epoch is read after a shared
	// lock that adding a deny takes exclusively (S31).
	Append(ctx context.Context, entries []Entry) ([]Result, error)

	// Pending lists at most limit intents without an outcome whose deadline has
	// passed twice over, by the database's clock (S27), oldest first.
	Pending(ctx context.Context, limit int) ([]exchange.Intent, error)

	// List returns one page of exchanges (terminal outcomes), newest first, and the
	// cursor of the next page, empty at the end.
	List(ctx context.Context, q Query) ([]Exchange, Cursor, error)

	// Get returns every event of one exchange in order of time; none if unknown.
	Get(ctx context.Context, tenant string, id exchange.ID) ([]Exchange, error)
}

// Entry is one event on its way, with what must become durable with it.
type Entry struct {
	ID       exchange.ID
	Exchange exchange.ID
	Tenant   string
	Type     exchange.EventType
	At       int64  // Unix microseconds
	Deadline int64  // Unix microseconds; zero: none. Intents only
	Record   []byte // canonical JSON, storable (S28), at most MaxRecord bytes
	Epoch    int64  // AnyEpoch: not bound to a deny epoch
	Lease    *exchange.Lease
	Once     *exchange.Once
}

// AnyEpoch marks an entry that no deny can make stale: a refusal, a failure,
// administration.
const AnyEpoch int64 = -1

// Status says what became of an entry.
type Status uint8

// The statuses. Only StatusInserted and StatusReplayed are durable.
const (
	StatusInserted Status = iota + 1
	StatusReplayed        // this very event was there already
	StatusSettled         // the exchange has another intent or another outcome (S27)
	StatusStale           // decided under an older deny epoch (S31)
	StatusUsed            // its single-use value was burnt by another exchange (S13)
	StatusFaulty          // the data was refused; Result.Err says why
)

// Result is the fate of one entry.
type Result struct {
	Status Status
	Epoch  int64 // the tenant's current deny epoch
	Err    error
}

// Query selects a page of exchanges.
type Query struct {
	Tenant string
	Filter Filter
	Limit  int    // 1 to MaxPage
	After  Cursor // empty: from the newest
}

// MaxPage is the greatest Limit of a Query.
const MaxPage = 1000

// Cursor is a place in a list, by key and not by count: the exchange id of the
// last row of the page before.
type Cursor string

// Filter is a conjunction of comparisons, AND and OR nested as AIP-160 allows,
// over the closed set of Fields. A nil *Node in Root matches everything.
type Filter struct{ Root *Node }

// Node is one comparison, or a combination of nodes.
type Node struct {
	// Combination: And or Or with Nodes, or Not with one node.
	Op    Op
	Nodes []*Node
	// Comparison: Field, Op (OpEq … OpHas), Value.
	Field Field
	Value Value
}

// Op is a comparison or a combination.
type Op uint8

// The operators.
const (
	OpAnd Op = iota + 1
	OpOr
	OpNot
	OpEq
	OpNe
	OpLt
	OpLe
	OpGt
	OpGe
	OpHas // `:` for text: the value is contained; for lists: an element is equal
)

// Value is a text, or a moment in Unix microseconds for FieldTime.
type Value struct {
	Text string
	Time int64
}

// Field is a column that filters may name. The set is closed: each engine maps it
// to a column, and values travel only as parameters.
type Field string

// The fields.
const (
	FieldTime       Field = "time"
	FieldSubject    Field = "subject"
	FieldActor      Field = "actor"
	FieldTrust      Field = "trust"
	FieldClient     Field = "client"
	FieldTarget     Field = "target"
	FieldProvider   Field = "provider"
	FieldOutcome    Field = "outcome"
	FieldErrorKind  Field = "error_kind"
	FieldRule       Field = "rule"
	FieldRevision   Field = "revision"
	FieldClientIP   Field = "client_ip"
	FieldCredential Field = "credential"
	FieldHandle     Field = "handle"
	FieldReason     Field = "reason"
	FieldExchange   Field = "exchange"
)

// Fields lists every field, for the filter parser and for the tests that walk
// them.
func Fields() []Field {
	return []Field{
		FieldTime, FieldSubject, FieldActor, FieldTrust, FieldClient, FieldTarget, FieldProvider, FieldOutcome,
		FieldErrorKind, FieldRule, FieldRevision, FieldClientIP, FieldCredential, FieldHandle, FieldReason, FieldExchange,
	}
}

// Exchange is a stored event: its keys and the bytes of its record.
type Exchange struct {
	ID       exchange.ID // of the event
	Exchange exchange.ID
	Tenant   string
	Type     exchange.EventType
	At       int64 // Unix microseconds
	Record   []byte
}
