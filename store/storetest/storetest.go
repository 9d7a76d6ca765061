// Package storetest is what every engine must do, as a suite that every engine
// runs. It goes through the doors of store.Store only; what is an engine's own
// (triggers, roles, pragmas) is tested beside the engine.
package storetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	"github.com/cambio-sts/cambio/store"
)

type part struct {
	name string
	run  func(*testing.T, *world)
}

// lists are the parts about lists.
var lists = []part{
	{"ListFields", testListFields},
	{"ListProperty", testListProperty},
	{"ListPages", testListPages},
	{"ListTimes", testListTimes},
	{"ListBadQueries", testListBadQueries},
}

// Run runs the suite. open returns a store with nothing in it, migrated, and closes
// it when the test ends; it is called once for each part of the suite.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	run(t, open, append([]part{
		{"Append", testAppend},
		{"TestS27OneOutcome", testOneOutcome},
		{"TestS31Stale", testStale},
		{"TestS31NothingLandsAfterTheDeny", testNothingLandsAfterTheDeny},
		{"TestS13SingleUse", testSingleUse},
		{"TestS28FaultsAreIsolated", testFaults},
		{"Leases", testLeases},
		{"TestS27Pending", testPending},
		{"Get", testGet},
		{"SummaryProperty", testSummaryProperty},
		{"SummaryConcurrent", testSummaryConcurrent},
		{"SummaryBadQueries", testSummaryBadQueries},
		{"TestS22Audit", testS22Audit},
		{"Tail", testTail},
		{"TailConcurrent", testTailConcurrent},
		{"RoundTrip", testRoundTrip},
		{"Keys", testKeys},
		{"ChangeKeys", testChangeKeys},
		{"ReplaceSealed", testReplaceSealed},
		{"LeaseSeals", testLeaseSeals},
		{"SealsAmongAppends", testSealsAmongAppends},
		{"TestS21Revisions", testRevisions},
		{"Denies", testDenies},
		{"DenyList", testDenyList},
		{"Deeds", testDeeds},
		{"TestS13BurnOutsideAnExchange", testBurnOutsideAnExchange},
		{"Outstanding", testOutstanding},
		{"TestS26LeaseList", testLeaseList},
		{"TestS26Descendants", testDescendants},
		{"TestS26Renew", testRenew},
		{"TestS26Prune", testPrune},
		{"Standing", testStanding},
		{"TestS26Relies", testRelies},
		{"TestS26NothingLandsAfterTheRevocation", testNothingLandsAfterTheRevocation},
		{"Unsettled", testUnsettled},
		{"ListLooksAtFewRows", testListLooksAtFewRows},
		{"ListLimits", testListLimits},
		{"ListsEndWithTheirCaller", testListsEndWithTheirCaller},
		{"Sessions", testSessions},
		{"ReplacedSessions", testReplacedSessions},
		{"SessionSeals", testSessionSeals},
		{"SessionSealsAmongPrunes", testSessionSealsAmongPrunes},
		{"Ping", testPing},
	}, lists...))
}

// RunLists runs what is about lists, for stores that make them in other ways.
func RunLists(t *testing.T, open func(t *testing.T) store.Store) { run(t, open, lists) }

func run(t *testing.T, open func(t *testing.T) store.Store, parts []part) {
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			p.run(t, &world{t: t, s: open(t)})
		})
	}
}

// world is a store under test, with what it takes to fill it.
type world struct {
	t testing.TB
	s store.Store
}

// in is the same store for a part of the test.
func (w *world) in(t *testing.T) *world { return &world{t: t, s: w.s} }

func (w *world) ctx() context.Context { return w.t.Context() }

// id is a fresh id for the moment.
func (w *world) id(at time.Time) exchange.ID {
	w.t.Helper()
	id, err := exchange.NewID(at, rand.Reader)
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

// event is a fresh event of a fresh exchange.
func (w *world) event(tenant string, of exchange.EventType) exchange.Event {
	return w.eventAt(tenant, of, time.Now())
}

func (w *world) eventAt(tenant string, of exchange.EventType, at time.Time) exchange.Event {
	e := exchange.Event{
		ID: w.id(at), Exchange: w.id(at), Tenant: tenant, Type: of, At: at,
		Record: exchange.Record{Subject: "k8s:prod:llm:gateway", Target: "bedrock", Provider: "mcp"},
	}
	if of.Terminal() {
		e.Record.Outcome = of.String()
	}
	return e
}

// entry encodes an event, bound to no epoch.
func (w *world) entry(e exchange.Event) ledger.Entry {
	w.t.Helper()
	entry, err := ledger.NewEntry(e)
	if err != nil {
		w.t.Fatal(err)
	}
	return entry
}

// issued is a fresh entry of a fresh exchange.
func (w *world) issued(tenant string) ledger.Entry {
	return w.entry(w.event(tenant, exchange.EventIssued))
}

// once is a fresh single-use value.
func (w *world) once() *exchange.Once {
	o := &exchange.Once{Realm: "jti:prod", Expires: time.Now().Add(time.Hour)}
	_, _ = rand.Read(o.Hash[:])
	return o
}

// lease is a fresh lease of the exchange.
func (w *world) lease(tenant string, of exchange.ID) *exchange.Lease {
	now := time.Now().UTC().Truncate(time.Microsecond)
	return &exchange.Lease{
		ID: w.id(now), Tenant: tenant, Exchange: of, Target: "bedrock", Provider: "aws", Subject: "k8s:prod:llm:gateway",
		Rule: "gateway-uses-models", Handle: "ASIA1", Sealed: []byte{0, 1, 0xff}, Issued: now,
		Expires: now.Add(time.Hour), State: exchange.LeaseActive,
	}
}

// append appends and returns what became of each.
func (w *world) append(entries ...ledger.Entry) []ledger.Result {
	w.t.Helper()
	results, err := w.s.Append(w.ctx(), entries)
	if err != nil {
		w.t.Fatalf("Append: %v", err)
	}
	if len(results) != len(entries) {
		w.t.Fatalf("Append answered %d results to %d entries", len(results), len(entries))
	}
	return results
}

// want appends and checks the status of each entry.
func (w *world) want(want ledger.Status, entries ...ledger.Entry) []ledger.Result {
	w.t.Helper()
	results := w.append(entries...)
	for i, r := range results {
		if r.Status != want {
			w.t.Errorf("entry %d: status %s, want %s (%v)", i, name(r.Status), name(want), r.Err)
		}
	}
	return results
}

// stored reports whether the very entry is in the ledger.
func (w *world) stored(e ledger.Entry) bool {
	w.t.Helper()
	events, err := w.s.Get(w.ctx(), e.Tenant, e.Exchange)
	if err != nil {
		w.t.Fatalf("Get: %v", err)
	}
	for _, x := range events {
		if x.ID == e.ID && string(x.Record) == string(e.Record) {
			return true
		}
	}
	return false
}

// deny adds a deny of its own making and returns the epoch.
func (w *world) deny(tenant string) (exchange.Deny, int64) {
	w.t.Helper()
	d := exchange.Deny{
		ID: w.id(time.Now()), Tenant: tenant, Match: map[string]string{"subject": "nobody"}, Reason: "a test",
		Created: time.Now(),
	}
	epoch, err := w.s.AddDeny(w.ctx(), d, w.note(tenant, exchange.EventDenyAdded))
	if err != nil {
		w.t.Fatalf("AddDeny: %v", err)
	}
	return d, epoch
}

// note is an event of no exchange.
func (w *world) note(tenant string, of exchange.EventType) exchange.Event {
	e := w.event(tenant, of)
	e.Exchange = e.ID
	return e
}

// under binds an entry to an epoch.
func under(epoch int64, e ledger.Entry) ledger.Entry {
	e.Epoch = epoch
	return e
}

func name(s ledger.Status) string {
	names := map[ledger.Status]string{
		ledger.StatusInserted: "inserted", ledger.StatusReplayed: "replayed", ledger.StatusSettled: "settled",
		ledger.StatusStale: "stale", ledger.StatusUsed: "used", ledger.StatusFaulty: "faulty",
		ledger.StatusFallen: "fallen",
	}
	if n, ok := names[s]; ok {
		return n
	}
	return fmt.Sprintf("status(%d)", s)
}

// all reads the list page by page to its end.
func (w *world) all(tenant string, limit int, filter *ledger.Node) []ledger.Exchange {
	w.t.Helper()
	var all []ledger.Exchange
	q := ledger.Query{Tenant: tenant, Limit: limit, Filter: ledger.Filter{Root: filter}}
	for {
		page, next, err := w.s.List(w.ctx(), q)
		if err != nil {
			w.t.Fatalf("List: %v", err)
		}
		if len(page) > limit || next != "" && next == q.After {
			w.t.Fatalf("a page of %d, of %d at most, with the next at %q", len(page), limit, next)
		}
		all = append(all, page...)
		if q.After = next; next == "" {
			return all
		}
	}
}

// roll is a number from 0 to n-1.
func roll(n int) int {
	i, err := rand.Int(rand.Reader, big.NewInt(int64(n)))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return int(i.Int64())
}
