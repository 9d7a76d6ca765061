package main

import (
	"context"
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
)

// How much is asked: walks of so many pages of each kind, and so many summaries.
const (
	auditWalks     = 60
	auditPages     = 5
	auditPageSize  = 50
	auditSummaries = 20
)

const (
	pageGoal    = 50 * time.Millisecond
	summaryGoal = time.Second
)

// runAudit measures the audit on n exchanges, or only makes them ready.
func runAudit(ctx context.Context, n int, measure bool) error {
	if !measure && os.Getenv(keepVariable) == "" {
		return errors.New("a ledger that is filled for later needs a folder: name it in " + keepVariable)
	}
	a, err := openAudited(ctx, n)
	if err != nil {
		return err
	}
	defer a.host.close()
	if !measure {
		return nil
	}
	fmt.Printf("%-34s %9s %9s %9s %7s  %s\n", "on "+fmt.Sprint(a.past.N)+" exchanges", "first ms", "p50 ms", "p99 ms", "pages", "goal, p99")
	for _, k := range kinds(a.past) {
		t, err := a.walks(ctx, k)
		if err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		t.print()
	}
	if err := a.summaries(ctx); err != nil {
		return err
	}
	if err := a.sizes(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintf(os.Stdout, "\n%s, PostgreSQL durable, shared_buffers 512 MB: go run ./bench audit %d\n", time.Now().UTC().Format(time.DateOnly), a.past.N)
	return err
}

// timed is how long one kind of query took: the first after the server started,
// and the others.
type timed struct {
	name  string
	goal  time.Duration // zero: none
	first time.Duration
	took  []time.Duration
}

func (t timed) print() {
	slices.Sort(t.took)
	at := func(p float64) time.Duration { return t.took[min(len(t.took)-1, int(p*float64(len(t.took))))] }
	verdict := "none: not indexed"
	if t.goal > 0 {
		verdict = t.goal.String() + ": met"
		if at(0.99) > t.goal {
			verdict = t.goal.String() + ": MISSED"
		}
	}
	fmt.Printf("%-34s %9.1f %9.2f %9.2f %7d  %s\n", t.name, ms(t.first), ms(at(0.5)), ms(at(0.99)), len(t.took), verdict)
}

// kind is one kind of list.
type kind struct {
	name   string
	goal   time.Duration
	filter func(e exchange.Event, absent bool) *ledger.Node
}

// kinds are the lists that are measured. A filter takes its values from an exchange,
// or has one that is in none.
func kinds(h history) []kind {
	eq := func(f ledger.Field, text string) *ledger.Node {
		return &ledger.Node{Op: ledger.OpEq, Field: f, Value: ledger.Value{Text: text}}
	}
	both := func(nodes ...*ledger.Node) *ledger.Node { return &ledger.Node{Op: ledger.OpAnd, Nodes: nodes} }
	when := func(op ledger.Op, at time.Time) *ledger.Node {
		return &ledger.Node{Op: op, Field: ledger.FieldTime, Value: ledger.Value{Time: at.UnixMicro()}}
	}
	of := func(f ledger.Field, e exchange.Event, absent bool) *ledger.Node {
		r := e.Record
		if absent {
			return eq(f, "nowhere")
		}
		return eq(f, map[ledger.Field]string{
			ledger.FieldSubject: r.Subject, ledger.FieldActor: r.Actor, ledger.FieldTarget: r.Target, ledger.FieldRule: r.Rule,
			ledger.FieldClientIP: r.ClientIP, ledger.FieldCredential: r.Credential, ledger.FieldHandle: r.Handle,
			ledger.FieldTrust: r.Trust, ledger.FieldProvider: r.Provider, ledger.FieldReason: r.Reason,
			ledger.FieldOutcome: []string{"denied", "failed", "unknown", "issued"}[rand.IntN(4)], ledger.FieldExchange: e.Exchange.String(),
		}[f])
	}
	all := []kind{{"all", pageGoal, func(exchange.Event, bool) *ledger.Node { return nil }}}
	for _, f := range []ledger.Field{
		ledger.FieldSubject, ledger.FieldActor, ledger.FieldTarget, ledger.FieldClientIP,
		ledger.FieldCredential, ledger.FieldHandle, ledger.FieldOutcome, ledger.FieldExchange,
	} {
		all = append(all, kind{string(f), pageGoal, func(e exchange.Event, absent bool) *ledger.Node { return of(f, e, absent) }})
	}
	all = append(all,
		kind{"time, before", pageGoal, func(e exchange.Event, _ bool) *ledger.Node { return when(ledger.OpLe, e.At) }},
		kind{"time, an hour", pageGoal, func(e exchange.Event, _ bool) *ledger.Node {
			return both(when(ledger.OpGe, e.At), when(ledger.OpLt, e.At.Add(time.Hour)))
		}},
		kind{"subject AND target", pageGoal, func(e exchange.Event, absent bool) *ledger.Node {
			return both(of(ledger.FieldSubject, e, false), of(ledger.FieldTarget, e, absent))
		}},
		kind{"subject OR subject", pageGoal, func(e exchange.Event, absent bool) *ledger.Node {
			other, _ := h.event(rand.IntN(h.N))
			return &ledger.Node{Op: ledger.OpOr, Nodes: []*ledger.Node{of(ledger.FieldSubject, e, absent), of(ledger.FieldSubject, other, false)}}
		}},
		kind{"outcome AND time, a day", pageGoal, func(e exchange.Event, _ bool) *ledger.Node {
			return both(eq(ledger.FieldOutcome, "denied"), when(ledger.OpGe, e.At), when(ledger.OpLt, e.At.Add(24*time.Hour)))
		}},
		kind{"target AND rule, never together", 0, func(e exchange.Event, _ bool) *ledger.Node {
			var n int
			_, _ = fmt.Sscanf(e.Record.Target, "target-%d", &n) // zero for a rare one
			return both(of(ledger.FieldTarget, e, false), eq(ledger.FieldRule, fmt.Sprintf("rule-%d", (n+1)%auditTargets)))
		}},
		kind{"target AND reason", 0, func(e exchange.Event, _ bool) *ledger.Node {
			return both(of(ledger.FieldTarget, e, false), eq(ledger.FieldReason, "ticket 1"))
		}},
	)
	for _, f := range []ledger.Field{ledger.FieldRule, ledger.FieldTrust, ledger.FieldProvider} {
		all = append(all, kind{string(f), 0, func(e exchange.Event, absent bool) *ledger.Node { return of(f, e, absent) }})
	}
	return append(all, kind{"reason", 0, func(exchange.Event, bool) *ledger.Node { return eq(ledger.FieldReason, "ticket 1") }})
}

// example is an exchange to take values from: mostly of those who ask much, some
// of those who hardly ever do.
func (h history) example(walk int) (exchange.Event, error) {
	for {
		i := rand.IntN(h.N)
		if walk%5 == 4 && h.N > auditRarely {
			i = rand.IntN(h.N/auditRarely)*auditRarely + auditRarely/2
		}
		e, err := h.event(i)
		if err != nil || e.Record.Actor != "" && e.Record.Credential != "" { // has all there is
			return e, err
		}
	}
}

// walks pages through lists of one kind: from the newest, or every other time from
// the exchange on whose values it goes by. One in ten asks for a value that nobody has.
func (a *audited) walks(ctx context.Context, k kind) (timed, error) {
	t := timed{name: k.name, goal: k.goal}
	s, err := a.reopen(ctx)
	if err != nil {
		return t, err
	}
	defer func() { _ = s.Close() }()
	for walk := range auditWalks {
		e, err := a.past.example(walk)
		if err != nil {
			return t, err
		}
		absent := walk%10 == 9
		query := ledger.Query{Tenant: "default", Limit: auditPageSize, Filter: ledger.Filter{Root: k.filter(e, absent)}}
		if walk%2 == 1 {
			query.After = ledger.Cursor(e.Exchange.String())
		}
		for page := range auditPages {
			began := time.Now()
			rows, next, err := s.List(ctx, query)
			took := time.Since(began)
			if err != nil {
				return t, err
			}
			if walk+page == 0 {
				t.first = took
			} else {
				t.took = append(t.took, took)
			}
			if page == 0 && len(rows) == 0 && k.goal > 0 && !absent && query.After == "" {
				return t, fmt.Errorf("found nothing by the values of %s", e.Exchange)
			}
			if query.After = next; next == "" {
				break
			}
		}
	}
	return t, nil
}

func (a *audited) summaries(ctx context.Context) error {
	h := a.past
	until := h.Until.Truncate(time.Hour)
	for _, by := range [][]ledger.Dimension{
		{ledger.ByOutcome}, {ledger.ByHour}, {ledger.BySubject}, {ledger.ByTarget}, {ledger.ByRule},
		{ledger.ByTarget, ledger.ByOutcome}, {ledger.BySubject, ledger.ByTarget},
	} {
		s, err := a.reopen(ctx)
		if err != nil {
			return err
		}
		t, err := h.summary(ctx, s, until, by)
		if err := s.Close(); err != nil {
			return err
		}
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		t.print()
	}
	return nil
}

func (h history) summary(ctx context.Context, s *postgres.Store, until time.Time, by []ledger.Dimension) (timed, error) {
	t := timed{name: fmt.Sprintf("30 days by %v", by), goal: summaryGoal}
	for i := range auditSummaries {
		began := time.Now()
		got, err := s.Summarize(ctx, ledger.SummaryQuery{
			Tenant: "default", From: until.AddDate(0, 0, -30).UnixMicro(), Until: until.UnixMicro(), By: by, Limit: 1000,
		})
		took := time.Since(began)
		if err != nil {
			return t, err
		}
		if got.Total < int64(h.N)*7/10 {
			return t, fmt.Errorf("counted %d", got.Total)
		}
		if i == 0 {
			t.first = took
		} else {
			t.took = append(t.took, took)
		}
	}
	return t, nil
}

// sizes prints what the ledger takes on disk.
func (a *audited) sizes(ctx context.Context) error {
	db, err := pgx.Connect(ctx, a.database.SuperDSN())
	if err != nil {
		return err
	}
	defer func() { _ = db.Close(ctx) }()
	found, err := db.Query(ctx, `
		select c.relname::text, (select sum(pg_relation_size(relid)) from pg_partition_tree(c.oid))::bigint
		from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = 'cambio' and c.relkind in ('p', 'I')
		union all
		select c.relname::text, pg_relation_size(c.oid) from pg_class c where c.oid in ('cambio.counts'::regclass, 'cambio.counts_pkey'::regclass)
		order by 2 desc`)
	if err != nil {
		return err
	}
	fmt.Printf("\n%-34s %9s %9s\n", "on disk", "MB", "bytes/row")
	var name string
	var size int64
	_, err = pgx.ForEachRow(found, []any{&name, &size}, func() error {
		fmt.Printf("%-34s %9d %9.1f\n", name, size>>20, float64(size)/float64(a.past.N))
		return nil
	})
	return err
}
