package sqlite_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/sqlite"
	_ "modernc.org/sqlite" // the tests come in by the back door, too
)

func event(t testing.TB) exchange.Event {
	t.Helper()
	now := time.Now()
	e := exchange.Event{Tenant: "default", Type: exchange.EventIssued, At: now, Record: exchange.Record{
		Subject: "k8s:prod:llm:gateway", Trust: "prod", Target: "bedrock", Provider: "mcp", Outcome: "issued",
		Reason: strings.Repeat("x", 600),
	}}
	var err, also error
	e.ID, err = exchange.NewID(now, rand.Reader)
	e.Exchange, also = exchange.NewID(now, rand.Reader)
	if err := errors.Join(err, also); err != nil {
		t.Fatal(err)
	}
	return e
}

func entry(t testing.TB) ledger.Entry {
	t.Helper()
	e, err := ledger.NewEntry(event(t))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func insert(t testing.TB, s *sqlite.Store, e ledger.Entry) {
	t.Helper()
	r, err := s.Append(t.Context(), []ledger.Entry{e})
	if err != nil || r[0].Status != ledger.StatusInserted {
		t.Fatalf("Append: %v, %v", r, err)
	}
}

// backDoor opens the file as any other program would.
func backDoor(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// TestS34AppendOnly: a program that opens the file by itself, with SQLite's own
// defaults, cannot change what was appended.
func TestS34AppendOnly(t *testing.T) {
	s, path := open(t, sqlite.Options{})
	e := entry(t)
	insert(t, s, e)
	intent := event(t)
	intent.Type = exchange.EventIntent
	i, err := ledger.NewEntry(intent)
	if err != nil {
		t.Fatal(err)
	}
	insert(t, s, i)
	db := backDoor(t, path)
	if _, err := db.Exec("insert into leaves (tenant, idx, event, hash) values ('default', 0, ?, zeroblob(32))", e.ID[:]); err != nil {
		t.Fatalf("adding a leaf: %v", err)
	}
	other := entry(t)
	for name, c := range map[string]struct {
		sql  string
		args []any
	}{
		"update an event":  {"update events set record = '{}'", nil},
		"update its key":   {"update events set seq = seq + 100", nil},
		"update or ignore": {"update or replace events set type = 3", nil},
		"delete an event":  {"delete from events where id = ?", []any{e.ID[:]}},
		"delete all":       {"delete from events", nil},
		"replace by id": {"insert or replace into events (id, exchange, tenant, type, at, record) values (?, ?, 'default', 9, 1, '{}')",
			[]any{e.ID[:], e.Exchange[:]}},
		"replace by rowid": {"insert or replace into events (seq, id, exchange, tenant, type, at, record) values (1, ?, ?, 'default', 9, 1, '{}')",
			[]any{other.ID[:], other.Exchange[:]}},
		"replace the outcome": {"insert or replace into events (id, exchange, tenant, type, at, record) values (?, ?, 'default', 3, 1, '{}')",
			[]any{other.ID[:], e.Exchange[:]}},
		"replace the intent": {"replace into events (id, exchange, tenant, type, at, record) values (?, ?, 'default', 1, 1, '{}')",
			[]any{other.ID[:], i.Exchange[:]}},
		"upsert": {"insert into events (id, exchange, tenant, type, at, record) values (?, ?, 'default', 2, 1, '{}') on conflict do update set record = '{}'",
			[]any{e.ID[:], e.Exchange[:]}},
		"update a leaf":          {"update leaves set hash = zeroblob(32)", nil},
		"delete a leaf":          {"delete from leaves", nil},
		"replace a leaf":         {"insert or replace into leaves (tenant, idx, event, hash) values ('default', 0, ?, zeroblob(32))", []any{other.ID[:]}},
		"replace a leaf's event": {"insert or replace into leaves (tenant, idx, event, hash) values ('default', 1, ?, zeroblob(32))", []any{e.ID[:]}},
	} {
		if _, err := db.Exec(c.sql, c.args...); err == nil || !strings.Contains(err.Error(), "append-only") {
			t.Errorf("%s: %v, want a refusal", name, err)
		}
	}
	for _, want := range []ledger.Entry{e, i} {
		got, err := s.Get(t.Context(), "default", want.Exchange)
		if err != nil || len(got) != 1 || got[0].ID != want.ID || string(got[0].Record) != string(want.Record) {
			t.Errorf("an event changed: %+v, %v", got, err)
		}
	}
	var leaves int
	if err := db.QueryRow("select count(*) from leaves where event = ?", e.ID[:]).Scan(&leaves); err != nil || leaves != 1 {
		t.Errorf("%d leaves, %v", leaves, err)
	}
}

// TestS22TenantInEveryKey: whatever is unique, is so within a tenant.
func TestS22TenantInEveryKey(t *testing.T) {
	_, path := open(t, sqlite.Options{})
	rows, err := backDoor(t, path).Query(`
		select t.name, i.name, group_concat(c.name)
		from sqlite_master t, pragma_index_list(t.name) i, pragma_index_info(i.name) c
		where t.type = 'table' and t.name not like 'goose%' and i."unique"
		group by t.name, i.name`)
	if err != nil {
		t.Fatal(err)
	}
	keys := 0
	for rows.Next() {
		var table, index, columns string
		if err := rows.Scan(&table, &index, &columns); err != nil {
			t.Fatal(err)
		}
		keys++
		if columns != "tenant" && !strings.HasPrefix(columns, "tenant,") {
			t.Errorf("%s: the key %s is of %s", table, index, columns)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	if keys < 10 {
		t.Errorf("only %d keys were looked at", keys)
	}
}

// TestFullDisk: with no room left nothing is handed out, those who read still can,
// and when there is room again all goes on, with no row lost.
func TestFullDisk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cambio.db")
	if err := sqlite.Migrate(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	s, err := sqlite.Open(t.Context(), file, sqlite.Options{MaxPages: 120})
	if err != nil {
		t.Fatal(err)
	}
	l := ledger.New(ledger.Options{Log: s, Now: time.Now, Attempts: 2, FirstWait: time.Nanosecond})
	var durable []exchange.Event
	var refused error
	for range 2000 {
		e := event(t)
		if refused = l.Settle(t.Context(), exchange.Outcome{Event: e}); refused != nil {
			break
		}
		durable = append(durable, e)
	}
	if exchange.KindOf(refused) != exchange.KindUnavailable || !strings.Contains(refused.Error(), "full") {
		t.Fatalf("after %d events: %v, want unavailable since the disk is full", len(durable), refused)
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("all is well, says a ping of a full disk")
	}
	if _, _, err := s.List(t.Context(), ledger.Query{Tenant: "default", Limit: 10}); err != nil {
		t.Errorf("reading: %v", err)
	}
	if err := errors.Join(l.Close(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}

	s, err = sqlite.Open(t.Context(), file, sqlite.Options{MaxPages: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for _, e := range durable {
		if got, err := s.Get(t.Context(), "default", e.Exchange); err != nil || len(got) != 1 || got[0].ID != e.ID {
			t.Fatalf("a durable event is not there: %v, %v", got, err)
		}
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("with room again: %v", err)
	}
	insert(t, s, entry(t))
}

// TestFullDiskUnderLoad: whoever was told that it is durable finds it there; whoever
// was not, finds nothing.
func TestFullDiskUnderLoad(t *testing.T) {
	s, _ := open(t, sqlite.Options{MaxPages: 300})
	l := ledger.New(ledger.Options{Log: s, Now: time.Now, Attempts: 1})
	var group sync.WaitGroup
	var mu sync.Mutex
	told := map[exchange.ID]bool{} // exchange → durable
	var failures atomic.Int64
	for range 16 {
		group.Go(func() {
			for failures.Load() < 100 {
				e := event(t)
				err := l.Settle(t.Context(), exchange.Outcome{Event: e})
				if err != nil {
					failures.Add(1)
				}
				mu.Lock()
				told[e.Exchange] = err == nil
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	durable := 0
	for of, ok := range told {
		got, err := s.Get(t.Context(), "default", of)
		if err != nil {
			t.Fatal(err)
		}
		if (len(got) == 1) != ok {
			t.Errorf("told durable: %v, and there are %d", ok, len(got))
		}
		if ok {
			durable++
		}
	}
	if durable == 0 {
		t.Error("nothing was durable")
	}
}

// TestOneProcess: the lock file keeps a second opener and a migration out, with
// advice, until the first has closed.
func TestOneProcess(t *testing.T) {
	s, path := open(t, sqlite.Options{})
	for name, try := range map[string]func() error{
		"Open": func() error {
			_, err := sqlite.Open(t.Context(), path, sqlite.Options{})
			return err
		},
		"Migrate": func() error { return sqlite.Migrate(t.Context(), path) },
	} {
		err := try()
		if exchange.KindOf(err) != exchange.KindMisconfigured || !strings.Contains(err.Error(), "another process has "+path+" open") {
			t.Errorf("%s: %v, want advice", name, err)
		}
	}
	insert(t, s, entry(t))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := sqlite.Migrate(t.Context(), path); err != nil {
		t.Errorf("after it closed: %v", err)
	}
}

func TestSchemaVersion(t *testing.T) {
	dir := t.TempDir()
	missing, empty, newer := filepath.Join(dir, "missing.db"), filepath.Join(dir, "empty.db"), filepath.Join(dir, "newer.db")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // migrating twice is once
		if err := sqlite.Migrate(t.Context(), newer); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(newer); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v, %v; want it private", info.Mode(), err)
	}
	if _, err := backDoor(t, newer).Exec("insert into goose_db_version (version_id, is_applied) values (99999, 1)"); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ path, advice string }{
		"no file":        {missing, "run `cambio migrate`"},
		"an empty file":  {empty, "run `cambio migrate`"},
		"a newer schema": {newer, "is newer than this program"},
	} {
		_, err := sqlite.Open(t.Context(), c.path, sqlite.Options{})
		if exchange.KindOf(err) != exchange.KindMisconfigured || !strings.Contains(err.Error(), c.advice) {
			t.Errorf("%s: %v, want %q", name, err, c.advice)
		}
	}
	if err := sqlite.Migrate(t.Context(), newer); exchange.KindOf(err) != exchange.KindMisconfigured {
		t.Errorf("migrating a newer schema: %v", err)
	}
	if _, err := os.Stat(missing); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("opening made a file: %v", err)
	}
}

// TestPathsOfAnyName: no character of a path means anything to SQLite.
func TestPathsOfAnyName(t *testing.T) {
	for _, name := range []string{"a b.db", "a?mode=memory.db", "a%41.db", "ä#b.db", "file:x.db", ":memory:"} {
		path := filepath.Join(t.TempDir(), name)
		if err := sqlite.Migrate(t.Context(), path); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			t.Errorf("%s: no such file after its migration: %v", name, err)
		}
		s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		insert(t, s, entry(t))
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestReopen: what was appended is there after the next start.
func TestReopen(t *testing.T) {
	s, path := open(t, sqlite.Options{})
	e := entry(t)
	insert(t, s, e)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	r, err := s.Append(t.Context(), []ledger.Entry{e})
	if err != nil || r[0].Status != ledger.StatusReplayed {
		t.Errorf("got %v, %v; want a replay", r, err)
	}
}

// TestPlans: what is asked often is answered from an index.
func TestPlans(t *testing.T) {
	_, path := open(t, sqlite.Options{})
	db := backDoor(t, path)
	for query, index := range map[string]string{
		"select record from exchanges where tenant = 'a' and exchange between x'00' and x'ff' order by exchange desc limit 5":                        "events_outcome",
		"select record from exchanges where tenant = 'a' and exchange between x'00' and x'ff' and (subject = 's') order by exchange desc limit 5":    "events_subject",
		"select record from exchanges where tenant = 'a' and exchange between x'00' and x'ff' and (credential = 's') order by exchange desc limit 5": "events_credential",
		"select record from exchanges where tenant = 'a' and exchange between x'00' and x'00' order by exchange desc limit 5":                        "events_outcome",
		"select record from events where tenant = 'a' and exchange = x'00'":                                                                          "events_id",
		"select event from unsettled where due < 5 order by due limit 5":                                                                             "unsettled_due",
	} {
		rows, err := db.Query("explain query plan " + query)
		if err != nil {
			t.Fatal(err)
		}
		var plan string
		for rows.Next() {
			var a, b, c int
			var detail string
			if err := rows.Scan(&a, &b, &c, &detail); err != nil {
				t.Fatal(err)
			}
			plan += detail + "; "
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(plan, "USING INDEX "+index) && !strings.Contains(plan, "USING COVERING INDEX "+index) || strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s\nis answered by %s\nwant %s", query, plan, index)
		}
	}
}

// BenchmarkLedger is the way of an exchange: callers at once, each waiting for its
// own event.
func BenchmarkLedger(b *testing.B) {
	s, _ := open(b, sqlite.Options{})
	l := ledger.New(ledger.Options{Log: s, Now: time.Now})
	defer func() { _ = l.Close(context.Background()) }()
	events := make([]exchange.Event, b.N)
	for i := range events {
		events[i] = event(b)
	}
	const callers = 64
	b.ResetTimer()
	var group sync.WaitGroup
	for c := range callers {
		group.Go(func() {
			for i := c; i < b.N; i += callers {
				if err := l.Settle(b.Context(), exchange.Outcome{Event: events[i]}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
