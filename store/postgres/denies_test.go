package postgres_test

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// TestDeniesAreHeard on another replica's listening connection, when they are added
// and when they are removed; and again after that connection was cut.
func TestDeniesAreHeard(t *testing.T) {
	db := migrated(t)
	s := open(t, db)
	ctx, cancel := context.WithCancel(t.Context())
	heard, done := make(chan struct{}, 16), make(chan struct{})
	go func() {
		defer close(done)
		s.ListenDenies(ctx, func() { heard <- struct{}{} })
	}()
	defer func() {
		cancel()
		<-done
	}()
	wait := func(what string) {
		t.Helper()
		select {
		case <-heard:
		case <-time.After(30 * time.Second):
			t.Fatalf("%s: nothing was heard", what)
		}
	}
	note := func(of exchange.EventType) exchange.Event {
		id, err := exchange.NewID(time.Now(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return exchange.Event{ID: id, Exchange: id, Tenant: "default", Type: of, At: time.Now()}
	}
	wait("at the beginning")
	added := note(exchange.EventDenyAdded)
	d := exchange.Deny{ID: added.ID, Tenant: "default", Match: map[string]string{"subject": "x"}, Reason: "r", Created: time.Now()}
	if _, err := s.AddDeny(t.Context(), d, added); err != nil {
		t.Fatal(err)
	}
	wait("added")
	if _, err := s.RemoveDeny(t.Context(), "default", d.ID, note(exchange.EventDenyRemoved)); err != nil {
		t.Fatal(err)
	}
	wait("removed")
	db.Exec(t, pgtest.Superuser, "select pg_terminate_backend(pid) from pg_stat_activity where query ilike '%listen cambio_denies%' and pid <> pg_backend_pid()")
	wait("cut, and listening again")
}
