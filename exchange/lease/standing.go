package lease

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Standings is where it is kept what becomes of single credentials. The store
// implements it.
type Standings interface {
	// Standing returns, by one round trip, what decides whether a credential still
	// stands. No such lease is an *exchange.Error of KindNotFound.
	Standing(ctx context.Context, tenant string, id exchange.ID) (Standing, error)
	// Denies returns the active denies and the epoch, read in one snapshot.
	Denies(ctx context.Context, tenant string) (exchange.DenyList, error)
}

// Standing is a lease with what bears on it, as of one moment.
type Standing struct {
	Outstanding
	// Orphaned: a lease in its lineage is revoked, or is not there.
	Orphaned bool
	Epoch    int64 // of the tenant's emergency denies
}

// errFallen is what does not stand. Why is for the log: no caller is told.
func errFallen(why string) error {
	return exchange.Fault(exchange.KindNotFound, "there is no such credential", errors.New(why))
}

// standTimeout bounds one question to the database.
const standTimeout = 2 * time.Second

// Register says whether credentials that were handed out still stand. It is safe
// for concurrent use.
type Register struct {
	from Standings
	now  func() time.Time
	held atomic.Pointer[map[string]exchange.DenyList] // by tenant; never changed once stored
}

// NewRegister makes a Register.
func NewRegister(from Standings, now func() time.Time) *Register {
	r := &Register{from: from, now: now}
	r.held.Store(&map[string]exchange.DenyList{})
	return r
}

// Standing returns the lease of a credential that stands: it is neither revoked nor
// expired, nothing that it descends from is revoked, and no emergency deny covers
// it. What does not stand, and what there never was, is an *exchange.Error of
// KindNotFound; a database that does not answer within two seconds, of
// KindUnavailable.
//
// Doors that write nothing have no flush to be told of a deny by, so the epoch is
// read with every answer, and the denies whenever it is another one than those in
// memory are of (S31).
func (r *Register) Standing(ctx context.Context, tenant string, id exchange.ID) (Outstanding, error) {
	ctx, cancel := context.WithTimeout(ctx, standTimeout)
	defer cancel()
	s, err := r.from.Standing(ctx, tenant, id)
	if err != nil {
		if exchange.KindOf(err) == exchange.KindNotFound {
			return Outstanding{}, errFallen("there is no such lease")
		}
		return Outstanding{}, unreadable(err)
	}
	now := r.now()
	switch {
	case s.State != exchange.LeaseActive:
		return Outstanding{}, errFallen("it is revoked, or expired")
	case !now.Before(s.Expires):
		return Outstanding{}, errFallen("it is expired")
	case s.Orphaned:
		return Outstanding{}, errFallen("what it descends from is revoked")
	}
	list, err := r.denies(ctx, tenant, s.Epoch)
	if err != nil {
		return Outstanding{}, unreadable(err)
	}
	record := s.recordOf()
	for _, d := range list.Denies {
		if (d.Expires.IsZero() || now.Before(d.Expires)) && mayCover(d.Match, &record) {
			return Outstanding{}, errFallen("the emergency deny " + d.ID.String() + " covers it")
		}
	}
	return s.Outstanding, nil
}

// denies are those of an epoch, or of a later one.
func (r *Register) denies(ctx context.Context, tenant string, epoch int64) (exchange.DenyList, error) {
	if list := (*r.held.Load())[tenant]; list.Epoch == epoch {
		return list, nil
	}
	list, err := r.from.Denies(ctx, tenant)
	if err != nil {
		return exchange.DenyList{}, err
	}
	for {
		old := r.held.Load()
		next := maps.Clone(*old)
		next[tenant] = list
		if r.held.CompareAndSwap(old, &next) {
			return list, nil
		}
	}
}

// recordOf is the record of the outcome, with what the lease itself knows where the
// ledger has it no more.
func (o *Outstanding) recordOf() exchange.Record {
	r := o.Record
	r.Subject, r.Target, r.Rule = o.Subject, o.Target, o.Rule
	if r.Actor == "" && o.Actor != "" {
		r.Actor, r.Actors = o.Actor, []string{o.Actor}
	}
	if len(r.Lineage) == 0 {
		for _, ancestor := range o.Lineage {
			r.Lineage = append(r.Lineage, ancestor.String())
		}
	}
	if r.Lease == "" {
		r.Lease = o.ID.String()
	}
	return r
}

// mayCover is covers for a replica that may be older than the deny: a member that
// it does not know is taken to hold (S31).
func mayCover(match map[string]string, r *exchange.Record) bool {
	known := map[string]string{}
	for name, value := range match {
		if slices.Contains(members, name) {
			known[name] = value
		}
	}
	return covers(known, r)
}
