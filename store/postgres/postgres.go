// Package postgres keeps the ledger, the policy state and the signing keys in
// PostgreSQL 14 or newer.
//
// The service connects as a role that may append and read. Everything that could
// change what was written (UPDATE, DELETE, TRUNCATE, DDL) belongs to the role that
// migrates; Open refuses a role that could (S34).
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/store"
	"github.com/cambio-sts/cambio/store/postgres/internal/db"
)

var _ store.Store = (*Store)(nil)

// Options are the settings of Open. The zero value is right for production.
type Options struct {
	// MaxConns bounds the connections of this replica. Zero: 8. Two flushers and
	// the readers need no more; each connection costs the server memory.
	MaxConns int32
	// StatementTimeout and LockTimeout are set on every connection. Zero: 10 s
	// and 4 s. The first ends what a hung disk would hold for ever, the second
	// keeps an append from waiting behind someone's DDL.
	StatementTimeout time.Duration
	LockTimeout      time.Duration
	// Looks bounds the rows that one page of a list looks at; of those that an index
	// finds by a value, which lie apart, a quarter. A page that ends there has fewer
	// rows than asked for. Zero: 10,000, some 50 ms.
	Looks int
	// AllowUnsafe opens a server that runs with fsync or full_page_writes off,
	// which keeps nothing through a crash (S30). For tests of logic only.
	AllowUnsafe bool
	// Log is told of what the background upkeep meets. Nil: nobody is.
	Log *slog.Logger
}

// partitionsAhead is how many months beyond this one have a partition.
const partitionsAhead = 2

// upkeepEvery is how often the partitions are looked after, and what has expired is
// swept.
const upkeepEvery = time.Hour

// sweptAtOnce bounds the rows that one statement sweeps.
const sweptAtOnce = 10_000

// Store is one open database. It is safe for concurrent use.
type Store struct {
	pool    *pgxpool.Pool
	queries *db.Queries
	log     *slog.Logger
	looks   int
	stop    context.CancelFunc
	upkeep  sync.WaitGroup
	stray   atomic.Int64 // rows in the default partition, as last seen
}

// Open connects as the service role that dsn names (a URL or key=value text),
// verifies that the server keeps what it acknowledges (S30), that the role can
// append and cannot change (S34) and that the schema is one this code runs on,
// and makes the partitions of the months to come.
func Open(ctx context.Context, dsn string, o Options) (*Store, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		// The error's own text may quote the DSN, with its password.
		return nil, errors.New("the Postgres DSN cannot be parsed: it is postgres://user:password@host:port/database or key=value pairs")
	}
	o = o.withDefaults()
	config.MaxConns = o.MaxConns
	config.ConnConfig.RuntimeParams["application_name"] = "cambio"
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error { return prepareConnection(ctx, conn, o) }
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("opening the connection pool: %w", err)
	}
	s := &Store{pool: pool, queries: db.New(pool), log: o.Log, looks: o.Looks}
	if err := s.check(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	if _, err := s.makePartitions(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	s.lookForStray(ctx)
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	s.upkeep.Go(func() { s.keepUp(background) })
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.MaxConns == 0 {
		o.MaxConns = 8
	}
	if o.StatementTimeout == 0 {
		o.StatementTimeout = 10 * time.Second
	}
	if o.LockTimeout == 0 {
		o.LockTimeout = 4 * time.Second
	}
	if o.Looks == 0 {
		o.Looks = 10_000
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Close waits for the queries under way and disconnects.
func (s *Store) Close() error {
	s.stop()
	s.upkeep.Wait()
	s.pool.Close()
	return nil
}

// inTransaction runs do in one transaction at READ COMMITTED.
func (s *Store) inTransaction(ctx context.Context, do func(*db.Queries) error) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return do(s.queries.WithTx(tx)) })
}

// sqlState is the SQLSTATE of err, or empty where the server gave none.
func sqlState(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// unread is the failure of a read: one that the statement_timeout of Options ended is
// unavailable.
func unread(ctx context.Context, doing string, err error) error {
	if sqlState(err) == "57014" && ctx.Err() == nil {
		return exchange.Fault(exchange.KindUnavailable, "the search took too long: narrow it by time, subject or target", err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
