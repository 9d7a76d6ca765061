package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/migrations"
)

// DefaultServiceRole is the role that serves, where nobody names another.
const DefaultServiceRole = "cambio_service"

// versionTable is goose's own, kept beside what it describes.
const versionTable = schema + ".goose_db_version"

const schema = "cambio"

// migrationLock keeps two runners apart. The number is arbitrary, and kept for
// ever: a runner of another version must find the same.
const migrationLock = 7165064744911531009

// MigrateOptions are the settings of Migrate.
type MigrateOptions struct {
	// ServiceRole is the role that Open will connect as; it gets the least rights
	// that serving needs. Empty: DefaultServiceRole. It is made if it does not
	// exist, which takes an owner with CREATEROLE.
	ServiceRole string
	// ServicePassword, where set, becomes the password of the service role: of
	// printable ASCII. The server is sent its hash.
	ServicePassword exchange.Secret
	// Progress is told each step in a sentence. Nil: nobody is.
	Progress func(string)
}

// Migrate brings the schema to what this program needs and gives the service role
// its rights. It connects as the owner, waits for any other runner, and changes
// nothing where nothing is missing. A newer schema than this program's is left as
// it is.
func Migrate(ctx context.Context, ownerDSN string, o MigrateOptions) error {
	config, err := pgx.ParseConfig(ownerDSN)
	if err != nil {
		return errors.New("the owner's Postgres DSN cannot be parsed: it is postgres://user:password@host:port/database or key=value pairs")
	}
	if o.ServiceRole == "" {
		o.ServiceRole = DefaultServiceRole
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	verifier := ""
	if !o.ServicePassword.IsZero() {
		if verifier, err = scramVerifier(o.ServicePassword); err != nil {
			return err
		}
	}
	config.RuntimeParams["application_name"] = "cambio migrate"
	config.RuntimeParams["timezone"] = "UTC"
	database := stdlib.OpenDB(*config)
	defer database.Close()
	database.SetMaxIdleConns(2)
	conn, err := database.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connecting as the owner: %w", err)
	}
	defer conn.Close()
	// Every second, for ten minutes: what another runner may need.
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(migrationLock), lock.WithLockTimeout(1, 600))
	if err != nil {
		return err
	}
	if err := locker.SessionLock(ctx, conn); err != nil {
		return fmt.Errorf("waiting for another migration to end: %w", err)
	}
	defer func() { _ = locker.SessionUnlock(context.WithoutCancel(ctx), conn) }()
	if err := makeSchema(ctx, conn, o); err != nil {
		return err
	}
	if err := applyMigrations(ctx, database, o); err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "select cambio.make_partitions($1)", partitionsAhead); err != nil {
		return fmt.Errorf("making the partitions of the months to come: %w", err)
	}
	return grantService(ctx, conn, o, verifier)
}

func makeSchema(ctx context.Context, conn *sql.Conn, o MigrateOptions) error {
	var exists, superuser, same bool
	err := conn.QueryRowContext(ctx, `
		select to_regnamespace('cambio') is not null,
			(select rolsuper from pg_roles where rolname = current_user),
			$1 in (current_user, session_user)`, o.ServiceRole).Scan(&exists, &superuser, &same)
	switch {
	case err != nil:
		return fmt.Errorf("looking for the schema: %w", err)
	case same:
		return fmt.Errorf("the owner's DSN logs in as %q, which is to be the service role: they must be two roles, so that serving cannot change the ledger", o.ServiceRole)
	case superuser:
		o.Progress("warning: the owner is a superuser; a role of its own that may create in this database is enough")
	}
	if exists {
		return nil
	}
	if _, err := conn.ExecContext(ctx, "create schema cambio"); err != nil {
		return fmt.Errorf("creating the schema (the owner needs CREATE on the database): %w", err)
	}
	o.Progress("created schema cambio")
	return nil
}

func applyMigrations(ctx context.Context, database *sql.DB, o MigrateOptions) error {
	provider, err := newProvider(database)
	if err != nil {
		return err
	}
	results, err := provider.Up(ctx)
	for _, r := range results {
		o.Progress("applied " + r.Source.Path)
	}
	if err != nil {
		var partial *goose.PartialError
		if errors.As(err, &partial) {
			for _, r := range partial.Applied {
				o.Progress("applied " + r.Source.Path)
			}
			return fmt.Errorf("applying %s: %w", partial.Failed.Source.Path, partial.Err)
		}
		return fmt.Errorf("applying the migrations: %w", err)
	}
	version, err := provider.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("reading the schema's version: %w", err)
	}
	o.Progress("schema is at version " + strconv.FormatInt(version, 10))
	return nil
}

func newProvider(database *sql.DB) (*goose.Provider, error) {
	files, err := fs.Sub(migrations.Postgres, "postgres")
	if err != nil {
		return nil, err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, database, files,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return nil, fmt.Errorf("reading the migrations: %w", err)
	}
	return provider, nil
}

// newestMigration is the version that this program needs: the number of the last
// embedded file. A schema that is newer serves as well, since a migration keeps
// the code of the version before running.
var newestMigration = func() func() int64 {
	names, _ := fs.Glob(migrations.Postgres, "postgres/*.sql")
	var newest int64
	for _, name := range names {
		number, _, _ := strings.Cut(strings.TrimPrefix(name, "postgres/"), "_")
		if v, err := strconv.ParseInt(number, 10, 64); err == nil && v > newest {
			newest = v
		}
	}
	return func() int64 { return newest }
}()

// grants is all that serving needs, told anew at each migration. The ledger and
// the leaves can be read and appended to; nothing here lets anyone change them.
const grants = `
revoke all on all tables in schema cambio from %[1]s;
grant usage on schema cambio to %[1]s;
grant select, insert on cambio.events, cambio.leaves to %[1]s;
grant select on cambio.events_default, cambio.exchanges, cambio.goose_db_version to %[1]s;
grant select, insert, update, delete on cambio.open_intents, cambio.leases, cambio.used, cambio.sessions to %[1]s;
grant select, insert, update on cambio.deny_epoch, cambio.denies to %[1]s;
grant select, insert on cambio.revisions to %[1]s;
grant select, insert, update on cambio.counts to %[1]s;
grant select, update on cambio.rolled to %[1]s;
grant select, insert, update (sealed), delete on cambio.keys to %[1]s;
grant execute on function cambio.make_partitions(integer) to %[1]s;
`

func grantService(ctx context.Context, conn *sql.Conn, o MigrateOptions, verifier string) error {
	role := pgx.Identifier{o.ServiceRole}.Sanitize()
	var exists bool
	if err := conn.QueryRowContext(ctx, "select to_regrole($1) is not null", role).Scan(&exists); err != nil {
		return fmt.Errorf("looking for the service role: %w", err)
	}
	if !exists {
		if _, err := conn.ExecContext(ctx, "create role "+role+" login"); err != nil {
			return fmt.Errorf("creating the service role (or let an administrator say: create role %s login): %w", role, err)
		}
		o.Progress("created role " + o.ServiceRole)
	}
	if verifier != "" {
		if _, err := conn.ExecContext(ctx, "alter role "+role+" password '"+verifier+"'"); err != nil {
			return fmt.Errorf("setting the password of the service role: %w", err)
		}
	}
	if _, err := conn.ExecContext(ctx, fmt.Sprintf(grants, role)); err != nil {
		return fmt.Errorf("giving the service role its rights: %w", err)
	}
	o.Progress("role " + o.ServiceRole + " may serve")
	return nil
}
