package storetest

import (
	"slices"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// testStanding: what decides whether a credential still stands, in one answer.
func testStanding(t *testing.T, w *world) {
	lend := func(tenant string, lineage ...exchange.ID) *exchange.Lease {
		t.Helper()
		event := w.event(tenant, exchange.EventIssued)
		event.Record.Credential = "fingerprint"
		e := w.entry(event)
		e.Lease = w.lease(tenant, e.Exchange)
		e.Lease.Lineage, e.Lease.Origin = lineage, []byte{7}
		w.want(ledger.StatusInserted, e)
		return e.Lease
	}
	stand := func(l *exchange.Lease) lease.Standing {
		t.Helper()
		s, err := w.s.Standing(w.ctx(), l.Tenant, l.ID)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	revoke := func(l *exchange.Lease) {
		t.Helper()
		e := w.event(l.Tenant, exchange.EventRevoked)
		e.Exchange = l.Exchange
		if done, err := w.s.RevokeLease(w.ctx(), l.Tenant, l.ID, e); err != nil || !done {
			t.Fatalf("revoking: %t, %v", done, err)
		}
	}
	root := lend("default")
	child := lend("default", root.ID)
	grandchild := lend("default", root.ID, child.ID)
	stranger := lend("default", w.id(time.Now())) // of one that is not there
	namesake := lend("north", child.ID)           // of one that is another tenant's (S22)
	for what, c := range map[string]struct {
		l        *exchange.Lease
		orphaned bool
	}{"root": {root, false}, "child": {child, false}, "grandchild": {grandchild, false}, "stranger": {stranger, true}, "namesake": {namesake, true}} {
		s := stand(c.l)
		if s.Orphaned != c.orphaned || s.State != exchange.LeaseActive || s.ID != c.l.ID || s.Tenant != c.l.Tenant || s.Subject != c.l.Subject ||
			!s.Expires.Equal(c.l.Expires) || len(s.Lineage) != len(c.l.Lineage) || string(s.Origin) != "\x07" || s.Record.Credential != "fingerprint" || s.Epoch != 0 {
			t.Errorf("%s: %+v", what, s)
		}
	}
	for what, ask := range map[string]struct {
		tenant string
		id     exchange.ID
	}{"never there": {"default", w.id(time.Now())}, "another tenant's": {"north", root.ID}} {
		if _, err := w.s.Standing(w.ctx(), ask.tenant, ask.id); exchange.KindOf(err) != exchange.KindNotFound {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, epoch := w.deny("default")
	if s := stand(root); s.Epoch != epoch || epoch == 0 {
		t.Errorf("epoch %d, want %d", s.Epoch, epoch)
	}
	if s := stand(namesake); s.Epoch != 0 {
		t.Errorf("another tenant's epoch: %d", s.Epoch)
	}
	revoke(child)
	if s := stand(child); s.State != exchange.LeaseRevoked || s.Orphaned {
		t.Errorf("the revoked: %+v", s)
	}
	if s := stand(grandchild); s.State != exchange.LeaseActive || !s.Orphaned {
		t.Errorf("what descends from it: %+v", s)
	}
	if s := stand(root); s.State != exchange.LeaseActive || s.Orphaned {
		t.Errorf("what it descends from: %+v", s)
	}
	revoke(root)
	if s := stand(child); !s.Orphaned {
		t.Errorf("%+v", s)
	}

	// A random forest, in which random trees are cut: whatever stands below a cut, and
	// nothing else, is orphaned.
	forest, revoked := make([]*exchange.Lease, 24), map[exchange.ID]bool{}
	for i := range forest {
		var lineage []exchange.ID
		if i > 0 && roll(4) > 0 {
			parent := forest[roll(i)]
			lineage = append(append(lineage, parent.Lineage...), parent.ID)
		}
		forest[i] = lend("default", lineage...)
	}
	for range 5 {
		if l := forest[roll(len(forest))]; !revoked[l.ID] {
			revoke(l)
			revoked[l.ID] = true
		}
	}
	for _, l := range forest {
		below := slices.ContainsFunc(l.Lineage, func(id exchange.ID) bool { return revoked[id] })
		if s := stand(l); s.Orphaned != below || (s.State == exchange.LeaseRevoked) != revoked[l.ID] {
			t.Errorf("revoked %t, below what is revoked %t: %+v", revoked[l.ID], below, s)
		}
	}
}

// testBurnOutsideAnExchange: what a note burns is used for every exchange, and for
// every other note.
func testBurnOutsideAnExchange(t *testing.T, w *world) {
	once := w.once()
	query := w.entry(w.note("default", exchange.EventQueried))
	query.Once = once
	w.want(ledger.StatusInserted, query)
	w.want(ledger.StatusReplayed, query)
	again := w.entry(w.note("default", exchange.EventQueried))
	again.Once = once
	w.want(ledger.StatusUsed, again)
	outcome := w.issued("default")
	outcome.Once = once
	w.want(ledger.StatusUsed, outcome)
	if w.stored(again) || w.stored(outcome) {
		t.Error("what came too late is in the ledger")
	}
}
