package pgtest_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

func ask(t *testing.T, dsn, question string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var answer string
	if err := conn.QueryRow(t.Context(), question).Scan(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

func TestSharedServerHasADatabaseForEachTest(t *testing.T) {
	if first, second := pgtest.Start(t), pgtest.Start(t); first != second {
		t.Error("two servers were started where one does")
	}
	one, two := pgtest.Start(t).NewDatabase(t), pgtest.Start(t).NewDatabase(t)
	one.Exec(t, pgtest.OwnerRole, "create table things (name text); insert into things values ('one')")
	if err := two.Try(t.Context(), pgtest.OwnerRole, "select * from things"); err == nil {
		t.Error("a table of one database is seen in another")
	}
	filled := pgtest.Start(t).NewTemplate(t)
	filled.Exec(t, pgtest.OwnerRole, "create table things (name text); insert into things values ('copied')")
	if got := ask(t, filled.Copy(t).OwnerDSN(), "select name from things"); got != "copied" {
		t.Errorf("the copy holds %q", got)
	}
}

func TestRolesAreThreePeople(t *testing.T) {
	d := pgtest.Start(t).NewDatabase(t)
	for role, dsn := range map[string]string{
		pgtest.OwnerRole: d.OwnerDSN(), pgtest.ServiceRole: d.ServiceDSN(), pgtest.Superuser: d.SuperDSN(),
	} {
		if got := ask(t, dsn, "select current_user"); got != role {
			t.Errorf("the DSN of %s logs in as %s", role, got)
		}
	}
	if err := d.Try(t.Context(), pgtest.ServiceRole, "create schema mine"); err == nil {
		t.Error("the service role may create schemas")
	}
}

func TestDurableSurvivesAKill(t *testing.T) {
	s := pgtest.Start(t, pgtest.Durable())
	d := s.NewDatabase(t)
	for setting, want := range map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"} {
		if got := ask(t, d.OwnerDSN(), "select current_setting('"+setting+"')"); got != want {
			t.Errorf("%s is %s", setting, got)
		}
	}
	d.Exec(t, pgtest.OwnerRole, "create table things (name text); insert into things values ('kept')")
	s.Kill(t)
	if err := d.Try(t.Context(), pgtest.OwnerRole, "select 1"); err == nil {
		t.Error("a killed server answers")
	}
	s.Restart(t)
	if got := ask(t, d.OwnerDSN(), "select name from things"); got != "kept" {
		t.Errorf("after a kill the table holds %q", got)
	}
	if !strings.Contains(s.Log(), "was not properly shut down") {
		t.Error("the server did not notice that it was killed")
	}
	s.Stop(t)
	s.Restart(t)
	if got := ask(t, d.OwnerDSN(), "select name from things"); got != "kept" {
		t.Errorf("after a stop the table holds %q", got)
	}
}
