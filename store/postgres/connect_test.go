package postgres

import (
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// TestS30DurabilityIsSetAndVerified gives the role, the database and the server
// settings that would lose acknowledged rows.
func TestS30DurabilityIsSetAndVerified(t *testing.T) {
	server := pgtest.Start(t, pgtest.Durable())
	d := server.NewDatabase(t)
	if err := Migrate(t.Context(), d.OwnerDSN(), MigrateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, setting := range []string{"off", "local", "remote_write", "on", "remote_apply"} {
		d.Exec(t, pgtest.Superuser, "alter role cambio_service set synchronous_commit = "+setting)
		s, err := Open(t.Context(), d.ServiceDSN(), Options{})
		if err != nil {
			t.Fatalf("%s: %v", setting, err)
		}
		want := "on"
		if setting == "remote_apply" {
			want = setting
		}
		var is string
		if err := s.pool.QueryRow(t.Context(), "show synchronous_commit").Scan(&is); err != nil || is != want {
			t.Errorf("the role says %s: the connection has %s (%v), want %s", setting, is, err, want)
		}
		s.Close()
	}
	for _, setting := range []string{"fsync", "full_page_writes"} {
		t.Run(setting, func(t *testing.T) {
			lax := pgtest.Start(t, pgtest.Setting(setting+"=off"), pgtest.Durable())
			of := lax.NewDatabase(t)
			if err := Migrate(t.Context(), of.OwnerDSN(), MigrateOptions{}); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), of.ServiceDSN(), Options{})
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), setting+" off") {
				t.Errorf("the error does not name %s: %v", setting, err)
			}
		})
	}
}

// Every connection has its limits, so that nothing waits for ever.
func TestConnectionsHaveLimits(t *testing.T) {
	d := pgtest.Start(t).NewDatabase(t)
	if err := Migrate(t.Context(), d.OwnerDSN(), MigrateOptions{}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), d.ServiceDSN(), Options{AllowUnsafe: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for setting, want := range map[string]string{
		"statement_timeout": "10s", "lock_timeout": "4s", "idle_in_transaction_session_timeout": "20s",
		"default_transaction_isolation": "read committed", "TimeZone": "UTC",
	} {
		var is string
		if err := s.pool.QueryRow(t.Context(), "select current_setting($1)", setting).Scan(&is); err != nil || is != want {
			t.Errorf("%s is %q (%v), want %q", setting, is, err, want)
		}
	}
}

// TestS28UpkeepFindsStrayEvents: a start looks for them, and so does each upkeep;
// both sweep.
func TestS28UpkeepFindsStrayEvents(t *testing.T) {
	d := pgtest.Start(t).NewDatabase(t)
	if err := Migrate(t.Context(), d.OwnerDSN(), MigrateOptions{}); err != nil {
		t.Fatal(err)
	}
	reopen := func(log *strings.Builder) *Store {
		t.Helper()
		s, err := Open(t.Context(), d.ServiceDSN(), Options{AllowUnsafe: true, Log: logTo(log)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	// Unswept values show that a start sweeps; the one that may come again stays.
	used := `insert into cambio.used values ('default', 'jti:x', sha256('old'), gen_random_uuid(), now() - interval '2 hours'),
		('default', 'jti:x', sha256('new'), gen_random_uuid(), now()) on conflict do nothing`
	left := func(s *Store) (n int) {
		t.Helper()
		if err := s.pool.QueryRow(t.Context(), "select count(*) from cambio.used").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	d.Exec(t, pgtest.ServiceRole, used)
	var log strings.Builder
	s := reopen(&log)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); left(s) != 1; <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%d single-use values left after a start, want the one that may still come again", left(s))
		}
	}
	s.upkeepOnce(t.Context())
	if log.Len() > 0 || s.StrayRows() != 0 {
		t.Errorf("upkeep of a sound ledger counts %d stray events and says: %s", s.StrayRows(), &log)
	}
	d.Exec(t, pgtest.ServiceRole, `insert into cambio.events (id, exchange, tenant, type, at, record)
		values (gen_random_uuid(), '0fffffff-ffff-7000-8000-000000000000', 'default', 2, now(), '{}'); `+used)
	s.upkeepOnce(t.Context())
	if !strings.Contains(log.String(), "default partition") || s.StrayRows() != 1 {
		t.Errorf("of one stray event %d are counted, and the log says %q", s.StrayRows(), &log)
	}
	if n := left(s); n != 1 {
		t.Errorf("%d single-use values left, want the one that may still come again", n)
	}
	var second strings.Builder
	if again := reopen(&second); !strings.Contains(second.String(), "default partition") || again.StrayRows() != 1 {
		t.Errorf("at a start, of one stray event %d are counted, and the log says %q", again.StrayRows(), &second)
	}
}
