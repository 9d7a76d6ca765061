package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/signing"
)

func testSessions(t *testing.T, w *world) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	session := func(tenant string, left time.Duration) exchange.Session {
		return exchange.Session{
			ID: w.id(now), Tenant: tenant, Exchange: w.id(now), Target: "oci-genai", Subject: "k8s:prod:llm:gateway",
			Sealed: []byte{0, 1, 0xff}, Expires: now.Add(left),
		}
	}
	hold := func(s exchange.Session) exchange.Session {
		t.Helper()
		if err := w.s.HoldSession(w.ctx(), s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	there := func(tenant string, id exchange.ID) bool {
		t.Helper()
		_, err := w.s.Session(w.ctx(), tenant, id)
		if err != nil && exchange.KindOf(err) != exchange.KindNotFound {
			t.Fatal(err)
		}
		return err == nil
	}
	a, b, dead := hold(session("default", time.Hour)), hold(session("north", time.Hour)), hold(session("default", -time.Second))
	got, err := w.s.Session(w.ctx(), "default", a.ID)
	if err != nil || !bytes.Equal(got.Sealed, a.Sealed) || !got.Expires.Equal(a.Expires) || got.ID != a.ID || got.Tenant != a.Tenant ||
		got.Exchange != a.Exchange || got.Target != a.Target || got.Subject != a.Subject {
		t.Errorf("got %+v: %v", got, err)
	}
	if there("north", a.ID) || there("default", b.ID) {
		t.Error("a tenant sees another's session (S22)")
	}
	if there("default", dead.ID) {
		t.Error("an expired session is found")
	}
	if err := w.s.HoldSession(w.ctx(), a); err == nil {
		t.Error("a session is held twice")
	}
	if err := w.s.EndSession(w.ctx(), "north", a.ID); err != nil || !there("default", a.ID) {
		t.Errorf("another tenant ends it: %v", err)
	}
	for range 2 { // what is gone already is gone
		if err := w.s.EndSession(w.ctx(), "default", a.ID); err != nil || there("default", a.ID) {
			t.Errorf("after its end: %v", err)
		}
	}
	hold(session("north", -time.Hour))
	for _, want := range []int{1, 1, 0} {
		if n, err := w.s.PruneSessions(w.ctx(), 1); err != nil || n != want {
			t.Errorf("%d forgotten, want %d: %v", n, want, err)
		}
	}
	if !there("north", b.ID) {
		t.Error("a live session is forgotten")
	}
}

// testReplacedSessions: of all who saw one snapshot, one puts another in its place;
// and none brings back what has ended.
func testReplacedSessions(t *testing.T, w *world) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	s := exchange.Session{ID: w.id(now), Tenant: "default", Exchange: w.id(now), Target: "oci-genai", Subject: "x", Sealed: []byte("first"), Expires: now.Add(time.Hour)}
	dead := s
	dead.ID, dead.Expires = w.id(now), now.Add(-time.Second)
	for _, held := range []exchange.Session{s, dead} {
		if err := w.s.HoldSession(w.ctx(), held); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 10 {
		var group sync.WaitGroup
		var won atomic.Int32
		want := s
		for i := range 8 {
			mine := s
			mine.Sealed, mine.Expires = fmt.Appendf(nil, "round %d of %d", round, i), s.Expires.Add(time.Duration(i+1)*time.Minute)
			group.Go(func() {
				replaced, err := w.s.ReplaceSession(w.ctx(), mine, s.Sealed)
				if err != nil {
					t.Error(err)
				}
				if replaced && won.Add(1) == 1 {
					want = mine
				}
			})
		}
		group.Wait()
		got, err := w.s.Session(w.ctx(), "default", s.ID)
		if err != nil || won.Load() != 1 || !bytes.Equal(got.Sealed, want.Sealed) || !got.Expires.Equal(want.Expires) || got.Target != s.Target {
			t.Fatalf("%d won; got %+v, want %+v: %v", won.Load(), got, want, err)
		}
		s = got
	}
	foreign, gone := s, s
	foreign.Tenant, gone.ID = "north", w.id(now)
	revived := dead
	revived.Expires = now.Add(time.Hour)
	for name, c := range map[string]struct {
		s   exchange.Session
		old []byte
	}{"another snapshot": {s, []byte("first")}, "another tenant (S22)": {foreign, s.Sealed}, "none": {gone, s.Sealed}, "expired": {revived, dead.Sealed}} {
		if replaced, err := w.s.ReplaceSession(w.ctx(), c.s, c.old); replaced || err != nil {
			t.Errorf("%s is replaced: %v", name, err)
		}
	}
}

func testSessionSeals(t *testing.T, w *world) {
	now := time.Now().UTC().Truncate(time.Microsecond)
	header := []byte("\x01new-key!")
	hold := func(tenant string, sealed []byte) exchange.Session {
		t.Helper()
		s := exchange.Session{ID: w.id(now), Tenant: tenant, Exchange: w.id(now), Target: "oci-genai", Subject: "x", Sealed: sealed, Expires: now.Add(time.Hour)}
		if err := w.s.HoldSession(w.ctx(), s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	for i := range 20 {
		hold([]string{"default", "north"}[i%2], fmt.Appendf(nil, "\x01old-key!%d", i))
	}
	done := hold("default", append(slices.Clone(header), "done"...))
	walk := func() (found []signing.Sealed) {
		t.Helper()
		var last signing.Sealed
		for {
			page, err := w.s.ListSealedSessions(w.ctx(), header, last, 7)
			if err != nil || len(page) > 7 {
				t.Fatalf("a page of %d, %v", len(page), err)
			}
			if len(page) == 0 {
				return found
			}
			found, last = append(found, page...), page[len(page)-1]
		}
	}
	found := walk()
	if len(found) != 20 {
		t.Fatalf("%d found, want 20", len(found))
	}
	for i := range found {
		found[i].Fresh = append(slices.Clone(header), found[i].Sealed...)
	}
	stale, foreign := found[0], found[1]
	stale.Sealed, foreign.Tenant = []byte("something else"), "south"
	if n, err := w.s.ReplaceSessionSeals(w.ctx(), []signing.Sealed{stale, foreign}); err != nil || n != 0 {
		t.Errorf("over others: %d, %v", n, err)
	}
	// Two at once: each session changes once.
	var group sync.WaitGroup
	var sum atomic.Int64
	for range 4 {
		group.Go(func() {
			n, err := w.s.ReplaceSessionSeals(w.ctx(), found)
			if err != nil {
				t.Error(err)
			}
			sum.Add(int64(n))
		})
	}
	group.Wait()
	if left := walk(); sum.Load() != 20 || len(left) != 0 {
		t.Errorf("%d replacements of 20, and %d are left", sum.Load(), len(left))
	}
	for _, want := range append(found, signing.Sealed{Tenant: "default", ID: done.ID, Fresh: done.Sealed}) {
		if got, err := w.s.Session(w.ctx(), want.Tenant, want.ID); err != nil || !bytes.Equal(got.Sealed, want.Fresh) || !got.Expires.Equal(now.Add(time.Hour)) {
			t.Errorf("%s is %q: %v", want.ID, got.Sealed, err)
		}
	}
}

// testSessionSealsAmongPrunes: sessions that have expired are forgotten by two at once,
// some at a time, in the order of their end, while they are resealed over and over in
// another: nobody waits in a circle, and each is forgotten once.
func testSessionSealsAmongPrunes(t *testing.T, w *world) {
	const count = 400
	now := time.Now().UTC().Truncate(time.Microsecond)
	for i := range count {
		s := exchange.Session{
			ID: w.id(now), Tenant: "default", Exchange: w.id(now), Target: "oci-genai", Subject: "x", Sealed: []byte("first"),
			Expires: now.Add(-time.Duration(i*97%count+1) * time.Second),
		}
		if err := w.s.HoldSession(w.ctx(), s); err != nil {
			t.Fatal(err)
		}
	}
	var forgotten atomic.Int64
	over := func() bool { return forgotten.Load() >= count || t.Failed() }
	var group sync.WaitGroup
	var once sync.Once
	begun := make(chan struct{}) // by one of those who reseal; the other is about to
	for of := range 2 {
		group.Go(func() {
			for round := 0; !over(); round++ {
				header := fmt.Appendf(nil, "%d of %d;", round, of)
				seals, err := w.s.ListSealedSessions(w.ctx(), header, signing.Sealed{}, count)
				for i := range seals {
					seals[i].Fresh = header
				}
				slices.Reverse(seals)
				if err == nil {
					_, err = w.s.ReplaceSessionSeals(w.ctx(), seals)
				}
				if err != nil {
					t.Errorf("resealing: %v", err)
				}
				once.Do(func() { close(begun) })
			}
		})
		group.Go(func() {
			<-begun
			for !over() {
				n, err := w.s.PruneSessions(w.ctx(), count/10)
				if forgotten.Add(int64(n)); err != nil {
					t.Errorf("forgetting: %v", err)
				}
			}
		})
	}
	group.Wait()
	if n := forgotten.Load(); n != count {
		t.Errorf("%d forgotten, want %d", n, count)
	}
}
