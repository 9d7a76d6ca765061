package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/store/postgres/internal/db"
)

// oldestServer is PostgreSQL 14: the first whose BRIN indexes have bloom filters.
const oldestServer = 140000

// prepareConnection gives a new connection its limits and its durability, and
// verifies the latter (S30): what the server's configuration says today may be
// changed tomorrow, and a role or a database may have settings of its own.
func prepareConnection(ctx context.Context, conn *pgx.Conn, o Options) error {
	// Prepared statements get one plan for good: planning an append anew costs more
	// than running it, and the server's own estimate of that is wrong for arrays.
	// Nothing here runs long enough to be worth compiling.
	// remote_apply promises more than on; whoever set it keeps it.
	settings := fmt.Sprintf(`
		set default_transaction_isolation = 'read committed';
		set default_transaction_read_only = off;
		set plan_cache_mode = force_generic_plan;
		set jit = off;
		set statement_timeout = %d;
		set lock_timeout = %d;
		set idle_in_transaction_session_timeout = %d;
		select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') <> 'remote_apply'`,
		o.StatementTimeout.Milliseconds(), o.LockTimeout.Milliseconds(), (2 * o.StatementTimeout).Milliseconds())
	if _, err := conn.Exec(ctx, settings, pgx.QueryExecModeSimpleProtocol); err != nil {
		return fmt.Errorf("setting up a connection: %w", err)
	}
	registerTypes(conn)
	is, err := db.New(conn).Connection(ctx)
	if err != nil {
		return fmt.Errorf("reading what a connection is: %w", err)
	}
	switch {
	case is.Version < oldestServer:
		return fmt.Errorf("PostgreSQL %d is too old: 14 or newer is needed", is.Version/10000)
	case is.SynchronousCommit != "on" && is.SynchronousCommit != "remote_apply":
		return fmt.Errorf("synchronous_commit is %q and cannot be set to on: a commit would not mean durable", is.SynchronousCommit)
	case (is.Fsync != "on" || is.FullPageWrites != "on") && !o.AllowUnsafe:
		return fmt.Errorf("the server runs with fsync %s and full_page_writes %s: set both to on, or a crash loses what was acknowledged", is.Fsync, is.FullPageWrites)
	}
	return nil
}

// advice is what stands at the end of an error that a migration mends.
const advice = "run cambio migrate with the owner's DSN"

// check verifies the schema's version and the role.
func (s *Store) check(ctx context.Context) error {
	exists, err := s.queries.SchemaExists(ctx)
	if err != nil {
		return fmt.Errorf("looking for the schema: %w", err)
	}
	if !exists {
		return errors.New("the database holds no ledger, or this role may not see it: " + advice)
	}
	version, err := s.queries.SchemaVersion(ctx)
	if err != nil {
		return fmt.Errorf("reading the schema's version: %w", err)
	}
	if newest := newestMigration(); version < newest {
		return fmt.Errorf("the schema is at version %d and this program needs %d: %s", version, newest, advice)
	}
	return s.checkRole(ctx)
}

// checkRole refuses a role that could change what it appended (S34), by a grant,
// by owning a table, by being a superuser, or by a right to become any of these.
func (s *Store) checkRole(ctx context.Context) error {
	role, err := s.queries.Role(ctx)
	if err != nil {
		return fmt.Errorf("reading the rights of the role: %w", err)
	}
	var could []string
	for _, right := range []struct {
		has  bool
		what string
	}{
		{role.Superuser, "is a superuser"},
		{role.MakesRoles, "may create roles, and so become the owner"},
		{role.Owner, "owns the ledger or is a member of its owner"},
		{role.Files, "may write the server's files or run its programs"},
		{role.Changes, "may UPDATE, DELETE or TRUNCATE the ledger"},
	} {
		if right.has {
			could = append(could, right.what)
		}
	}
	if len(could) > 0 {
		return fmt.Errorf("refusing to serve as role %q, which %s: the audit must be out of its reach. Connect as the service role that cambio migrate makes", role.Name, strings.Join(could, ", "))
	}
	if !role.Appends {
		return fmt.Errorf("role %q may not append to the ledger and read it: %s, naming %q as the service role", role.Name, advice, role.Name)
	}
	return nil
}

// Ping reports whether a write would be taken now, and says why not: a standby, a
// read-only server, a role that has changed, a month without a partition.
func (s *Store) Ping(ctx context.Context) error {
	state, err := s.queries.State(ctx)
	if err != nil {
		return fmt.Errorf("asking the database how it is: %w", err)
	}
	switch {
	case state.Standby:
		return errors.New("the database is a standby and takes no writes: connect to the primary")
	case state.ReadOnly:
		return errors.New("the database takes no writes: transactions are read-only")
	case !state.ThisMonth:
		return errors.New("the ledger has no partition for this month, or it is detached: " + advice)
	case !state.NextMonth:
		return errors.New("the ledger has no partition for the next month, or it is detached: " + advice)
	}
	return s.checkRole(ctx)
}

// makePartitions makes or attaches what is missing of this month and the ones ahead,
// and returns up to when there are some.
func (s *Store) makePartitions(ctx context.Context) (time.Time, error) {
	through, err := s.queries.MakePartitions(ctx, partitionsAhead)
	if err != nil {
		return time.Time{}, fmt.Errorf("making the partitions of the months to come: %w", err)
	}
	return through, nil
}

// keepUp looks after the partitions and sweeps what has expired, until ctx ends: at
// once, what Open has not done yet, for a replica may never live to see the first
// turn. What fails is logged and tried again at the next one; Ping says when a
// missing partition has become urgent.
func (s *Store) keepUp(ctx context.Context) {
	ticker := time.NewTicker(upkeepEvery)
	defer ticker.Stop()
	s.sweep(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.upkeepOnce(ctx)
		}
	}
}

func (s *Store) upkeepOnce(ctx context.Context) {
	if _, err := s.makePartitions(ctx); err != nil {
		s.log.ErrorContext(ctx, "ledger partitions could not be made ahead", "error", err)
	}
	s.lookForStray(ctx)
	s.sweep(ctx)
}

// maxStray bounds the count: one is an alarm already.
const maxStray = 10_000

func (s *Store) lookForStray(ctx context.Context) {
	stray, err := s.queries.Stray(ctx, maxStray)
	if err != nil {
		s.log.ErrorContext(ctx, "the ledger's default partition could not be read", "error", err)
		return
	}
	s.stray.Store(stray)
	if stray > 0 {
		s.log.ErrorContext(ctx, "events stand in the ledger's default partition: a replica's clock is far off", "rows", stray)
	}
}

// StrayRows is how many events stood in the ledger's default partition when Open or
// the hourly upkeep looked last; it counts to 10,000.
func (s *Store) StrayRows() int64 { return s.stray.Load() }

func (s *Store) sweep(ctx context.Context) {
	for swept := int64(sweptAtOnce); swept == sweptAtOnce; {
		var err error
		if swept, err = s.queries.PruneUsed(ctx, sweptAtOnce); err != nil {
			if ctx.Err() == nil {
				s.log.WarnContext(ctx, "expired single-use values could not be swept", "error", err)
			}
			return
		}
	}
}
