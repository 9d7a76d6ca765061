package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// morning is the middle of a day, so that what is written around it lies in
// several hours of two days.
func morning() time.Time { return time.Now().UTC().Truncate(24 * time.Hour) }

// varied is an outcome whose fields take few values, at an hour around morning.
func (w *world) varied() row {
	pick := func(values ...string) string { return values[roll(len(values))] }
	at := morning().Add(time.Duration(roll(30)-28) * time.Hour).Add(time.Duration(roll(3600)) * time.Second)
	e := w.eventAt("default", exchange.EventIssued+exchange.EventType(roll(4)), at)
	e.Record = exchange.Record{
		Subject: pick("oidc:corp:alice", "oidc:corp:zoë", "k8s:prod:llm:gateway"), Target: pick("bedrock", "vertex", ""),
		Rule: pick("", "a", "b"), Outcome: e.Type.String(), ClientIP: pick("10.0.0.1", "::1"), Reason: pick("", "x"),
	}
	return row{w.entry(e), e.Record}
}

// counts is the naive summary: every row looked at, in Go.
func counts(rows []row, q ledger.SummaryQuery) (map[ledger.Count]int64, int64) {
	out, total := map[ledger.Count]int64{}, int64(0)
	for _, r := range rows {
		if r.entry.At < q.From || r.entry.At >= q.Until || (q.Filter.Root != nil && !r.matches(q.Filter.Root)) {
			continue
		}
		var c ledger.Count
		for _, d := range q.By {
			switch d {
			case ledger.ByHour:
				c.Hour = r.entry.At - r.entry.At%ledger.Hour
			case ledger.BySubject:
				c.Subject = r.record.Subject
			case ledger.ByTarget:
				c.Target = r.record.Target
			case ledger.ByRule:
				c.Rule = r.record.Rule
			case ledger.ByOutcome:
				c.Outcome = r.entry.Type
			}
		}
		out[c]++
		total++
	}
	return out, total
}

// agrees summarizes and compares with the naive counts.
func (w *world) agrees(rows []row, q ledger.SummaryQuery) error {
	want, total := counts(rows, q)
	got, err := w.s.Summarize(w.ctx(), q)
	if err != nil {
		return err
	}
	if got.Total != total || got.Groups != int64(len(want)) || len(got.Rows) != min(len(want), q.Limit) {
		if len(want) > 0 {
			return fmt.Errorf("by %v: %d rows, %d groups, %d in all; want %d groups, %d", q.By, len(got.Rows), got.Groups, got.Total, len(want), total)
		}
	}
	for i, c := range got.Rows {
		n := c.N
		c.N = 0
		if want[c] != n {
			return fmt.Errorf("by %v: %+v counts %d, want %d", q.By, c, n, want[c])
		}
		if i == 0 {
			continue
		}
		before := got.Rows[i-1]
		switch hours := slices.Contains(q.By, ledger.ByHour); {
		case hours && before.Hour > c.Hour, (!hours || before.Hour == c.Hour) && before.N < n:
			return fmt.Errorf("by %v: out of order at row %d", q.By, i)
		}
	}
	return nil
}

// summaryOf draws a query.
func summaryOf(rt *rapid.T) ledger.SummaryQuery {
	base := morning().UnixMicro()
	from := base - int64(rapid.IntRange(0, 40).Draw(rt, "from"))*ledger.Hour
	q := ledger.SummaryQuery{
		Tenant: "default", From: from, Until: from + int64(rapid.IntRange(1, 60).Draw(rt, "hours"))*ledger.Hour,
		Limit: rapid.SampledFrom([]int{1, 3, 10_000}).Draw(rt, "limit"),
	}
	for _, d := range ledger.Dimensions() {
		if rapid.Bool().Draw(rt, string(d)) {
			q.By = append(q.By, d)
		}
	}
	q.Filter.Root = rapid.SampledFrom([]*ledger.Node{
		nil,
		compare(ledger.FieldSubject, ledger.OpEq, "oidc:corp:zoë"),
		compare(ledger.FieldSubject, ledger.OpHas, "corp"),
		compare(ledger.FieldOutcome, ledger.OpNe, "issued"),
		compare(ledger.FieldOutcome, ledger.OpEq, "denied"),
		compare(ledger.FieldTarget, ledger.OpEq, ""),
		{Op: ledger.OpNot, Nodes: []*ledger.Node{compare(ledger.FieldRule, ledger.OpEq, "a")}},
		{Op: ledger.OpOr, Nodes: []*ledger.Node{compare(ledger.FieldRule, ledger.OpGt, "a"), compare(ledger.FieldTarget, ledger.OpLe, "bedrock")}},
		compare(ledger.FieldClientIP, ledger.OpEq, "::1"), // not in the counts
		{Op: ledger.OpAnd, Nodes: []*ledger.Node{compare(ledger.FieldReason, ledger.OpEq, "x"), compare(ledger.FieldSubject, ledger.OpHas, "k8s")}},
	}).Draw(rt, "filter")
	return q
}

// testSummaryProperty: whatever was appended and rolled so far, a summary is the
// naive count.
func testSummaryProperty(t *testing.T, w *world) {
	var rows []row
	w.want(ledger.StatusInserted, w.issued("north"), w.entry(w.event("default", exchange.EventIntent)), w.entry(w.note("default", exchange.EventQueried)))
	rapid.Check(t, func(rt *rapid.T) {
		for range rapid.IntRange(1, 4).Draw(rt, "steps") {
			if rapid.Bool().Draw(rt, "roll") {
				// One that is cut at some point has added everything or nothing.
				cut, cancel := context.WithTimeout(w.ctx(), time.Duration(rapid.IntRange(0, 3000).Draw(rt, "cut"))*time.Microsecond)
				_, err := w.s.Roll(cut)
				if err != nil && cut.Err() == nil {
					rt.Fatal(err)
				}
				cancel()
				continue
			}
			var entries []ledger.Entry
			for range rapid.IntRange(1, 5).Draw(rt, "rows") {
				r := w.varied()
				rows, entries = append(rows, r), append(entries, r.entry)
			}
			w.want(ledger.StatusInserted, entries...)
		}
		if err := w.agrees(rows, summaryOf(rt)); err != nil {
			rt.Fatal(err)
		}
	})
}

// testSummaryConcurrent: with writers and rollers at once, no summary goes back or
// counts a row twice, and the last is exact.
func testSummaryConcurrent(t *testing.T, w *world) {
	const writers, each = 4, 40
	var mu sync.Mutex
	var rows []row
	var writing, rolling sync.WaitGroup
	done := make(chan struct{})
	for range writers {
		writing.Go(func() {
			for range each {
				r := w.varied()
				results, err := w.s.Append(w.ctx(), []ledger.Entry{r.entry})
				if err != nil || results[0].Status != ledger.StatusInserted {
					t.Errorf("appending: %v %v", results, err)
					return
				}
				mu.Lock()
				rows = append(rows, r)
				mu.Unlock()
			}
		})
	}
	for range 2 {
		rolling.Go(func() {
			for {
				if _, err := w.s.Roll(w.ctx()); err != nil {
					t.Errorf("rolling: %v", err)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	all := ledger.SummaryQuery{
		Tenant: "default", From: morning().UnixMicro() - 50*ledger.Hour, Until: morning().UnixMicro() + 50*ledger.Hour,
		By: ledger.Dimensions(), Limit: ledger.MaxSummary,
	}
	rolling.Go(func() {
		for total := int64(0); ; {
			mu.Lock()
			least := int64(len(rows))
			mu.Unlock()
			got, err := w.s.Summarize(w.ctx(), all)
			if err != nil || got.Total < total || got.Total < least || got.Total > writers*each {
				t.Errorf("counted %d after %d, of %d at least: %v", got.Total, total, least, err)
				return
			}
			total = got.Total
			select {
			case <-done:
				return
			default:
			}
		}
	})
	writing.Wait()
	close(done)
	rolling.Wait()
	for range 2 {
		if err := w.agrees(rows, all); err != nil {
			t.Error(err)
		}
		if _, err := w.s.Roll(w.ctx()); err != nil {
			t.Fatal(err)
		}
	}
}

// testSummaryBadQueries: what cannot be counted is refused as the caller's fault.
func testSummaryBadQueries(t *testing.T, w *world) {
	good := ledger.SummaryQuery{Tenant: "default", From: 0, Until: ledger.Hour, By: []ledger.Dimension{ledger.ByRule}, Limit: 1}
	for name, change := range map[string]func(*ledger.SummaryQuery){
		"no limit":          func(q *ledger.SummaryQuery) { q.Limit = 0 },
		"a great limit":     func(q *ledger.SummaryQuery) { q.Limit = ledger.MaxSummary + 1 },
		"half an hour":      func(q *ledger.SummaryQuery) { q.From = ledger.Hour / 2 },
		"no time":           func(q *ledger.SummaryQuery) { q.Until = q.From },
		"backwards":         func(q *ledger.SummaryQuery) { q.From = 2 * ledger.Hour },
		"another dimension": func(q *ledger.SummaryQuery) { q.By = []ledger.Dimension{"record"} },
		"twice":             func(q *ledger.SummaryQuery) { q.By = []ledger.Dimension{ledger.ByRule, ledger.ByRule} },
		"an unknown field":  func(q *ledger.SummaryQuery) { q.Filter.Root = compare("nothing", ledger.OpEq, "x") },
		"an empty part":     func(q *ledger.SummaryQuery) { q.Filter.Root = &ledger.Node{Op: ledger.OpAnd} },
	} {
		q := good
		change(&q)
		_, err := w.s.Summarize(w.ctx(), q)
		var known *exchange.Error
		if !errors.As(err, &known) || known.Kind != exchange.KindInvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got, err := w.s.Summarize(w.ctx(), good); err != nil || len(got.Rows) != 0 || got.Total != 0 {
		t.Errorf("an empty ledger: %+v %v", got, err)
	}
}

// testS22Summary: one tenant's exchanges are in no other's counts or tail.
func testS22Audit(t *testing.T, w *world) {
	start, err := w.end("north")
	if err != nil {
		t.Fatal(err)
	}
	ours := w.issued("default")
	w.want(ledger.StatusInserted, ours, w.issued("north"), w.issued("north"))
	now := time.Now().Truncate(time.Hour).UnixMicro()
	q := ledger.SummaryQuery{Tenant: "north", From: now - ledger.Hour, Until: now + 2*ledger.Hour, By: []ledger.Dimension{ledger.BySubject}, Limit: 5}
	for range 2 {
		if got, err := w.s.Summarize(w.ctx(), q); err != nil || got.Total != 2 {
			t.Errorf("%+v %v", got, err)
		}
		if _, err := w.s.Roll(w.ctx()); err != nil {
			t.Fatal(err)
		}
	}
	rows, _, _, err := w.s.Tail(w.ctx(), ledger.TailQuery{Tenant: "north", Limit: 10, After: start})
	if err != nil || len(rows) != 2 || rows[0].Tenant != "north" || rows[1].Tenant != "north" {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	var known *exchange.Error
	if _, err := w.s.After(w.ctx(), "north", ours.Exchange); !errors.As(err, &known) || known.Kind != exchange.KindNotFound {
		t.Errorf("another tenant's exchange is a place: %v", err)
	}
}

// end is the end of the ledger.
func (w *world) end(tenant string) (ledger.Place, error) {
	_, place, _, err := w.s.Tail(w.ctx(), ledger.TailQuery{Tenant: tenant, Limit: 1})
	return place, err
}

// follow tails from a place until there is no more.
func (w *world) follow(q ledger.TailQuery) ([]ledger.Exchange, ledger.Place, error) {
	var all []ledger.Exchange
	for {
		page, next, more, err := w.s.Tail(w.ctx(), q)
		if err != nil || len(page) > q.Limit {
			return nil, "", fmt.Errorf("%d rows: %w", len(page), err)
		}
		all = append(all, page...)
		if q.After = next; !more {
			return all, next, nil
		}
	}
}

// testTail: a tail shows each row once, in the order in which they became durable,
// and goes on from any of them.
func testTail(t *testing.T, w *world) {
	w.want(ledger.StatusInserted, w.issued("default"))
	start, err := w.end("default")
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	for range 12 {
		a, b := w.varied(), w.varied()
		w.want(ledger.StatusInserted, a.entry, b.entry, w.entry(w.event("default", exchange.EventIntent)))
		if slices.Compare(a.entry.Exchange[:], b.entry.Exchange[:]) > 0 {
			a, b = b, a
		}
		rows = append(rows, a, b)
	}
	var shown []ledger.Exchange
	for _, limit := range []int{1, 2, 5, 1000} {
		got, _, err := w.follow(ledger.TailQuery{Tenant: "default", Limit: limit, After: start})
		if err != nil || len(got) != len(rows) {
			t.Fatalf("%d rows of %d: %v", len(got), len(rows), err)
		}
		shown = got
		for i := 0; i < len(got); i += 2 { // within one append engines differ
			pair := []exchange.ID{got[i].Exchange, got[i+1].Exchange}
			if !slices.Contains(pair, rows[i].entry.Exchange) || !slices.Contains(pair, rows[i+1].entry.Exchange) {
				t.Fatalf("pages of %d: append %d is out of order", limit, i/2)
			}
		}
	}
	filter := ledger.Filter{Root: compare(ledger.FieldTarget, ledger.OpEq, "bedrock")}
	for i, e := range shown {
		place, err := w.s.After(w.ctx(), "default", e.Exchange)
		if err != nil {
			t.Fatal(err)
		}
		rest, end, err := w.follow(ledger.TailQuery{Tenant: "default", Limit: 3, After: place})
		if err != nil || len(rest) != len(shown)-i-1 || (len(rest) > 0 && rest[0].ID != shown[i+1].ID) {
			t.Fatalf("after row %d: %d rows, %v", i, len(rest), err)
		}
		if again, _, err := w.follow(ledger.TailQuery{Tenant: "default", Limit: 3, After: end}); err != nil || len(again) != 0 {
			t.Fatalf("after the end: %d rows, %v", len(again), err)
		}
		want := 0
		for _, e := range shown[i+1:] {
			r, err := ledger.DecodeRecord(e.Record)
			if err != nil {
				t.Fatal(err)
			}
			if r.Target == "bedrock" {
				want++
			}
		}
		if some, _, err := w.follow(ledger.TailQuery{Tenant: "default", Limit: 2, After: place, Filter: filter}); err != nil || len(some) != want {
			t.Fatalf("filtered after row %d: %d rows, want %d, %v", i, len(some), want, err)
		}
	}
	var known *exchange.Error
	if _, err := w.s.After(w.ctx(), "default", w.id(time.Now())); !errors.As(err, &known) || known.Kind != exchange.KindNotFound {
		t.Errorf("an unknown exchange is a place: %v", err)
	}
	for name, q := range map[string]ledger.TailQuery{
		"no limit":      {Tenant: "default"},
		"a great limit": {Tenant: "default", Limit: ledger.MaxPage + 1},
		"noise":         {Tenant: "default", Limit: 1, After: "x/y"},
		"half a place":  {Tenant: "default", Limit: 1, After: "-3"},
		"bad filter":    {Tenant: "default", Limit: 1, After: start, Filter: ledger.Filter{Root: compare("nothing", ledger.OpEq, "x")}},
	} {
		if _, _, _, err := w.s.Tail(w.ctx(), q); !errors.As(err, &known) || known.Kind != exchange.KindInvalidRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// testTailConcurrent: writers commit in any order, and a tail that goes on from
// place to place still shows each row once.
func testTailConcurrent(t *testing.T, w *world) {
	const writers, each = 6, 30
	place, err := w.end("default")
	if err != nil {
		t.Fatal(err)
	}
	var writing sync.WaitGroup
	for range writers {
		writing.Go(func() {
			for range each {
				if results, err := w.s.Append(w.ctx(), []ledger.Entry{w.varied().entry}); err != nil || results[0].Status != ledger.StatusInserted {
					t.Errorf("appending: %v %v", results, err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writing.Wait(); close(done) }()
	seen := map[exchange.ID]int{}
	for ended := false; ; {
		select {
		case <-done:
			ended = true
		default:
		}
		rows, next, err := w.follow(ledger.TailQuery{Tenant: "default", Limit: 7, After: place})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			seen[r.ID]++
		}
		if place = next; ended && len(rows) == 0 {
			break
		}
	}
	if len(seen) != writers*each || slices.Max(slices.Collect(maps.Values(seen))) != 1 {
		t.Errorf("%d rows of %d", len(seen), writers*each)
	}
}
