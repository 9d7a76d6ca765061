package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store/postgres"
)

func equal(field ledger.Field, text string) *ledger.Node {
	return &ledger.Node{Op: ledger.OpEq, Field: field, Value: ledger.Value{Text: text}}
}

func of(op ledger.Op, nodes ...*ledger.Node) *ledger.Node { return &ledger.Node{Op: op, Nodes: nodes} }

// TestPageLooksAtFewRows: an indexed value is found by the first page however far
// back it lies. What has no index takes page after page, each of them bounded, and
// is found too.
func TestPageLooksAtFewRows(t *testing.T) {
	d := migrated(t)
	s, err := postgres.Open(t.Context(), d.ServiceDSN(), postgres.Options{AllowUnsafe: true, Looks: 40})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	defer s.Close()
	const rows = 400
	begun := time.Now().Add(-rows * time.Minute)
	entries := make([]ledger.Entry, rows)
	for i := range entries {
		made := realistic(t, i)
		e := exchange.Event{ID: made.ID, Exchange: made.Exchange, Tenant: "default", Type: exchange.EventIssued, At: begun.Add(time.Duration(i) * time.Minute)}
		if e.Record, err = ledger.DecodeRecord(made.Record); err != nil {
			t.Fatal(err)
		}
		e.Record.Rule = fmt.Sprintf("rule-%d", i%2) // each has more rows than a page looks at
		if i == 0 {
			e.Type = exchange.EventDenied
			e.Record.Subject, e.Record.Actor, e.Record.Target, e.Record.Rule, e.Record.ClientIP = "oidc:lab:x", "oidc:lab:y", "lab", "of-lab", "192.0.2.1"
			e.Record.Credential, e.Record.Handle, e.Record.Trust, e.Record.Provider, e.Record.Reason = "c", "h", "lab", "lab", "ticket"
		}
		e.Record.Outcome = e.Type.String()
		if e.Exchange, err = exchange.NewID(e.At, constant(7)); err != nil {
			t.Fatal(err)
		}
		if entries[i], err = ledger.NewEntry(e); err != nil {
			t.Fatal(err)
		}
	}
	wantStatus(t, s, ledger.StatusInserted, entries...)
	oldest := entries[0].Exchange
	before := &ledger.Node{Op: ledger.OpLe, Field: ledger.FieldTime, Value: ledger.Value{Time: begun.UnixMicro()}}
	since := &ledger.Node{Op: ledger.OpGe, Field: ledger.FieldTime, Value: ledger.Value{Time: begun.UnixMicro()}}
	for name, c := range map[string]struct {
		filter *ledger.Node
		pages  int
	}{
		"subject":    {equal(ledger.FieldSubject, "oidc:lab:x"), 1},
		"actor":      {equal(ledger.FieldActor, "oidc:lab:y"), 1},
		"target":     {equal(ledger.FieldTarget, "lab"), 1},
		"client_ip":  {equal(ledger.FieldClientIP, "192.0.2.1"), 1},
		"credential": {equal(ledger.FieldCredential, "c"), 1},
		"handle":     {equal(ledger.FieldHandle, "h"), 1},
		"outcome":    {equal(ledger.FieldOutcome, "denied"), 1},
		"exchange":   {equal(ledger.FieldExchange, oldest.String()), 1},
		"the rarer of two": {of(ledger.OpAnd, equal(ledger.FieldReason, "ticket"), equal(ledger.FieldTrust, "lab"),
			equal(ledger.FieldClientIP, "192.0.2.1"), equal(ledger.FieldOutcome, "denied")), 1},
		"either": {of(ledger.OpOr, equal(ledger.FieldSubject, "oidc:lab:x"), equal(ledger.FieldActor, "oidc:lab:y"),
			of(ledger.OpAnd, since, equal(ledger.FieldTarget, "lab"))), 1},
		"within a time": {of(ledger.OpAnd, since, equal(ledger.FieldOutcome, "denied")), 1},
		"no such exchange": {of(ledger.OpOr, equal(ledger.FieldExchange, "nowhere"), equal(ledger.FieldOutcome, "nowhere"),
			equal(ledger.FieldCredential, "c")), 1},
		"rule":             {equal(ledger.FieldRule, "of-lab"), rows / 40},
		"trust":            {equal(ledger.FieldTrust, "lab"), rows / 40},
		"reason":           {equal(ledger.FieldReason, "ticket"), rows / 40},
		"contains":         {&ledger.Node{Op: ledger.OpHas, Field: ledger.FieldSubject, Value: ledger.Value{Text: "lab"}}, rows / 40},
		"all but":          {of(ledger.OpNot, &ledger.Node{Op: ledger.OpNe, Field: ledger.FieldRule, Value: ledger.Value{Text: "of-lab"}}), rows / 40},
		"either, one walk": {of(ledger.OpOr, equal(ledger.FieldSubject, "oidc:lab:x"), equal(ledger.FieldReason, "ticket")), rows / 40},
		"before a time":    {before, 1},
		"two that are never together": {of(ledger.OpAnd, equal(ledger.FieldRule, "rule-0"),
			equal(ledger.FieldReason, "ticket")), 0},
	} {
		t.Run(name, func(t *testing.T) {
			q := ledger.Query{Tenant: "default", Limit: 5, Filter: ledger.Filter{Root: c.filter}}
			pages, found := 0, 0
			for more := true; more; more = q.After != "" {
				page, next, err := s.List(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				if pages++; pages > rows {
					t.Fatal("the list does not end")
				}
				q.After = next
				for _, e := range page {
					if found++; e.Exchange != oldest {
						t.Errorf("page %d has %s", pages, e.Exchange)
					}
					if pages > c.pages {
						t.Errorf("found on page %d, want %d", pages, c.pages)
					}
				}
			}
			if want := min(c.pages, 1); found != want {
				t.Errorf("found it %d times, want %d", found, want)
			}
			if c.pages != 1 && pages < 3 {
				t.Errorf("%d pages: one of them looked at more rows than it may", pages)
			}
		})
	}
}
