package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"pgregory.net/rapid"
)

func compare(field ledger.Field, op ledger.Op, text string) *ledger.Node {
	return &ledger.Node{Op: op, Field: field, Value: ledger.Value{Text: text}}
}

func testGet(t *testing.T, w *world) {
	intent := w.entry(w.eventAt("default", exchange.EventIntent, time.Now().Add(-time.Minute)))
	outcome := w.entry(w.eventAt("default", exchange.EventIssued, time.Now().Add(-30*time.Second)))
	revoked := w.entry(w.event("default", exchange.EventRevoked))
	outcome.Exchange, revoked.Exchange = intent.Exchange, intent.Exchange
	w.want(ledger.StatusInserted, revoked, intent, outcome, w.issued("default"))
	events, err := w.s.Get(w.ctx(), "default", intent.Exchange)
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 3 {
		t.Fatalf("%d events, want 3", len(events))
	}
	for i, want := range []ledger.Entry{intent, outcome, revoked} {
		same(t, events[i], want)
	}
	if events, err := w.s.Get(w.ctx(), "north", intent.Exchange); err != nil || len(events) != 0 {
		t.Errorf("another tenant gets %d events (%v)", len(events), err)
	}
	if events, err := w.s.Get(w.ctx(), "default", w.id(time.Now())); err != nil || len(events) != 0 {
		t.Errorf("an unknown exchange has %d events (%v)", len(events), err)
	}
}

func same(t *testing.T, got ledger.Exchange, want ledger.Entry) {
	t.Helper()
	if got.ID != want.ID || got.Exchange != want.Exchange || got.Tenant != want.Tenant || got.Type != want.Type || got.At != want.At {
		t.Errorf("got %s of %s (%s) at %d, want %s of %s (%s) at %d", got.ID, got.Exchange, got.Type, got.At, want.ID, want.Exchange, want.Type, want.At)
	}
	if string(got.Record) != string(want.Record) {
		t.Errorf("the record's bytes changed:\ngot  %s\nwant %s", got.Record, want.Record)
	}
}

// row is a listed exchange as the model knows it.
type row struct {
	entry  ledger.Entry
	record exchange.Record
}

// populate appends n outcomes whose fields take few values, beside what a list
// must not show: intents, notes, and another tenant's.
func populate(w *world, n int) []row {
	pick := func(values ...string) string { return values[roll(len(values))] }
	var rows []row
	var entries []ledger.Entry
	begun := time.Now().Add(-time.Minute)
	for i := range n {
		e := w.eventAt("default", exchange.EventIssued+exchange.EventType(i%4), begun.Add(time.Duration(i)*time.Millisecond))
		e.Record = exchange.Record{
			Subject: pick("k8s:prod:llm:gateway", "k8s:prod:llm:Gateway", "oidc:corp:alice", "oidc:corp:zoë", "oidc:corp:100%_a"),
			Actor:   pick("", "k8s:prod:agents:a", "k8s:prod:agents:b"), Trust: pick("prod", "corp"), Client: pick("", "cli"),
			Target: pick("bedrock", "vertex", ""), Provider: pick("aws", "gcp"), Outcome: e.Type.String(),
			ErrorKind: pick("", "invalid_target"), Rule: pick("", "a", "b"), Revision: pick("aa", "bb"),
			ClientIP: pick("10.0.0.1", "::1"), Credential: pick("", "c1", "c2"), Handle: pick("", "h'1", `h"2`),
			Reason: pick("", "ticket 1", "τicket 2", `a\b`),
		}
		entry := w.entry(e)
		e.Record.Exchange = e.Exchange.String()
		rows = append(rows, row{entry, e.Record})
		entries = append(entries, entry)
	}
	w.want(ledger.StatusInserted, entries...)
	w.want(ledger.StatusInserted, w.issued("north"), w.entry(w.event("default", exchange.EventIntent)),
		w.entry(w.note("default", exchange.EventQueried)))
	slices.SortFunc(rows, func(a, b row) int {
		return slices.Compare(b.entry.Exchange[:], a.entry.Exchange[:])
	})
	return rows
}

// text is what the model compares for a field.
func (r row) text(f ledger.Field) string {
	c := r.record
	return map[ledger.Field]string{
		ledger.FieldSubject: c.Subject, ledger.FieldActor: c.Actor, ledger.FieldTrust: c.Trust, ledger.FieldClient: c.Client,
		ledger.FieldTarget: c.Target, ledger.FieldProvider: c.Provider, ledger.FieldOutcome: c.Outcome,
		ledger.FieldErrorKind: c.ErrorKind, ledger.FieldRule: c.Rule, ledger.FieldRevision: c.Revision,
		ledger.FieldClientIP: c.ClientIP, ledger.FieldCredential: c.Credential, ledger.FieldHandle: c.Handle,
		ledger.FieldReason: c.Reason, ledger.FieldExchange: c.Exchange,
	}[f]
}

// matches is the filter's meaning, said once more in Go.
func (r row) matches(n *ledger.Node) bool {
	switch n.Op {
	case ledger.OpAnd:
		return !slices.ContainsFunc(n.Nodes, func(n *ledger.Node) bool { return !r.matches(n) })
	case ledger.OpOr:
		return slices.ContainsFunc(n.Nodes, r.matches)
	case ledger.OpNot:
		return !r.matches(n.Nodes[0])
	case ledger.OpHas:
		return strings.Contains(r.text(n.Field), n.Value.Text)
	}
	order := cmp.Compare(r.text(n.Field), n.Value.Text)
	if n.Field == ledger.FieldTime {
		order = cmp.Compare(r.entry.At, n.Value.Time)
	}
	switch n.Op {
	case ledger.OpEq:
		return order == 0
	case ledger.OpNe:
		return order != 0
	case ledger.OpLt:
		return order < 0
	case ledger.OpLe:
		return order <= 0
	case ledger.OpGt:
		return order > 0
	default:
		return order >= 0
	}
}

// check lists by the filter and compares with the model, row by row.
func check(w *world, rows []row, limit int, filter *ledger.Node) error {
	got := w.all("default", limit, filter)
	i := 0
	for _, r := range rows {
		if filter != nil && !r.matches(filter) {
			continue
		}
		if i >= len(got) {
			return fmt.Errorf("%d rows, and more match: %s", len(got), r.entry.Record)
		}
		if got[i].Exchange != r.entry.Exchange || string(got[i].Record) != string(r.entry.Record) {
			return fmt.Errorf("row %d: got %s, want %s", i, got[i].Record, r.entry.Record)
		}
		i++
	}
	if i != len(got) {
		return fmt.Errorf("%d rows, want %d", len(got), i)
	}
	return nil
}

var operators = []ledger.Op{ledger.OpEq, ledger.OpNe, ledger.OpLt, ledger.OpLe, ledger.OpGt, ledger.OpGe, ledger.OpHas}

// operand takes a value from a row, or one that is in none; what looks like SQL
// and like a pattern is text here.
func operand(rows []row, f ledger.Field, pick func(n int) int) ledger.Value {
	r := rows[pick(len(rows))]
	if f == ledger.FieldTime {
		return ledger.Value{Time: r.entry.At + int64(pick(3)) - 1}
	}
	odd := []string{"", "%", "_", "*", "' or 1=1 --", `\`, "é", "K8S:PROD:LLM:GATEWAY", "zzz", "a\tb", r.text(f) + "x"}
	switch i := pick(2*len(odd) + 2); {
	case i < len(odd):
		return ledger.Value{Text: odd[i]}
	case i == len(odd) && len(r.text(f)) > 2:
		letters := []rune(r.text(f))
		return ledger.Value{Text: string(letters[pick(len(letters))])}
	default:
		return ledger.Value{Text: r.text(f)}
	}
}

func testListFields(t *testing.T, w *world) {
	rows := populate(w, 60)
	for _, f := range ledger.Fields() {
		t.Run(string(f), func(t *testing.T) {
			w := w.in(t)
			for _, op := range operators {
				if f == ledger.FieldTime && op == ledger.OpHas {
					continue
				}
				for range 6 {
					n := &ledger.Node{Op: op, Field: f, Value: operand(rows, f, roll)}
					if err := check(w, rows, ledger.MaxPage, n); err != nil {
						t.Errorf("op %d, value %+v: %v", op, n.Value, err)
					}
					not := &ledger.Node{Op: ledger.OpNot, Nodes: []*ledger.Node{n}}
					if err := check(w, rows, ledger.MaxPage, not); err != nil {
						t.Errorf("not: op %d, value %+v: %v", op, n.Value, err)
					}
				}
			}
		})
	}
}

// testListProperty: whatever the filter and the page's size, the list is what the
// model says, each row once, newest first.
func testListProperty(t *testing.T, w *world) {
	rows := populate(w, 80)
	var filter func(depth int) *rapid.Generator[*ledger.Node]
	filter = func(depth int) *rapid.Generator[*ledger.Node] {
		return rapid.Custom(func(r *rapid.T) *ledger.Node {
			pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(r, "pick") }
			if depth == 0 || pick(2) == 0 {
				f := ledger.Fields()[pick(len(ledger.Fields()))]
				op := operators[pick(len(operators))]
				if f == ledger.FieldTime && op == ledger.OpHas {
					op = ledger.OpGe
				}
				return &ledger.Node{Op: op, Field: f, Value: operand(rows, f, pick)}
			}
			n := &ledger.Node{Op: []ledger.Op{ledger.OpAnd, ledger.OpOr, ledger.OpNot}[pick(3)]}
			children := 1
			if n.Op != ledger.OpNot {
				children += pick(3)
			}
			for range children {
				n.Nodes = append(n.Nodes, filter(depth-1).Draw(r, "node"))
			}
			return n
		})
	}
	rapid.Check(t, func(r *rapid.T) {
		n := filter(3).Draw(r, "filter")
		limit := rapid.SampledFrom([]int{1, 7, 80, ledger.MaxPage}).Draw(r, "limit")
		if limit == 1 && roll(10) > 0 {
			limit = 13
		}
		if err := check(w, rows, limit, n); err != nil {
			r.Fatal(err)
		}
	})
}

func testListPages(t *testing.T, w *world) {
	t.Run("none", func(t *testing.T) {
		if got := w.in(t).all("default", 10, nil); len(got) != 0 {
			t.Errorf("%d rows in an empty ledger", len(got))
		}
	})
	rows := populate(w, 100)
	for _, limit := range []int{1, 2, 7, 50, 99, 100, 101, ledger.MaxPage} {
		t.Run(fmt.Sprintf("of %d", limit), func(t *testing.T) {
			if err := check(w.in(t), rows, limit, nil); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("while others write", func(t *testing.T) {
		w := w.in(t)
		stop := make(chan struct{})
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for range 500 {
					select {
					case <-stop:
						return
					default:
						if _, err := w.s.Append(w.ctx(), []ledger.Entry{w.issued("default")}); err != nil {
							t.Error(err)
							return
						}
					}
				}
			})
		}
		for range 5 {
			seen := map[exchange.ID]int{}
			var last exchange.ID
			for i, r := range w.all("default", 9, nil) {
				seen[r.Exchange]++
				if i > 0 && slices.Compare(r.Exchange[:], last[:]) >= 0 {
					t.Errorf("row %d is not older than the one before", i)
				}
				last = r.Exchange
			}
			for _, r := range rows {
				if seen[r.entry.Exchange] != 1 {
					t.Errorf("a row came %d times", seen[r.entry.Exchange])
				}
			}
			for id, n := range seen {
				if n != 1 {
					t.Errorf("%s came %d times", id, n)
				}
			}
		}
		close(stop)
		group.Wait()
	})
}

// testListTimes: an outcome is found by its time where it came well after its
// exchange began (an abandoned one however long), and where it was a little early
// by another replica's clock.
func testListTimes(t *testing.T, w *world) {
	const minute = time.Minute
	now := time.Now()
	type made struct {
		entry ledger.Entry
		at    time.Time
	}
	var all []made
	for _, m := range []struct {
		of     exchange.EventType
		began  time.Duration // before now
		outlay time.Duration // from the exchange to its outcome
	}{
		{exchange.EventIssued, 90 * minute, time.Second},
		{exchange.EventDenied, 80 * minute, -3 * minute},
		{exchange.EventFailed, 50 * 60 * minute, 50 * minute},
		{exchange.EventUnknown, 20 * 24 * 60 * minute, 19 * 24 * 60 * minute},
		{exchange.EventUnknown, 30 * 24 * 60 * minute, minute},
		{exchange.EventIssued, 40 * 24 * 60 * minute, time.Second},
	} {
		e := w.eventAt("default", m.of, now.Add(-m.began))
		e.At = now.Add(m.outlay - m.began)
		entry := w.entry(e)
		all = append(all, made{entry, e.At})
		w.want(ledger.StatusInserted, entry)
	}
	for i, pivot := range all {
		for _, op := range []ledger.Op{ledger.OpLt, ledger.OpLe, ledger.OpEq, ledger.OpGe, ledger.OpGt} {
			at := &ledger.Node{Op: op, Field: ledger.FieldTime, Value: ledger.Value{Time: pivot.at.UnixMicro()}}
			for name, filter := range map[string]*ledger.Node{
				"alone":       at,
				"and subject": {Op: ledger.OpAnd, Nodes: []*ledger.Node{compare(ledger.FieldSubject, ledger.OpEq, "k8s:prod:llm:gateway"), at}},
			} {
				got := map[exchange.ID]bool{}
				for _, e := range w.all("default", 2, filter) {
					got[e.Exchange] = true
				}
				for k, m := range all {
					order := cmp.Compare(m.at.UnixMicro(), pivot.at.UnixMicro())
					want := map[ledger.Op]bool{ledger.OpLt: order < 0, ledger.OpLe: order <= 0, ledger.OpEq: order == 0, ledger.OpGe: order >= 0, ledger.OpGt: order > 0}[op]
					if got[m.entry.Exchange] != want {
						t.Errorf("time of %d, op %d, %s: row %d is there: %t", i, op, name, k, !want)
					}
				}
			}
		}
	}
}

func testListBadQueries(t *testing.T, w *world) {
	populate(w, 3)
	good := compare(ledger.FieldSubject, ledger.OpEq, "x")
	deep, wide := good, &ledger.Node{Op: ledger.OpOr}
	for range ledger.MaxDepth {
		deep = &ledger.Node{Op: ledger.OpNot, Nodes: []*ledger.Node{deep}}
	}
	for range ledger.MaxNodes {
		wide.Nodes = append(wide.Nodes, good)
	}
	filtered := func(n *ledger.Node) ledger.Query {
		return ledger.Query{Tenant: "default", Limit: 10, Filter: ledger.Filter{Root: n}}
	}
	for name, q := range map[string]ledger.Query{
		"no limit":            {Tenant: "default"},
		"a negative limit":    {Tenant: "default", Limit: -1},
		"a limit too large":   {Tenant: "default", Limit: ledger.MaxPage + 1},
		"a cursor of no list": {Tenant: "default", Limit: 10, After: "abc"},
		"a cursor of SQL":     {Tenant: "default", Limit: 10, After: "' or 1=1 --"},
		"an unknown field":    filtered(compare("record", ledger.OpEq, "x")),
		"a field of SQL":      filtered(compare("subject) or (1=1", ledger.OpEq, "x")),
		"no field":            filtered(compare("", ledger.OpEq, "x")),
		"no operator":         filtered(compare(ledger.FieldSubject, 0, "x")),
		"an unknown operator": filtered(compare(ledger.FieldSubject, 99, "x")),
		"has on a time":       filtered(compare(ledger.FieldTime, ledger.OpHas, "x")),
		"and of none":         filtered(&ledger.Node{Op: ledger.OpAnd}),
		"or of nil":           filtered(&ledger.Node{Op: ledger.OpOr, Nodes: []*ledger.Node{nil}}),
		"not of two":          filtered(&ledger.Node{Op: ledger.OpNot, Nodes: []*ledger.Node{good, good}}),
		"not of none":         filtered(&ledger.Node{Op: ledger.OpNot}),
		"too deep":            filtered(deep),
		"too many":            filtered(wide),
	} {
		t.Run(name, func(t *testing.T) {
			rows, next, err := w.s.List(t.Context(), q)
			if exchange.KindOf(err) != exchange.KindInvalidRequest || err == nil {
				t.Errorf("got %d rows, next %q, error %v; want an invalid request", len(rows), next, err)
			}
		})
	}
	for _, odd := range []string{"a\x00b", "\xff\xfe", strings.Repeat("x", 1<<16)} {
		for _, op := range operators {
			_, _, err := w.s.List(w.ctx(), filtered(compare(ledger.FieldSubject, op, odd)))
			if err != nil && exchange.KindOf(err) != exchange.KindInvalidRequest {
				t.Errorf("op %d on %.8q: %v; want an answer, or an invalid request", op, odd, err)
			}
		}
	}
}
