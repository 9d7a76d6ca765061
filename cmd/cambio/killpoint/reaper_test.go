package killpoint

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/store"
	"github.com/cambio-sts/cambio/store/postgres"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
	"github.com/cambio-sts/cambio/store/sqlite"
)

// Recover takes back whatever one exchange minted: how the reaper ends what a dead
// replica left.
func (d teller) Recover(ctx context.Context, _ *exchange.Target, id exchange.ID) error {
	return d.ask(ctx, http.MethodDelete, id)
}

// Revoke takes back one credential.
func (d teller) Revoke(ctx context.Context, _ *exchange.Target, with exchange.Secret) error {
	id, err := exchange.ParseID(with.Reveal())
	if err != nil {
		return err
	}
	return d.ask(ctx, http.MethodDelete, id)
}

// heldLog lets an outcome through only after it is released: a settle that is slow
// because its database is.
type heldLog struct {
	ledger.Log
	reached chan struct{} // an issued outcome has come
	release chan struct{}
}

func (l heldLog) Append(ctx context.Context, entries []ledger.Entry) ([]ledger.Result, error) {
	for _, e := range entries {
		if e.Type == exchange.EventIssued {
			close(l.reached)
			select {
			case <-l.release:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	return l.Log.Append(ctx, entries)
}

func TestS27ReaperRacesASlowSettle(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "cambio.db")
		if err := sqlite.Migrate(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		s := must(sqlite.Open(t.Context(), path, sqlite.Options{}))
		defer func() { _ = s.Close() }()
		race(t, s)
	})
	t.Run("Postgres", func(t *testing.T) {
		database := pgtest.Start(t).NewDatabase(t)
		if err := postgres.Migrate(t.Context(), database.OwnerDSN(), postgres.MigrateOptions{ServiceRole: pgtest.ServiceRole}); err != nil {
			t.Fatal(err)
		}
		s := must(postgres.Open(t.Context(), database.ServiceDSN(), postgres.Options{AllowUnsafe: true}))
		defer func() { _ = s.Close() }()
		race(t, s)
	})
}

// race starts an exchange whose settle hangs, lets the reaper of another replica
// find its intent, and then lets the settle go on: the reaper's outcome stands, the
// credential is withheld, and what the bank minted is gone.
func race(t *testing.T, s store.Store) {
	t.Helper()
	b := newBank(t)
	p := plan{Upstream: true, Bank: b.url}
	sealer, err := exchange.NewSealer(rand.Reader, make([]byte, exchange.SealKeySize))
	if err != nil {
		t.Fatal(err)
	}
	past := func() time.Time { return time.Now().Add(-time.Hour) } // the reaper need not wait for the deadline
	vendor := func(now func() time.Time) *provider.Vendor {
		return provider.NewVendor(provider.VendorOptions{
			Deps: provider.Deps{Now: now, Random: rand.Reader},
			Target: func(string, string) (*exchange.Target, bool) {
				return fixed{p}.Decide(exchange.Question{}).Target, true
			},
		})
	}
	held := heldLog{s, make(chan struct{}), make(chan struct{})}
	slow := ledger.New(ledger.Options{Log: held, Now: past, Timeout: 20 * time.Second})
	defer func() { _ = slow.Close(context.Background()) }()
	bureau := &exchange.Bureau{
		Policy: fixed{p}, Verifier: fixed{p}, Governor: fixed{p}, Observer: fixed{p},
		Vendor: vendor(past), Ledger: slow, Sealer: sealer, Now: past, Random: rand.Reader,
	}
	answer := make(chan error, 1)
	go func() {
		_, err := bureau.Exchange(context.Background(), exchange.Request{Door: "test", SubjectToken: exchange.Token{Value: exchange.NewSecret("the-subject-token")}})
		answer <- err
	}()
	<-held.reached

	other := ledger.New(ledger.Options{Log: s, Now: time.Now})
	defer func() { _ = other.Close(context.Background()) }()
	reaped, err := lease.NewReaper(lease.ReaperOptions{
		Intents: s, Ledger: other, Recover: vendor(time.Now).Recover, Now: time.Now, Random: rand.Reader,
	}).Reap(t.Context())
	if err != nil || reaped != 1 {
		t.Fatalf("reaped %d: %v", reaped, err)
	}
	close(held.release)
	if err := <-answer; err == nil || !errors.Is(err, exchange.ErrSettled) {
		t.Fatalf("the slow settle lost, and its caller got: %v", err)
	}
	minted := b.minted()
	if len(minted) != 1 || !b.isRevoked(minted[0]) {
		t.Fatalf("minted %v, and not all revoked", minted)
	}
	if got := count(t, s, minted[0]); got[exchange.EventUnknown] != 1 || got[exchange.EventIssued] != 0 {
		t.Errorf("the ledger has %v", got)
	}
}
