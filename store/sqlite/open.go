// Package sqlite keeps everything in one SQLite file, for one replica: a lock file
// beside it keeps a second one out.
//
// One connection writes, a few read. Every write is one BEGIN IMMEDIATE
// transaction, so that what it reads (the deny epoch, what has been burnt) cannot
// change before it commits: the single writer is the lock of S31.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/store/sqlite/internal/db"
)

// Options set up a Store. Zero values mean the defaults named here.
type Options struct {
	// Readers is how many connections read; default 4.
	Readers int
	// StatementTimeout is how long one read may take; default 10 s. Then it fails
	// with an *exchange.Error of KindUnavailable.
	StatementTimeout time.Duration
	// Looks bounds the rows that one page of a list looks at; default 10,000. A page
	// that ends there has fewer rows than asked for.
	Looks int
	// MaxPages bounds the file, in pages of 4 KiB; default: the disk. When it is
	// full, appends fail and nothing is issued, until it is raised.
	MaxPages int64
}

// Store is one open SQLite database. It implements store.Store and is safe for
// concurrent use.
type Store struct {
	lock    *lock
	writers *sql.DB // of one connection
	conn    *sql.Conn
	turn    chan struct{} // of one: held by whoever writes
	queries *db.Queries   // prepared on conn
	readers *sql.DB
	looks   int
	read    *db.Queries // prepared on readers
	appends uint64      // batches so far; guarded by turn
	closed  bool        // guarded by turn
}

// Open opens the database at path, which Migrate has made. It fails with advice
// when there is none, when its schema is not of this version, when durability
// cannot be had (S30), and when another process has it open.
func Open(ctx context.Context, path string, o Options) (_ *Store, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, advice(err, "there is no database at %s: run `cambio migrate`, or name another file as store.sqlite.path", path)
	}
	if o.Readers == 0 {
		o.Readers = 4
	}
	if o.StatementTimeout == 0 {
		o.StatementTimeout = 10 * time.Second
	}
	if o.Looks == 0 {
		o.Looks = 10_000
	}
	s := &Store{turn: make(chan struct{}, 1), looks: o.Looks}
	defer func() {
		if err != nil {
			_ = s.Close()
			err = Advise(path, err)
		}
	}()
	if s.lock, err = acquire(ctx, path); err != nil {
		return nil, err
	}
	pragmas := writerPragmas
	if o.MaxPages > 0 {
		pragmas = append(pragmas[:len(pragmas):len(pragmas)], "max_page_count = "+strconv.FormatInt(o.MaxPages, 10))
	}
	if s.writers, err = connect(path, pragmas, 1, 0); err != nil {
		return nil, err
	}
	if s.conn, err = s.writers.Conn(ctx); err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	if err := checkSchema(ctx, s.conn); err != nil {
		return nil, err
	}
	if s.queries, err = db.Prepare(ctx, s.conn); err != nil {
		return nil, fmt.Errorf("preparing the statements of %s: %w", path, err)
	}
	if s.readers, err = connect(path, readerPragmas, o.Readers, o.StatementTimeout); err != nil {
		return nil, err
	}
	if s.read, err = db.Prepare(ctx, s.readers); err != nil {
		return nil, fmt.Errorf("preparing the statements of %s: %w", path, err)
	}
	return s, nil
}

// Close ends what is open and lets the next process in. Who writes at the moment
// finishes first; who comes after gets an error. Closing twice is once.
func (s *Store) Close() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	if s.readers != nil {
		errs = append(errs, s.readers.Close())
	}
	if s.queries != nil {
		errs = append(errs, s.queries.Close())
	}
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	if s.writers != nil {
		errs = append(errs, s.writers.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
	}
	return errors.Join(errs...)
}

// write runs do in one transaction. An error means that its fate is unknown.
//
// A caller that goes away does not interrupt a write under way: only the wait for
// the turn ends.
func (s *Store) write(ctx context.Context, do func(context.Context, *db.Queries) error) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("waiting to write: %w", ctx.Err())
	}
	defer func() { <-s.turn }()
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("waiting to write: %w", err)
	}
	if s.closed {
		return errors.New("the database is closed")
	}
	ctx = context.WithoutCancel(ctx)
	if _, err := s.conn.ExecContext(ctx, "begin immediate"); err != nil {
		return fmt.Errorf("beginning to write: %w", err)
	}
	err := do(ctx, s.queries)
	if err == nil {
		if _, err = s.conn.ExecContext(ctx, "commit"); err == nil {
			return nil
		}
		err = fmt.Errorf("committing: %w", err)
	}
	// A full disk has rolled back already; then this fails, and may.
	_, _ = s.conn.ExecContext(ctx, "rollback")
	return err
}

// filler is more than any entry needs at once.
var filler = make([]byte, 128<<10)

// Ping writes: first a piece as large as any entry, which it takes back, then a
// mark that stays. So a full disk shows before an exchange meets it.
func (s *Store) Ping(ctx context.Context) error {
	err := s.write(ctx, func(ctx context.Context, q *db.Queries) error {
		if _, err := s.conn.ExecContext(ctx, "savepoint piece"); err != nil {
			return err
		}
		if err := q.Beat(ctx, db.BeatParams{Filler: filler}); err != nil {
			return err
		}
		if _, err := s.conn.ExecContext(ctx, "rollback to piece"); err != nil {
			return err
		}
		return q.Beat(ctx, db.BeatParams{})
	})
	if err != nil {
		return fmt.Errorf("writing to the database: %w", err)
	}
	return nil
}

// micros is how moments are kept: exact to the microsecond, without a zone.
func micros(t time.Time) int64 { return t.UnixMicro() }

func moment(us int64) time.Time { return time.UnixMicro(us).UTC() }

// microsOrNull keeps the zero time as null.
func microsOrNull(t time.Time) sql.NullInt64 {
	if t.IsZero() {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: micros(t), Valid: true}
}

func momentOrZero(us sql.NullInt64) time.Time {
	if !us.Valid {
		return time.Time{}
	}
	return moment(us.Int64)
}

// id reads what the schema holds to 16 bytes.
func id(b []byte) (id exchange.ID) {
	copy(id[:], b)
	return id
}
