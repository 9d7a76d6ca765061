package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	modernc "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"
)

// ErrInUse is in the chain of what Open and Migrate return while another process
// has the database open.
var ErrInUse = errors.New("the database is in use")

// lock keeps the database to one process. It is itself an empty SQLite database
// beside it, under an exclusive transaction: SQLite knows how to lock a file on
// every system, and the system lets go when the process dies.
type lock struct {
	pool *sql.DB
	conn *sql.Conn
}

func acquire(ctx context.Context, path string) (*lock, error) {
	name := path + ".lock"
	base, err := modernc.NewConnector(dsn(name))
	if err != nil {
		return nil, fmt.Errorf("naming %s: %w", name, err)
	}
	if err := private(name); err != nil {
		return nil, err
	}
	l := &lock{pool: sql.OpenDB(base)}
	if l.conn, err = l.pool.Conn(ctx); err == nil {
		_, err = l.conn.ExecContext(ctx, "begin exclusive")
	}
	if err == nil {
		return l, nil
	}
	if code(err) == codes.SQLITE_BUSY {
		err = advice(errors.Join(ErrInUse, err),
			"another process has %s open, and SQLite serves one: stop the other, name another file as store.sqlite.path, or use PostgreSQL for several", path)
	} else {
		err = Advise(name, fmt.Errorf("locking %s: %w", name, err))
	}
	return nil, errors.Join(err, l.release())
}

func (l *lock) release() error {
	var errs []error
	if l.conn != nil {
		errs = append(errs, l.conn.Close())
	}
	return errors.Join(append(errs, l.pool.Close())...)
}

// private makes the file, where there is none, readable to nobody else. SQLite
// gives the files beside it the same mode.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("making %s: %w", path, err)
	}
	return f.Close()
}

// code is SQLite's primary result code in err, or zero.
func code(err error) int {
	var e *modernc.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}
