package lease_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
)

// token puts a token of ours out, which carries its lease's id.
func (s *scene) token(subject string, lineage ...exchange.ID) exchange.ID {
	s.t.Helper()
	return s.lends(subject, "", func(l *lease.Outstanding) { l.Handle, l.Lineage = l.ID.String(), lineage })
}

func (s *scene) take(id exchange.ID) (lease.Revoked, error) {
	return s.desk.Revoke(s.t.Context(), lease.Revocation{
		Tenant: "default", Lease: id, Reason: "lost laptop", By: exchange.Record{Subject: "oidc:corp:olga", Door: "rest", ClientIP: "192.0.2.7"},
	}, lease.Place{})
}

// revocations are the events of that type, by lease.
func (s *scene) revocations() map[string]exchange.Record {
	found := map[string]exchange.Record{}
	for _, e := range s.events {
		if e.Type == exchange.EventRevoked {
			if _, twice := found[e.Record.Lease]; twice {
				s.t.Errorf("lease %s is revoked twice", e.Record.Lease)
			}
			found[e.Record.Lease] = e.Record
		}
	}
	return found
}

// TestS26RevokeTakesWhatDescends: the credential, and whatever was obtained with it,
// each with its fate, and nothing beside.
func TestS26RevokeTakesWhatDescends(t *testing.T) {
	s := newScene(t)
	root := s.token(gateway)
	child := s.token(gateway, root)
	cloud := s.lends(gateway, "key-1", func(l *lease.Outstanding) { l.Lineage = []exchange.ID{root, child} })
	stubborn := s.lends(gateway, "key-2", func(l *lease.Outstanding) { l.Lineage = []exchange.ID{root} })
	fixed := s.lends(gateway, "", func(l *lease.Outstanding) { l.Lineage = []exchange.ID{root} })
	sibling, stranger := s.token(gateway), s.lends(gateway, "key-3")
	s.bank.fails["key-2"] = errors.New("403 for key-2")
	under := exchange.Intent{Event: exchange.Event{Exchange: newID(t), Tenant: "default", Record: exchange.Record{Subject: gateway, Lineage: []string{root.String()}}}}
	beside := exchange.Intent{Event: exchange.Event{Exchange: newID(t), Tenant: "default", Record: exchange.Record{Subject: gateway}}}
	s.intents = []exchange.Intent{under, beside}

	got, err := s.take(root)
	if err != nil || got.More || got.Lease.ID != root {
		t.Fatalf("%+v, %v", got, err)
	}
	if got.Credentials[0].Lease.ID != root {
		t.Error("its own credential is not the first")
	}
	fates := map[exchange.ID]lease.Fate{}
	for _, c := range got.Credentials {
		key := c.Lease.ID
		if key.IsZero() {
			key = c.Lease.Exchange
		}
		if _, twice := fates[key]; twice || c.Why == "" {
			t.Errorf("%s twice, or without a reason", key)
		}
		fates[key] = c.Fate
	}
	want := map[exchange.ID]lease.Fate{
		root: lease.FateRefused, child: lease.FateRefused, cloud: lease.FateRevoked, stubborn: lease.FateNotStopped,
		fixed: lease.FateExpires, under.Event.Exchange: lease.FatePending,
	}
	for id, fate := range want {
		if fates[id] != fate {
			t.Errorf("%s: fate %d, want %d", id, fates[id], fate)
		}
	}
	if len(fates) != len(want) {
		t.Errorf("%d fates, want %d", len(fates), len(want))
	}
	if why := got.Credentials[0].Why; !strings.Contains(why, "introspection") || !strings.Contains(why, "until 2026-11-23T10:00:00") {
		t.Errorf("of a token of ours it says: %s", why)
	}
	events := s.revocations()
	for _, id := range []exchange.ID{root, child, cloud} {
		if r, ok := events[id.String()]; !ok || r.Reason != "lost laptop" || !strings.Contains(r.Explanation, "oidc:corp:olga") || r.Door != "rest" ||
			strings.Contains(r.Explanation, root.String()) == (id == root) {
			t.Errorf("the event of %s is %+v", id, r)
		}
	}
	if len(events) != 3 {
		t.Errorf("%d events", len(events))
	}
	for _, id := range []exchange.ID{sibling, stranger} {
		if l, err := s.LeaseWithRecord(t.Context(), "default", id); err != nil || l.State != exchange.LeaseActive {
			t.Errorf("%s was revoked too", id)
		}
	}

	// Once more: it says since when, and tries again what was not stopped.
	delete(s.bank.fails, "key-2")
	s.passed = time.Minute
	again, err := s.take(root)
	if err != nil || again.Lease.State != exchange.LeaseRevoked || !again.Lease.Revoked.Equal(monday) {
		t.Fatalf("%+v, %v", again.Lease, err)
	}
	for _, c := range again.Credentials {
		if c.Lease.ID == root || c.Lease.ID == stubborn && c.Fate != lease.FateRevoked {
			t.Errorf("again: %+v", c)
		}
	}
	if len(again.Credentials) != 3 { // the stubborn, the fixed, the pending
		t.Errorf("again: %d credentials", len(again.Credentials))
	}
}

// TestS26DenyByLineage stops the same as a revocation, and binds what comes.
func TestS26DenyByLineage(t *testing.T) {
	s := newScene(t)
	root := s.token(gateway)
	child := s.lends(gateway, "key-1", func(l *lease.Outstanding) { l.Lineage = []exchange.ID{root} })
	other := s.token(gateway)
	got := s.stop(s.add(map[string]string{"lineage": root.String()}))
	if len(got) != 2 || got[root].Fate != lease.FateRefused || got[child].Fate != lease.FateRevoked {
		t.Errorf("%+v", got)
	}
	if got := s.stop(s.add(map[string]string{"lineage": root.String(), "subject": "somebody else"})); len(got) != 0 {
		t.Errorf("of another subject: %+v", got)
	}
	if l, err := s.LeaseWithRecord(t.Context(), "default", other); err != nil || l.State != exchange.LeaseActive {
		t.Error("another is revoked too")
	}
}

func TestS26RevokeWhatHasEnded(t *testing.T) {
	s := newScene(t)
	gone := s.token(gateway)
	s.passed = 2 * time.Hour
	if got, err := s.take(gone); err != nil || lease.StateOf(got.Lease, s.clock()) != exchange.LeaseExpired || len(got.Credentials) != 0 || len(s.events) != 0 {
		t.Errorf("%+v, %v, %d events", got, err, len(s.events))
	}
	if _, err := s.take(newID(t)); kindOf(err) != exchange.KindNotFound {
		t.Errorf("an unknown one: %v", err)
	}
	_, err := s.desk.Revoke(t.Context(), lease.Revocation{Tenant: "elsewhere", Lease: gone}, lease.Place{})
	if kindOf(err) != exchange.KindNotFound { // S22
		t.Errorf("of another tenant: %v", err)
	}
	for what, r := range map[string]lease.Revocation{
		"no reason":   {Tenant: "default", Lease: gone, NeedsReason: true},
		"a long one":  {Tenant: "default", Lease: gone, Reason: strings.Repeat("r", 513)},
		"two lines":   {Tenant: "default", Lease: gone, Reason: "a\nb"},
		"only spaces": {Tenant: "default", Lease: gone, Reason: "  ", NeedsReason: true},
	} {
		if _, err := s.desk.Revoke(t.Context(), r, lease.Place{}); kindOf(err) != exchange.KindInvalidRequest {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestS26OneEventOfTwoRevocations: two operators at once, and an expiry with them.
func TestS26OneEventOfTwoRevocations(t *testing.T) {
	s := newScene(t)
	ids := []exchange.ID{s.lends(gateway, "key"), s.token(gateway)}
	var group sync.WaitGroup
	for range 4 {
		for _, id := range ids {
			group.Go(func() {
				if _, err := s.take(id); err != nil {
					t.Error(err)
				}
			})
		}
	}
	group.Wait()
	if n := len(s.revocations()); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
}

// TestS26NoRecordNoRevocation: what could not be recorded is said.
func TestS26NoRecordNoRevocation(t *testing.T) {
	s := newScene(t)
	token := s.token(gateway)
	s.err = errors.New("the connection was lost")
	if _, err := s.take(token); kindOf(err) != exchange.KindUnavailable {
		t.Errorf("%v", err)
	}
	s.err = nil
	if got, err := s.take(token); err != nil || got.Credentials[0].Fate != lease.FateRefused {
		t.Errorf("again: %+v, %v", got, err)
	}
}

// TestS26WhatIsKeptElsewhereIsNotSaidToBeDead: a value that its provider keeps and does
// not make is handed out no more, so its lease is revoked; but it lives on.
func TestS26WhatIsKeptElsewhereIsNotSaidToBeDead(t *testing.T) {
	s := newScene(t)
	kept := s.lends(gateway, "key-1")
	s.bank.fails["key-1"] = fmt.Errorf("revoking key-1: %w", exchange.ErrHandedOut)
	got, err := s.take(kept)
	if err != nil || len(got.Credentials) != 1 || got.Lease.State != exchange.LeaseRevoked {
		t.Fatalf("%+v, %v", got, err)
	}
	if c := got.Credentials[0]; c.Fate != lease.FateRefused || !strings.Contains(c.Why, "whoever has it") || strings.Contains(c.Why, "key-1") {
		t.Errorf("fate %d: %s", c.Fate, c.Why)
	}
	if _, ok := s.revocations()[kept.String()]; !ok {
		t.Error("it is not on record")
	}
}
