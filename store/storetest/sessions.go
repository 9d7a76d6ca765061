package storetest

import (
	"bytes"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
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
