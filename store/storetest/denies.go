package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// testDenyList: one deny, and pages of them with what has become of each.
func testDenyList(t *testing.T, w *world) {
	var ids []exchange.ID
	for n := range 7 {
		d := exchange.Deny{
			ID: w.id(time.Now()), Tenant: "default", Match: map[string]string{"subject": fmt.Sprint("s", n), "target": "t"},
			Reason: fmt.Sprint("reason ", n), Created: time.Now().UTC().Truncate(time.Microsecond),
		}
		if n%2 == 1 {
			d.Expires = d.Created.Add(time.Hour)
		}
		if n == 5 {
			d.Expires = d.Created.Add(-time.Hour)
		}
		if _, err := w.s.AddDeny(w.ctx(), d, w.note("default", exchange.EventDenyAdded)); err != nil {
			t.Fatal(err)
		}
		got, err := w.s.Deny(w.ctx(), "default", d.ID)
		if err != nil || got.ID != d.ID || got.Epoch != int64(n+1) || got.Match["subject"] != fmt.Sprint("s", n) || got.Match["target"] != "t" ||
			got.Reason != d.Reason || !got.Created.Equal(d.Created) || !got.Expires.Equal(d.Expires) || !got.Removed.IsZero() {
			t.Errorf("deny %d came back as %+v (%v)", n, got, err)
		}
		ids = append(ids, d.ID)
	}
	w.deny("elsewhere")
	if removed, err := w.s.RemoveDeny(w.ctx(), "default", ids[2], w.note("default", exchange.EventDenyRemoved)); err != nil || !removed {
		t.Fatalf("removing: %t, %v", removed, err)
	}
	if d, err := w.s.Deny(w.ctx(), "default", ids[2]); err != nil || time.Since(d.Removed).Abs() > time.Minute {
		t.Errorf("removed at %v (%v)", d.Removed, err)
	}
	var known *exchange.Error
	if _, err := w.s.Deny(w.ctx(), "elsewhere", ids[0]); !errors.As(err, &known) || known.Kind != exchange.KindNotFound {
		t.Errorf("of another tenant: %v", err)
	}
	for ended, want := range map[bool][]int{false: {6, 4, 3, 1, 0}, true: {6, 5, 4, 3, 2, 1, 0}} {
		var got []int
		for below := int64(1 << 62); ; {
			page, err := w.s.ListDenies(w.ctx(), "default", below, ended, 2)
			if err != nil || len(page) > 2 {
				t.Fatalf("a page of %d, %v", len(page), err)
			}
			if len(page) == 0 {
				break
			}
			for _, d := range page {
				got, below = append(got, slices.Index(ids, d.ID)), d.Epoch
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("with the ended %t: %v, want %v", ended, got, want)
		}
	}
}

// testOutstanding: the leases that are active and not expired, page by page, each
// with the record it came with; and a revocation happens once.
func testOutstanding(t *testing.T, w *world) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	lend := func(tenant string, change func(*exchange.Lease)) *exchange.Lease {
		event := w.event(tenant, exchange.EventIssued)
		event.Record.Credential = "fingerprint"
		e := w.entry(event)
		e.Lease = w.lease(tenant, e.Exchange)
		change(e.Lease)
		w.want(ledger.StatusInserted, e)
		return e.Lease
	}
	var want []*exchange.Lease
	for n := range 9 { // three expire at each moment
		want = append(want, lend("default", func(l *exchange.Lease) { l.Expires = now.Add(time.Duration(1+n%3) * time.Hour) }))
	}
	slices.SortFunc(want, func(a, b *exchange.Lease) int {
		if c := a.Expires.Compare(b.Expires); c != 0 {
			return c
		}
		return bytes.Compare(a.ID[:], b.ID[:])
	})
	lend("elsewhere", func(*exchange.Lease) {})
	lend("default", func(l *exchange.Lease) { l.Issued, l.Expires = now.Add(-2*time.Hour), now.Add(-time.Hour) })
	lend("default", func(l *exchange.Lease) { l.State = exchange.LeaseRevoked })
	special := lend("default", func(l *exchange.Lease) {
		l.Subject, l.Target, l.Rule, l.Expires, l.Sealed = "k8s:prod:a:b", "vertex", "other", now.Add(9*time.Hour), nil
	})
	want = append(want, special)
	all := func(q lease.Query) (got []lease.Outstanding) {
		t.Helper()
		for q.Tenant = "default"; ; {
			page, err := w.s.Outstanding(w.ctx(), q)
			if err != nil || len(page) > q.Limit {
				t.Fatalf("a page of %d, %v", len(page), err)
			}
			if got = append(got, page...); len(page) < q.Limit {
				return got
			}
			q.Expires, q.After = page[len(page)-1].Expires, page[len(page)-1].ID
		}
	}
	for _, limit := range []int{1, 2, 5, 100} {
		got := all(lease.Query{Limit: limit})
		if len(got) != len(want) {
			t.Fatalf("pages of %d: %d leases, want %d", limit, len(got), len(want))
		}
		for i, l := range got {
			if x := want[i]; l.ID != x.ID || !l.Expires.Equal(x.Expires) || l.Exchange != x.Exchange || l.Subject != x.Subject ||
				!bytes.Equal(l.Sealed, x.Sealed) || l.Handle != x.Handle || l.State != exchange.LeaseActive || l.Tenant != "default" || l.Record.Credential != "fingerprint" {
				t.Errorf("pages of %d: lease %d is %+v, want %+v", limit, i, l, x)
			}
		}
	}
	for name, c := range map[string]struct {
		q    lease.Query
		want int
	}{
		"subject":   {lease.Query{Subject: "k8s:prod:a:b"}, 1},
		"target":    {lease.Query{Target: "bedrock"}, 9},
		"rule":      {lease.Query{Rule: "other"}, 1},
		"no such":   {lease.Query{Target: "bedrock", Rule: "other"}, 0},
		"wildcards": {lease.Query{Subject: "%"}, 0},
	} {
		c.q.Limit = 4
		if got := all(c.q); len(got) != c.want {
			t.Errorf("%s: %d leases, want %d", name, len(got), c.want)
		}
	}

	var revoking sync.WaitGroup
	done := make(chan bool, 8)
	for range cap(done) {
		revoking.Go(func() {
			e := w.event("default", exchange.EventRevoked)
			e.Exchange = special.Exchange
			did, err := w.s.RevokeLease(w.ctx(), "default", special.ID, e)
			if err != nil {
				t.Error(err)
			}
			done <- did
		})
	}
	revoking.Wait()
	close(done)
	times := 0
	for did := range done {
		if did {
			times++
		}
	}
	events, err := w.s.Get(w.ctx(), "default", special.Exchange)
	if times != 1 || err != nil || len(events) != 2 || events[1].Type != exchange.EventRevoked {
		t.Errorf("revoked %d times, with %d events, %v", times, len(events), err)
	}
	if l, err := w.s.Lease(w.ctx(), "default", special.ID); err != nil || l.State != exchange.LeaseRevoked {
		t.Errorf("the lease is %+v, %v", l, err)
	}
	if did, err := w.s.RevokeLease(w.ctx(), "elsewhere", want[0].ID, w.event("elsewhere", exchange.EventRevoked)); err != nil || did {
		t.Errorf("another tenant revoked it: %t, %v", did, err)
	}
	if got := all(lease.Query{Limit: 3}); len(got) != 9 {
		t.Errorf("%d leases are left, want 9", len(got))
	}
}

// testUnsettled: intents without an outcome, due or not, of one tenant.
func testUnsettled(t *testing.T, w *world) {
	var open []exchange.ID
	for n := range 8 {
		tenant := "default"
		if n == 7 {
			tenant = "elsewhere"
		}
		intent := w.event(tenant, exchange.EventIntent)
		e := w.entry(intent)
		e.Deadline = e.At + time.Hour.Microseconds()
		w.want(ledger.StatusInserted, e)
		if n < 2 {
			outcome := w.event(tenant, exchange.EventFailed)
			outcome.Exchange = intent.Exchange
			w.want(ledger.StatusInserted, w.entry(outcome))
			continue
		}
		if n < 7 {
			open = append(open, intent.Exchange)
		}
	}
	slices.SortFunc(open, func(a, b exchange.ID) int { return bytes.Compare(a[:], b[:]) })
	var got []exchange.ID
	for after := (exchange.ID{}); ; {
		page, err := w.s.Unsettled(w.ctx(), "default", after, 2)
		if err != nil || len(page) > 2 {
			t.Fatalf("a page of %d, %v", len(page), err)
		}
		if len(page) == 0 {
			break
		}
		for _, i := range page {
			if after = i.Event.Exchange; i.Event.Record.Target != "bedrock" || i.Event.Tenant != "default" {
				t.Errorf("an intent came back as %+v", i)
			}
			got = append(got, after)
		}
	}
	if !slices.Equal(got, open) {
		t.Errorf("%d intents, want %d", len(got), len(open))
	}
}
