package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"time"

	modernc "modernc.org/sqlite"
)

// What every connection is set to. FULL: a commit returns when it is on disk;
// fullfsync: on disk means that on macOS too. recursive_triggers: INSERT OR REPLACE
// meets the trigger that refuses deletes (S34).
var (
	writerPragmas = []string{
		"busy_timeout = 5000", "journal_mode = wal", "synchronous = full", "fullfsync = on",
		"checkpoint_fullfsync = on", "foreign_keys = on", "recursive_triggers = on", "cache_size = -16000",
		"wal_autocheckpoint = 4000",
	}
	readerPragmas = []string{
		"busy_timeout = 5000", "synchronous = full", "foreign_keys = on", "recursive_triggers = on", "query_only = on",
	}
)

// held is what every connection must then say of itself (S30): some builds and
// file systems take a pragma in silence and do otherwise.
var held = []struct {
	pragma string
	want   string
}{
	{"journal_mode", "wal"}, {"synchronous", "2"}, {"foreign_keys", "1"}, {"recursive_triggers", "1"},
}

// connector opens connections, sets them up, and refuses those that do not hold
// what they were told.
type connector struct {
	driver.Connector
	pragmas []string
	limit   time.Duration // of each query; zero: none
}

func connect(path string, pragmas []string, size int, limit time.Duration) (*sql.DB, error) {
	base, err := modernc.NewConnector(dsn(path))
	if err != nil {
		return nil, fmt.Errorf("naming %s: %w", path, err)
	}
	pool := sql.OpenDB(connector{base, pragmas, limit})
	pool.SetMaxOpenConns(size)
	pool.SetMaxIdleConns(size)
	return pool, nil
}

// dsn is the file as a URI, so that no character of its name means anything.
func dsn(path string) string {
	return "file:" + (&url.URL{Path: filepath.ToSlash(path)}).EscapedPath()
}

// Connect opens one connection.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range c.pragmas {
		if _, err := ask(ctx, conn, p); err != nil {
			return nil, errors.Join(fmt.Errorf("setting %s: %w", p, err), conn.Close())
		}
	}
	for _, h := range held {
		got, err := ask(ctx, conn, h.pragma)
		if err == nil && got != h.want {
			err = advice(nil, "the database must be on a local disk that SQLite can lock and map: name a file on one as store.sqlite.path (%s is %q after it was set to %q)",
				h.pragma, got, h.want)
		}
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	if c.limit == 0 {
		return conn, nil
	}
	able, ok := conn.(full)
	if !ok {
		return nil, errors.Join(fmt.Errorf("a connection of %T cannot be interrupted", conn), conn.Close())
	}
	return hurried{able, c.limit}, nil
}

// ask runs one pragma and returns its answer, if it gives one.
func ask(ctx context.Context, conn driver.Conn, pragma string) (string, error) {
	rows, err := conn.(driver.QueryerContext).QueryContext(ctx, "pragma "+pragma, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = rows.Close() }()
	values := make([]driver.Value, len(rows.Columns()))
	switch err := rows.Next(values); {
	case errors.Is(err, io.EOF):
		return "", nil
	case err != nil:
		return "", err
	}
	return fmt.Sprint(values[0]), nil
}
