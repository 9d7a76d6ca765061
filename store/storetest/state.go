package storetest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/issuer"
	"github.com/cambio-sts/cambio/exchange/ledger"
)

// testRoundTrip: what is stored comes back byte for byte.
func testRoundTrip(t *testing.T, w *world) {
	large := `{"subject":"s","claims":{"c":["` + strings.Repeat("é", (ledger.MaxRecord-100)/2) + `"]}}`
	for name, record := range map[string]string{
		"members out of order, with space":  `{ "tenant" : "default",  "subject":"b" , "at":1 }`,
		"a member twice":                    `{"x":1,"x":2,"subject":"s"}`,
		"numbers as written":                `{"n":1.0,"m":1e3,"k":12345678901234567890}`,
		"every plane":                       `{"subject":"zoë Ωmega 漢字 🏦 \u2028 e` + "\u0301" + ` ` + "\uFFFD" + `"}`,
		"right to left, and controls":       `{"subject":"שלום ` + "\u202e" + ` \u0001 \u001f \t"}`,
		"quotes and slashes":                `{"subject":"\"a\\b\"'; drop table events; --"}`,
		"escapes of what needs none":        `{"subject":"\u0061\/"}`,
		"the largest":                       large + strings.Repeat(" ", ledger.MaxRecord-len(large)),
		"empty":                             `{}`,
		"deep":                              `{"claims":` + strings.Repeat("[", 50) + strings.Repeat("]", 50) + `}`,
		"members that no filter would want": `{"subject":5,"actor":["a"],"target":{"a":1},"rule":null,"reason":true}`,
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			e := w.issued("default")
			e.Record = []byte(record)
			w.want(ledger.StatusInserted, e)
			events, err := w.s.Get(w.ctx(), "default", e.Exchange)
			if err != nil || len(events) != 1 {
				t.Fatalf("Get: %d events, %v", len(events), err)
			}
			same(t, events[0], e)
			rows := w.all("default", 10, compare(ledger.FieldExchange, ledger.OpEq, e.Exchange.String()))
			if len(rows) != 1 {
				t.Fatalf("List: %d rows", len(rows))
			}
			same(t, rows[0], e)
			w.want(ledger.StatusReplayed, e)
		})
	}
	t.Run("moments to the microsecond", func(t *testing.T) {
		w := w.in(t)
		for _, us := range []int{0, 1, 999_999, 500_000} {
			at := time.Now().Truncate(time.Second).Add(time.Duration(us) * time.Microsecond).In(time.FixedZone("", 5*3600+1800))
			e := w.entry(w.eventAt("default", exchange.EventIssued, at))
			w.want(ledger.StatusInserted, e)
			events, err := w.s.Get(w.ctx(), "default", e.Exchange)
			if err != nil || len(events) != 1 || events[0].At != at.UnixMicro() {
				t.Errorf("%v came back as %v (%v)", at.UnixMicro(), events, err)
			}
		}
	})
	t.Run("tenants of any writing", func(t *testing.T) {
		w := w.in(t)
		for _, tenant := range []string{"漢字", "a b", "A", "a", "%", strings.Repeat("t", ledger.MaxTenant)} {
			e := w.issued(tenant)
			w.want(ledger.StatusInserted, e)
			if rows := w.all(tenant, 10, nil); len(rows) != 1 {
				t.Errorf("tenant %q has %d rows, want 1", tenant, len(rows))
			}
		}
	})
}

func testKeys(t *testing.T, w *world) {
	key := func(purpose, kid string) issuer.SealedKey {
		now := time.Now().Truncate(time.Microsecond).In(time.FixedZone("", -3600))
		return issuer.SealedKey{
			Purpose: purpose, KeyID: kid, Algorithm: "ES256", Sealed: []byte("sealed\x00" + kid),
			PublishAt: now, SignAt: now.Add(time.Hour),
		}
	}
	add := func(k issuer.SealedKey, after string, want bool) {
		t.Helper()
		added, err := w.s.AddKey(w.ctx(), k, after)
		if err != nil {
			t.Fatalf("AddKey: %v", err)
		}
		if added != want {
			t.Errorf("adding %s after %q: %v, want %v", k.KeyID, after, added, want)
		}
	}
	list := func() (kids string, keys []issuer.SealedKey) {
		t.Helper()
		keys, err := w.s.ListKeys(w.ctx())
		if err != nil {
			t.Fatalf("ListKeys: %v", err)
		}
		for _, k := range keys {
			kids += k.Purpose + "/" + k.KeyID + " "
		}
		return kids, keys
	}
	if kids, _ := list(); kids != "" {
		t.Errorf("a new store has keys: %s", kids)
	}
	z := key("access", "z")
	z.RetireAt = z.SignAt.Add(time.Hour)
	add(z, "y", false)
	add(z, "", true)
	add(key("access", "b"), "", false)
	add(key("access", "b"), "z", true)
	add(key("access", "c"), "z", false)
	add(key("access", "b"), "b", false) // the same key twice
	add(key("federation", "b"), "", true)
	add(key("access", "a"), "b", true)
	kids, keys := list()
	if kids != "access/z access/b federation/b access/a " {
		t.Errorf("listed %s; want the order in which they came", kids)
	}
	for _, want := range []issuer.SealedKey{z, key("access", "b")} {
		for _, k := range keys {
			if k.Purpose != want.Purpose || k.KeyID != want.KeyID {
				continue
			}
			if k.Algorithm != "ES256" || !bytes.Equal(k.Sealed, want.Sealed) {
				t.Errorf("%s came back as %s %q", k.KeyID, k.Algorithm, k.Sealed)
			}
			if k.RetireAt.IsZero() != want.RetireAt.IsZero() || k.PublishAt.Location() != time.UTC {
				t.Errorf("%s: published %v, retires %v", k.KeyID, k.PublishAt, k.RetireAt)
			}
			if want.KeyID == "z" && (!k.PublishAt.Equal(z.PublishAt) || !k.SignAt.Equal(z.SignAt) || !k.RetireAt.Equal(z.RetireAt)) {
				t.Errorf("moments changed: %v, %v, %v", k.PublishAt, k.SignAt, k.RetireAt)
			}
		}
	}
	for range 2 { // retiring what is gone is nothing
		if err := w.s.RetireKey(w.ctx(), "access", "z"); err != nil {
			t.Fatalf("RetireKey: %v", err)
		}
	}
	if kids, _ := list(); kids != "access/b federation/b access/a " {
		t.Errorf("after a retirement: %s", kids)
	}

	t.Run("a race of replicas", func(t *testing.T) {
		w := w.in(t)
		after := "a"
		for round := range 10 {
			won := make(chan string, 8)
			var group sync.WaitGroup
			for i := range cap(won) {
				kid := fmt.Sprintf("r%d-%d", round, i)
				group.Go(func() {
					added, err := w.s.AddKey(w.ctx(), key("access", kid), after)
					if err != nil {
						t.Error(err)
					}
					if added {
						won <- kid
					}
				})
			}
			group.Wait()
			close(won)
			if len(won) != 1 {
				t.Fatalf("%d replicas added a key after %s", len(won), after)
			}
			after = <-won
		}
	})
}

func testRevisions(t *testing.T, w *world) {
	replace := func(w *world, tenant, hash, replaces string, want int64) {
		w.t.Helper()
		event := w.note(tenant, exchange.EventPolicyLoaded)
		seq, err := w.s.LoadRevision(w.ctx(), tenant, hash, replaces, event)
		if err != nil || seq != want {
			w.t.Errorf("%s after %q is at %d (%v), want %d", hash, replaces, seq, err, want)
		}
	}
	load := func(w *world, tenant, hash string, want int64) {
		w.t.Helper()
		replace(w, tenant, hash, "", want)
	}
	newest := func(tenant, wantHash string, wantSeq int64) {
		t.Helper()
		seq, hash, loaded, now, err := w.s.NewestRevision(w.ctx(), tenant)
		if err != nil || seq != wantSeq || hash != wantHash {
			t.Errorf("the newest is %s at %d (%v), want %s at %d", hash, seq, err, wantHash, wantSeq)
		}
		if off := time.Since(now).Abs(); off > time.Minute {
			t.Errorf("the database's clock is %v off", off)
		}
		if wantSeq > 0 && (now.Before(loaded) || now.Sub(loaded) > time.Minute) {
			t.Errorf("loaded %v before now %v", loaded, now)
		}
	}
	newest("default", "", 0)
	load(w, "default", "aa", 1)
	load(w, "default", "bb", 2)
	load(w, "default", "aa", 1) // its old place
	newest("default", "bb", 2)
	load(w, "north", "bb", 1)
	newest("north", "bb", 1)
	newest("default", "bb", 2)

	// Changed back under a replica that had the newest: on purpose, so new.
	replace(w, "default", "aa", "zz", 1) // that replica was behind
	replace(w, "default", "aa", "bb", 3)
	newest("default", "aa", 3)
	replace(w, "default", "aa", "bb", 3) // the next replica follows
	replace(w, "default", "bb", "cc", 2) // one that was behind does not bring the old back
	load(w, "default", "aa", 3)          // a start finds the newest place
	load(w, "default", "bb", 2)
	newest("default", "aa", 3)

	t.Run("one event for a new one", func(t *testing.T) {
		w := w.in(t)
		first, again := w.note("default", exchange.EventPolicyLoaded), w.note("default", exchange.EventPolicyLoaded)
		for _, e := range []exchange.Event{first, again} {
			if _, err := w.s.LoadRevision(w.ctx(), "default", "cc", "", e); err != nil {
				t.Fatal(err)
			}
		}
		if !w.stored(w.entry(first)) || w.stored(w.entry(again)) {
			t.Error("want the first event and not the second")
		}
	})
	t.Run("a race of replicas", func(t *testing.T) {
		w := w.in(t)
		places := make([]int64, 16)
		var group sync.WaitGroup
		for i := range places {
			group.Go(func() {
				var err error
				hash := fmt.Sprintf("race-%d", i%4)
				places[i], err = w.s.LoadRevision(w.ctx(), "racing", hash, "", w.note("racing", exchange.EventPolicyLoaded))
				if err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		seen := map[int64]int{}
		for i, p := range places {
			if places[i%4] != p {
				t.Errorf("one hash has two places: %d and %d", places[i%4], p)
			}
			seen[p]++
		}
		for place := int64(1); place <= 4; place++ {
			if seen[place] != 4 {
				t.Errorf("place %d was given %d times, want 4: %v", place, seen[place], places)
			}
		}
	})
	t.Run("an event that cannot be stored", func(t *testing.T) {
		w := w.in(t)
		if _, err := w.s.LoadRevision(w.ctx(), "default", "dd", "", exchange.Event{}); err == nil {
			t.Error("loaded without an event")
		}
		load(w, "default", "ee", 5)
	})
}

func testDenies(t *testing.T, w *world) {
	denies := func(tenant string) exchange.DenyList {
		t.Helper()
		list, err := w.s.Denies(w.ctx(), tenant)
		if err != nil {
			t.Fatalf("Denies: %v", err)
		}
		return list
	}
	if list := denies("default"); list.Epoch != 0 || len(list.Denies) != 0 {
		t.Errorf("a new store: %+v", list)
	}
	now := time.Now().Truncate(time.Microsecond)
	d := exchange.Deny{
		ID: w.id(now), Tenant: "default", Match: map[string]string{"subject": "oidc:corp:zoë", "later-kind": `"x"`},
		Reason: "ticket 漢字", Created: now.In(time.FixedZone("", 7200)), Expires: now.Add(time.Hour),
	}
	event := w.note("default", exchange.EventDenyAdded)
	epoch, err := w.s.AddDeny(w.ctx(), d, event)
	if err != nil || epoch != 1 {
		t.Fatalf("AddDeny: epoch %d, %v", epoch, err)
	}
	if !w.stored(w.entry(event)) {
		t.Error("a deny without its event")
	}
	list := denies("default")
	if list.Epoch != 1 || len(list.Denies) != 1 {
		t.Fatalf("got %+v", list)
	}
	got := list.Denies[0]
	if got.ID != d.ID || got.Tenant != "default" || got.Epoch != 1 || got.Reason != d.Reason || !got.Created.Equal(d.Created) ||
		!got.Expires.Equal(d.Expires) || got.Expires.Location() != time.UTC || fmt.Sprint(got.Match) != fmt.Sprint(d.Match) {
		t.Errorf("got  %+v\nwant %+v", got, d)
	}

	// An answer that was lost is asked for again.
	if epoch, err := w.s.AddDeny(w.ctx(), d, event); err != nil || epoch != 1 {
		t.Errorf("the same deny again: epoch %d, %v; want 1", epoch, err)
	}
	forever, epoch := w.deny("default")
	if epoch != 2 {
		t.Errorf("epoch %d, want 2", epoch)
	}
	gone := exchange.Deny{ID: w.id(now), Tenant: "default", Match: map[string]string{"target": "x"}, Created: now, Expires: now.Add(-time.Second)}
	if epoch, err := w.s.AddDeny(w.ctx(), gone, w.note("default", exchange.EventDenyAdded)); err != nil || epoch != 3 {
		t.Errorf("epoch %d, %v; want 3", epoch, err)
	}
	if list := denies("default"); list.Epoch != 3 || len(list.Denies) != 2 || !list.Denies[1].Expires.IsZero() {
		t.Errorf("an expired deny is active, or the epoch is wrong: %+v", list)
	}
	if list := denies("north"); list.Epoch != 0 || len(list.Denies) != 0 {
		t.Errorf("another tenant: %+v", list)
	}

	remove := func(tenant string, id exchange.ID, want bool) {
		t.Helper()
		event := w.note(tenant, exchange.EventDenyRemoved)
		removed, err := w.s.RemoveDeny(w.ctx(), tenant, id, event)
		if err != nil || removed != want {
			t.Errorf("RemoveDeny: %v, %v; want %v", removed, err, want)
		}
		if w.stored(w.entry(event)) != want {
			t.Errorf("removed %v, and its event is otherwise", want)
		}
	}
	remove("north", forever.ID, false)
	remove("default", w.id(now), false)
	remove("default", gone.ID, false)
	remove("default", forever.ID, true)
	remove("default", forever.ID, false)
	if list := denies("default"); list.Epoch != 4 || len(list.Denies) != 1 || list.Denies[0].ID != d.ID {
		t.Errorf("after a removal: %+v; want epoch 4 and the first deny", list)
	}
	w.want(ledger.StatusStale, under(3, w.issued("default")))
	w.want(ledger.StatusInserted, under(4, w.issued("default")))

	if _, err := w.s.AddDeny(w.ctx(), exchange.Deny{ID: w.id(now), Tenant: "default", Created: now}, exchange.Event{}); err == nil {
		t.Error("a deny whose event cannot be stored was added")
	}
	if list := denies("default"); list.Epoch != 4 || len(list.Denies) != 1 {
		t.Errorf("a deny that failed left something: %+v", list)
	}

	t.Run("a race", func(t *testing.T) {
		w := w.in(t)
		epochs := make([]int64, 16)
		var group sync.WaitGroup
		for i := range epochs {
			group.Go(func() { _, epochs[i] = w.deny("racing") })
		}
		group.Wait()
		seen := map[int64]bool{}
		for _, e := range epochs {
			seen[e] = true
		}
		if len(seen) != len(epochs) || !seen[1] || !seen[int64(len(epochs))] {
			t.Errorf("epochs %v; want each of 1 to %d once", epochs, len(epochs))
		}
	})
}

func testPing(t *testing.T, w *world) {
	for range 3 {
		if err := w.s.Ping(w.ctx()); err != nil {
			t.Errorf("Ping: %v", err)
		}
	}
	gone, cancel := context.WithCancel(w.ctx())
	cancel()
	if err := w.s.Ping(gone); err == nil {
		t.Error("a ping that nobody waits for says all is well")
	}
	if rows := w.all("default", 10, nil); len(rows) != 0 {
		t.Errorf("pings left %d rows in the ledger", len(rows))
	}
	if err := w.s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := w.s.Ping(w.ctx()); err == nil {
		t.Error("a closed store answers")
	}
	if _, err := w.s.Append(w.ctx(), []ledger.Entry{w.issued("default")}); err == nil {
		t.Error("a closed store appends")
	}
	if err := w.s.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}
