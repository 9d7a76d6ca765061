package main

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/migrations"
	"github.com/cambio-sts/cambio/store/postgres"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// keepVariable names the folder in which filled ledgers stay for the next run, or
// the folder of one of them, to be used whatever has changed in the schema since.
const keepVariable = "BENCH_AUDIT_KEEP"

// markName is the file that tells of a filled ledger.
const markName = "filled.json"

//go:embed history.go
var generator []byte

// audited is a filled ledger on a running server.
type audited struct {
	host     *host
	server   *server
	database *pgtest.Database
	past     history
}

// filled is what stands beside a ledger that has all its rows.
type filled struct {
	history
	Database string `json:"database"`
	Counted  bool   `json:"counted"` // its counts are there, too
}

// aboutEvents finds the statements of the schema that the audit depends on.
var aboutEvents = regexp.MustCompile(`cambio\.(events|counts)`)

// keepsake is the folder of a ledger of n exchanges, as this schema and this
// generator make it; empty: it is not to be kept.
func keepsake(n int) (string, error) {
	dir := os.Getenv(keepVariable)
	if dir == "" {
		return "", nil
	}
	if _, err := os.Stat(filepath.Join(dir, markName)); err == nil {
		return filepath.Abs(dir)
	}
	h := sha256.New()
	h.Write(generator)
	names, err := fs.Glob(migrations.Postgres, "postgres/*.sql")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		text, err := fs.ReadFile(migrations.Postgres, name)
		if err != nil {
			return "", err
		}
		up, _, _ := strings.Cut(string(text), "-- +goose Down")
		for statement := range strings.SplitSeq(up, ";\n") {
			if aboutEvents.MatchString(statement) {
				h.Write([]byte(statement))
			}
		}
	}
	dir, err = filepath.Abs(dir)
	return filepath.Join(dir, fmt.Sprintf("audit-%d-%x", n, h.Sum(nil)[:6])), err
}

// openAudited starts the server on a ledger of n exchanges, filled now or found.
func openAudited(ctx context.Context, n int) (a *audited, err error) {
	h := &host{ctx: ctx}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	a = &audited{host: h, past: history{N: n, Until: time.Now().UTC().Truncate(time.Second)}}
	options := []pgtest.Option{
		pgtest.Durable(), pgtest.Setting("shared_buffers=512MB"), pgtest.Setting("max_wal_size=4GB"), pgtest.Setting("autovacuum=off"),
	}
	dir, err := keepsake(n)
	if err != nil {
		return nil, err
	}
	mark, found := filepath.Join(dir, markName), filled{}
	if dir != "" {
		text, err := os.ReadFile(mark)
		switch {
		case err == nil:
			err = json.Unmarshal(text, &found)
		case errors.Is(err, fs.ErrNotExist): // what was broken off is begun anew
			err = os.RemoveAll(dir)
		}
		if err != nil {
			return nil, err
		}
		options = append(options, pgtest.Keep(dir))
	}
	say("starting PostgreSQL")
	if err = try(func() {
		a.server = &server{pgtest.Start(a.host, options...), a.host}
		if found.Database != "" {
			n = found.N
			a.past, a.database = found.history, &pgtest.Database{Server: a.server.Server, Name: found.Database}
		} else {
			a.database = a.server.NewTemplate(a.host) // it outlives this run where the folder does
		}
	}); err != nil {
		return nil, err
	}
	write := func() error {
		if dir == "" {
			return nil
		}
		text, err := json.Marshal(found)
		if err != nil {
			return err
		}
		return os.WriteFile(mark, text, 0o600)
	}
	if found.Database != "" {
		say("found %d exchanges in %s", n, dir)
	} else {
		if err = a.fill(ctx); err != nil {
			return a, err
		}
		found = filled{history: a.past, Database: a.database.Name}
		if err = write(); err != nil {
			return a, err
		}
	}
	if !found.Counted {
		if err = a.count(ctx); err != nil {
			return a, err
		}
		found.Counted = true
	}
	return a, write()
}

// fill makes the schema and the rows.
func (a *audited) fill(ctx context.Context) error {
	if err := postgres.Migrate(ctx, a.database.OwnerDSN(), postgres.MigrateOptions{ServiceRole: pgtest.ServiceRole}); err != nil {
		return err
	}
	began := time.Now()
	if err := a.past.fill(ctx, a.database.SuperDSN()); err != nil {
		return err
	}
	say("%d exchanges in %s", a.past.N, time.Since(began).Round(time.Second))
	return nil
}

// count makes the counts, as the server would have meanwhile; what was broken off
// goes on.
func (a *audited) count(ctx context.Context) error {
	s, err := postgres.Open(ctx, a.database.ServiceDSN(), postgres.Options{StatementTimeout: 5 * time.Minute})
	if err != nil {
		return err
	}
	began := time.Now()
	for more, round := true, 1; more && err == nil; round++ {
		if more, err = s.Roll(ctx); round%20 == 0 {
			say("rolled up %d", round*auditChunk)
		}
	}
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	say("rolled up in %s", time.Since(began).Round(time.Second))
	return settle(ctx, a.database.SuperDSN())
}

// reopen starts the server anew, so that its own cache is empty, and connects as
// the service.
func (a *audited) reopen(ctx context.Context) (*postgres.Store, error) {
	if err := try(func() { a.server.Stop(a.host); a.server.Server.Restart(a.host) }); err != nil {
		return nil, err
	}
	return postgres.Open(ctx, a.database.ServiceDSN(), postgres.Options{})
}
