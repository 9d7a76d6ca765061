package postgres_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/exchange/signing"
	"github.com/cambio-sts/cambio/store/postgres"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// TestReadsHaveATime: reads of every kind end when the store's time is up, and are
// unavailable then. Here each waits for tables that somebody else has.
func TestReadsHaveATime(t *testing.T) {
	d := migrated(t)
	s, err := postgres.Open(t.Context(), d.ServiceDSN(), postgres.Options{
		AllowUnsafe: true, MaxConns: 16, StatementTimeout: time.Second, LockTimeout: time.Minute,
	})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	conn, err := pgx.Connect(t.Context(), d.DSN(pgtest.Superuser))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	const lock = "begin; lock table cambio.events, cambio.leases, cambio.denies, cambio.sessions in access exclusive mode"
	if _, err := conn.Exec(t.Context(), lock); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for what, read := range map[string]func(context.Context) error{
		"exchanges": func(ctx context.Context) error {
			_, _, err := s.List(ctx, ledger.Query{Tenant: "default", Limit: 1})
			return err
		},
		"what happened": func(ctx context.Context) error {
			_, _, err := s.Deeds(ctx, ledger.DeedQuery{Tenant: "default", Limit: 1})
			return err
		},
		"leases": func(ctx context.Context) error {
			_, err := s.ListLeases(ctx, lease.List{Tenant: "default", Limit: 1})
			return err
		},
		"outstanding leases": func(ctx context.Context) error {
			_, err := s.Outstanding(ctx, lease.Query{Tenant: "default", Limit: 1})
			return err
		},
		"what descends from a lease": func(ctx context.Context) error {
			_, err := s.Outstanding(ctx, lease.Query{Tenant: "default", Lineage: exchange.ID{1}, Limit: 1})
			return err
		},
		"seals of leases": func(ctx context.Context) error {
			_, err := s.ListSealed(ctx, []byte("new"), lease.Sealed{}, 1)
			return err
		},
		"one lease": func(ctx context.Context) error {
			_, err := s.Lease(ctx, "default", exchange.ID{1})
			return err
		},
		"one lease and its record": func(ctx context.Context) error {
			_, err := s.LeaseWithRecord(ctx, "default", exchange.ID{1})
			return err
		},
		"denies": func(ctx context.Context) error {
			_, err := s.ListDenies(ctx, "default", 1, false, 1)
			return err
		},
		"one deny": func(ctx context.Context) error {
			_, err := s.Deny(ctx, "default", exchange.ID{1})
			return err
		},
		"intents": func(ctx context.Context) error {
			_, err := s.Unsettled(ctx, "default", exchange.ID{}, 1)
			return err
		},
		"seals of sessions": func(ctx context.Context) error {
			_, err := s.ListSealedSessions(ctx, []byte("new"), signing.Sealed{}, 1)
			return err
		},
		"one session": func(ctx context.Context) error {
			_, err := s.Session(ctx, "default", exchange.ID{1})
			return err
		},
	} {
		group.Go(func() {
			if err := read(t.Context()); exchange.KindOf(err) != exchange.KindUnavailable {
				t.Errorf("%s: %v; want unavailable", what, err)
			}
			soon, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			if err := read(soon); err == nil || exchange.KindOf(err) == exchange.KindUnavailable {
				t.Errorf("%s with a deadline of the caller's: %v", what, err)
			}
		})
	}
	group.Wait()
}
