package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/sqlite/internal/db"
	codes "modernc.org/sqlite/lib"
)

// pruneEvery is how many batches go between two prunings of spent single-use
// values.
const pruneEvery = 256

// Append implements ledger.Log.
func (s *Store) Append(ctx context.Context, entries []ledger.Entry) ([]ledger.Result, error) {
	results := make([]ledger.Result, len(entries))
	err := s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		a := appender{q: q, epochs: map[string]int64{}}
		for i := range entries {
			var err error
			if results[i], err = a.append(ctx, &entries[i]); err != nil {
				return err
			}
		}
		if s.appends++; s.appends%pruneEvery == 0 {
			return q.PruneUsed(ctx)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("appending to the ledger: %w", err)
	}
	return results, nil
}

// appendOne writes an event that comes with another change, in its transaction.
func appendOne(ctx context.Context, q *db.Queries, event exchange.Event) error {
	e, err := ledger.NewEntry(event)
	if err != nil {
		return err
	}
	a := appender{q: q, epochs: map[string]int64{}}
	r, err := a.append(ctx, &e)
	switch {
	case err != nil:
		return err
	case r.Status != ledger.StatusInserted && r.Status != ledger.StatusReplayed:
		return fmt.Errorf("the event could not be appended (status %d): %w", r.Status, errors.Join(r.Err))
	}
	return nil
}

// appender appends the entries of one transaction.
type appender struct {
	q      *db.Queries
	epochs map[string]int64 // tenant → current; it cannot change under us
}

// append writes one entry: lease and single-use value first, the event last, since
// only an event cannot be undone. An error is the whole transaction's.
func (a *appender) append(ctx context.Context, e *ledger.Entry) (ledger.Result, error) {
	epoch, err := a.epoch(ctx, e.Tenant)
	if err != nil {
		return ledger.Result{}, err
	}
	if err := e.Check(); err != nil {
		return ledger.Result{Status: ledger.StatusFaulty, Epoch: epoch, Err: err}, nil
	}
	if e.Epoch != ledger.AnyEpoch && e.Epoch != epoch {
		return a.standing(ctx, e, ledger.Result{Status: ledger.StatusStale, Epoch: epoch})
	}
	fallen, err := a.fallen(ctx, e)
	if err != nil {
		return ledger.Result{}, err
	}
	if !fallen.IsZero() {
		return a.standing(ctx, e, ledger.Result{Status: ledger.StatusFallen, Epoch: epoch, Fallen: fallen})
	}
	if e.Lease != nil {
		if err := a.q.InsertLease(ctx, leaseRow(e)); err != nil {
			return a.faulty(ctx, e, epoch, err)
		}
	}
	burnt, err := a.burn(ctx, e)
	if err == nil && burnt != burntElsewhere {
		err = a.q.InsertEvent(ctx, eventRow(e))
		if err == nil {
			return ledger.Result{Status: ledger.StatusInserted, Epoch: epoch}, nil
		}
	}
	if err != nil && !ofTheData(err) {
		return ledger.Result{}, err
	}
	if undone := a.undo(ctx, e, burnt); undone != nil {
		return ledger.Result{}, undone
	}
	if err == nil {
		return a.standing(ctx, e, ledger.Result{Status: ledger.StatusUsed, Epoch: epoch})
	}
	return a.faulty(ctx, e, epoch, err)
}

// fallen is the first lease that the entry relies on and that does not stand; zero:
// all do. Nobody else writes meanwhile.
func (a *appender) fallen(ctx context.Context, e *ledger.Entry) (exchange.ID, error) {
	for _, id := range e.Relies {
		stands, err := a.q.Stands(ctx, db.StandsParams{Tenant: e.Tenant, ID: id[:]})
		if err != nil {
			return exchange.ID{}, fmt.Errorf("looking at a lease that an event relies on: %w", err)
		}
		if !stands {
			return id, nil
		}
	}
	return exchange.ID{}, nil
}

func (a *appender) epoch(ctx context.Context, tenant string) (int64, error) {
	epoch, known := a.epochs[tenant]
	if known {
		return epoch, nil
	}
	epoch, err := a.q.Epoch(ctx, db.EpochParams{Tenant: tenant})
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("reading the deny epoch: %w", err)
	}
	a.epochs[tenant] = epoch
	return epoch, nil
}

// burning is what came of burning an entry's single-use value.
type burning uint8

const (
	burntNothing   burning = iota // none, or burnt by this exchange before
	burntNow                      // by this entry
	burntElsewhere                // by another exchange
)

func (a *appender) burn(ctx context.Context, e *ledger.Entry) (burning, error) {
	o := e.Once
	if o == nil {
		return burntNothing, nil
	}
	n, err := a.q.Burn(ctx, db.BurnParams{
		Tenant: e.Tenant, Realm: o.Realm, Hash: o.Hash[:], Exchange: e.Exchange[:], Expires: micros(o.Expires),
	})
	if err != nil {
		return burntNothing, err
	}
	if n == 1 {
		return burntNow, nil
	}
	by, err := a.q.Burner(ctx, db.BurnerParams{Tenant: e.Tenant, Realm: o.Realm, Hash: o.Hash[:]})
	if err != nil {
		return burntNothing, err
	}
	if id(by) != e.Exchange {
		return burntElsewhere, nil
	}
	return burntNothing, nil
}

// undo takes back what went before an event that was not written.
func (a *appender) undo(ctx context.Context, e *ledger.Entry, burnt burning) error {
	if e.Lease != nil {
		if err := a.q.DropLease(ctx, db.DropLeaseParams{Tenant: e.Tenant, ID: e.Lease.ID[:]}); err != nil {
			return fmt.Errorf("taking back a lease: %w", err)
		}
	}
	if burnt == burntNow {
		if err := a.q.Unburn(ctx, db.UnburnParams{Tenant: e.Tenant, Realm: e.Once.Realm, Hash: e.Once.Hash[:]}); err != nil {
			return fmt.Errorf("taking back a single-use value: %w", err)
		}
	}
	return nil
}

// faulty sorts an error of a statement: of this entry's data, or of everything.
func (a *appender) faulty(ctx context.Context, e *ledger.Entry, epoch int64, err error) (ledger.Result, error) {
	if !ofTheData(err) {
		return ledger.Result{}, err
	}
	return a.standing(ctx, e, ledger.Result{Status: ledger.StatusFaulty, Epoch: epoch, Err: err})
}

// standing says how an entry stands that could not be written: it is there
// already, or its exchange is settled otherwise, or else what the caller says.
func (a *appender) standing(ctx context.Context, e *ledger.Entry, otherwise ledger.Result) (ledger.Result, error) {
	record, err := a.q.RecordOf(ctx, db.RecordOfParams{Tenant: e.Tenant, Exchange: e.Exchange[:], ID: e.ID[:]})
	switch {
	case err == nil && record == string(e.Record):
		return ledger.Result{Status: ledger.StatusReplayed, Epoch: otherwise.Epoch}, nil
	case err == nil:
		return ledger.Result{
			Status: ledger.StatusFaulty, Epoch: otherwise.Epoch, Err: errors.New("another event has this id"),
		}, nil
	case !errors.Is(err, sql.ErrNoRows):
		return ledger.Result{}, fmt.Errorf("looking for an event: %w", err)
	}
	types, err := a.q.TypesOf(ctx, db.TypesOfParams{Tenant: e.Tenant, Exchange: e.Exchange[:]})
	if err != nil {
		return ledger.Result{}, fmt.Errorf("looking for an outcome: %w", err)
	}
	for _, t := range types {
		has := exchange.EventType(t)
		if has == e.Type || (has.Terminal() && e.Type.Terminal()) {
			return ledger.Result{Status: ledger.StatusSettled, Epoch: otherwise.Epoch}, nil
		}
	}
	return otherwise, nil
}

// ofTheData reports whether a statement failed for what it was given; then it
// undid itself and the transaction stands.
func ofTheData(err error) bool {
	switch code(err) {
	case codes.SQLITE_ERROR, codes.SQLITE_CONSTRAINT, codes.SQLITE_TOOBIG, codes.SQLITE_MISMATCH:
		return true
	}
	return false
}

func eventRow(e *ledger.Entry) db.InsertEventParams {
	return db.InsertEventParams{
		ID: e.ID[:], Exchange: e.Exchange[:], Tenant: e.Tenant, Type: int64(e.Type), At: e.At,
		Deadline: sql.NullInt64{Int64: e.Deadline, Valid: e.Deadline != 0}, Record: string(e.Record),
	}
}
