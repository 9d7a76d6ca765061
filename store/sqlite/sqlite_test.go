package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/cambio-sts/cambio/store"
	"github.com/cambio-sts/cambio/store/sqlite"
	"github.com/cambio-sts/cambio/store/storetest"
)

// open migrates a new file and opens it until the test ends.
func open(t testing.TB, o sqlite.Options) (*sqlite.Store, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cambio.db")
	if err := sqlite.Migrate(t.Context(), path); err != nil {
		t.Fatalf("Migrate: %v", err)
	}
	s, err := sqlite.Open(t.Context(), path, o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s, path
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		s, _ := open(t, sqlite.Options{})
		return s
	})
}

// TestListInSmallSteps: pages that look at few rows, and so are often cut off, are
// the same list.
func TestListInSmallSteps(t *testing.T) {
	storetest.RunLists(t, func(t *testing.T) store.Store {
		s, _ := open(t, sqlite.Options{Looks: 16})
		return s
	})
}

func BenchmarkStore(b *testing.B) {
	storetest.Benchmark(b, func(b *testing.B) store.Store {
		s, _ := open(b, sqlite.Options{})
		return s
	})
}
