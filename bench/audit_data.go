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

// keepVariable names the folder in which filled ledgers stay for the next run.
const keepVariable = "BENCH_AUDIT_KEEP"

//go:embed history.go
var generator []byte

// audited is a filled ledger on a running server.
type audited struct {
	host     *host
	server   *server
	database *pgtest.Database
	past     history
}

// filled is what stands beside a ledger that is complete.
type filled struct {
	history
	Database string `json:"database"`
}

// aboutEvents finds the statements of the schema that the audit depends on.
var aboutEvents = regexp.MustCompile(`cambio\.(events|facts|members|counts)`)

// keepsake is the folder of a ledger of n exchanges, as this schema and this
// generator make it; empty: it is not to be kept.
func keepsake(n int) (string, error) {
	dir := os.Getenv(keepVariable)
	if dir == "" {
		return "", nil
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
	mark, found := filepath.Join(dir, "filled.json"), filled{}
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
			a.past, a.database = found.history, &pgtest.Database{Server: a.server.Server, Name: found.Database}
		} else {
			a.database = a.server.NewTemplate(a.host) // it outlives this run where the folder does
		}
	}); err != nil {
		return nil, err
	}
	if found.Database != "" {
		say("found %d exchanges in %s", n, dir)
		return a, nil
	}
	if err = a.fill(ctx); err != nil || dir == "" {
		return a, err
	}
	text, err := json.Marshal(filled{a.past, a.database.Name})
	if err == nil {
		err = os.WriteFile(mark, text, 0o600)
	}
	say("kept in %s", dir)
	return a, err
}

// fill makes the schema, the rows and the counts.
func (a *audited) fill(ctx context.Context) error {
	if err := postgres.Migrate(ctx, a.database.OwnerDSN(), postgres.MigrateOptions{ServiceRole: pgtest.ServiceRole}); err != nil {
		return err
	}
	began := time.Now()
	if err := a.past.fill(ctx, a.database.SuperDSN()); err != nil {
		return err
	}
	say("%d exchanges in %s", a.past.N, time.Since(began).Round(time.Second))
	s, err := postgres.Open(ctx, a.database.ServiceDSN(), postgres.Options{StatementTimeout: 5 * time.Minute})
	if err != nil {
		return err
	}
	began = time.Now()
	for more, round := true, 0; more && err == nil; round++ {
		if more, err = s.Roll(ctx); round%20 == 19 {
			say("rolled up %d", (round+1)*auditChunk)
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
