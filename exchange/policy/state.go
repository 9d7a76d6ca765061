package policy

import (
	"context"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// State is what policy keeps in the database, so that replicas agree. The store
// implements it.
type State interface {
	// LoadRevision records that this replica has loaded the revision and returns
	// its place in the order. event is written with a new place.
	//
	// A hash seen before keeps the newest place that it has (S21): a replica that
	// starts with old files must not make them new. The exception is a change of
	// mind under a running replica: where replaces, the hash that this replica had
	// in force until now (empty at a start), is the newest of all, the files were
	// changed back on purpose, and the hash gets a new place.
	LoadRevision(ctx context.Context, tenant, hash, replaces string, event exchange.Event) (seq int64, err error)
	// NewestRevision returns the greatest place and when it was loaded, by the
	// database's clock, with that clock's present time.
	NewestRevision(ctx context.Context, tenant string) (seq int64, hash string, loaded, now time.Time, err error)
	// Denies returns the active denies and the epoch, read in one snapshot.
	Denies(ctx context.Context, tenant string) (exchange.DenyList, error)
	// AddDeny takes the exclusive lock of S31, writes event and deny, raises the
	// epoch and returns it.
	AddDeny(ctx context.Context, d exchange.Deny, event exchange.Event) (epoch int64, err error)
	// RemoveDeny ends a deny and raises the epoch; false: no such active deny.
	RemoveDeny(ctx context.Context, tenant string, id exchange.ID, event exchange.Event) (bool, error)
}
