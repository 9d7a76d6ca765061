package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cambio-sts/cambio/migrations"
	"github.com/pressly/goose/v3"
)

// Migrate brings the schema at path up to this version, making the file where
// there is none. It fails when another process has the database open.
func Migrate(ctx context.Context, path string) (err error) {
	defer func() { err = Advise(path, err) }()
	l, err := acquire(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.release()) }()
	if err := private(path); err != nil {
		return err
	}
	pool, err := connect(path, writerPragmas, 1, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	files, err := fs.Sub(migrations.SQLite, "sqlite")
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, pool, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	current, newest, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("reading the schema's version: %w", err)
	}
	if current > newest {
		return newer(current, newest)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrating %s: %w", path, err)
	}
	return nil
}

// checkSchema refuses a schema of another version than this code's.
func checkSchema(ctx context.Context, conn *sql.Conn) error {
	var known, current int64
	err := fs.WalkDir(migrations.SQLite, "sqlite", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		v, err := goose.NumericComponent(path)
		known = max(known, v)
		return err
	})
	if err != nil {
		return fmt.Errorf("reading the migrations: %w", err)
	}
	var tables int
	if err := conn.QueryRowContext(ctx, "select count(*) from sqlite_master where name = 'goose_db_version'").Scan(&tables); err != nil {
		return fmt.Errorf("reading the schema's version: %w", err)
	}
	if tables > 0 {
		if err := conn.QueryRowContext(ctx, "select coalesce(max(version_id), 0) from goose_db_version where is_applied").Scan(&current); err != nil {
			return fmt.Errorf("reading the schema's version: %w", err)
		}
	}
	switch {
	case current < known:
		return advice(nil, "the database's schema, at %d, is older than this program, at %d: run `cambio migrate`", current, known)
	case current > known:
		return newer(current, known)
	}
	return nil
}

func newer(current, known int64) error {
	return advice(nil, "the database's schema, at %d, is newer than this program, at %d: run the version of `cambio` that migrated it, or a later one",
		current, known)
}
