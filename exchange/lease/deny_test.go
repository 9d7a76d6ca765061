package lease_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
)

var monday = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// shelves keep denies and leases by the rules that their interfaces state.
type shelves struct {
	t       *testing.T
	mu      sync.Mutex
	denies  []exchange.Deny
	epoch   int64
	out     []lease.Outstanding
	intents []exchange.Intent
	events  []exchange.Event
	err     error
	pages   int
	passed  time.Duration
}

func (b *shelves) AddDeny(_ context.Context, d exchange.Deny, e exchange.Event) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	for _, other := range b.denies {
		if other.ID == d.ID {
			return other.Epoch, nil
		}
	}
	b.epoch++
	d.Epoch, d.Match = b.epoch, maps.Clone(d.Match)
	b.denies, b.events = append(b.denies, d), append(b.events, e)
	return d.Epoch, nil
}

func (b *shelves) RemoveDeny(_ context.Context, tenant string, id exchange.ID, e exchange.Event) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.denies {
		if d := &b.denies[i]; d.ID == id && d.Tenant == tenant && d.Removed.IsZero() {
			d.Removed, b.events = monday, append(b.events, e)
			return true, b.err
		}
	}
	return false, b.err
}

func (b *shelves) Deny(_ context.Context, tenant string, id exchange.ID) (exchange.Deny, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.denies {
		if d.ID == id && d.Tenant == tenant {
			return d, nil
		}
	}
	return exchange.Deny{}, exchange.Fault(exchange.KindNotFound, "there is no such deny", nil)
}

func (b *shelves) ListDenies(_ context.Context, tenant string, below int64, ended bool, limit int) (list []exchange.Deny, err error) {
	for _, d := range slices.Backward(b.denies) {
		if d.Tenant == tenant && d.Epoch < below && (ended || d.Removed.IsZero()) && len(list) < limit {
			list = append(list, d)
		}
	}
	return list, b.err
}

func (b *shelves) Outstanding(_ context.Context, q lease.Query) (page []lease.Outstanding, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pages++; b.err != nil {
		return nil, b.err
	}
	slices.SortFunc(b.out, func(x, y lease.Outstanding) int {
		if c := x.Expires.Compare(y.Expires); c != 0 {
			return c
		}
		return bytes.Compare(x.ID[:], y.ID[:])
	})
	for _, l := range b.out {
		later := l.Expires.After(q.Expires) || l.Expires.Equal(q.Expires) && bytes.Compare(l.ID[:], q.After[:]) > 0
		if l.Tenant == q.Tenant && l.State == exchange.LeaseActive && l.Expires.After(monday) && later && len(page) < q.Limit &&
			(q.Lineage.IsZero() || q.Lineage == l.ID || slices.Contains(l.Lineage, q.Lineage)) && (q.Subject == "" || q.Subject == l.Subject) && (q.Target == "" || q.Target == l.Target) && (q.Rule == "" || q.Rule == l.Rule) {
			page = append(page, l)
		}
	}
	return page, nil
}

func (b *shelves) Unsettled(_ context.Context, tenant string, after exchange.ID, limit int) (page []exchange.Intent, err error) {
	for _, i := range b.intents {
		if i.Event.Tenant == tenant && bytes.Compare(i.Event.Exchange[:], after[:]) > 0 && len(page) < limit {
			page = append(page, i)
		}
	}
	return page, b.err
}

func (b *shelves) RevokeLease(_ context.Context, tenant string, id exchange.ID, e exchange.Event) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.out {
		if l := &b.out[i]; l.ID == id && l.Tenant == tenant && l.State == exchange.LeaseActive && l.Expires.After(b.clock()) {
			if b.err != nil {
				return false, b.err
			}
			l.State, l.Revoked, b.events = exchange.LeaseRevoked, b.clock(), append(b.events, e)
			return true, nil
		}
	}
	return false, nil
}

func (b *shelves) LeaseWithRecord(_ context.Context, tenant string, id exchange.ID) (lease.Outstanding, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.out {
		if l.ID == id && l.Tenant == tenant {
			return l, b.err
		}
	}
	return lease.Outstanding{}, cmp.Or(b.err, error(exchange.Fault(exchange.KindNotFound, "there is no such lease", nil)))
}

func (b *shelves) ListLeases(context.Context, lease.List) ([]exchange.Lease, error) {
	return nil, errors.New("the desk lists nothing")
}

func (b *shelves) RenewLease(_ context.Context, r lease.Renewal) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return false, b.err
	}
	if !r.Corrects && r.Epoch != b.epoch {
		return false, exchange.ErrStale
	}
	for i := range b.out {
		l := &b.out[i]
		if l.ID == r.Lease && l.Tenant == r.Tenant && l.Expires.Equal(r.From) && (r.Corrects || l.State == exchange.LeaseActive && l.Expires.After(b.clock())) {
			l.Expires, b.events = r.Until, append(b.events, r.Event)
			return true, nil
		}
	}
	return false, nil
}

// clock is the database's.
func (b *shelves) clock() time.Time { return monday.Add(b.passed) }

func newID(t *testing.T) exchange.ID {
	t.Helper()
	id, err := exchange.NewID(monday, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// bank revokes what it gave, by the secret of each lease.
type bank struct {
	mu    sync.Mutex
	dead  []string
	fails map[string]error
}

func (b *bank) revoke(_ context.Context, tenant, target string, with exchange.Secret) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if tenant != "default" || target == "" {
		return errors.New("a target that nobody knows")
	}
	if err := b.fails[with.Reveal()]; err != nil {
		return err
	}
	b.dead = append(b.dead, with.Reveal())
	return nil
}

type scene struct {
	*shelves
	bank   *bank
	sealer *exchange.Sealer
	desk   *lease.Desk
}

func newScene(t *testing.T) *scene {
	t.Helper()
	sealer, err := exchange.NewSealer(rand.Reader, make([]byte, exchange.SealKeySize))
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{shelves: &shelves{t: t}, bank: &bank{fails: map[string]error{}}, sealer: sealer}
	s.desk = lease.NewDesk(lease.DeskOptions{
		Denies: s.shelves, Book: s.shelves, Revoke: s.bank.revoke, Sealer: sealer, Now: s.clock, Random: rand.Reader,
	})
	return s
}

// lends puts a lease out; revoke is what revokes it, empty: nothing.
func (s *scene) lends(subject, revoke string, change ...func(*lease.Outstanding)) exchange.ID {
	s.t.Helper()
	l := lease.Outstanding{
		Lease: exchange.Lease{
			ID: newID(s.t), Tenant: "default", Exchange: newID(s.t), Target: "bedrock", Provider: "test", Subject: subject, Rule: "r",
			Handle: "h-" + revoke, Expires: monday.Add(time.Hour), State: exchange.LeaseActive,
		},
		Record: exchange.Record{Subject: subject, Trust: "prod", Target: "bedrock", Rule: "r", Credential: "fp-" + revoke},
	}
	for _, c := range change {
		c(&l)
	}
	if revoke != "" {
		var err error
		if l.Sealed, err = s.sealer.Seal("lease", l.ID.String(), []byte(revoke)); err != nil {
			s.t.Fatal(err)
		}
	}
	s.out = append(s.out, l)
	return l.ID
}

func (s *scene) add(match map[string]string) exchange.Deny {
	s.t.Helper()
	d, err := s.desk.Add(s.t.Context(), exchange.Deny{Tenant: "default", Match: match, Reason: "fire"}, exchange.Event{Record: exchange.Record{Subject: "oidc:corp:olga"}})
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

// stop goes through all pages.
func (s *scene) stop(d exchange.Deny) map[exchange.ID]lease.Stopped {
	s.t.Helper()
	all := map[exchange.ID]lease.Stopped{}
	for place, more := (lease.Place{}), true; more; {
		page, next, further, err := s.desk.Stop(s.t.Context(), d, "oidc:corp:olga", place)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, one := range page {
			key := one.Lease.ID
			if key.IsZero() {
				key = one.Lease.Exchange
			}
			if _, twice := all[key]; twice {
				s.t.Errorf("%s is listed twice", key)
			}
			all[key] = one
		}
		place, more = next, further
	}
	return all
}

const gateway = "k8s:prod:llm:gateway"

// TestEachCredentialHasItsFate: dead now, dies by itself, not stopped and why; and
// what is under way.
func TestEachCredentialHasItsFate(t *testing.T) {
	s := newScene(t)
	dead, own, stubborn := s.lends(gateway, "key-1"), s.lends(gateway, ""), s.lends(gateway, "key-2")
	garbled := s.lends(gateway, "key-3")
	s.out[len(s.out)-1].Sealed[0] ^= 1
	other := s.lends("k8s:prod:llm:other", "key-4")
	s.bank.fails["key-2"] = errors.New("403 for key-2: the role may not revoke")
	intent := exchange.Intent{Event: exchange.Event{Exchange: newID(t), Tenant: "default", Record: exchange.Record{Subject: gateway, Target: "bedrock"}}}
	s.intents = append(s.intents, intent)

	d := s.add(map[string]string{"subject": gateway})
	got := s.stop(d)
	for id, want := range map[exchange.ID]lease.Fate{
		dead: lease.FateRevoked, own: lease.FateExpires, stubborn: lease.FateNotStopped, garbled: lease.FateNotStopped, intent.Event.Exchange: lease.FatePending,
	} {
		if one := got[id]; one.Fate != want || one.Why == "" {
			t.Errorf("%s: fate %d, want %d (%s)", one.Lease.Handle, one.Fate, want, one.Why)
		}
	}
	if _, listed := got[other]; listed || len(got) != 5 || !slices.Equal(s.bank.dead, []string{"key-1"}) {
		t.Errorf("%d listed, revoked %v", len(got), s.bank.dead)
	}
	if why := got[stubborn].Why; strings.Contains(why, "key-2") || !strings.Contains(why, "403") { // S39
		t.Errorf("why it was not stopped: %s", why)
	}
	var revoked []exchange.Event
	for _, e := range s.events {
		if e.Type == exchange.EventRevoked {
			revoked = append(revoked, e)
		}
	}
	if len(revoked) != 1 || revoked[0].Record.Lease != dead.String() || revoked[0].Record.Reason != "fire" ||
		!strings.Contains(revoked[0].Record.Explanation, "olga") || !strings.Contains(revoked[0].Record.Explanation, d.ID.String()) {
		t.Errorf("events of revocations: %+v", revoked)
	}

	delete(s.bank.fails, "key-2") // it is tried again, and what is dead is not
	if again := s.stop(d); again[stubborn].Fate != lease.FateRevoked || len(again) != 4 || len(s.bank.dead) != 2 {
		t.Errorf("again: %d listed, revoked %v", len(again), s.bank.dead)
	}
}

func TestWhatADenyCovers(t *testing.T) {
	delegated := func(l *lease.Outstanding) {
		l.Record.Actors, l.Record.Asserted = []string{"k8s:edge%3A1:agents:bot"}, []string{"corp says robot"}
	}
	for name, c := range map[string]struct {
		match map[string]string
		yes   bool
	}{
		"subject":            {map[string]string{"subject": gateway}, true},
		"another subject":    {map[string]string{"subject": gateway + "2"}, false},
		"target":             {map[string]string{"target": "bedrock"}, true},
		"another target":     {map[string]string{"target": "vertex"}, false},
		"rule":               {map[string]string{"rule": "r"}, true},
		"another rule":       {map[string]string{"rule": "q"}, false},
		"trust":              {map[string]string{"trust": "prod"}, true},
		"an actor's trust":   {map[string]string{"trust": "edge:1"}, true},
		"another trust":      {map[string]string{"trust": "edge"}, false},
		"actor":              {map[string]string{"actor": "k8s:edge%3A1:agents:bot"}, true},
		"an asserted actor":  {map[string]string{"actor": "robot"}, true},
		"half an actor":      {map[string]string{"actor": "bot"}, false},
		"credential":         {map[string]string{"credential": "fp-key"}, true},
		"another credential": {map[string]string{"credential": "fp-kez"}, false},
		"all hold":           {map[string]string{"credential": "fp-key", "subject": gateway, "target": "bedrock"}, true},
		"one does not":       {map[string]string{"credential": "fp-key", "subject": gateway, "target": "vertex"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.lends(gateway, "key", delegated)
			elsewhere := s.lends(gateway, "key-of-others", delegated)
			s.out[1].Tenant = "elsewhere" // S22
			got := s.stop(s.add(c.match))
			if _, leak := got[elsewhere]; leak || (len(got) == 1) != c.yes || (len(s.bank.dead) == 1) != c.yes {
				t.Errorf("%d listed, revoked %v", len(got), s.bank.dead)
			}
		})
	}
}

// TestStopGoesOnPageByPage: no credential is left out, none comes twice.
func TestStopGoesOnPageByPage(t *testing.T) {
	s := newScene(t)
	for n := range 1300 {
		s.lends(gateway, fmt.Sprint("key-", n), func(l *lease.Outstanding) { l.Expires = monday.Add(time.Duration(1+n%7) * time.Minute) })
	}
	for range 700 {
		s.intents = append(s.intents, exchange.Intent{Event: exchange.Event{Exchange: newID(t), Tenant: "default", Record: exchange.Record{Subject: gateway}}})
	}
	slices.SortFunc(s.intents, func(a, b exchange.Intent) int { return bytes.Compare(a.Event.Exchange[:], b.Event.Exchange[:]) })
	d := s.add(map[string]string{"subject": gateway})
	page, _, more, err := s.desk.Stop(t.Context(), d, "o", lease.Place{})
	if err != nil || !more || len(page) < 500 || len(page) > 600 {
		t.Fatalf("the first page: %d, more: %t, %v", len(page), more, err)
	}
	if got := s.stop(d); len(got)+len(page) != 2000 || len(s.bank.dead) != 1300 {
		t.Errorf("%d and %d listed, %d revoked", len(page), len(got), len(s.bank.dead))
	}
}

func TestBadDenies(t *testing.T) {
	subject := map[string]string{"subject": gateway}
	old, err := exchange.NewID(monday.Add(-48*time.Hour), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		deny exchange.Deny
		says string
	}{
		"no match":           {exchange.Deny{Reason: "r"}, "match is empty"},
		"unknown member":     {exchange.Deny{Match: map[string]string{"moon": "full"}, Reason: "r"}, "unknown member"},
		"no lease's id":      {exchange.Deny{Match: map[string]string{"lineage": "x"}, Reason: "r"}, "match.lineage is the id of a lease"},
		"empty member":       {exchange.Deny{Match: map[string]string{"rule": ""}, Reason: "r"}, "match.rule is empty"},
		"a long member":      {exchange.Deny{Match: map[string]string{"rule": strings.Repeat("r", 1025)}, Reason: "r"}, "at most 1024"},
		"lines in a member":  {exchange.Deny{Match: map[string]string{"rule": "a\nb"}, Reason: "r"}, "one line"},
		"no reason":          {exchange.Deny{Match: subject, Reason: " "}, "reason is missing"},
		"a long reason":      {exchange.Deny{Match: subject, Reason: strings.Repeat("r", 513)}, "at most 512"},
		"lines in a reason":  {exchange.Deny{Match: subject, Reason: "a\x00b"}, "one line"},
		"expired":            {exchange.Deny{Match: subject, Reason: "r", Expires: monday}, "expire_time has passed"},
		"an id of yesterday": {exchange.Deny{Match: subject, Reason: "r", ID: old}, "request_id was not made today"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			c.deny.Tenant = "default"
			_, err := s.desk.Add(t.Context(), c.deny, exchange.Event{})
			var known *exchange.Error
			if !errors.As(err, &known) || known.Kind != exchange.KindInvalidRequest || !strings.Contains(known.Advice, c.says) {
				t.Errorf("%v", err)
			}
			if len(s.denies)+len(s.events) != 0 {
				t.Error("something was written")
			}
		})
	}
}

// TestTheSameRequestIsOneDeny, and another under its name is none.
func TestTheSameRequestIsOneDeny(t *testing.T) {
	s := newScene(t)
	ask := exchange.Deny{ID: newID(t), Tenant: "default", Match: map[string]string{"subject": gateway}, Reason: "fire", Expires: monday.Add(time.Hour)}
	for range 3 {
		if d, err := s.desk.Add(t.Context(), ask, exchange.Event{Record: exchange.Record{Subject: "olga"}}); err != nil || d.ID != ask.ID || d.Epoch != 1 {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	if len(s.denies) != 1 || len(s.events) != 1 {
		t.Errorf("%d denies, %d events", len(s.denies), len(s.events))
	}
	e := s.events[0]
	if e.Type != exchange.EventDenyAdded || e.Exchange != ask.ID || e.Record.Subject != "olga" || e.Record.Reason != "fire" ||
		e.Record.Explanation != `{"subject":"`+gateway+`"}` || e.Record.Expires != exchange.FormatTime(ask.Expires) {
		t.Errorf("the event is %+v", e)
	}
	different := ask
	different.Reason = "flood"
	if _, err := s.desk.Add(t.Context(), different, exchange.Event{}); kindOf(err) != exchange.KindInvalidRequest {
		t.Errorf("another deny under the same id: %v", err)
	}
	for n, want := range []exchange.Kind{0, exchange.KindNotFound} {
		if err := s.desk.Remove(t.Context(), "default", ask.ID, exchange.Event{}); (err == nil) != (n == 0) || err != nil && kindOf(err) != want {
			t.Errorf("removal %d: %v", n, err)
		}
	}
	if err := s.desk.Remove(t.Context(), "elsewhere", ask.ID, exchange.Event{}); kindOf(err) != exchange.KindNotFound {
		t.Errorf("of another tenant: %v", err)
	}
	if _, err := s.desk.Add(t.Context(), ask, exchange.Event{}); kindOf(err) != exchange.KindInvalidRequest {
		t.Errorf("a removed one again: %v", err)
	}
	if len(s.events) != 2 || s.events[1].Type != exchange.EventDenyRemoved {
		t.Errorf("%d events", len(s.events))
	}
}

// TestTwoOperatorsAtOnce deny the same: two denies, and one event of the revocation.
func TestTwoOperatorsAtOnce(t *testing.T) {
	s := newScene(t)
	s.lends(gateway, "key")
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			d, err := s.desk.Add(t.Context(), exchange.Deny{Tenant: "default", Match: map[string]string{"subject": gateway}, Reason: "fire"}, exchange.Event{})
			if err != nil {
				t.Error(err)
				return
			}
			if _, _, _, err := s.desk.Stop(t.Context(), d, "o", lease.Place{}); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if len(s.denies) != 2 || len(s.events) != 3 {
		t.Errorf("%d denies, %d events, want 2 and 3", len(s.denies), len(s.events))
	}
}

func TestNoDatabaseNoDeny(t *testing.T) {
	s := newScene(t)
	d := s.add(map[string]string{"subject": gateway})
	s.err = errors.New("the connection was lost")
	if _, err := s.desk.Add(t.Context(), exchange.Deny{Tenant: "default", Match: map[string]string{"subject": "x"}, Reason: "r"}, exchange.Event{}); kindOf(err) != exchange.KindUnavailable {
		t.Errorf("adding: %v", err)
	}
	if _, _, _, err := s.desk.Stop(t.Context(), d, "o", lease.Place{}); !errors.Is(err, s.err) {
		t.Errorf("stopping: %v", err)
	}
	if _, err := s.desk.List(t.Context(), "default", 0, false, 10); kindOf(err) != exchange.KindUnavailable {
		t.Errorf("listing: %v", err)
	}
	if err := s.desk.Remove(t.Context(), "default", d.ID, exchange.Event{}); kindOf(err) != exchange.KindUnavailable {
		t.Errorf("removing: %v", err)
	}
}

func kindOf(err error) exchange.Kind {
	var known *exchange.Error
	if errors.As(err, &known) {
		return known.Kind
	}
	return exchange.KindInternal
}
