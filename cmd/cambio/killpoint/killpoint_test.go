package killpoint

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store"
	"github.com/cambio-sts/cambio/store/postgres"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
	"github.com/cambio-sts/cambio/store/sqlite"
)

// The steps of an exchange at which the child dies. In each, "before" is before
// the call and "after" is when its effect is there and nobody has been told.
var steps = []string{
	"before reserve", "after reserve",
	"before append of intent", "after append of intent",
	"before vend", "after vend",
	"before append of issued", "after append of issued",
	"before release", "after release",
	"before answer", "after answer",
}

func TestMain(m *testing.M) {
	if plan := os.Getenv("KILLPOINT"); plan != "" {
		if err := child(plan); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// plan is what a child is told to do.
type plan struct {
	Step     string // where to die; empty: nowhere
	Upstream bool   // minted by the bank, else by ourselves
	Bank     string // URL
	SQLite   string // path, or
	Postgres string // DSN
}

func TestSIGKILLAtEachStepOnSQLite(t *testing.T) {
	everyStep(t, func(t *testing.T) (plan, func() store.Store) {
		path := filepath.Join(t.TempDir(), "cambio.db")
		if err := sqlite.Migrate(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		return plan{SQLite: path}, func() store.Store { return must(sqlite.Open(context.Background(), path, sqlite.Options{})) }
	})
}

func TestSIGKILLAtEachStepOnPostgres(t *testing.T) {
	server := pgtest.Start(t)
	template := server.NewDatabase(t)
	if err := postgres.Migrate(t.Context(), template.OwnerDSN(), postgres.MigrateOptions{ServiceRole: pgtest.ServiceRole}); err != nil {
		t.Fatal(err)
	}
	everyStep(t, func(t *testing.T) (plan, func() store.Store) {
		database := template.Copy(t)
		// The process dies here, not the server: its fsync does not matter.
		return plan{Postgres: database.ServiceDSN()}, func() store.Store {
			return must(postgres.Open(context.Background(), database.ServiceDSN(), postgres.Options{AllowUnsafe: true}))
		}
	})
}

func must[S store.Store](s S, err error) store.Store {
	if err != nil {
		panic(err)
	}
	return s
}

func everyStep(t *testing.T, engine func(t *testing.T) (plan, func() store.Store)) {
	for _, upstream := range []bool{false, true} {
		for _, step := range append(steps, "") {
			if !upstream && strings.Contains(step, "intent") {
				continue // what is of our own making has no intent
			}
			t.Run(fmt.Sprintf("upstream=%v/die %s", upstream, step), func(t *testing.T) {
				p, open := engine(t)
				bank := newBank(t)
				p.Step, p.Upstream, p.Bank = step, upstream, bank.url
				out, killed := runChild(t, p)
				if killed != (step != "") {
					t.Fatalf("killed: %v; the point was not passed, or the child failed:\n%s", killed, out)
				}
				s := open()
				defer func() { _ = s.Close() }()
				judge(t, s, bank, received(out), upstream)
			})
		}
	}
}

// runChild runs this binary again with the plan and reports whether it was killed.
func runChild(t *testing.T, p plan) (stdout string, killed bool) {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	// A race-enabled binary waits a second at its end for late reports; a child that
	// lives for milliseconds has none.
	cmd.Env = append(os.Environ(), "KILLPOINT="+string(text), "GORACE=atexit_sleep_ms=0")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("the child did not end:\n%s", errs.String())
	}
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if err != nil && !status.Signaled() {
		t.Fatalf("the child failed: %v\n%s", err, errs.String())
	}
	return out.String(), status.Signaled() && status.Signal() == syscall.SIGKILL
}

// received reads the exchanges whose credential left the child.
func received(out string) []exchange.ID {
	var ids []exchange.ID
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "received "); ok {
			if id, err := exchange.ParseID(text); err == nil {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// judge reads the database as it was left: every credential that left has its
// issued event; everything minted has its intent. Then the reaper runs, and every
// intent has exactly one outcome, and what nobody received is revoked.
func judge(t *testing.T, s store.Store, b *bank, left []exchange.ID, upstream bool) {
	t.Helper()
	if len(left) == 0 && len(b.minted()) == 0 && upstream {
		t.Log("nothing was minted and nothing left")
	}
	for _, id := range left {
		if count(t, s, id)[exchange.EventIssued] != 1 {
			t.Errorf("exchange %s: a credential left and its event is not in the ledger", id)
		}
	}
	for _, id := range b.minted() {
		if count(t, s, id)[exchange.EventIntent] != 1 {
			t.Errorf("exchange %s: the provider minted, and no intent is in the ledger", id)
		}
	}
	reap(t, s, b)
	for _, id := range append(b.minted(), left...) {
		got := count(t, s, id)
		outcomes := 0
		for event, n := range got {
			if event.Terminal() {
				outcomes += n
			}
		}
		if outcomes != 1 {
			t.Errorf("exchange %s has %d outcomes: %v", id, outcomes, got)
		}
		if got[exchange.EventIssued] == 0 && upstream && !b.isRevoked(id) {
			t.Errorf("exchange %s: minted, not issued, not revoked", id)
		}
	}
}

func count(t *testing.T, s store.Store, id exchange.ID) map[exchange.EventType]int {
	t.Helper()
	events, err := s.Get(t.Context(), "default", id)
	if err != nil {
		t.Fatal(err)
	}
	n := map[exchange.EventType]int{}
	for _, e := range events {
		n[e.Type]++
	}
	return n
}

// reap is one round of the reaper, as any replica would run it.
func reap(t *testing.T, s store.Store, b *bank) {
	t.Helper()
	l := ledger.New(ledger.Options{Log: s, Now: time.Now})
	defer func() { _ = l.Close(context.Background()) }()
	reaper := lease.NewReaper(lease.ReaperOptions{
		Intents: s, Ledger: l, Now: time.Now, Random: rand.Reader,
		Recover: func(_ context.Context, i exchange.Intent) error { b.revoke(i.Event.Exchange); return nil },
	})
	if _, err := reaper.Reap(t.Context()); err != nil {
		t.Fatal(err)
	}
}
