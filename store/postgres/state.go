package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/postgres/internal/db"
)

// revisionLock orders the loading of revisions.
const revisionLock = 7165064744911531011

// LoadRevision gives a hash its place in the order of revisions, and writes the
// event where the place is new (S21).
func (s *Store) LoadRevision(ctx context.Context, tenant, hash, replaces string, event exchange.Event) (seq int64, err error) {
	err = s.inTransaction(ctx, func(q *db.Queries) error {
		if err := q.OrderRevisions(ctx, revisionLock); err != nil {
			return err
		}
		newest, err := q.NewestRevision(ctx, tenant)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if newest.Hash == hash || newest.Hash != replaces || replaces == "" {
			if seq, err = q.RevisionOf(ctx, tenant, hash); !errors.Is(err, pgx.ErrNoRows) {
				return err
			}
		}
		if seq, err = q.AddRevision(ctx, tenant, hash); err != nil {
			return err
		}
		return insertEvent(ctx, q, event)
	})
	if err != nil {
		return 0, fmt.Errorf("recording the revision: %w", err)
	}
	return seq, nil
}

// NewestRevision returns the greatest place and when it was loaded. Where there is
// none, seq is zero.
func (s *Store) NewestRevision(ctx context.Context, tenant string) (seq int64, hash string, loaded, now time.Time, err error) {
	newest, err := s.queries.NewestRevision(ctx, tenant)
	if errors.Is(err, pgx.ErrNoRows) {
		now, err = s.queries.Clock(ctx)
		newest.Now = now
	}
	if err != nil {
		return 0, "", time.Time{}, time.Time{}, fmt.Errorf("reading the newest revision: %w", err)
	}
	return newest.Seq, newest.Hash, newest.Loaded, newest.Now, nil
}

// Denies returns the epoch and the active denies, by one statement and so of one
// snapshot.
func (s *Store) Denies(ctx context.Context, tenant string) (exchange.DenyList, error) {
	found, err := s.queries.ActiveDenies(ctx, tenant)
	if err != nil {
		return exchange.DenyList{}, fmt.Errorf("reading the denies: %w", err)
	}
	var list exchange.DenyList
	for _, row := range found {
		list.Epoch = row.Current
		if !row.ID.Valid {
			continue
		}
		d := exchange.Deny{ID: row.ID.Bytes, Tenant: tenant, Epoch: row.Epoch.Int64, Reason: row.Reason.String, Created: *row.Created}
		if row.Expires != nil {
			d.Expires = *row.Expires
		}
		if err := json.Unmarshal(row.Match, &d.Match); err != nil {
			return exchange.DenyList{}, fmt.Errorf("reading deny %s: %w", d.ID, err)
		}
		list.Denies = append(list.Denies, d)
	}
	return list, nil
}

// AddDeny makes a deny binding: it waits until every append that looked at the old
// epoch has been committed, and holds the new ones off until its own commit (S31).
// The same deny again returns its epoch.
func (s *Store) AddDeny(ctx context.Context, d exchange.Deny, event exchange.Event) (int64, error) {
	match, err := json.Marshal(d.Match)
	if err != nil {
		return 0, fmt.Errorf("encoding the deny: %w", err)
	}
	var expires *time.Time
	if !d.Expires.IsZero() {
		expires = &d.Expires
	}
	var epoch int64
	err = s.inTransaction(ctx, func(q *db.Queries) error {
		if err := q.OwnEpoch(ctx, epochLock); err != nil {
			return err
		}
		if epoch, err = q.DenyEpochOf(ctx, d.Tenant, d.ID); !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if epoch, err = q.RaiseEpoch(ctx, d.Tenant); err != nil {
			return err
		}
		err := q.AddDeny(ctx, db.AddDenyParams{
			Tenant: d.Tenant, ID: d.ID, Epoch: epoch, Match: match, Reason: d.Reason, Created: d.Created, Expires: expires,
		})
		if err != nil {
			return err
		}
		if err := q.TellOfDenies(ctx, d.Tenant); err != nil {
			return err
		}
		return insertEvent(ctx, q, event)
	})
	if err != nil {
		return 0, fmt.Errorf("adding the deny: %w", err)
	}
	return epoch, nil
}

// RemoveDeny ends a deny. It raises the epoch too, so that a replica that still
// denies is told, though it takes the same lock for that alone.
func (s *Store) RemoveDeny(ctx context.Context, tenant string, id exchange.ID, event exchange.Event) (bool, error) {
	var removed bool
	err := s.inTransaction(ctx, func(q *db.Queries) error {
		if err := q.OwnEpoch(ctx, epochLock); err != nil {
			return err
		}
		n, err := q.RemoveDeny(ctx, tenant, id)
		if err != nil || n == 0 {
			return err
		}
		removed = true
		if _, err := q.RaiseEpoch(ctx, tenant); err != nil {
			return err
		}
		if err := q.TellOfDenies(ctx, tenant); err != nil {
			return err
		}
		return insertEvent(ctx, q, event)
	})
	if err != nil {
		return false, fmt.Errorf("removing the deny: %w", err)
	}
	return removed, nil
}

// insertEvent writes one event in the transaction of what it tells of.
func insertEvent(ctx context.Context, q *db.Queries, event exchange.Event) error {
	e, err := ledger.NewEntry(event)
	if err != nil {
		return err
	}
	n, err := q.InsertEvent(ctx, db.InsertEventParams{
		ID: e.ID, Exchange: e.Exchange, Tenant: e.Tenant, Type: int16(e.Type), At: time.UnixMicro(e.At), Record: e.Record,
	})
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("event %s is in the ledger already, with something else", e.ID)
	}
	return nil
}
