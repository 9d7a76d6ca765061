package lease_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
)

// standings is a database of leases and denies, as far as one who asks sees it.
type standings struct {
	mu     sync.Mutex
	leases map[exchange.ID]lease.Standing
	list   exchange.DenyList
	down   bool
	asked  int // for leases
	read   int // for denies
}

func (s *standings) Standing(ctx context.Context, tenant string, id exchange.ID) (lease.Standing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if _, bounded := ctx.Deadline(); !bounded || s.down {
		return lease.Standing{}, errors.New("no database")
	}
	l, ok := s.leases[id]
	if !ok || l.Tenant != tenant {
		return lease.Standing{}, exchange.Fault(exchange.KindNotFound, "there is no such lease", nil)
	}
	l.Epoch = s.list.Epoch
	return l, nil
}

func (s *standings) Denies(ctx context.Context, tenant string) (exchange.DenyList, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read++
	if _, bounded := ctx.Deadline(); !bounded || s.down {
		return exchange.DenyList{}, errors.New("no database")
	}
	return s.list, nil
}

func (s *standings) deny(match map[string]string, expires time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list.Epoch++
	s.list.Denies = append(s.list.Denies[:len(s.list.Denies):len(s.list.Denies)], exchange.Deny{
		ID: exchange.ID{byte(s.list.Epoch)}, Tenant: "default", Epoch: s.list.Epoch, Match: match, Expires: expires,
	})
}

func (s *standings) lift() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list.Epoch++
	s.list.Denies = nil
}

// outstandingToken is a lease that stands, with its record.
func outstandingToken() lease.Standing {
	id, parent := exchange.ID{1}, exchange.ID{2}
	return lease.Standing{Outstanding: lease.Outstanding{
		Lease: exchange.Lease{
			ID: id, Tenant: "default", Subject: "k8s:prod:llm:gateway", Target: "wiki", Rule: "a", Actor: "client:bot",
			Lineage: []exchange.ID{parent}, Expires: noon.Add(time.Hour), State: exchange.LeaseActive,
		},
		Record: exchange.Record{
			Subject: "k8s:prod:llm:gateway", Trust: "prod", Actor: "client:bot", Actors: []string{"client:bot"},
			Asserted: []string{"self says k8s:edge:ci:runner", "corp says bob"}, Target: "wiki", Rule: "a",
			Credential: "0f", Lease: id.String(), Lineage: []string{parent.String()},
		},
	}}
}

func newStandings() (*standings, *lease.Register) {
	s := &standings{leases: map[exchange.ID]lease.Standing{{1}: outstandingToken()}}
	return s, lease.NewRegister(s, func() time.Time { return noon })
}

func TestStanding(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*lease.Standing)
		stands bool
	}{
		"as issued":                 {func(*lease.Standing) {}, true},
		"revoked":                   {func(l *lease.Standing) { l.State = exchange.LeaseRevoked }, false},
		"marked as expired":         {func(l *lease.Standing) { l.State = exchange.LeaseExpired }, false},
		"of no state":               {func(l *lease.Standing) { l.State = 0 }, false},
		"expired":                   {func(l *lease.Standing) { l.Expires = noon }, false},
		"what it came of revoked":   {func(l *lease.Standing) { l.Orphaned = true }, false},
		"of another tenant":         {func(l *lease.Standing) { l.Tenant = "north" }, false},
		"its record gone":           {func(l *lease.Standing) { l.Record = exchange.Record{} }, true},
		"at the end of its life":    {func(l *lease.Standing) { l.Expires = noon.Add(time.Microsecond) }, true},
		"revoked, and its end come": {func(l *lease.Standing) { l.State, l.Expires = exchange.LeaseRevoked, noon }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := newStandings()
			l := s.leases[exchange.ID{1}]
			c.change(&l)
			s.leases[exchange.ID{1}] = l
			got, err := r.Standing(t.Context(), "default", exchange.ID{1})
			if c.stands != (err == nil) || c.stands != (got.ID == exchange.ID{1}) {
				t.Errorf("%+v, %v", got, err)
			}
			if !c.stands && exchange.KindOf(err) != exchange.KindNotFound {
				t.Error(err)
			}
		})
	}
	_, r := newStandings()
	if _, err := r.Standing(t.Context(), "default", exchange.ID{9}); exchange.KindOf(err) != exchange.KindNotFound {
		t.Errorf("one that never was: %v", err)
	}
}

// S31: whatever an emergency deny covers stands no more, from the next question on;
// a member that this replica does not know is taken to hold.
func TestS31StandingKnowsEveryDeny(t *testing.T) {
	later := noon.Add(time.Minute)
	for name, c := range map[string]struct {
		match   map[string]string
		expires time.Time
		covers  bool
	}{
		"subject":          {map[string]string{"subject": "k8s:prod:llm:gateway"}, time.Time{}, true},
		"target":           {map[string]string{"target": "wiki"}, later, true},
		"rule":             {map[string]string{"rule": "a"}, later, true},
		"trust":            {map[string]string{"trust": "prod"}, later, true},
		"actor":            {map[string]string{"actor": "client:bot"}, later, true},
		"earlier actor":    {map[string]string{"actor": "k8s:edge:ci:runner"}, later, true},
		"its trust":        {map[string]string{"trust": "edge"}, later, true},
		"asserted":         {map[string]string{"actor": "bob"}, later, true},
		"credential":       {map[string]string{"credential": "0f"}, later, true},
		"what it came of":  {map[string]string{"lineage": exchange.ID{2}.String()}, later, true},
		"both":             {map[string]string{"subject": "k8s:prod:llm:gateway", "target": "wiki"}, later, true},
		"unknown":          {map[string]string{"planet": "mars"}, later, true},
		"unknown and more": {map[string]string{"planet": "mars", "target": "wiki"}, later, true},
		"unknown, another": {map[string]string{"planet": "mars", "target": "github"}, later, false},
		"another subject":  {map[string]string{"subject": "k8s:prod:llm:other"}, later, false},
		"asserted's trust": {map[string]string{"trust": "corp"}, later, false},
		"half":             {map[string]string{"subject": "k8s:prod:llm:gateway", "target": "github"}, later, false},
		"over":             {map[string]string{"target": "wiki"}, noon, false},
	} {
		t.Run(name, func(t *testing.T) {
			for _, forgotten := range []bool{false, true} {
				s, r := newStandings()
				if l := s.leases[exchange.ID{1}]; forgotten {
					switch name {
					case "trust", "earlier actor", "its trust", "asserted", "credential":
						if name != "trust" { // only the record knows
							continue
						}
					}
					l.Record = exchange.Record{}
					s.leases[exchange.ID{1}] = l
				}
				ask := func() bool { _, err := r.Standing(t.Context(), "default", exchange.ID{1}); return err == nil }
				if !ask() {
					t.Fatal("it did not stand before")
				}
				s.deny(c.match, c.expires)
				if ask() == c.covers {
					t.Errorf("stands %t, with its record forgotten: %t", !c.covers, forgotten)
				}
				s.lift()
				if !ask() {
					t.Error("it does not stand after the deny is gone")
				}
			}
		})
	}
}

// S31: nothing is answered by an epoch that nobody confirmed, and the denies are
// read again only when there are others.
func TestS31StandingWithoutTheDatabase(t *testing.T) {
	s, r := newStandings()
	s.deny(map[string]string{"target": "github"}, time.Time{})
	for range 3 {
		if _, err := r.Standing(t.Context(), "default", exchange.ID{1}); err != nil {
			t.Fatal(err)
		}
	}
	if s.asked != 3 || s.read != 1 {
		t.Errorf("asked %d times, and %d times for denies", s.asked, s.read)
	}
	s.down = true
	if _, err := r.Standing(t.Context(), "default", exchange.ID{1}); exchange.KindOf(err) != exchange.KindUnavailable {
		t.Error(err)
	}
}

// Many ask while denies come and go: each answer is as of its own question or
// later.
func TestS31StandingConcurrent(t *testing.T) {
	s, r := newStandings()
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for range 200 {
				if _, err := r.Standing(t.Context(), "default", exchange.ID{1}); err != nil && exchange.KindOf(err) != exchange.KindNotFound {
					t.Error(err)
				}
			}
		})
	}
	for range 50 {
		s.deny(map[string]string{"target": "wiki"}, time.Time{})
		if _, err := r.Standing(t.Context(), "default", exchange.ID{1}); exchange.KindOf(err) != exchange.KindNotFound {
			t.Errorf("right after a deny: %v", err)
		}
		s.lift()
		if _, err := r.Standing(t.Context(), "default", exchange.ID{1}); err != nil {
			t.Errorf("right after it was lifted: %v", err)
		}
	}
	asking.Wait()
}
