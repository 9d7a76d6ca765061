package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/postgres/internal/db"
)

// epochLock is the advisory lock of S31: shared by appends, whole for a deny. The
// number is arbitrary, and kept for ever: replicas of every version share it.
const epochLock = 7165064744911531010

// Append makes the entries durable in one round trip: one pipelined batch, which
// the server runs as one transaction, each statement with a snapshot of its own.
// So the statement that compares epochs sees every deny that was committed before
// the lock was granted.
func (s *Store) Append(ctx context.Context, entries []ledger.Entry) ([]ledger.Result, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	err := errUnfit
	if !anyUnfit(entries) {
		var results []ledger.Result
		if results, err = s.append(ctx, entries); !isDataError(err) {
			return results, err
		}
	}
	return s.appendApart(ctx, entries, err)
}

var errUnfit = errors.New("an entry that cannot be stored")

// anyUnfit finds what the schema would let pass.
func anyUnfit(entries []ledger.Entry) bool {
	return slices.ContainsFunc(entries, func(e ledger.Entry) bool { return e.Check() != nil })
}

// appendApart follows a batch that the server refused for its data, of which
// nothing was written: first without the entries that are known to be unfit, then
// one by one, so that a faulty entry costs its neighbours nothing but time (S28).
func (s *Store) appendApart(ctx context.Context, entries []ledger.Entry, cause error) ([]ledger.Result, error) {
	results := make([]ledger.Result, len(entries))
	var fit []ledger.Entry
	var places []int
	for i, e := range entries {
		if err := e.Check(); err != nil {
			results[i] = ledger.Result{Status: ledger.StatusFaulty, Err: err}
			continue
		}
		fit, places = append(fit, e), append(places, i)
	}
	if len(fit) < len(entries) && len(fit) > 0 {
		written, err := s.append(ctx, fit)
		if err == nil {
			for i, r := range written {
				results[places[i]] = r
			}
			return results, nil
		}
		if !isDataError(err) {
			return nil, err
		}
	}
	if len(entries) == 1 && len(fit) == 1 {
		results[0] = ledger.Result{Status: ledger.StatusFaulty, Err: cause}
		return results, nil
	}
	for i, e := range fit {
		written, err := s.append(ctx, []ledger.Entry{e})
		switch {
		case err == nil:
			results[places[i]] = written[0]
		case isDataError(err):
			results[places[i]] = ledger.Result{Status: ledger.StatusFaulty, Err: err}
		default:
			return nil, err
		}
	}
	return results, nil
}

// isDataError reports whether the server refused what it was given, as opposed to
// being unable: class 22 (data), 23 (constraints; a unique one is never violated
// here, only found), 54 (a value over a limit of the server's).
func isDataError(err error) bool {
	state := sqlState(err)
	return len(state) == 5 && (state[:2] == "22" || state[:2] == "23" || state[:2] == "54")
}

func (s *Store) append(ctx context.Context, entries []ledger.Entry) ([]ledger.Result, error) {
	rows := gather(entries)
	defer rows.release()
	batch := &pgx.Batch{}
	batch.Queue(db.ShareEpoch, int64(epochLock))
	if rows.holds.id.n > 0 {
		batch.Queue(db.HoldLeases, rows.holdArguments()...)
	}
	if rows.burns.hash.n > 0 {
		batch.Queue(db.Burn, rows.burnArguments()...)
	}
	written := make(map[exchange.ID]struct{}, len(entries))
	epochs := make(map[string]int64, 1)
	batch.Queue(db.Append, append(rows.eventArguments(), rows.tenants)...).Query(func(found pgx.Rows) error {
		var event pgtype.UUID
		var tenant pgtype.Text
		var epoch int64
		_, err := pgx.ForEachRow(found, []any{&event, &tenant, &epoch}, func() error {
			if event.Valid {
				written[event.Bytes] = struct{}{}
			} else {
				epochs[tenant.String] = epoch
			}
			return nil
		})
		return err
	})
	if rows.intents.id.n > 0 {
		batch.Queue(db.OpenIntents, rows.intentArguments()...)
	}
	// The transaction commits at the end of the pipeline: only Close knows how that
	// went.
	if err := s.pool.SendBatch(ctx, batch).Close(); err != nil {
		return nil, fmt.Errorf("appending %d events: %w", len(entries), err)
	}
	results := make([]ledger.Result, len(entries))
	var unwritten []int
	for i := range entries {
		e := &entries[i]
		results[i].Epoch = epochs[e.Tenant]
		if _, ok := written[e.ID]; ok {
			delete(written, e.ID) // the same event twice in one batch: the second is a replay
			results[i].Status = ledger.StatusInserted
		} else {
			unwritten = append(unwritten, i)
		}
	}
	if len(unwritten) > 0 {
		if err := s.explain(ctx, entries, unwritten, results); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// The places in an exchange, as the schema computes them.
var (
	slotIntent  = exchange.ID{15: 1}
	slotOutcome = exchange.ID{15: 2}
)

func slotOf(e *ledger.Entry) exchange.ID {
	switch {
	case e.Type == exchange.EventIntent:
		return slotIntent
	case e.Type.Terminal():
		return slotOutcome
	}
	return e.ID
}

// idList is ids as the text of an array.
func idList(ids []exchange.ID) string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return "{" + strings.Join(texts, ",") + "}"
}

// explain says why entries were not written. What stands in an entry's place comes
// first: one that was appended before a deny is a replay, however stale it is now.
func (s *Store) explain(ctx context.Context, entries []ledger.Entry, unwritten []int, results []ledger.Result) error {
	var ask db.ExplainParams
	for _, i := range unwritten {
		e := &entries[i]
		ask.Places, ask.Ids, ask.Exchanges = append(ask.Places, int32(i)), append(ask.Ids, e.ID), append(ask.Exchanges, e.Exchange)
		ask.Tenants, ask.Slots = append(ask.Tenants, e.Tenant), append(ask.Slots, slotOf(e))
		ask.Records = append(ask.Records, string(e.Record))
		once := e.Once
		if once == nil {
			once = &exchange.Once{} // names nothing
		}
		ask.Realms, ask.Hashes = append(ask.Realms, once.Realm), append(ask.Hashes, once.Hash[:])
		ask.Relies = append(ask.Relies, idList(e.Relies))
	}
	found, err := s.queries.Explain(ctx, ask)
	if err != nil {
		return fmt.Errorf("looking for why %d events were not written: %w", len(unwritten), err)
	}
	for _, row := range found {
		e, result := &entries[row.Place], &results[row.Place]
		switch {
		case row.Same:
			result.Status = ledger.StatusReplayed
		case row.Occupied:
			result.Status = ledger.StatusSettled
		case e.Epoch != ledger.AnyEpoch && e.Epoch != result.Epoch:
			result.Status = ledger.StatusStale
		case !row.Fallen.IsZero():
			result.Status, result.Fallen = ledger.StatusFallen, row.Fallen
		case row.Used:
			result.Status = ledger.StatusUsed
		default:
			return fmt.Errorf("event %s was not written, and nothing says why", e.ID)
		}
	}
	return nil
}
