package postgres_test

import (
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/postgres"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// TestS34RefusesARoleThatCouldChange opens the store as roles that have one right
// too many.
func TestS34RefusesARoleThatCouldChange(t *testing.T) {
	d := migrated(t)
	const makeRole = "create role nosy login password '%PASSWORD%' in role cambio_service; "
	partition := "events_" + thisMonth(t)
	for name, c := range map[string]struct{ role, prepare, says string }{
		"the owner":              {pgtest.OwnerRole, "", "owns the ledger"},
		"a superuser":            {pgtest.Superuser, "", "is a superuser"},
		"a member of the owner":  {"nosy", makeRole + "grant cambio_owner to nosy", "owns the ledger"},
		"may update":             {"nosy", makeRole + "grant update on cambio.events to nosy", "may UPDATE"},
		"may update one column":  {"nosy", makeRole + "grant update (at) on cambio.events to nosy", "may UPDATE"},
		"may delete":             {"nosy", makeRole + "grant delete on cambio.events to nosy", "may UPDATE"},
		"may truncate":           {"nosy", makeRole + "grant truncate on cambio.events to nosy", "may UPDATE"},
		"may add triggers":       {"nosy", makeRole + "grant trigger on cambio.events to nosy", "may UPDATE"},
		"may change a partition": {"nosy", makeRole + "grant delete on cambio." + partition + " to nosy", "may UPDATE"},
		"may change the leaves":  {"nosy", makeRole + "grant update on cambio.leaves to nosy", "may UPDATE"},
		"may write all data":     {"nosy", makeRole + "grant pg_write_all_data to nosy", "may UPDATE"},
		"may create roles":       {"nosy", makeRole + "alter role nosy createrole", "may create roles"},
		"may run programs":       {"nosy", makeRole + "grant pg_execute_server_program to nosy", "run its programs"},
		"may do nothing":         {"nosy", "create role nosy login password '%PASSWORD%'; grant usage on schema cambio to nosy; grant select on cambio.goose_db_version to nosy", "may not append"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.prepare != "" {
				d.Exec(t, pgtest.Superuser, strings.ReplaceAll(c.prepare, "%PASSWORD%", d.Server.Password()))
				defer dropRole(t, d, "nosy")
			}
			s, err := postgres.Open(t.Context(), d.DSN(c.role), postgres.Options{AllowUnsafe: true})
			if err == nil {
				s.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "service role") {
				t.Errorf("the error does not say %q and what to do: %v", c.says, err)
			}
		})
	}
}

// A role that was set by the DSN is no disguise: RESET ROLE undoes it.
func TestS34RefusesASuperuserInDisguise(t *testing.T) {
	d := migrated(t)
	s, err := postgres.Open(t.Context(), d.SuperDSN()+"&role=cambio_service", postgres.Options{AllowUnsafe: true})
	if err == nil {
		s.Close()
		t.Fatal("opened")
	}
	if !strings.Contains(err.Error(), "is a superuser") {
		t.Error(err)
	}
}

// A right that comes after the start is seen by the next Ping.
func TestS34PingSeesAGrant(t *testing.T) {
	d := migrated(t)
	s := open(t, d)
	if err := s.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.Exec(t, pgtest.OwnerRole, "grant delete on cambio.events to cambio_service")
	if err := s.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "may UPDATE, DELETE or TRUNCATE") {
		t.Errorf("Ping: %v", err)
	}
}

// TestS34NothingChangesTheLedger tries every way to change a row, as every role:
// the service lacks the grant, the owner and the superuser meet the triggers.
func TestS34NothingChangesTheLedger(t *testing.T) {
	d := migrated(t)
	s := open(t, d)
	entry := realistic(t, 1)
	if r, err := s.Append(t.Context(), []ledger.Entry{entry}); err != nil || r[0].Status != ledger.StatusInserted {
		t.Fatalf("%v %v", r, err)
	}
	d.Exec(t, pgtest.OwnerRole, "insert into cambio.leaves select 'default', 0, exchange, id, tx, sha256('x') from cambio.events")
	partition := "cambio.events_" + thisMonth(t)
	for _, role := range []string{pgtest.ServiceRole, pgtest.OwnerRole, pgtest.Superuser} {
		for _, statement := range []string{
			"update cambio.events set at = now()", "delete from cambio.events", "truncate cambio.events",
			"update " + partition + " set record = '{}'", "delete from " + partition, "truncate " + partition,
			"truncate cambio.events_default", "update cambio.leaves set idx = 1", "delete from cambio.leaves", "truncate cambio.leaves",
			"merge into cambio.leaves l using (select 1) x on true when matched then delete",
			"insert into cambio.events (id, exchange, tenant, type, at, record) select id, exchange, tenant, type, at, '{}' from cambio.events " +
				"on conflict (tenant, exchange, slot) do update set record = '{}'",
		} {
			if err := d.Try(t.Context(), role, statement); err == nil {
				t.Errorf("as %s: %s: done", role, statement)
			}
		}
	}
	events, err := s.Get(t.Context(), "default", entry.Exchange)
	if err != nil || len(events) != 1 || string(events[0].Record) != string(entry.Record) {
		t.Errorf("after all that: %v, %v", events, err)
	}
}

// The service may do what serving needs and no more: every statement here is one
// it never needs.
func TestS34LeastRights(t *testing.T) {
	d := migrated(t)
	for _, statement := range []string{
		"create table cambio.mine (a int)", "create table public.mine (a int)", "create schema mine",
		"drop table cambio.used", "alter table cambio.events disable trigger all", "alter table cambio.events detach partition cambio.events_default",
		"delete from cambio.denies", "delete from cambio.deny_epoch", "delete from cambio.revisions", "update cambio.revisions set seq = 9",
		"update cambio.keys set sign_at = now()", "update cambio.keys set kid = 'x', sealed = ''", "update cambio.keys set purpose = 'access'", "insert into cambio.goose_db_version (version_id, is_applied) values (99, true)",
		"create function cambio.f() returns int language sql as 'select 1'", "set session_replication_role = replica",
	} {
		if err := d.Try(t.Context(), pgtest.ServiceRole, statement); err == nil {
			t.Errorf("the service may: %s", statement)
		}
	}
}

func dropRole(t *testing.T, d *pgtest.Database, role string) {
	t.Helper()
	d.Exec(t, pgtest.Superuser, "drop owned by "+role+"; drop role "+role)
}

func thisMonth(t *testing.T) string {
	t.Helper()
	id := realistic(t, 0).Exchange
	return id.Time().Format("2006_01")
}
