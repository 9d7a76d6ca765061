package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/postgres"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// months lists this month and the next ones as the partitions are named.
func months(n int) []string {
	now := time.Now().UTC()
	first := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	var names []string
	for i := range n {
		names = append(names, first.AddDate(0, i, 0).Format("2006_01"))
	}
	return names
}

func queryOne[T any](t *testing.T, dsn, question string) T {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var answer T
	if err := conn.QueryRow(t.Context(), question).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", question, err)
	}
	return answer
}

// TestS28PartitionsAreMadeAhead opens the store and finds this month and two more,
// each as append-only as the rest, made by a service that has no DDL.
func TestS28PartitionsAreMadeAhead(t *testing.T) {
	d := migrated(t)
	last := months(3)[2]
	d.Exec(t, pgtest.OwnerRole, "drop table cambio.events_"+last)
	s := open(t, d)
	names := queryOne[[]string](t, d.OwnerDSN(), "select array_agg(inhrelid::regclass::text order by inhrelid::regclass::text) from pg_inherits where inhparent = 'cambio.events'::regclass")
	var want []string
	for _, month := range months(3) {
		want = append(want, "cambio.events_"+month)
	}
	want = append(want, "cambio.events_default")
	if fmt.Sprint(names) != fmt.Sprint(want) {
		t.Errorf("partitions %v, want %v", names, want)
	}
	for _, name := range names {
		if triggers := queryOne[int](t, d.OwnerDSN(), "select count(*) from pg_trigger where tgname in ('append_only', 'append_only_truncate') and tgrelid = '"+name+"'::regclass"); triggers != 2 {
			t.Errorf("%s has %d of the two triggers", name, triggers)
		}
		if owner := queryOne[string](t, d.OwnerDSN(), "select relowner::regrole::text from pg_class where oid = '"+name+"'::regclass"); owner != pgtest.OwnerRole {
			t.Errorf("%s belongs to %s", name, owner)
		}
	}
	// Each month's first and last id fall into its own partition.
	for i, month := range months(3) {
		begin, _ := time.Parse("2006_01", month)
		for _, at := range []time.Time{begin, begin.AddDate(0, 1, 0).Add(-time.Millisecond)} {
			e := realistic(t, i)
			id, err := exchange.NewID(at, constant(byte(i)))
			if err != nil {
				t.Fatal(err)
			}
			e.Exchange, e.Lease = id, nil
			wantStatus(t, s, ledger.StatusInserted, e)
			if in := queryOne[string](t, d.OwnerDSN(), "select tableoid::regclass::text from cambio.events where exchange = '"+id.String()+"'"); in != "cambio.events_"+month {
				t.Errorf("an exchange of %s is in %s", at, in)
			}
		}
	}
}

// Replicas start together: each may call the function.
func TestS28PartitionsAreMadeOnce(t *testing.T) {
	d := migrated(t)
	for _, month := range months(3) {
		d.Exec(t, pgtest.OwnerRole, "drop table cambio.events_"+month)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if err := d.Try(t.Context(), pgtest.ServiceRole, "select cambio.make_partitions(2)"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := queryOne[int](t, d.OwnerDSN(), "select count(*) from pg_inherits where inhparent = 'cambio.events'::regclass"); n != 4 {
		t.Errorf("%d partitions, want 4", n)
	}
	// However far it is asked, it goes no further than a year.
	d.Exec(t, pgtest.ServiceRole, "select cambio.make_partitions(1000)")
	if n := queryOne[int](t, d.OwnerDSN(), "select count(*) from pg_inherits where inhparent = 'cambio.events'::regclass"); n != 14 {
		t.Errorf("%d partitions, want 14", n)
	}
}

func TestS28PingMissesAMonth(t *testing.T) {
	for i, says := range []string{"for this month", "for the next month"} {
		t.Run(says, func(t *testing.T) {
			d := migrated(t)
			s := open(t, d)
			d.Exec(t, pgtest.OwnerRole, "drop table cambio.events_"+months(2)[i])
			// Its name alone is no partition.
			d.Exec(t, pgtest.OwnerRole, "create table cambio.events_"+months(2)[i]+" (like cambio.events including all)")
			if err := s.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("Ping, with a table of that name: %v", err)
			}
			d.Exec(t, pgtest.OwnerRole, "drop table cambio.events_"+months(2)[i])
			if err := s.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("Ping: %v", err)
			}
			// Nothing is lost meanwhile: the default partition takes it, and gives it
			// back, byte by byte, when the month has its own.
			e := realistic(t, 1)
			begin, _ := time.Parse("2006_01", months(2)[i])
			id, err := exchange.NewID(begin.Add(time.Hour), constant(1))
			if err != nil {
				t.Fatal(err)
			}
			e.Exchange, e.Lease = id, nil
			wantStatus(t, s, ledger.StatusInserted, e)
			row := "select tableoid::regclass::text || ' ' || id || tenant || type || at || tx || record from cambio.events where exchange = '" + id.String() + "'"
			before := queryOne[string](t, d.OwnerDSN(), row)
			d.Exec(t, pgtest.ServiceRole, "select cambio.make_partitions(2)")
			if err := s.Ping(t.Context()); err != nil {
				t.Errorf("Ping: %v", err)
			}
			if after := queryOne[string](t, d.OwnerDSN(), row); after != strings.Replace(before, "events_default", "events_"+months(2)[i], 1) {
				t.Errorf("from %s\nto   %s", before, after)
			}
			wantStatus(t, s, ledger.StatusReplayed, e)
			if err := d.Try(t.Context(), pgtest.OwnerRole, "insert into cambio.events_default select id, '0fffffff-ffff-7000-8000-000000000000', tenant, type, at, deadline, tx, record from cambio.events; delete from cambio.events_default"); err == nil {
				t.Error("the default partition takes deletions since")
			}
		})
	}
}

// TestS28ADetachedMonthComesBack detaches months with events in them: the service
// says so, what comes meanwhile is not lost, and the next upkeep attaches them again
// with both.
func TestS28ADetachedMonthComesBack(t *testing.T) {
	for i, says := range []string{"for this month", "for the next month"} {
		t.Run(says, func(t *testing.T) {
			d := migrated(t)
			s := open(t, d)
			table := "cambio.events_" + months(2)[i]
			begin, _ := time.Parse("2006_01", months(2)[i])
			event := func(n int) ledger.Entry {
				e := realistic(t, n)
				id, err := exchange.NewID(begin.Add(time.Duration(n)*time.Hour), constant(byte(n)))
				if err != nil {
					t.Fatal(err)
				}
				e.Exchange, e.Lease = id, nil
				return e
			}
			before, meanwhile, after := event(1), event(2), event(3)
			wantStatus(t, s, ledger.StatusInserted, before)
			d.Exec(t, pgtest.OwnerRole, "alter table cambio.events detach partition "+table)
			if err := s.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "detached") {
				t.Errorf("Ping: %v", err)
			}
			wantStatus(t, s, ledger.StatusInserted, meanwhile)
			again := open(t, d) // a start looks after it, as the hour does
			for _, s := range []*postgres.Store{s, again} {
				if err := s.Ping(t.Context()); err != nil {
					t.Errorf("Ping, attached again: %v", err)
				}
			}
			wantStatus(t, s, ledger.StatusInserted, after)
			wantStatus(t, s, ledger.StatusReplayed, before, meanwhile, after)
			if n := queryOne[int](t, d.OwnerDSN(), "select count(*) from "+table); n != 3 {
				t.Errorf("%d events in the month, want 3", n)
			}
			if n := again.StrayRows(); n != 0 {
				t.Errorf("%d events stand in the default partition", n)
			}
			page, _, err := s.List(t.Context(), ledger.Query{Tenant: "default", Limit: 10, Filter: ledger.Filter{Root: &ledger.Node{
				Op: ledger.OpEq, Field: ledger.FieldCredential, Value: ledger.Value{Text: fmt.Sprintf("%064x", 2)},
			}}})
			if err != nil || len(page) != 1 || page[0].ID != meanwhile.ID {
				t.Errorf("what came meanwhile is found by its credential: %v, %v", page, err)
			}
			if triggers := queryOne[int](t, d.OwnerDSN(), "select count(*) from pg_trigger where tgname in ('append_only', 'append_only_truncate') and tgrelid = '"+table+"'::regclass"); triggers != 2 {
				t.Errorf("%s has %d of the two triggers", table, triggers)
			}
			if checks := queryOne[int](t, d.OwnerDSN(), "select count(*) from pg_constraint where conname like '%\\_month' and conrelid = '"+table+"'::regclass"); checks != 0 {
				t.Errorf("%s has %d checks left over", table, checks)
			}
		})
	}
}
