package storetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// lend writes one outcome with its lease.
func (w *world) lend(tenant string, change ...func(*exchange.Lease)) *exchange.Lease {
	w.t.Helper()
	event := w.event(tenant, exchange.EventIssued)
	event.Record.Credential = "fingerprint"
	e := w.entry(event)
	e.Lease = w.lease(tenant, e.Exchange)
	for _, c := range change {
		c(e.Lease)
	}
	w.want(ledger.StatusInserted, e)
	return e.Lease
}

// dies sets when a lease expires, from now.
func dies(in time.Duration) func(*exchange.Lease) {
	return func(l *exchange.Lease) {
		l.Expires = time.Now().UTC().Add(in).Truncate(time.Microsecond)
		l.Issued = l.Expires.Add(-time.Hour)
	}
}

// testLeaseList: each lease that the list is about, once, the last to expire first.
func testLeaseList(t *testing.T, w *world) {
	var all []*exchange.Lease
	add := func(change ...func(*exchange.Lease)) *exchange.Lease {
		l := w.lend("default", change...)
		all = append(all, l)
		return l
	}
	for n := range 10 {
		add(dies(time.Duration(1+n/3) * time.Hour))
	}
	add(dies(-time.Hour))
	add(dies(time.Hour), func(l *exchange.Lease) { l.State = exchange.LeaseRevoked })
	add(dies(90*time.Minute), func(l *exchange.Lease) { l.Subject, l.Target, l.Provider, l.Rule = "s", "t", "p", "r" })
	held := add(dies(90*time.Minute), func(l *exchange.Lease) { l.Subject, l.Actor = "s2", "a" })
	w.lend("elsewhere", dies(time.Hour)) // S22
	slices.SortFunc(all, func(a, b *exchange.Lease) int {
		return cmp.Or(b.Expires.Compare(a.Expires), bytes.Compare(b.ID[:], a.ID[:]))
	})
	now := time.Now()
	for name, c := range map[string]struct {
		q     lease.List
		takes func(l *exchange.Lease) bool
	}{
		"everything":    {lease.List{Ended: true}, func(*exchange.Lease) bool { return true }},
		"what is out":   {lease.List{}, func(*exchange.Lease) bool { return true }},
		"a subject":     {lease.List{Subject: "s"}, func(l *exchange.Lease) bool { return l.Subject == "s" }},
		"an actor":      {lease.List{Actor: "a"}, func(l *exchange.Lease) bool { return l.Actor == "a" }},
		"a target":      {lease.List{Target: "t"}, func(l *exchange.Lease) bool { return l.Target == "t" }},
		"a provider":    {lease.List{Provider: "p"}, func(l *exchange.Lease) bool { return l.Provider == "p" }},
		"a rule":        {lease.List{Rule: "r"}, func(l *exchange.Lease) bool { return l.Rule == "r" }},
		"who holds it":  {lease.List{Owner: "a"}, func(l *exchange.Lease) bool { return l.Actor == "a" }},
		"whom it is of": {lease.List{Owner: "s2"}, func(l *exchange.Lease) bool { return l.Subject == "s2" }},
		"nobody":        {lease.List{Owner: "%"}, func(*exchange.Lease) bool { return false }},
		"before":        {lease.List{ExpiresBefore: held.Expires}, func(l *exchange.Lease) bool { return l.Expires.Before(held.Expires) }},
		"after":         {lease.List{ExpiresAfter: held.Expires}, func(l *exchange.Lease) bool { return l.Expires.After(held.Expires) }},
		"ended before":  {lease.List{Ended: true, ExpiresBefore: now}, func(l *exchange.Lease) bool { return l.Expires.Before(now) }},
	} {
		for _, limit := range []int{1, 3, 100} {
			var want, got []string
			for _, l := range all {
				if c.takes(l) && (c.q.Ended || lease.StateOf(*l, now) == exchange.LeaseActive) {
					want = append(want, l.ID.String())
				}
			}
			q := c.q
			q.Tenant, q.Limit = "default", limit
			for {
				page, err := w.s.ListLeases(w.ctx(), q)
				if err != nil || len(page) > limit {
					t.Fatalf("%s: %d leases, %v", name, len(page), err)
				}
				for _, l := range page {
					got = append(got, l.ID.String())
					q.Expires, q.After = l.Expires, l.ID
				}
				if len(page) == 0 {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, pages of %d: %d leases, want %d", name, limit, len(got), len(want))
			}
		}
	}
	one, err := w.s.LeaseWithRecord(w.ctx(), "default", held.ID)
	if err != nil || describe(one.Lease) != describe(*held) || one.Record.Credential != "fingerprint" {
		t.Errorf("%+v, %v", one, err)
	}
	for _, tenant := range []string{"elsewhere", "default"} {
		id := held.ID
		if tenant == "default" {
			id = w.id(now)
		}
		if _, err := w.s.LeaseWithRecord(w.ctx(), tenant, id); exchange.KindOf(err) != exchange.KindNotFound {
			t.Errorf("of %s: %v", tenant, err)
		}
	}
}

// testDescendants: the lease and what descends from it, page by page, and nothing
// else.
func testDescendants(t *testing.T, w *world) {
	root := w.lend("default", dies(time.Hour))
	lineage := func(ids ...exchange.ID) func(*exchange.Lease) {
		return func(l *exchange.Lease) { l.Lineage = ids }
	}
	child := w.lend("default", dies(40*time.Minute), lineage(root.ID))
	want := []*exchange.Lease{
		w.lend("default", dies(20*time.Minute), lineage(root.ID, child.ID)), w.lend("default", dies(30*time.Minute), lineage(w.id(time.Now()), root.ID)), child, root,
	}
	w.lend("default", dies(10*time.Minute))
	w.lend("default", dies(10*time.Minute), lineage(w.id(time.Now())))
	w.lend("default", dies(-time.Minute), lineage(root.ID))
	w.lend("default", dies(time.Minute), lineage(root.ID), func(l *exchange.Lease) { l.State = exchange.LeaseRevoked })
	w.lend("elsewhere", dies(time.Minute), lineage(root.ID)) // S22
	for _, limit := range []int{1, 3, 100} {
		var got []exchange.ID
		q := lease.Query{Tenant: "default", Lineage: root.ID, Limit: limit}
		for {
			page, err := w.s.Outstanding(w.ctx(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range page {
				got = append(got, l.ID)
				q.Expires, q.After = l.Expires, l.ID
			}
			if len(page) < limit {
				break
			}
		}
		if len(got) != len(want) {
			t.Fatalf("pages of %d: %d leases, want %d", limit, len(got), len(want))
		}
		for i, l := range want {
			if got[i] != l.ID {
				t.Errorf("pages of %d: lease %d is another", limit, i)
			}
		}
	}
	if page, err := w.s.Outstanding(w.ctx(), lease.Query{Tenant: "default", Lineage: child.ID, Target: "elsewhere", Limit: 10}); err != nil || len(page) != 0 {
		t.Errorf("of another target: %d, %v", len(page), err)
	}
}

// testRenew: only what is as the renewal takes it to be, under the denies of now, and
// never without its event.
func testRenew(t *testing.T, w *world) {
	_, epoch := w.deny("default")
	renewal := func(l *exchange.Lease, until time.Time) lease.Renewal {
		event := w.event(l.Tenant, exchange.EventRenewed)
		event.Exchange = l.Exchange
		return lease.Renewal{Tenant: l.Tenant, Lease: l.ID, From: l.Expires, Until: until, Epoch: epoch, Event: event}
	}
	l := w.lend("default", dies(time.Hour))
	until := l.Expires.Add(time.Hour)
	check := func(what string, r lease.Renewal, want bool, failure error) {
		t.Helper()
		done, err := w.s.RenewLease(w.ctx(), r)
		if done != want || !errors.Is(err, failure) {
			t.Errorf("%s: %t, %v", what, done, err)
		}
		events, err := w.s.Get(w.ctx(), r.Tenant, r.Event.Exchange)
		written := slices.ContainsFunc(events, func(e ledger.Exchange) bool { return e.ID == r.Event.ID })
		if err != nil || written != want {
			t.Errorf("%s: its event is there: %t, %v", what, written, err)
		}
	}
	stale, moved, foreign := renewal(l, until), renewal(l, until), renewal(l, until)
	stale.Epoch--
	moved.From = l.Expires.Add(time.Second)
	foreign.Tenant, foreign.Event.Tenant, foreign.Epoch = "elsewhere", "elsewhere", 0
	check("stale", stale, false, exchange.ErrStale)
	check("of another expiry", moved, false, nil)
	check("of another tenant", foreign, false, nil) // S22
	check("as it is", renewal(l, until), true, nil)
	check("once more", renewal(l, until), false, nil)
	if got, err := w.s.Lease(w.ctx(), "default", l.ID); err != nil || !got.Expires.Equal(until) {
		t.Errorf("it expires at %v, %v", got.Expires, err)
	}
	expired := w.lend("default", dies(-time.Minute))
	check("an expired one", renewal(expired, until), false, nil)
	if did, err := w.s.RevokeLease(w.ctx(), "default", expired.ID, w.event("default", exchange.EventRevoked)); err != nil || did {
		t.Errorf("an expired one was revoked: %t, %v", did, err)
	}
	revoked := w.lend("default", dies(time.Hour))
	if did, err := w.s.RevokeLease(w.ctx(), "default", revoked.ID, w.event("default", exchange.EventRevoked)); err != nil || !did {
		t.Fatal(did, err)
	}
	check("a revoked one", renewal(revoked, until), false, nil)
	correct := renewal(revoked, until)
	correct.Corrects, correct.Epoch = true, 0
	check("a correction, whatever it is", correct, true, nil)
	if got, err := w.s.Lease(w.ctx(), "default", revoked.ID); err != nil || got.State != exchange.LeaseRevoked || time.Since(got.Revoked).Abs() > time.Hour {
		t.Errorf("it is %+v, %v", got, err)
	}

	// Revocation and renewals at once: one renewal at most, one revocation, and in the
	// end it is revoked.
	for range 10 {
		l := w.lend("default", dies(time.Hour))
		var group sync.WaitGroup
		var mu sync.Mutex
		renewed, ended := 0, 0
		for i := range 8 {
			r := renewal(l, until.Add(time.Duration(i)*time.Second))
			e := w.event("default", exchange.EventRevoked)
			group.Go(func() {
				did, err := w.s.RenewLease(context.Background(), r)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if did {
					renewed++
				}
			})
			if i%2 == 0 {
				group.Go(func() {
					did, err := w.s.RevokeLease(context.Background(), "default", l.ID, e)
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					if did {
						ended++
					}
				})
			}
		}
		group.Wait()
		if got, err := w.s.Lease(w.ctx(), "default", l.ID); err != nil || got.State != exchange.LeaseRevoked || renewed > 1 || ended != 1 {
			t.Errorf("%d renewals, %d revocations; it is %+v, %v", renewed, ended, got, err)
		}
	}
}

// testPrune: what ended long ago is forgotten, each lease once, by any number of
// reapers.
func testPrune(t *testing.T, w *world) {
	const old = 300
	var kept []*exchange.Lease
	for n := range old {
		w.lend([]string{"default", "north", "south"}[n%3], dies(-25*time.Hour), func(l *exchange.Lease) {
			if n%2 == 0 {
				l.State = exchange.LeaseRevoked
			}
		})
	}
	for _, in := range []time.Duration{-23 * time.Hour, -time.Minute, time.Hour} {
		kept = append(kept, w.lend("default", dies(in)), w.lend("south", dies(in)))
	}
	kept = append(kept, w.lend("north", dies(time.Hour), func(l *exchange.Lease) { l.State = exchange.LeaseRevoked }))
	if n, err := w.s.PruneLeases(w.ctx(), 24*time.Hour, 10); err != nil || n != 10 {
		t.Fatalf("%d of 10, %v", n, err)
	}
	var group sync.WaitGroup
	counts := make([]int, 6)
	for i := range counts {
		group.Go(func() {
			for range old { // until it finds none, or others have the rest
				n, err := w.s.PruneLeases(context.Background(), 24*time.Hour, 7)
				if err != nil {
					t.Error(err)
				}
				if counts[i] += n; n == 0 {
					return
				}
			}
		})
	}
	group.Wait()
	pruned := 10
	for _, n := range counts {
		pruned += n
	}
	for {
		n, err := w.s.PruneLeases(w.ctx(), 24*time.Hour, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if pruned += n; n == 0 {
			break
		}
	}
	if pruned != old {
		t.Errorf("%d were forgotten, want %d", pruned, old)
	}
	for _, l := range kept {
		if _, err := w.s.Lease(w.ctx(), l.Tenant, l.ID); err != nil {
			t.Errorf("a lease until %v: %v", l.Expires, err)
		}
	}
}
