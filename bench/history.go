package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// The shape of the ledger that the audit is measured on. Few subjects ask much and
// many ask little; beside them some ask hardly ever.
const (
	auditDays      = 40
	auditSubjects  = 5000
	auditTargets   = 200
	auditRules     = 300
	auditAddresses = 20_000
	auditActors    = 500
	auditRarely    = 250_000 // one exchange in so many is of somebody rare
	auditRare      = 8       // of whom there are so many
	auditChunk     = 50_000  // rows in one transaction
)

// history makes the records of n exchanges, spread evenly over the days before
// Until. The same row is the same each time.
type history struct {
	N     int       `json:"exchanges"`
	Until time.Time `json:"until"`
}

func (h history) at(i int) time.Time {
	const span = auditDays * 24 * time.Hour
	return h.Until.Add(-span + time.Duration(float64(span)*float64(i)/float64(h.N))).UTC().Truncate(time.Microsecond)
}

// hexes is n bytes of a generator, in hexadecimal.
func hexes(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return hex.EncodeToString(b)
}

// repeatReader gives the same bytes to each reader.
type repeatReader []byte

func (r repeatReader) Read(p []byte) (int, error) { return copy(p, r), nil }

var auditRevision = func() string { h := sha256.Sum256([]byte("revision")); return hex.EncodeToString(h[:]) }()

// event is the outcome of exchange i.
func (h history) event(i int) (e exchange.Event, err error) {
	r := rand.New(rand.NewPCG(uint64(i), 7))
	at := h.at(i)
	seed := repeatReader(hexes(r, 5))
	if e.Exchange, err = exchange.NewID(at, seed); err != nil {
		return e, err
	}
	seed[9]++
	if e.ID, err = exchange.NewID(at, seed); err != nil {
		return e, err
	}
	e.Tenant, e.Type = "default", exchange.EventIssued
	switch p := r.IntN(1000); {
	case p < 20:
		e.Type = exchange.EventDenied
	case p < 24:
		e.Type = exchange.EventFailed
	case p < 25:
		e.Type = exchange.EventUnknown
	}
	took := time.Duration(1+r.IntN(40)) * time.Millisecond
	e.At = at.Add(took)
	weight := r.Float64()
	subject := int(weight * weight * auditSubjects) // the first asks a hundred times as often as the last
	target := (subject*7 + r.IntN(3)*13) % auditTargets
	rule := target
	if subject%3 == 0 {
		rule = auditTargets + target%(auditRules-auditTargets)
	}
	address := (subject*4 + r.IntN(4)) % auditAddresses
	c := exchange.Record{
		Subject: fmt.Sprintf("k8s:prod:team-%d:service-%d", subject%100, subject), Trust: "prod",
		Target: fmt.Sprintf("target-%d", target), Provider: "mcp", Rule: fmt.Sprintf("rule-%d", rule),
		ClientIP: fmt.Sprintf("10.%d.%d.%d", address>>16, address>>8&255, address&255),
	}
	if r.IntN(10) == 0 {
		c.Actor = fmt.Sprintf("k8s:prod:agents:agent-%d", r.IntN(auditActors))
	}
	if i%auditRarely == auditRarely/2 {
		c = rarely(i / auditRarely)
	}
	if c.Actor != "" {
		c.Actors = []string{c.Actor}
	}
	c.Outcome, c.Revision, c.Door = e.Type.String(), auditRevision, "oauth"
	c.GrantType, c.TokenType = "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:token-type:access_token"
	c.AskedTargets, c.UserAgent, c.TraceID = []string{c.Target}, "python-requests/2.31", hexes(r, 16)
	c.TokenID, c.KeyID = hexes(r, 16), "key-1"
	c.Claims = exchange.Attributes{"namespace": {fmt.Sprintf("team-%d", subject%100)}, "service_account": {fmt.Sprintf("service-%d", subject)}}
	c.Durations = &exchange.Durations{Verify: 80, Decide: 3, Vend: took.Microseconds()}
	if e.Type == exchange.EventIssued {
		c.Scopes, c.Lifetime, c.Expires = []string{"tools.read"}, 900, exchange.FormatTime(e.At.Add(15*time.Minute))
		c.Credential, c.Handle = hexes(r, 32), e.ID.String()
		c.Lease = c.Handle
	} else {
		c.ErrorKind, c.Explanation = "invalid_target", "no rule allows the target to the subject: the nearest allow is for others"
	}
	e.Record = c
	return e, nil
}

// rarely is what the exchanges of somebody rare have in common.
func rarely(i int) exchange.Record {
	i %= auditRare
	return exchange.Record{
		Subject: fmt.Sprintf("k8s:lab:tests:probe-%d", i), Trust: "lab", Target: fmt.Sprintf("lab-target-%d", i), Provider: "lab",
		Rule: fmt.Sprintf("lab-rule-%d", i), ClientIP: fmt.Sprintf("192.0.2.%d", i), Actor: fmt.Sprintf("k8s:lab:agents:probe-%d", i),
	}
}

// fill copies the history into the ledger as the server's administrator. The
// indexes of the lists are made afterwards, which is much quicker, and leaves them
// a third denser than appends do.
func (h history) fill(ctx context.Context, dsn string) (err error) {
	db, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close(context.WithoutCancel(ctx))) }()
	month := h.at(0).AddDate(0, 0, 1-h.at(0).Day()).Truncate(24 * time.Hour)
	for ; month.Before(h.Until); month = month.AddDate(0, 1, 0) {
		if _, err := db.Exec(ctx, fmt.Sprintf("create table if not exists cambio.events_%s partition of cambio.events for values from (cambio.uuid_floor('%s'::timestamptz)) to (cambio.uuid_floor('%s'::timestamptz))",
			month.Format("2006_01"), month.Format(time.RFC3339), month.AddDate(0, 1, 0).Format(time.RFC3339))); err != nil {
			return fmt.Errorf("making the partition of %s: %w", month.Format("2006-01"), err)
		}
	}
	var definitions, names []string
	if err := db.QueryRow(ctx, `select array_agg(replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ')), array_agg(indexrelid::regclass::text) from pg_index
		where indrelid = 'cambio.events'::regclass and not indisunique`).Scan(&definitions, &names); err != nil {
		return fmt.Errorf("listing the indexes: %w", err)
	}
	for _, name := range names {
		if _, err := db.Exec(ctx, "drop index "+name); err != nil {
			return err
		}
	}
	if err := h.copy(ctx, dsn); err != nil {
		return err
	}
	if _, err := db.Exec(ctx, "set maintenance_work_mem = '512MB'; set max_parallel_maintenance_workers = 1"); err != nil {
		return err
	}
	for i, definition := range definitions {
		if _, err := db.Exec(ctx, definition); err != nil {
			return err
		}
		say("made %s", names[i])
	}
	return nil
}

// copy writes the rows by two connections, chunk by chunk.
func (h history) copy(ctx context.Context, dsn string) error {
	var next, done atomic.Int64
	var writers sync.WaitGroup
	faults := make([]error, 2)
	for w := range faults {
		writers.Go(func() {
			db, err := pgx.Connect(ctx, dsn)
			if err != nil {
				faults[w] = err
				return
			}
			defer func() { _ = db.Close(context.WithoutCancel(ctx)) }()
			for {
				last := int(next.Add(auditChunk))
				i := last - auditChunk
				if last = min(last, h.N); i >= h.N {
					return
				}
				copied, err := db.CopyFrom(ctx, pgx.Identifier{"cambio", "events"}, eventColumns, pgx.CopyFromFunc(func() ([]any, error) {
					if i == last {
						return nil, nil
					}
					e, err := h.event(i)
					if i++; err != nil {
						return nil, err
					}
					return eventRow(e)
				}))
				if err != nil {
					faults[w] = fmt.Errorf("copying: %w", err)
					return
				}
				if n := done.Add(copied); n%1_000_000 == 0 {
					say("%d exchanges", n)
				}
			}
		})
	}
	writers.Wait()
	return errors.Join(faults...)
}

var eventColumns = []string{
	"id", "exchange", "tenant", "type", "at", "record",
	"subject_fact", "actor_fact", "target_fact", "client_ip_fact", "credential_fact", "handle_fact",
}

func eventRow(event exchange.Event) ([]any, error) {
	e, err := ledger.NewEntry(event)
	if err != nil {
		return nil, err
	}
	row := []any{[16]byte(e.ID), [16]byte(e.Exchange), e.Tenant, int16(e.Type), event.At, e.Record}
	for _, fact := range e.Facts.Each() {
		if fact == 0 {
			row = append(row, nil)
		} else {
			row = append(row, fact)
		}
	}
	return row, nil
}

// settle does what the server's upkeep does in time: rows are known to be seen by
// all, values are counted, and everything is on disk.
func settle(ctx context.Context, dsn string) (err error) {
	db, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close(context.WithoutCancel(ctx))) }()
	for _, statement := range []string{"vacuum (analyze) cambio.events", "vacuum (analyze) cambio.counts", "checkpoint"} {
		if _, err := db.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}
