package postgres_test

import (
	"sync"
	"testing"

	"github.com/cambio-sts/cambio/store"
	"github.com/cambio-sts/cambio/store/postgres"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
	"github.com/cambio-sts/cambio/store/storetest"
)

// template is a migrated database without connections, which tests copy.
var template struct {
	sync.Once
	*pgtest.Database
}

// migrated is a fresh, migrated database of the shared server.
func migrated(t testing.TB) *pgtest.Database {
	t.Helper()
	server := pgtest.Start(t)
	template.Do(func() {
		d := server.NewTemplate(t)
		migrate(t, d)
		template.Database = d
	})
	if template.Database == nil {
		t.Fatal("the database could not be migrated: see the test that came first")
	}
	return template.Copy(t)
}

func migrate(t testing.TB, d *pgtest.Database) {
	t.Helper()
	if err := postgres.Migrate(t.Context(), d.OwnerDSN(), postgres.MigrateOptions{ServiceRole: pgtest.ServiceRole}); err != nil {
		t.Fatalf("Migrate: %v", err)
	}
}

// open opens a database as the service does, on a server that may run without
// fsync, and closes it after the test.
func open(t testing.TB, d *pgtest.Database) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), d.ServiceDSN(), postgres.Options{AllowUnsafe: true})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, migrated(t)) })
}

// TestListInSmallSteps: pages that look at few rows, and so are often cut off, are
// the same list.
func TestListInSmallSteps(t *testing.T) {
	storetest.RunLists(t, func(t *testing.T) store.Store {
		d := migrated(t)
		s, err := postgres.Open(t.Context(), d.ServiceDSN(), postgres.Options{AllowUnsafe: true, Looks: 16})
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
		return s
	})
}
