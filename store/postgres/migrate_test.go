package postgres_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/store/postgres"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

func TestMigrateTwiceChangesNothing(t *testing.T) {
	d := pgtest.Start(t).NewDatabase(t)
	var said []string
	o := postgres.MigrateOptions{Progress: func(s string) { said = append(said, s) }}
	if err := postgres.Migrate(t.Context(), d.OwnerDSN(), o); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(said, "\n"); !strings.Contains(all, "applied 00001_ledger.sql") || !strings.Contains(all, "role cambio_service may serve") {
		t.Errorf("it said:\n%s", all)
	}
	before := describe(t, d)
	said = nil
	if err := postgres.Migrate(t.Context(), d.OwnerDSN(), o); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(said, "\n"); strings.Contains(all, "applied") {
		t.Errorf("the second time it said:\n%s", all)
	}
	if after := describe(t, d); after != before {
		t.Errorf("the second time changed the schema from\n%s\nto\n%s", before, after)
	}
}

// describe is what the database holds, and who may do what with it.
func describe(t *testing.T, d *pgtest.Database) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), d.SuperDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var all string
	err = conn.QueryRow(t.Context(), `select string_agg(x, e'\n' order by x) from (
		select c.relname || ' ' || c.relkind::text || ' ' || coalesce(c.relacl::text, '') as x from pg_class c where c.relnamespace = 'cambio'::regnamespace
		union all select t.tgrelid::regclass::text || ' ' || t.tgname from pg_trigger t) y`).Scan(&all)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestMigrateTogether(t *testing.T) {
	d := pgtest.Start(t).NewDatabase(t)
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			if err := postgres.Migrate(t.Context(), d.OwnerDSN(), postgres.MigrateOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	open(t, d)
}

func TestMigrateMakesTheServiceRole(t *testing.T) {
	d := pgtest.Start(t).NewDatabase(t)
	password := exchange.NewSecret("it's a \"test\" \\ password")
	o := postgres.MigrateOptions{ServiceRole: `odd "role"`, ServicePassword: password}
	err := postgres.Migrate(t.Context(), d.OwnerDSN(), o)
	if err == nil || !strings.Contains(err.Error(), `create role "odd ""role""" login`) {
		t.Fatalf("an owner without CREATEROLE: %v; want the statement for an administrator", err)
	}
	d.Exec(t, pgtest.Superuser, "alter role cambio_owner createrole")
	defer d.Exec(t, pgtest.Superuser, "alter role cambio_owner nocreaterole")
	if err := postgres.Migrate(t.Context(), d.OwnerDSN(), o); err != nil {
		t.Fatal(err)
	}
	config, err := pgx.ParseConfig(d.ServiceDSN())
	if err != nil {
		t.Fatal(err)
	}
	config.User, config.Password = o.ServiceRole, password.Reveal()
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatalf("the service role cannot log in: %v", err)
	}
	conn.Close(t.Context())
	if strings.Contains(d.Server.Log(), "it''s a") || strings.Contains(d.Server.Log(), password.Reveal()) {
		t.Error("the server's log has the password")
	}
	d.Exec(t, pgtest.Superuser, `drop owned by "odd ""role"""; drop role "odd ""role"""`)
}

func TestMigrateRefuses(t *testing.T) {
	d := pgtest.Start(t).NewDatabase(t)
	for name, c := range map[string]struct {
		dsn  string
		o    postgres.MigrateOptions
		says string
	}{
		"one role for both":        {d.OwnerDSN(), postgres.MigrateOptions{ServiceRole: pgtest.OwnerRole}, "two roles"},
		"an owner without CREATE":  {d.ServiceDSN(), postgres.MigrateOptions{ServiceRole: "other"}, "CREATE on the database"},
		"no DSN":                   {"postgres://user:hunter2@[::1", postgres.MigrateOptions{}, "postgres://user:password@host"},
		"a password beyond ASCII":  {d.OwnerDSN(), postgres.MigrateOptions{ServicePassword: exchange.NewSecret("Ärger")}, "ASCII"},
		"a password with a return": {d.OwnerDSN(), postgres.MigrateOptions{ServicePassword: exchange.NewSecret("a\nb")}, "ASCII"},
	} {
		t.Run(name, func(t *testing.T) {
			err := postgres.Migrate(t.Context(), c.dsn, c.o)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v; want %q", err, c.says)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

func TestOpenAsksForAMigration(t *testing.T) {
	server := pgtest.Start(t)
	t.Run("no schema", func(t *testing.T) {
		refused(t, server.NewDatabase(t).ServiceDSN(), "cambio migrate")
	})
	t.Run("an older schema", func(t *testing.T) {
		d := migrated(t)
		d.Exec(t, pgtest.Superuser, "delete from cambio.goose_db_version where version_id > 0")
		refused(t, d.ServiceDSN(), "cambio migrate")
	})
	t.Run("a newer schema", func(t *testing.T) {
		d := migrated(t)
		d.Exec(t, pgtest.Superuser, "insert into cambio.goose_db_version (version_id, is_applied) values (2, true)")
		open(t, d)
		if err := postgres.Migrate(t.Context(), d.OwnerDSN(), postgres.MigrateOptions{}); err != nil {
			t.Errorf("the older program's migration: %v", err)
		}
	})
	t.Run("no DSN", func(t *testing.T) {
		refused(t, "postgres://user:hunter2@[::1", "postgres://user:password@host")
	})
}

func refused(t *testing.T, dsn, says string) {
	t.Helper()
	s, err := postgres.Open(t.Context(), dsn, postgres.Options{AllowUnsafe: true})
	if err == nil {
		s.Close()
		t.Fatal("opened")
	}
	if !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v; want %q", err, says)
	}
}
