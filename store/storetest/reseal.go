package storetest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/issuer"
	"github.com/cambio-sts/cambio/exchange/lease"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

func keyRow(kid string) issuer.SealedKey {
	now := time.Now().Truncate(time.Microsecond)
	return issuer.SealedKey{
		Purpose: "access", KeyID: kid, Algorithm: "ES256", Sealed: []byte("sealed\x00" + kid), PublishAt: now, SignAt: now.Add(time.Hour),
	}
}

// kids are the stored keys' ids, in order.
func (w *world) kids() []string {
	w.t.Helper()
	keys, err := w.s.ListKeys(w.ctx())
	if err != nil {
		w.t.Fatal(err)
	}
	var ids []string
	for _, k := range keys {
		ids = append(ids, k.Purpose+"/"+k.KeyID)
	}
	return ids
}

func (w *world) holds(want ...string) {
	w.t.Helper()
	if got := w.kids(); !slices.Equal(got, want) {
		w.t.Errorf("the keys are %v, want %v", got, want)
	}
}

func testChangeKeys(t *testing.T, w *world) {
	change := func(kid, after string, remove ...string) issuer.KeyChange {
		return issuer.KeyChange{Add: keyRow(kid), After: after, Remove: remove, Event: w.note("default", exchange.EventKeysChanged)}
	}
	apply := func(c issuer.KeyChange, want bool) {
		t.Helper()
		done, err := w.s.ChangeKeys(w.ctx(), c)
		if err != nil || done != want {
			t.Errorf("adding %s after %q: %v, %v; want %v", c.Add.KeyID, c.After, done, err, want)
		}
		if events, err := w.s.Get(w.ctx(), "default", c.Event.Exchange); err != nil || (len(events) == 1) != want {
			t.Errorf("adding %s after %q: %d events, %v", c.Add.KeyID, c.After, len(events), err)
		}
	}
	apply(change("a", "z"), false)
	apply(change("a", ""), true)
	apply(change("b", "a"), true)
	apply(change("c", "a", "a", "b"), false)
	w.holds("access/a", "access/b")
	other := keyRow("a")
	other.Purpose = "federation"
	if added, err := w.s.AddKey(w.ctx(), other, ""); err != nil || !added {
		t.Fatal(added, err)
	}
	apply(change("c", "b", "a", "b", "gone"), true)
	w.holds("federation/a", "access/c")

	// An event that cannot be written undoes the rest.
	taken := change("d", "c", "c")
	again := change("e", "c", "c")
	taken.Event.ID, taken.Event.Exchange = w.id(time.Now()), exchange.ID{}
	if done, err := w.s.ChangeKeys(w.ctx(), taken); err == nil || done {
		t.Errorf("without an event: %v, %v", done, err)
	}
	w.holds("federation/a", "access/c")

	var group sync.WaitGroup
	won := make(chan bool, 8)
	for i := range cap(won) {
		c := again
		c.Add, c.Event = keyRow(fmt.Sprintf("r%d", i)), w.note("default", exchange.EventKeysChanged)
		group.Go(func() {
			done, err := w.s.ChangeKeys(w.ctx(), c)
			if err != nil {
				t.Error(err)
			}
			if done {
				won <- true
			}
		})
	}
	group.Wait()
	if len(won) != 1 || len(w.kids()) != 2 {
		t.Errorf("%d changes after one key, which left %v", len(won), w.kids())
	}
}

func testReplaceSealed(t *testing.T, w *world) {
	k := keyRow("a")
	if added, err := w.s.AddKey(w.ctx(), k, ""); err != nil || !added {
		t.Fatal(added, err)
	}
	for name, c := range map[string]struct {
		purpose, kid string
		old          []byte
	}{
		"another value":   {"access", "a", []byte("sealed")},
		"no value":        {"access", "a", nil},
		"another purpose": {"federation", "a", k.Sealed},
		"another key":     {"access", "b", k.Sealed},
	} {
		if replaced, err := w.s.ReplaceSealed(w.ctx(), c.purpose, c.kid, c.old, []byte("new")); err != nil || replaced {
			t.Errorf("%s: %v, %v", name, replaced, err)
		}
	}
	// Everyone who saw the same value may replace it; one does.
	value := k.Sealed
	for round := range 10 {
		var group sync.WaitGroup
		won := make(chan []byte, 8)
		for i := range cap(won) {
			mine := fmt.Appendf(nil, "round %d of %d\x00", round, i)
			group.Go(func() {
				replaced, err := w.s.ReplaceSealed(w.ctx(), "access", "a", value, mine)
				if err != nil {
					t.Error(err)
				}
				if replaced {
					won <- mine
				}
			})
		}
		group.Wait()
		if len(won) != 1 {
			t.Fatalf("%d replaced one value", len(won))
		}
		value = <-won
	}
	keys, err := w.s.ListKeys(w.ctx())
	if err != nil || len(keys) != 1 || !bytes.Equal(keys[0].Sealed, value) || !keys[0].SignAt.Equal(k.SignAt) {
		t.Errorf("the key came out as %+v, %v", keys, err)
	}
}

func testLeaseSeals(t *testing.T, w *world) {
	header := []byte("\x01new-key!")
	var all []*exchange.Lease
	var entries []ledger.Entry
	add := func(tenant string, sealed, origin []byte) {
		e := w.issued(tenant)
		e.Lease = w.lease(tenant, e.Exchange)
		e.Lease.Sealed, e.Lease.Origin = sealed, origin
		all, entries = append(all, e.Lease), append(entries, e)
	}
	for i := range 60 {
		add([]string{"default", "north", "A", "é"}[i%4], fmt.Appendf(nil, "\x01old-key!%d", i), nil)
	}
	done := append(bytes.Clone(header), "done"...)
	add("default", nil, nil)
	add("default", done, nil)
	add("default", []byte{1}, nil) // shorter than any header
	add("default", done, done)
	add("default", done, []byte("\x01old-key!"))
	add("default", nil, []byte("\x01old-key!"))
	add("default", []byte("\x01old-key!"), done)
	w.want(ledger.StatusInserted, entries...)
	walk := func(limit int) []lease.Sealed {
		t.Helper()
		var found []lease.Sealed
		var last lease.Sealed
		for {
			page, err := w.s.ListSealed(w.ctx(), header, last, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("a page of %d, %v", len(page), err)
			}
			if len(page) == 0 {
				return found
			}
			found, last = append(found, page...), page[len(page)-1]
		}
	}
	// freshened is nil for what needs nothing.
	freshened := func(sealed []byte) []byte {
		if len(sealed) == 0 || bytes.HasPrefix(sealed, header) {
			return nil
		}
		return append(bytes.Clone(header), sealed...)
	}
	found := walk(7)
	if len(found) != 64 {
		t.Errorf("%d found, want 64", len(found))
	}
	ordered := slices.IsSortedFunc(found, func(a, b lease.Sealed) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), bytes.Compare(a.ID[:], b.ID[:]))
	})
	if !ordered {
		t.Error("they are not in the order of tenant and id")
	}
	for i := range found {
		found[i].Fresh, found[i].FreshOrigin = freshened(found[i].Sealed), freshened(found[i].Origin)
	}
	stale := slices.Clone(found[:10])
	for i := range stale {
		stale[i].Sealed, stale[i].Fresh = []byte("something else"), []byte("never")
	}
	if n, err := w.s.ReplaceSeals(w.ctx(), stale); err != nil || n != 0 {
		t.Errorf("over another value: %d, %v", n, err)
	}
	other := found[0]
	other.Origin = []byte("something else")
	if n, err := w.s.ReplaceSeals(w.ctx(), []lease.Sealed{other}); err != nil || n != 0 {
		t.Errorf("beside another origin: %d, %v", n, err)
	}
	foreign := found[0]
	foreign.Tenant = "south"
	if n, err := w.s.ReplaceSeals(w.ctx(), []lease.Sealed{foreign}); err != nil || n != 0 {
		t.Errorf("of another tenant: %d, %v", n, err)
	}
	// Two at once: each lease changes once.
	var group sync.WaitGroup
	counts := make(chan int, 4)
	for range cap(counts) {
		group.Go(func() {
			n, err := w.s.ReplaceSeals(w.ctx(), found)
			if err != nil {
				t.Error(err)
			}
			counts <- n
		})
	}
	group.Wait()
	close(counts)
	sum := 0
	for n := range counts {
		sum += n
	}
	if left := walk(100); sum != len(found) || len(left) != 0 {
		t.Errorf("%d replacements of %d, and %d are left", sum, len(found), len(left))
	}
	for _, want := range all {
		got, err := w.s.Lease(w.ctx(), want.Tenant, want.ID)
		if err != nil {
			t.Fatal(err)
		}
		for what, part := range map[string][2][]byte{"what revokes it": {got.Sealed, want.Sealed}, "its origin": {got.Origin, want.Origin}} {
			holds, had := part[0], part[1]
			if fresh := freshened(had); fresh != nil && !bytes.Equal(holds, fresh) || fresh == nil && !bytes.Equal(holds, had) {
				t.Errorf("%s: %s is %q", want.ID, what, holds)
			}
		}
		got.Sealed, got.Origin = nil, nil
		unsealed := *want
		unsealed.Sealed, unsealed.Origin = nil, nil
		if describe(got) != describe(unsealed) {
			t.Errorf("more than the seal changed:\n%s\n%s", describe(got), describe(unsealed))
		}
	}
}

// testSealsAmongAppends: leases are resealed by two at once, who name them in an order
// of their own, while entries that rely on the same leases are appended: nobody waits
// in a circle. Each of the two replaces what it has seen, so both do change rows.
func testSealsAmongAppends(t *testing.T, w *world) {
	const count, rounds, callers = 100, 40, 4
	var entries []ledger.Entry
	ids := make([]exchange.ID, count)
	for i := range ids {
		e := w.issued("default")
		e.Lease = w.lease("default", e.Exchange)
		ids[i], entries = e.Lease.ID, append(entries, e)
	}
	w.want(ledger.StatusInserted, entries...)
	var appending, resealing sync.WaitGroup
	stop := make(chan struct{})
	for range callers {
		appending.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, err := w.s.Append(w.ctx(), []ledger.Entry{relying(w.issued("default"), ids...)})
				if err != nil || r[0].Status != ledger.StatusInserted {
					t.Errorf("appending: %v, %v", r, err)
					return
				}
			}
		})
	}
	header := func(of, round int) []byte { return fmt.Appendf(nil, "%d of %d;", round, of) }
	for of := range 2 {
		resealing.Go(func() {
			for round := range rounds {
				seals, err := w.s.ListSealed(w.ctx(), header(of, round), lease.Sealed{}, count)
				if err != nil || len(seals) != count {
					t.Errorf("%d are to be resealed, want %d: %v", len(seals), count, err)
					return
				}
				for i := range seals {
					seals[i].Fresh = header(of, round)
				}
				slices.Reverse(seals)
				if _, err := w.s.ReplaceSeals(w.ctx(), seals); err != nil {
					t.Errorf("resealing: %v", err)
					return
				}
			}
		})
	}
	resealing.Wait()
	close(stop)
	appending.Wait()
}
