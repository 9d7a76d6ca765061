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
	// entry's data is that entry's StatusFaulty and spoils no neighbour (S28). The
	// entries are not kept after the return.
	//
	// Entries whose Epoch is neither AnyEpoch nor the tenant's current deny epoch
	// are not written: StatusStale. The epoch is read after a shared lock that
	// adding a deny takes exclusively (S31). A tenant that never had a deny is at
	// epoch 0. An entry that is there already is Replayed whatever the epoch.
	//
	// An exchange may burn the same Once again, with its outcome or with another
	// try; in another exchange's entry it is StatusUsed, within one batch too. What
	// is not appended writes no lease and, unless another entry of its exchange
	// did, burns nothing.
	//
	// An entry of which a lease that it Relies on is revoked, has expired by the
	// database's clock or is not there is not written: StatusFallen. Whoever revokes
	// waits for an append that relies on the lease, or the append waits for them; so
	// nothing that relies on a lease is appended after the event of its revocation.
	Append(ctx context.Context, entries []Entry) ([]Result, error)

	// Pending lists at most limit intents without an outcome, of every tenant,
	// whose deadline has passed twice over: At + 2 × (Deadline - At) is before the
	// database's clock (S27). Oldest first. Epoch is the record's; Once is nil.
	Pending(ctx context.Context, limit int) ([]exchange.Intent, error)

	// List returns one page of exchanges (terminal outcomes), newest first, and the
	// cursor of the next page, empty at the end. A page may have fewer than asked
	// for, or none, and yet a next one: an engine may bound what it looks at for
	// one page. What is appended while someone
	// pages makes no row come twice, and none that was there be left out. A query
	// that cannot be understood is an *exchange.Error of KindInvalidRequest.
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
	Facts    Facts  // of the record; terminal outcomes only
	Epoch    int64  // AnyEpoch: not bound to a deny epoch
	Lease    *exchange.Lease
	Once     *exchange.Once
	Relies   []exchange.ID // leases that must stand, each once; none for nearly all
}

// AnyEpoch marks an entry that no deny can make stale: a refusal, a failure,
// administration.
const AnyEpoch int64 = -1

// MaxRecord is the greatest length of an entry's record in bytes. The encoder
// cuts what outside text makes longer, and says where it cut.
const MaxRecord = 64 << 10

// MaxTenant is the greatest length of a tenant's name in bytes.
const MaxTenant = 128

// Status says what became of an entry.
type Status uint8

// The statuses. Only StatusInserted and StatusReplayed are durable.
const (
	StatusInserted Status = iota + 1
	StatusReplayed        // this very event, with these bytes, was there already
	StatusSettled         // the exchange has another intent or another outcome (S27)
	StatusStale           // decided under an older deny epoch (S31)
	StatusUsed            // its single-use value was burnt by another exchange (S13)
	StatusFaulty          // the data was refused; Result.Err says why
	StatusFallen          // a lease that it relies on stands no more; Result.Fallen is the first
)

// Result is the fate of one entry.
type Result struct {
	Status Status
	Epoch  int64 // the tenant's current deny epoch
	Fallen exchange.ID
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
// over the closed set of Fields. A nil *Node in Root matches everything. What a
// record leaves out compares as the empty text, so that every comparison is true
// or false and Not turns one into the other. Texts compare byte by byte.
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
	OpHas // `:`, texts only: the value is contained
)

// Value is a text, or a moment in Unix microseconds for FieldTime.
type Value struct {
	Text string
	Time int64
}

// Field is a column that filters may name. The set is closed: each engine maps it
// to a column, and values travel only as parameters.
type Field string

// MaxNodes and MaxDepth bound a Filter.
const (
	MaxNodes = 100
	MaxDepth = 20
)

// The fields.
const (
	FieldTime       Field = "time" // of the event; the only one that compares Value.Time
	FieldSubject    Field = "subject"
	FieldActor      Field = "actor" // the outermost
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
	FieldExchange   Field = "exchange" // the 36-character form
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
