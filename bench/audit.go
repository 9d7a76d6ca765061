package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/postgres"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// The shape of the ledger that the audit is measured on.
const (
	auditDays     = 30
	auditSubjects = 2000
	auditTargets  = 40
	auditRules    = 200
	auditChunk    = 20_000 // rows in one transaction
	auditQueries  = 100    // of each filter
)

// history makes the records of n exchanges, spread evenly over the days before
// until. The same row is the same each time.
type history struct {
	n     int
	until time.Time
}

func (h history) at(i int) time.Time {
	span := auditDays * 24 * time.Hour
	return h.until.Add(-span + time.Duration(float64(span)*float64(i)/float64(h.n))).Truncate(time.Microsecond)
}

func hashed(what string, i int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", what, i))
	return hex.EncodeToString(sum[:])
}

func (h history) event(i int) (exchange.Event, error) {
	r := rand.New(rand.NewPCG(uint64(i), 7))
	var seed [10]byte
	for k := range seed {
		seed[k] = byte(r.Uint32())
	}
	at := h.at(i)
	id, err := exchange.NewID(at, &repeatReader{seed[:]})
	if err != nil {
		return exchange.Event{}, err
	}
	seed[9]++
	event, err := exchange.NewID(at, &repeatReader{seed[:]})
	if err != nil {
		return exchange.Event{}, err
	}
	of := exchange.EventIssued
	switch p := r.IntN(1000); {
	case p < 20:
		of = exchange.EventDenied
	case p < 24:
		of = exchange.EventFailed
	case p < 25:
		of = exchange.EventUnknown
	}
	subject := r.IntN(auditSubjects)
	record := exchange.Record{
		Outcome: of.String(), Subject: fmt.Sprintf("k8s:prod:team-%d:service-%d", subject%100, subject), Trust: "prod",
		Target: fmt.Sprintf("target-%d", subject%auditTargets), Provider: "mcp", Rule: fmt.Sprintf("rule-%d", subject%auditRules), Revision: hashed("revision", 0),
		Door: "oauth", GrantType: "urn:ietf:params:oauth:grant-type:token-exchange", TokenType: "urn:ietf:params:oauth:token-type:access_token",
		AskedTargets: []string{fmt.Sprintf("target-%d", subject%auditTargets)}, Scopes: []string{"tools.read"}, Lifetime: 900, Expires: exchange.FormatTime(at.Add(15 * time.Minute)),
		Credential: hashed("credential", i), Handle: hashed("handle", i)[:32], Lease: id.String(), ClientIP: fmt.Sprintf("10.%d.%d.%d", subject%200, subject/200, r.IntN(4)),
		UserAgent: "agent/1.0", TraceID: hashed("trace", i)[:32], KeyID: "key-1",
	}
	if r.IntN(10) == 0 {
		record.Actor = fmt.Sprintf("k8s:prod:agents:agent-%d", r.IntN(300))
		record.Actors = []string{record.Actor}
	}
	return exchange.Event{ID: event, Exchange: id, Tenant: "default", Type: of, At: at, Record: record}, nil
}

// repeatReader gives the same bytes to each reader.
type repeatReader struct{ b []byte }

func (r *repeatReader) Read(p []byte) (int, error) { return copy(p, r.b), nil }

// fill copies the history into the ledger, as its owner's superior: a chunk in a
// transaction, so that it can be rolled up as it would have been.
func (h history) fill(ctx context.Context, dsn string) (err error) {
	db, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close(ctx)) }()
	first := h.until.AddDate(0, 0, -auditDays-1).UTC()
	for month := time.Date(first.Year(), first.Month(), 1, 0, 0, 0, 0, time.UTC); month.Before(h.until.AddDate(0, 0, -h.until.UTC().Day()+1).UTC().Truncate(24 * time.Hour)); month = month.AddDate(0, 1, 0) {
		if _, err := db.Exec(ctx, fmt.Sprintf("create table cambio.events_%s partition of cambio.events for values from (cambio.uuid_floor('%s'::timestamptz)) to (cambio.uuid_floor('%s'::timestamptz))",
			month.Format("2006_01"), month.Format(time.RFC3339), month.AddDate(0, 1, 0).Format(time.RFC3339))); err != nil {
			return fmt.Errorf("making the partition of %s: %w", month.Format("2006-01"), err)
		}
	}
	for done := 0; done < h.n; done += auditChunk {
		i, last := done, min(h.n, done+auditChunk)
		if _, err := db.CopyFrom(ctx, pgx.Identifier{"cambio", "events"}, []string{"id", "exchange", "tenant", "type", "at", "record"}, pgx.CopyFromFunc(func() ([]any, error) {
			if i == last {
				return nil, nil
			}
			e, err := h.event(i)
			if i++; err != nil {
				return nil, err
			}
			return []any{[16]byte(e.ID), [16]byte(e.Exchange), e.Tenant, int16(e.Type), e.At, string(ledger.Encode(e))}, nil
		})); err != nil {
			return fmt.Errorf("copying: %w", err)
		}
		if last%(50*auditChunk) == 0 {
			say("%d exchanges", last)
		}
	}
	_, err = db.Exec(ctx, "vacuum (analyze) cambio.events")
	return err
}

// runAudit measures the audit on n exchanges of thirty days.
func runAudit(ctx context.Context, n int) error {
	h := &host{ctx: ctx}
	defer h.close()
	var database *pgtest.Database
	say("starting PostgreSQL")
	if err := try(func() {
		database = pgtest.Start(h, pgtest.Durable(), pgtest.Setting("shared_buffers=512MB"), pgtest.Setting("max_wal_size=8GB")).NewDatabase(h)
	}); err != nil {
		return err
	}
	if err := postgres.Migrate(ctx, database.OwnerDSN(), postgres.MigrateOptions{ServiceRole: pgtest.ServiceRole}); err != nil {
		return err
	}
	past := history{n: n, until: time.Now()}
	began := time.Now()
	if err := past.fill(ctx, database.SuperDSN()); err != nil {
		return err
	}
	say("%d exchanges in %s", n, time.Since(began).Round(time.Second))
	s, err := postgres.Open(ctx, database.ServiceDSN(), postgres.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	began = time.Now()
	for more := true; more; {
		if more, err = s.Roll(ctx); err != nil {
			return err
		}
	}
	say("rolled up in %s", time.Since(began).Round(time.Second))
	figures, err := past.pages(ctx, s)
	if err != nil {
		return err
	}
	more, err := past.summaries(ctx, s)
	if err != nil {
		return err
	}
	fmt.Printf("%-28s %10s %10s  %s\n", "on "+fmt.Sprint(n)+" exchanges", "p50 ms", "p99 ms", "goal, p99")
	for _, f := range append(figures, more...) {
		slices.Sort(f.took)
		verdict := "met"
		if f.at(0.99) > f.goal {
			verdict = "MISSED"
		}
		fmt.Printf("%-28s %10.2f %10.2f  %s: %s\n", f.name, ms(f.at(0.5)), ms(f.at(0.99)), f.goal, verdict)
	}
	_, err = fmt.Fprintf(os.Stdout, "\n%s, PostgreSQL durable: go run ./bench audit %d\n", time.Now().UTC().Format(time.DateOnly), n)
	return err
}

// timed is how long one kind of query took, each time.
type timed struct {
	name string
	goal time.Duration
	took []time.Duration
}

func (t timed) at(p float64) time.Duration {
	return t.took[min(len(t.took)-1, int(p*float64(len(t.took))))]
}

func (h history) pages(ctx context.Context, s *postgres.Store) ([]timed, error) {
	var figures []timed
	for _, field := range []ledger.Field{
		"", ledger.FieldSubject, ledger.FieldActor, ledger.FieldTarget, ledger.FieldRule, ledger.FieldClientIP,
		ledger.FieldCredential, ledger.FieldHandle, ledger.FieldOutcome, ledger.FieldTime, ledger.FieldExchange,
	} {
		t := timed{name: "page by " + string(field), goal: 50 * time.Millisecond}
		if field == "" {
			t.name = "page of all"
		}
		for q := range auditQueries {
			i := rand.IntN(h.n)
			e, err := h.event(i)
			for field == ledger.FieldActor && e.Record.Actor == "" && err == nil {
				i = rand.IntN(h.n)
				e, err = h.event(i)
			}
			if err != nil {
				return nil, err
			}
			r := e.Record
			node := &ledger.Node{Op: ledger.OpEq, Field: field, Value: ledger.Value{Text: map[ledger.Field]string{
				ledger.FieldSubject: r.Subject, ledger.FieldActor: r.Actor, ledger.FieldTarget: r.Target, ledger.FieldRule: r.Rule,
				ledger.FieldClientIP: r.ClientIP, ledger.FieldCredential: r.Credential, ledger.FieldHandle: r.Handle,
				ledger.FieldOutcome: "denied", ledger.FieldExchange: e.Exchange.String(),
			}[field]}}
			query := ledger.Query{Tenant: "default", Limit: 50, Filter: ledger.Filter{Root: node}}
			switch field {
			case "":
				query.Filter.Root = nil
			case ledger.FieldTime:
				node.Op, node.Value.Time = ledger.OpLe, e.At.UnixMicro()
			}
			if q%2 == 1 && (field == "" || field == ledger.FieldSubject || field == ledger.FieldOutcome) {
				query.After = ledger.Cursor(e.Exchange.String()) // from the middle
			}
			began := time.Now()
			rows, _, err := s.List(ctx, query)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
			if len(rows) == 0 && query.After == "" {
				return nil, fmt.Errorf("%s: found nothing", t.name)
			}
			t.took = append(t.took, time.Since(began))
		}
		figures = append(figures, t)
	}
	return figures, nil
}

func (h history) summaries(ctx context.Context, s *postgres.Store) ([]timed, error) {
	var figures []timed
	until := h.until.Truncate(time.Hour).Add(time.Hour)
	for _, by := range [][]ledger.Dimension{
		{ledger.ByOutcome}, {ledger.ByHour}, {ledger.BySubject}, {ledger.ByTarget}, {ledger.ByRule}, {ledger.ByTarget, ledger.ByOutcome}, {ledger.BySubject, ledger.ByTarget},
	} {
		t := timed{name: fmt.Sprintf("30 days by %v", by), goal: time.Second}
		for range 20 {
			began := time.Now()
			got, err := s.Summarize(ctx, ledger.SummaryQuery{
				Tenant: "default", From: until.AddDate(0, 0, -auditDays).UnixMicro(), Until: until.UnixMicro(), By: by, Limit: 1000,
			})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", t.name, err)
			}
			if got.Total < int64(h.n)*9/10 {
				return nil, fmt.Errorf("%s: counted %d", t.name, got.Total)
			}
			t.took = append(t.took, time.Since(began))
		}
		figures = append(figures, t)
	}
	return figures, nil
}
