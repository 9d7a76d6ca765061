package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/store/postgres"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// host lends pgtest, which is written for tests, the little it asks of one: a
// program that measures wants the very server that the tests run on.
type host struct {
	testing.TB
	ctx      context.Context
	cleanups []func()
}

type fatal struct{ error }

func (h *host) Helper()                      {}
func (h *host) Context() context.Context     { return h.ctx }
func (h *host) Cleanup(f func())             { h.cleanups = append(h.cleanups, f) }
func (h *host) Fatalf(form string, a ...any) { panic(fatal{fmt.Errorf(form, a...)}) }

func (h *host) close() {
	for _, f := range slices.Backward(h.cleanups) {
		f()
	}
}

// server is a durable PostgreSQL that can be killed.
type server struct {
	*pgtest.Server
	host *host
}

// try turns a Fatalf below it into an error.
func try(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			failure, ours := r.(fatal)
			if !ours {
				panic(r)
			}
			err = failure.error
		}
	}()
	f()
	return nil
}

func (s *server) Kill() error    { return try(func() { s.Server.Kill(s.host) }) }
func (s *server) Restart() error { return try(func() { s.Server.Restart(s.host) }) }

// prepare builds the binary, starts a durable PostgreSQL, migrates it, and starts
// the floor and the server on it.
func prepare(ctx context.Context, tokens int) (b *bench, closeAll func(), err error) {
	h := &host{ctx: ctx}
	closeAll = h.close
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	dir, err := os.MkdirTemp("", "cambio-bench")
	if err != nil {
		return nil, nil, err
	}
	h.Cleanup(func() { _ = os.RemoveAll(dir) })
	b = &bench{dir: dir}

	say("building cambio")
	if b.binary, err = buildCambio(b.dir); err != nil {
		return nil, nil, err
	}
	say("starting PostgreSQL")
	var database *pgtest.Database
	if err = try(func() {
		b.postgres = &server{pgtest.Start(h, pgtest.Durable(), pgtest.Setting("shared_buffers=128MB"), pgtest.Setting("max_wal_size=4GB"), pgtest.Setting("min_wal_size=2GB")), h}
		database = b.postgres.NewDatabase(h)
	}); err != nil {
		return nil, nil, err
	}
	b.dsn, b.owner, b.super = database.ServiceDSN(), database.OwnerDSN(), database.SuperDSN()
	if err = postgres.Migrate(ctx, b.owner, postgres.MigrateOptions{ServiceRole: pgtest.ServiceRole}); err != nil {
		return nil, nil, err
	}
	say("signing %d subject tokens", tokens)
	c, err := newCluster()
	if err != nil {
		return nil, nil, err
	}
	if b.tokens, err = c.mint(tokens, accounts); err != nil {
		return nil, nil, err
	}
	b.next, b.used = supply(b.tokens[:tokens-1]) // the last is the one that is repeated
	jwks, err := c.writeJWKS(b.dir)
	if err != nil {
		return nil, nil, err
	}
	if err = writePolicy(filepath.Join(b.dir, "policy"), jwks, benchRules); err != nil {
		return nil, nil, err
	}
	say("starting the floor and cambio")
	if err = b.startFloor(ctx, h, jwks); err != nil {
		return nil, nil, err
	}
	if b.server, err = startCambio(ctx, b.binary, b.dir, b.dsn); err != nil {
		return nil, nil, err
	}
	running := b
	h.Cleanup(func() { running.server.stop() }) // whichever it is then: a crash run starts it anew
	return b, closeAll, nil
}

// startFloor runs the floor as a process of its own, as the server is one.
func (b *bench) startFloor(ctx context.Context, h *host, jwks string) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// The owner may create the table; the service role has no DDL.
	p, err := startProcess(filepath.Join(b.dir, "floor.log"), nil, self, "floor", address, b.owner, jwks)
	if err != nil {
		return err
	}
	h.Cleanup(p.stop)
	b.floor, b.bare = p, "http://"+address
	return waitFor(ctx, b.bare, p)
}

// runFloor is the child's side of startFloor.
func runFloor(ctx context.Context, address, dsn, jwks string) error {
	key, err := readJWKS(jwks)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return serveFloor(ctx, l, dsn, key)
}

// liveLeases counts what has been handed out and lives.
func (b *bench) liveLeases(ctx context.Context) (n int, err error) {
	db, err := pgx.Connect(ctx, b.owner)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close(ctx)) }()
	err = db.QueryRow(ctx, `select count(*) from cambio.leases where state = 1 and expires > now()`).Scan(&n)
	return n, err
}

// logAhead is what a run may write to PostgreSQL's log, in bytes.
const logAhead = 1 << 30

// recycleLog leaves PostgreSQL with files for its log, as one that has been up for a
// while has: checkpoints recycle them. A fresh one makes each anew, sixteen megabytes of
// zeros while every commit waits, and whoever writes more pays more of that.
func (b *bench) recycleLog(ctx context.Context) error {
	db, err := pgx.Connect(ctx, b.super)
	if err != nil {
		return err
	}
	const message = 16 << 20
	_, err = db.Exec(ctx, `select pg_logical_emit_message(false, 'bench', repeat('x', $1)) from generate_series(1, $2)`, message, logAhead/message)
	if err == nil {
		_, err = db.Exec(ctx, `checkpoint`)
	}
	return errors.Join(err, db.Close(ctx))
}
