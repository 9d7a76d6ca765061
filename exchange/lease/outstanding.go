package lease

import (
	"context"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Book is where leases stand, and intents without an outcome. The store implements
// it.
type Book interface {
	// LeaseWithRecord returns one lease, ended or not, or an *exchange.Error of
	// KindNotFound.
	LeaseWithRecord(ctx context.Context, tenant string, id exchange.ID) (Outstanding, error)
	// ListLeases returns one page, the last to expire first.
	ListLeases(ctx context.Context, q List) ([]exchange.Lease, error)
	// Outstanding returns one page of the leases that are active and not expired by
	// the database's clock, the first to expire first.
	Outstanding(ctx context.Context, q Query) ([]Outstanding, error)
	// Unsettled lists at most limit intents of a tenant that have no outcome,
	// whether due or not, in the order of their exchanges, after the one named.
	Unsettled(ctx context.Context, tenant string, after exchange.ID, limit int) ([]exchange.Intent, error)
	// RevokeLease makes an active lease revoked and writes the event, in one
	// transaction. False: the lease was not active, or has expired, and nothing was
	// written.
	RevokeLease(ctx context.Context, tenant string, id exchange.ID, event exchange.Event) (bool, error)
	// RenewLease moves the expiry of a lease and writes the event, in one
	// transaction. False: the lease is not as the renewal takes it to be, and nothing
	// was written. exchange.ErrStale: nor was it, since the denies have changed (S31).
	RenewLease(ctx context.Context, r Renewal) (bool, error)
}

// Query selects a page of what is outstanding.
type Query struct {
	Tenant                string
	Subject, Target, Rule string      // to their exact values; empty: any
	Lineage               exchange.ID // this lease and what descends from it; zero: any
	Expires               time.Time   // with After, the lease that the page before ended with
	After                 exchange.ID
	Limit                 int // at least 1
}

// Outstanding is a lease with the outcome that it was written with. The record is
// empty where the ledger has it no more.
type Outstanding struct {
	exchange.Lease
	Record exchange.Record
}

// List selects a page of leases.
type List struct {
	Tenant string
	Owner  string // whose it is: the subject, or the actor who holds it; empty: anybody's
	Ended  bool   // also what is revoked or has expired, as long as it is kept

	// To their exact values; empty: any.
	Subject, Actor, Target, Provider, Rule string
	ExpiresAfter, ExpiresBefore            time.Time // zero: no bound

	Expires time.Time // with After, the lease that the page before ended with
	After   exchange.ID
	Limit   int // at least 1
}

// Below is the place before which the page begins, in the order of expiry and id.
func (l List) Below() (time.Time, exchange.ID) {
	switch {
	case !l.After.IsZero():
		return l.Expires, l.After
	case !l.ExpiresBefore.IsZero():
		return l.ExpiresBefore, exchange.ID{}
	}
	return endOfTime, exchange.ID{}
}

// endOfTime is later than any credential lives, and a moment that both engines know.
var endOfTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// Renewal moves the expiry of one lease.
type Renewal struct {
	Tenant string
	Lease  exchange.ID
	From   time.Time // the expiry that it must have
	Until  time.Time
	// Corrects: it follows what the provider said to a renewal before, so neither the
	// state of the lease nor the denies are looked at.
	Corrects bool
	Epoch    int64 // of the denies that the decision looked at
	Event    exchange.Event
}
