package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/exchange/signing"
	"github.com/cambio-sts/cambio/store"
)

// looks is how many rows a page looks at where nobody says otherwise.
const looks = 10_000

// testListLooksAtFewRows: a page ends when it has looked at so many rows, and says
// where the next begins; what an index finds is on the first page however old it is.
func testListLooksAtFewRows(t *testing.T, w *world) {
	begun := time.Now().Add(-time.Hour)
	old := w.eventAt("default", exchange.EventDenied, begun)
	old.Record.Subject, old.Record.Credential, old.Record.Reason = "oidc:lab:x", "c", "ticket"
	oldest := w.entry(old)
	w.want(ledger.StatusInserted, oldest)
	for range looks / 1000 {
		var entries []ledger.Entry
		for range 1000 {
			entries = append(entries, w.entry(w.eventAt("default", exchange.EventIssued, begun.Add(30*time.Minute))))
		}
		w.want(ledger.StatusInserted, entries...)
	}
	and := func(nodes ...*ledger.Node) *ledger.Node { return &ledger.Node{Op: ledger.OpAnd, Nodes: nodes} }
	byReason := compare(ledger.FieldReason, ledger.OpEq, "ticket")
	for what, c := range map[string]struct {
		filter *ledger.Node
		page   int // the first is 1
	}{
		"subject":              {compare(ledger.FieldSubject, ledger.OpEq, "oidc:lab:x"), 1},
		"credential":           {compare(ledger.FieldCredential, ledger.OpEq, "c"), 1},
		"exchange":             {compare(ledger.FieldExchange, ledger.OpEq, oldest.Exchange.String()), 1},
		"exchanges up to it":   {compare(ledger.FieldExchange, ledger.OpLe, oldest.Exchange.String()), 1},
		"before a time":        {&ledger.Node{Op: ledger.OpLe, Field: ledger.FieldTime, Value: ledger.Value{Time: oldest.At}}, 1},
		"subject and reason":   {and(byReason, and(compare(ledger.FieldSubject, ledger.OpEq, "oidc:lab:x"))), 1},
		"two that have values": {and(compare(ledger.FieldSubject, ledger.OpEq, "oidc:lab:x"), compare(ledger.FieldCredential, ledger.OpEq, "c")), 1},
		"reason":               {byReason, 2},
		"all but":              {compare(ledger.FieldSubject, ledger.OpNe, "k8s:prod:llm:gateway"), 2},
		"contains":             {compare(ledger.FieldSubject, ledger.OpHas, "lab"), 2},
	} {
		t.Run(what, func(t *testing.T) {
			q := ledger.Query{Tenant: "default", Limit: 5, Filter: ledger.Filter{Root: c.filter}}
			found := 0
			for page := 1; page == 1 || q.After != ""; page++ {
				rows, next, err := w.s.List(t.Context(), q)
				if err != nil || page > 5 {
					t.Fatalf("page %d: %v", page, err)
				}
				for _, row := range rows {
					if found++; row.Exchange != oldest.Exchange || page != c.page {
						t.Errorf("page %d has %s; want %s on page %d", page, row.Exchange, oldest.Exchange, c.page)
					}
				}
				q.After = next
			}
			if found != 1 {
				t.Errorf("found %d times, want once", found)
			}
		})
	}
}

// testListLimits: a limit that leaves room for nothing gives nothing, and takes
// nothing.
func testListLimits(t *testing.T, w *world) {
	w.lend("default")
	w.lend("default", dies(-48*time.Hour))
	w.deny("default")
	intent := w.entry(w.eventAt("default", exchange.EventIntent, time.Now().Add(-time.Hour)))
	intent.Deadline = time.Now().Add(-50 * time.Minute).UnixMicro()
	w.want(ledger.StatusInserted, intent)
	held := exchange.Session{
		ID: w.id(time.Now()), Tenant: "default", Exchange: w.id(time.Now()), Target: "oci-genai", Subject: "x",
		Sealed: []byte("sealed"), Expires: time.Now().Add(-time.Minute),
	}
	if err := w.s.HoldSession(w.ctx(), held); err != nil {
		t.Fatal(err)
	}
	for what, list := range limited(w.s) {
		t.Run(what, func(t *testing.T) {
			for _, limit := range []int{0, -1, -1 << 40} {
				if n, err := list(t.Context(), limit); err != nil || n != 0 {
					t.Errorf("at most %d gives %d: %v", limit, n, err)
				}
			}
			if n, err := list(t.Context(), 1); err != nil || n != 1 {
				t.Errorf("at most one gives %d: %v", n, err)
			}
		})
	}
}

// limited are the doors that take any limit, each with how many it gave or took.
func limited(s store.Store) map[string]func(context.Context, int) (int, error) {
	header, below := []byte("\x01new-key!"), int64(1<<62)
	return map[string]func(context.Context, int) (int, error){
		"pending": func(ctx context.Context, limit int) (int, error) {
			list, err := s.Pending(ctx, limit)
			return len(list), err
		},
		"unsettled": func(ctx context.Context, limit int) (int, error) {
			list, err := s.Unsettled(ctx, "default", exchange.ID{}, limit)
			return len(list), err
		},
		"denies": func(ctx context.Context, limit int) (int, error) {
			list, err := s.ListDenies(ctx, "default", below, false, limit)
			return len(list), err
		},
		"outstanding leases": func(ctx context.Context, limit int) (int, error) {
			list, err := s.Outstanding(ctx, lease.Query{Tenant: "default", Limit: limit})
			return len(list), err
		},
		"leases": func(ctx context.Context, limit int) (int, error) {
			list, err := s.ListLeases(ctx, lease.List{Tenant: "default", Limit: limit})
			return len(list), err
		},
		"seals of leases": func(ctx context.Context, limit int) (int, error) {
			list, err := s.ListSealed(ctx, header, lease.Sealed{}, limit)
			return len(list), err
		},
		"seals of sessions": func(ctx context.Context, limit int) (int, error) {
			list, err := s.ListSealedSessions(ctx, header, signing.Sealed{}, limit)
			return len(list), err
		},
	}
}

// testListsEndWithTheirCaller: whoever has gone, or has no time left, is told so,
// and the next one is served.
func testListsEndWithTheirCaller(t *testing.T, w *world) {
	w.lend("default")
	lists := map[string]func(context.Context) error{}
	for what, list := range limited(w.s) {
		lists[what] = func(ctx context.Context) error { _, err := list(ctx, 1); return err }
	}
	now := time.Now().UnixMicro() / ledger.Hour * ledger.Hour
	lists["exchanges"] = func(ctx context.Context) error {
		_, _, err := w.s.List(ctx, ledger.Query{Tenant: "default", Limit: 1})
		return err
	}
	lists["what happened"] = func(ctx context.Context) error {
		_, _, err := w.s.Deeds(ctx, ledger.DeedQuery{Tenant: "default", Limit: 1})
		return err
	}
	lists["a tail"] = func(ctx context.Context) error {
		_, _, _, err := w.s.Tail(ctx, ledger.TailQuery{Tenant: "default", Limit: 1})
		return err
	}
	lists["a summary"] = func(ctx context.Context) error {
		_, err := w.s.Summarize(ctx, ledger.SummaryQuery{Tenant: "default", From: now, Until: now + ledger.Hour, Limit: 1})
		return err
	}
	lists["one exchange"] = func(ctx context.Context) error {
		_, err := w.s.Get(ctx, "default", exchange.ID{})
		return err
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for what, list := range lists {
		for _, c := range []struct {
			ctx  context.Context
			want error
		}{{gone, context.Canceled}, {late, context.DeadlineExceeded}} {
			t.Run(fmt.Sprint(what, " after ", c.want), func(t *testing.T) {
				if err := list(c.ctx); !errors.Is(err, c.want) {
					t.Errorf("got %v", err)
				}
				if err := list(t.Context()); err != nil {
					t.Errorf("and then: %v", err)
				}
			})
		}
	}
}
