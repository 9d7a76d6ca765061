package sqlite

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// endless finds one row and then searches for ever.
const endless = "with recursive c (n) as (select 1 union all select n + 1 from c) select n from c where n < 2"

// TestEndlessSearch: a read that does not end is ended, by the store's time as by
// its caller's, wherever in the answer it stands; and the pool goes on.
func TestEndlessSearch(t *testing.T) {
	path := migrated(t)
	s, err := Open(t.Context(), path, Options{Readers: 1, StatementTimeout: 500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	prepared, err := s.readers.PrepareContext(t.Context(), "-- name: Endless :many\n"+endless)
	if err != nil {
		t.Fatal(err)
	}
	defer prepared.Close()
	for what, read := range map[string]func(context.Context) error{
		"the first row": func(ctx context.Context) error {
			var n int
			return s.readers.QueryRowContext(ctx, "select count(*) from ("+endless+")").Scan(&n)
		},
		"another row": func(ctx context.Context) error {
			rows, err := s.readers.QueryContext(ctx, whole(endless))
			if err == nil {
				err = errors.Join(errors.New("it began to answer"), rows.Close())
			}
			return err
		},
		"another row of a prepared query": func(ctx context.Context) error {
			rows, err := prepared.QueryContext(ctx)
			if err == nil {
				err = errors.Join(errors.New("it began to answer"), rows.Close())
			}
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			if err := read(t.Context()); exchange.KindOf(err) != exchange.KindUnavailable {
				t.Errorf("without a deadline of the caller's: %v; want unavailable", err)
			}
			soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			if err := read(soon); !errors.Is(err, context.DeadlineExceeded) || exchange.KindOf(err) == exchange.KindUnavailable {
				t.Errorf("with a deadline of the caller's: %v", err)
			}
			if _, _, err := s.List(t.Context(), ledger.Query{Tenant: "default", Limit: 1}); err != nil {
				t.Errorf("the next one: %v", err)
			}
		})
	}
}

// TestReadsHaveATime: reads of every kind end when the store's time is up, and are
// unavailable then.
func TestReadsHaveATime(t *testing.T) {
	s, err := Open(t.Context(), migrated(t), Options{StatementTimeout: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for what, read := range map[string]func() error{
		"exchanges": func() error {
			_, _, err := s.List(t.Context(), ledger.Query{Tenant: "default", Limit: 1})
			return err
		},
		"a summary": func() error {
			_, err := s.Summarize(t.Context(), ledger.SummaryQuery{Tenant: "default", Until: ledger.Hour, Limit: 1})
			return err
		},
		"leases": func() error {
			_, err := s.ListLeases(t.Context(), lease.List{Tenant: "default", Limit: 1})
			return err
		},
		"denies": func() error {
			_, err := s.ListDenies(t.Context(), "default", 1, false, 1)
			return err
		},
		"one lease": func() error {
			_, err := s.Lease(t.Context(), "default", exchange.ID{})
			return err
		},
	} {
		if err := read(); exchange.KindOf(err) != exchange.KindUnavailable {
			t.Errorf("%s: %v; want unavailable", what, err)
		}
	}
}
