// Package pgtest starts a real PostgreSQL for tests: a cluster of its own in a
// temporary folder, on a free loopback port, shared by the tests of a binary, with
// a database for each test. It fails where no PostgreSQL can be run, and never
// skips.
package pgtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The roles of every server: the owner migrates, the service appends, and the
// superuser is for tests that play the server's administrator.
const (
	Superuser   = "cambio_super"
	OwnerRole   = "cambio_owner"
	ServiceRole = "cambio_service"
)

// Option changes how a server runs.
type Option func(*settings)

type settings struct {
	durable  bool
	settings []string // name=value
	keep     string   // folder; empty: one of its own, deleted at the end
}

// Durable turns on what production has and logic tests do without: fsync,
// synchronous_commit, full_page_writes.
func Durable() Option { return func(s *settings) { s.durable = true } }

// Setting adds a line of postgresql.conf, such as "max_wal_size=4GB".
func Setting(nameAndValue string) Option {
	return func(s *settings) { s.settings = append(s.settings, nameAndValue) }
}

// Keep puts the cluster into a folder, where it stays after the end, to be found
// again with its databases and its password. The account that the server runs as
// must reach the folder.
func Keep(dir string) Option { return func(s *settings) { s.keep = dir } }

// Server is one running cluster.
type Server struct {
	cluster  *cluster
	password string
}

// shared is the server of those who want nothing special of it.
var shared struct {
	sync.Mutex
	server *Server
}

// Start returns a running server. Without options it is one server for the whole
// test binary, which ends with the binary; with options it is a server of its own,
// which ends with the test.
func Start(t testing.TB, options ...Option) *Server {
	t.Helper()
	if len(options) > 0 {
		s := launch(t, options)
		t.Cleanup(s.cluster.remove)
		return s
	}
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		shared.server = launch(t, nil)
	}
	return shared.server
}

func launch(t testing.TB, options []Option) *Server {
	t.Helper()
	var o settings
	for _, option := range options {
		option(&o)
	}
	s := &Server{password: rand.Text()}
	c, err := newCluster(o, Superuser, s.password)
	if err != nil {
		t.Fatalf("PostgreSQL could not be started, and these tests need it: %v\nTo install one: make postgres", err)
	}
	s.cluster, s.password = c, c.password
	if !c.fresh {
		return s
	}
	s.exec(t, "postgres", fmt.Sprintf("create role %s login password '%s'; create role %s login password '%s'",
		OwnerRole, s.password, ServiceRole, s.password))
	return s
}

var databases atomic.Int64

// Database is an empty database of a server, whose owner role may create in it.
type Database struct {
	Server *Server
	Name   string
}

// NewDatabase creates a database, which is dropped after the test.
func (s *Server) NewDatabase(t testing.TB) *Database {
	t.Helper()
	return s.create(t, "")
}

// NewTemplate creates a database that lives as long as the server, to be filled
// once and copied by each test.
func (s *Server) NewTemplate(t testing.TB) *Database {
	t.Helper()
	d := &Database{Server: s, Name: fmt.Sprintf("template_%d", databases.Add(1))}
	s.exec(t, "postgres", fmt.Sprintf("create database %s owner %s", d.Name, OwnerRole))
	return d
}

// Copy creates a database like d, to which nobody may be connected. It is quicker
// than migrating again.
func (d *Database) Copy(t testing.TB) *Database {
	t.Helper()
	return d.Server.create(t, " template "+d.Name)
}

func (s *Server) create(t testing.TB, from string) *Database {
	t.Helper()
	d := &Database{Server: s, Name: fmt.Sprintf("test_%d", databases.Add(1))}
	s.exec(t, "postgres", fmt.Sprintf("create database %s owner %s%s", d.Name, OwnerRole, from))
	t.Cleanup(func() {
		// The server may be stopped by now, which is as good.
		_ = run(context.Background(), s.dsn("postgres", Superuser), "drop database if exists "+d.Name+" with (force)")
	})
	return d
}

// OwnerDSN connects as the role that migrates.
func (d *Database) OwnerDSN() string { return d.DSN(OwnerRole) }

// ServiceDSN connects as the role that serves.
func (d *Database) ServiceDSN() string { return d.DSN(ServiceRole) }

// SuperDSN connects as the superuser.
func (d *Database) SuperDSN() string { return d.DSN(Superuser) }

// DSN connects as a role that has the server's one password.
func (d *Database) DSN(role string) string { return d.Server.dsn(d.Name, role) }

// Password is the password of every role of the server.
func (s *Server) Password() string { return s.password }

// Address is the host and port that the server listens on, the same after Restart.
func (s *Server) Address() string { return s.cluster.address() }

func (s *Server) dsn(database, role string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, s.password), Host: s.Address(), Path: "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Exec runs statements as a role, in one go.
func (d *Database) Exec(t testing.TB, role, sql string) {
	t.Helper()
	if err := d.Try(t.Context(), role, sql); err != nil {
		t.Fatalf("as %s: %v\n%s", role, err, sql)
	}
}

// Try runs statements as a role and returns the server's error.
func (d *Database) Try(ctx context.Context, role, sql string) error {
	return run(ctx, d.DSN(role), sql)
}

func (s *Server) exec(t testing.TB, database, sql string) {
	t.Helper()
	if err := run(t.Context(), s.dsn(database, Superuser), sql); err != nil {
		t.Fatalf("%v\n%s", err, sql)
	}
}

func run(ctx context.Context, dsn, sql string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// Stop ends the server as an administrator does: sessions are cut, everything is
// written.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.cluster.stop(); err != nil {
		t.Fatalf("stopping PostgreSQL: %v", err)
	}
}

// Kill ends every process of the server with SIGKILL.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if err := s.cluster.kill(); err != nil {
		t.Fatalf("killing PostgreSQL: %v", err)
	}
}

// Restart starts a server that was stopped or killed, at the same address, and
// waits until it has recovered.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if err := s.cluster.start(); err != nil {
		t.Fatalf("starting PostgreSQL again: %v", err)
	}
}

// Processors is the processor time that the server has used so far, to the nearest
// hundredth of a second.
func (s *Server) Processors() time.Duration { return s.cluster.processors() }

// Log is what the server has logged so far.
func (s *Server) Log() string { return s.cluster.log() }

// tail is the end of a text, for an error.
func tail(b []byte) string {
	b = bytes.TrimSpace(b)
	if len(b) > 2000 {
		b = b[len(b)-2000:]
	}
	return string(b)
}

// startTimeout bounds initdb, a start, and a stop each: a loaded machine needs
// some seconds, recovery after a kill too.
const startTimeout = 90 * time.Second
