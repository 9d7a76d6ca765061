package sqlite

import (
	"context"
	"database/sql"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
)

func migrated(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cambio.db")
	if err := Migrate(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestS30EachConnectionIsVerified: a connection that does not hold what it was told
// is refused, whatever the reason it has.
func TestS30EachConnectionIsVerified(t *testing.T) {
	path := migrated(t)
	for _, contrary := range []string{
		"synchronous = normal", "synchronous = off", "journal_mode = delete", "foreign_keys = off", "recursive_triggers = off",
	} {
		for name, pragmas := range map[string][]string{"writer": writerPragmas, "reader": readerPragmas} {
			if name == "reader" && contrary == "journal_mode = delete" {
				continue // a reader cannot
			}
			pool, err := connect(path, append(slices.Clone(pragmas), contrary), 1, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := pool.PingContext(t.Context()); exchange.KindOf(err) != exchange.KindMisconfigured {
				t.Errorf("%s with %s: %v, want a refusal", name, contrary, err)
			}
			if err := pool.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestS30OpenConnections: what the store works with is durable, each connection of
// it.
func TestS30OpenConnections(t *testing.T) {
	s, err := Open(t.Context(), migrated(t), Options{Readers: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	conns := []*sql.Conn{s.conn}
	for range 3 {
		c, err := s.readers.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		conns = append(conns, c)
	}
	for i, c := range conns {
		for _, h := range held {
			var got string
			if err := c.QueryRowContext(t.Context(), "pragma "+h.pragma).Scan(&got); err != nil || got != h.want {
				t.Errorf("connection %d: %s is %q, %v; want %q", i, h.pragma, got, err, h.want)
			}
		}
		_, err := c.ExecContext(t.Context(), "insert into revisions (tenant, seq, hash, loaded) values ('t', 1, 'h', 1)")
		if (err == nil) != (i == 0) {
			t.Errorf("connection %d: writing: %v", i, err)
		}
	}
}

// TestPrune: spent single-use values go, and only they.
func TestPrune(t *testing.T) {
	s, err := Open(t.Context(), migrated(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if _, err := s.conn.ExecContext(t.Context(), `
		insert into used (tenant, realm, hash, exchange, expires)
		select 'default', 'r', randomblob(32), randomblob(16), cast((unixepoch('subsec') - 3700 + value * 200) * 1000000 as integer)
		from json_each('[0, 1, 2, 20]')`); err != nil {
		t.Fatal(err)
	}
	left := func() (n int) {
		t.Helper()
		if err := s.conn.QueryRowContext(t.Context(), "select count(*) from used").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for range pruneEvery - 1 {
		if _, err := s.Append(context.Background(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := left(); n != 4 {
		t.Errorf("%d are left before it is time, want 4", n)
	}
	if _, err := s.Append(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if n := left(); n != 3 {
		t.Errorf("%d are left, want 3: one had expired an hour before", n)
	}
}
