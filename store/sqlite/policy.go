package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/store/sqlite/internal/db"
)

// LoadRevision implements policy.State.
func (s *Store) LoadRevision(ctx context.Context, tenant, hash, replaces string, event exchange.Event) (seq int64, err error) {
	err = s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		var newest string
		r, err := q.NewestRevision(ctx, db.NewestRevisionParams{Tenant: tenant})
		switch {
		case err == nil:
			newest = r.Hash
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		if newest == hash || newest != replaces || replaces == "" {
			if seq, err = q.RevisionOf(ctx, db.RevisionOfParams{Tenant: tenant, Hash: hash}); !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		if seq, err = q.AddRevision(ctx, db.AddRevisionParams{Tenant: tenant, Hash: hash}); err != nil {
			return err
		}
		return appendOne(ctx, q, event)
	})
	if err != nil {
		return 0, fmt.Errorf("recording a policy revision: %w", err)
	}
	return seq, nil
}

// NewestRevision implements policy.State.
func (s *Store) NewestRevision(ctx context.Context, tenant string) (seq int64, hash string, loaded, now time.Time, err error) {
	r, err := s.read.NewestRevision(ctx, db.NewestRevisionParams{Tenant: tenant})
	if errors.Is(err, sql.ErrNoRows) {
		us, err := s.read.Clock(ctx)
		if err != nil {
			return 0, "", time.Time{}, time.Time{}, fmt.Errorf("reading the database's clock: %w", err)
		}
		return 0, "", time.Time{}, moment(us), nil
	}
	if err != nil {
		return 0, "", time.Time{}, time.Time{}, fmt.Errorf("reading the newest policy revision: %w", err)
	}
	return r.Seq, r.Hash, moment(r.Loaded), moment(r.Now), nil
}

// Denies implements policy.State.
func (s *Store) Denies(ctx context.Context, tenant string) (list exchange.DenyList, err error) {
	// One transaction is one snapshot. The two statements run unprepared: this is
	// asked about once a second.
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return list, fmt.Errorf("reading the denies: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	q := s.read.WithTx(tx)
	if list.Epoch, err = q.Epoch(ctx, db.EpochParams{Tenant: tenant}); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return exchange.DenyList{}, fmt.Errorf("reading the deny epoch: %w", err)
	}
	rows, err := q.ActiveDenies(ctx, db.ActiveDeniesParams{Tenant: tenant})
	if err != nil {
		return exchange.DenyList{}, fmt.Errorf("reading the denies: %w", err)
	}
	for _, r := range rows {
		d := exchange.Deny{
			ID: id(r.ID), Tenant: tenant, Epoch: r.Epoch, Reason: r.Reason,
			Created: moment(r.Created), Expires: momentOrZero(r.Expires),
		}
		if err := json.Unmarshal([]byte(r.Match), &d.Match); err != nil {
			return exchange.DenyList{}, fmt.Errorf("reading the deny %s: %w", d.ID, err)
		}
		list.Denies = append(list.Denies, d)
	}
	return list, nil
}

// AddDeny implements policy.State. The same deny again is the same deny: an answer
// that was lost can be asked for again.
func (s *Store) AddDeny(ctx context.Context, d exchange.Deny, event exchange.Event) (epoch int64, err error) {
	match, err := json.Marshal(d.Match)
	if err != nil {
		return 0, fmt.Errorf("writing a deny: %w", err)
	}
	err = s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		var err error
		epoch, err = q.DenyEpochOf(ctx, db.DenyEpochOfParams{Tenant: d.Tenant, ID: d.ID[:]})
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if epoch, err = q.RaiseEpoch(ctx, db.RaiseEpochParams{Tenant: d.Tenant}); err != nil {
			return err
		}
		if err := q.AddDeny(ctx, db.AddDenyParams{
			Tenant: d.Tenant, ID: d.ID[:], Epoch: epoch, Match: string(match), Reason: d.Reason,
			Created: micros(d.Created), Expires: microsOrNull(d.Expires),
		}); err != nil {
			return err
		}
		return appendOne(ctx, q, event)
	})
	if err != nil {
		return 0, fmt.Errorf("adding a deny: %w", err)
	}
	return epoch, nil
}

// RemoveDeny implements policy.State.
func (s *Store) RemoveDeny(ctx context.Context, tenant string, deny exchange.ID, event exchange.Event) (removed bool, err error) {
	err = s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		n, err := q.RemoveDeny(ctx, db.RemoveDenyParams{Tenant: tenant, ID: deny[:]})
		if removed = n == 1; err != nil || !removed {
			return err
		}
		if _, err := q.RaiseEpoch(ctx, db.RaiseEpochParams{Tenant: tenant}); err != nil {
			return err
		}
		return appendOne(ctx, q, event)
	})
	if err != nil {
		return false, fmt.Errorf("removing a deny: %w", err)
	}
	return removed, nil
}
