package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/signing"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// TestSessionsInOrder: sessions are resealed in the order of their key, however they are
// named, and none is held before those ahead of it. What another holds is not waited for
// by who forgets sessions.
func TestSessionsInOrder(t *testing.T) {
	d := migrated(t)
	s := open(t, d)
	var seals []signing.Sealed
	for i := 2; i >= 0; i-- { // neither in the table nor in the argument is it the order of the key
		id := exchange.ID{0: 1, 15: byte(i)}
		// The one that comes first by its key has ended last.
		held := exchange.Session{
			ID: id, Tenant: "default", Exchange: id, Target: "oci-genai", Subject: "x", Sealed: []byte("old"),
			Expires: time.Now().Add(-time.Duration(i+1) * time.Minute),
		}
		if err := s.HoldSession(t.Context(), held); err != nil {
			t.Fatal(err)
		}
		seals = append(seals, signing.Sealed{Tenant: "default", ID: id, Sealed: held.Sealed, Fresh: []byte("fresh")})
	}
	connect := func() *pgx.Conn {
		conn, err := pgx.Connect(t.Context(), d.DSN(pgtest.Superuser))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
		return conn
	}
	holder, looker := connect(), connect()
	tx, err := holder.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const hold = "select 1 from cambio.sessions where id = $1 for update nowait"
	if _, err := tx.Exec(t.Context(), hold, seals[2].ID); err != nil {
		t.Fatal(err)
	}
	if n, err := s.PruneSessions(t.Context(), 1); n != 1 || err != nil {
		t.Fatalf("%d forgotten beside one that is held, want 1: %v", n, err) // the third, by its key
	}
	type answer struct {
		n   int
		err error
	}
	done := make(chan answer, 1)
	go func() {
		n, err := s.ReplaceSessionSeals(t.Context(), seals)
		done <- answer{n, err}
	}()
	for waiting := false; !waiting; {
		select {
		case a := <-done:
			t.Fatalf("resealing did not wait: %d, %v", a.n, a.err)
		default:
		}
		const waits = "select exists (select 1 from pg_locks where not granted and pid in (select pid from pg_stat_activity where datname = current_database()))"
		if err := looker.QueryRow(t.Context(), waits).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := looker.Exec(t.Context(), hold, seals[1].ID); err != nil {
		t.Errorf("while the first is waited for, the next: %v", err)
	}
	if n, err := s.PruneSessions(t.Context(), 3); n != 1 || err != nil {
		t.Errorf("%d forgotten beside one that is held, want 1: %v", n, err) // the second
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := <-done; a.n != 1 || a.err != nil {
		t.Errorf("%d resealed, want the one that is left: %v", a.n, a.err)
	}
}
