package lease_test

import (
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
)

// rules are a policy of one rule with a limit, as of one deny epoch.
type rules struct {
	s       *scene
	limit   time.Duration
	refuses bool
	denied  string // a credential
	epoch   int64
	asked   []exchange.Question
	refresh int
	err     error
}

func (r *rules) Current() (exchange.Decider, error) { return r, r.err }

func (r *rules) Refresh(context.Context) error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.epoch = r.s.epoch
	r.refresh++
	return nil
}

func (r *rules) Decide(q exchange.Question) exchange.Decision {
	r.asked = append(r.asked, q)
	d := exchange.Decision{Epoch: r.epoch, Rule: "today", Target: &exchange.Target{Name: q.Audiences[0]}, Scopes: q.Scopes, Lifetime: q.Lifetime}
	switch {
	case r.refuses || q.Subject.Name != gateway:
		d.Refusal, d.Advice = exchange.KindInvalidTarget, "no such target"
	case q.Lifetime > r.limit:
		d.Refusal, d.Advice = exchange.KindInvalidLifetime, "at most so long"
	default:
		d.Allowed = true
	}
	if d.Lifetime == 0 {
		d.Lifetime = min(15*time.Minute, r.limit)
	}
	return d
}

func (r *rules) DeniesCredentials(exchange.Question, exchange.Decision) func(string) bool {
	if r.denied == "" {
		return nil
	}
	return func(f string) bool { return f == r.denied }
}

// renewals is a scene with a provider that renews.
type renewals struct {
	*scene
	options lease.DeskOptions
	rules   *rules
	id      exchange.ID
	asked   []time.Time
	gives   func(until time.Time) (time.Time, error)
	stops   error // of the standing
	fixed   bool  // the provider does not renew
}

// newRenewals has a lease of an hour, issued half an hour ago, which may live for two.
func newRenewals(t *testing.T, change ...func(*lease.Outstanding)) *renewals {
	t.Helper()
	r := &renewals{scene: newScene(t)}
	r.rules = &rules{s: r.scene, limit: 2 * time.Hour}
	r.gives = func(until time.Time) (time.Time, error) { return until, nil }
	r.options = lease.DeskOptions{
		Denies: r.shelves, Book: r.shelves, Revoke: r.bank.revoke, Sealer: r.sealer, Now: r.clock, Random: rand.Reader,
		Policy: r.rules,
		Standing: func(ctx context.Context, tenant string, id exchange.ID) (lease.Outstanding, error) {
			if r.stops != nil {
				return lease.Outstanding{}, r.stops
			}
			return r.LeaseWithRecord(ctx, tenant, id)
		},
		CanRenew: func(tenant, target string) bool { return tenant == "default" && target == "bedrock" && !r.fixed },
		Renew: func(ctx context.Context, tenant, target string, with exchange.Secret, until time.Time) (time.Time, error) {
			if _, bounded := ctx.Deadline(); !bounded || tenant != "default" || target != "bedrock" || with.Reveal() != "key" {
				return time.Time{}, errors.New("not a question for this provider")
			}
			if l, _ := r.LeaseWithRecord(ctx, tenant, r.id); l.Expires.Before(until) {
				return time.Time{}, errors.New("asked before it was on record")
			}
			r.asked = append(r.asked, until)
			return r.gives(until)
		},
	}
	r.desk = lease.NewDesk(r.options)
	r.id = r.lends(gateway, "key", append([]func(*lease.Outstanding){func(l *lease.Outstanding) {
		l.Issued, l.Expires, l.Latest = monday.Add(-30*time.Minute), monday.Add(30*time.Minute), monday.Add(90*time.Minute)
		l.Record.Lease, l.Record.Scopes = l.ID.String(), []string{"read"}
	}}, change...)...)
	return r
}

func (r *renewals) ask(change ...func(*lease.Extension)) (exchange.Lease, error) {
	x := lease.Extension{
		Tenant: "default", Lease: r.id, Lifetime: time.Hour, By: exchange.Record{Door: "rest"},
		Subject: exchange.Subject{Name: gateway, Tenant: "default", Trust: "prod", Expires: monday.Add(3 * time.Hour)},
	}
	for _, c := range change {
		c(&x)
	}
	return r.desk.Renew(r.t.Context(), x)
}

func (r *renewals) expiry() time.Time {
	l, err := r.LeaseWithRecord(r.t.Context(), "default", r.id)
	if err != nil {
		r.t.Fatal(err)
	}
	return l.Expires
}

// TestS26RenewalKeepsTheFirstMaximum: past neither the latest moment of the lease,
// nor the fresh token, nor today's limit counted from the first issue.
func TestS26RenewalKeepsTheFirstMaximum(t *testing.T) {
	for name, c := range map[string]struct {
		lease  func(*lease.Outstanding)
		ask    func(*lease.Extension)
		limit  time.Duration
		until  time.Duration // from now; zero: refused
		advice string
		policy bool // it is policy that refuses, so that is on record
	}{
		"what was asked":       {until: time.Hour},
		"nothing asked":        {ask: func(x *lease.Extension) { x.Lifetime = 0 }, advice: "would not live longer"},
		"nothing asked, later": {lease: func(l *lease.Outstanding) { l.Expires = monday.Add(time.Minute) }, ask: func(x *lease.Extension) { x.Lifetime = 0 }, until: 15 * time.Minute},
		"its latest":           {ask: func(x *lease.Extension) { x.Lifetime = 2 * time.Hour }, until: 90 * time.Minute},
		"the fresh token":      {ask: func(x *lease.Extension) { x.Subject.Expires = monday.Add(40 * time.Minute) }, until: 40 * time.Minute},
		"a shorter token":      {ask: func(x *lease.Extension) { x.Subject.Expires = monday.Add(20 * time.Minute) }, advice: "would not live longer"},
		"a lower limit today":  {limit: 70 * time.Minute, advice: "than policy allows", policy: true},
		"no latest":            {lease: func(l *lease.Outstanding) { l.Latest = time.Time{} }, advice: "as long as its rule allows"},
		"at its latest":        {lease: func(l *lease.Outstanding) { l.Latest = l.Expires }, advice: "as long as its rule allows"},
	} {
		t.Run(name, func(t *testing.T) {
			var changes []func(*lease.Outstanding)
			if c.lease != nil {
				changes = append(changes, c.lease)
			}
			r := newRenewals(t, changes...)
			if c.limit > 0 {
				r.rules.limit = c.limit
			}
			before := r.expiry()
			var l exchange.Lease
			var err error
			if c.ask == nil {
				l, err = r.ask()
			} else {
				l, err = r.ask(c.ask)
			}
			if c.until == 0 {
				var known *exchange.Error
				if !errors.As(err, &known) || known.Kind != exchange.KindInvalidRequest || !strings.Contains(known.Advice, c.advice) || !strings.Contains(known.Advice, "exchange again") {
					t.Errorf("%v", err)
				}
				if len(r.asked) != 0 || !r.expiry().Equal(before) {
					t.Error("something was done")
				}
				r.refused(c.policy, exchange.KindInvalidRequest)
				return
			}
			until := monday.Add(c.until)
			if err != nil || !l.Expires.Equal(until) || !r.expiry().Equal(until) || len(r.asked) != 1 || !r.asked[0].Equal(until) {
				t.Fatalf("until %v, on record %v, asked %v, %v", l.Expires, r.expiry(), r.asked, err)
			}
			e := r.events[0]
			if len(r.events) != 1 || e.Type != exchange.EventRenewed || e.Exchange != l.Exchange || e.Record.Expires != exchange.FormatTime(until) ||
				e.Record.Rule != "today" || e.Record.Lease != r.id.String() || e.Record.Door != "rest" || e.Record.Credential != "fp-key" {
				t.Errorf("%d events, the first is %+v", len(r.events), e.Record)
			}
		})
	}
}

func TestS26WhoAndWhatIsNotRenewed(t *testing.T) {
	for name, c := range map[string]struct {
		lease  func(*lease.Outstanding)
		ask    func(*lease.Extension)
		world  func(*renewals)
		kind   exchange.Kind
		advice string
		policy bool // it is policy that refuses, so that is on record
	}{
		"somebody acts":        {lease: func(l *lease.Outstanding) { l.Actor = "k8s:prod:a:b" }, advice: "both have to prove"},
		"another subject":      {ask: func(x *lease.Extension) { x.Subject.Name = "oidc:corp:olga" }, advice: "only its own subject"},
		"a delegated token":    {ask: func(x *lease.Extension) { x.Subject.Asserted = []exchange.Actor{{Name: "x"}} }, advice: "alone"},
		"who needs an actor":   {ask: func(x *lease.Extension) { x.Subject.MayAct = &exchange.MayAct{} }, advice: "alone"},
		"a token of ours":      {ask: func(x *lease.Extension) { x.Subject.Own = &exchange.Own{} }, advice: "alone"},
		"a provider that not":  {world: func(r *renewals) { r.fixed = true }, advice: "does not renew"},
		"nothing to renew by":  {lease: func(l *lease.Outstanding) { l.Handle = "" }, world: func(r *renewals) { r.out[0].Sealed = nil }, advice: "does not renew"},
		"revoked":              {world: func(r *renewals) { r.out[0].State, r.out[0].Revoked = exchange.LeaseRevoked, monday }, advice: "was revoked at 2026-11-23T09:00:00"},
		"expired":              {world: func(r *renewals) { r.passed = time.Hour }, advice: "expired at"},
		"no record":            {lease: func(l *lease.Outstanding) { l.Record = exchange.Record{} }, advice: "the ledger does not have"},
		"stopped by lineage":   {world: func(r *renewals) { r.stops = exchange.Fault(exchange.KindNotFound, "", nil) }, advice: "stopped"},
		"a denied credential":  {world: func(r *renewals) { r.rules.denied = "fp-key" }, advice: "stopped", policy: true},
		"no database":          {world: func(r *renewals) { r.stops = exchange.Fault(exchange.KindUnavailable, "try again", nil) }, kind: exchange.KindUnavailable},
		"a replica behind":     {world: func(r *renewals) { r.rules.err = exchange.Fault(exchange.KindUnavailable, "behind", nil) }, kind: exchange.KindUnavailable},
		"policy says no":       {world: func(r *renewals) { r.rules.refuses = true }, kind: exchange.KindInvalidTarget, policy: true},
		"policy says too long": {ask: func(x *lease.Extension) { x.Lifetime = 3 * time.Hour }, kind: exchange.KindInvalidLifetime, policy: true},
		"an unknown lease":     {ask: func(x *lease.Extension) { x.Lease[3]++ }, kind: exchange.KindNotFound},
		"of another tenant":    {ask: func(x *lease.Extension) { x.Tenant = "elsewhere" }, kind: exchange.KindNotFound}, // S22
	} {
		t.Run(name, func(t *testing.T) {
			if c.lease == nil {
				c.lease = func(*lease.Outstanding) {}
			}
			if c.ask == nil {
				c.ask = func(*lease.Extension) {}
			}
			r := newRenewals(t, c.lease)
			if c.world != nil {
				c.world(r)
			}
			if c.kind == 0 {
				c.kind = exchange.KindInvalidRequest
			}
			_, err := r.ask(c.ask)
			var known *exchange.Error
			if !errors.As(err, &known) || known.Kind != c.kind || !strings.Contains(known.Advice, c.advice) {
				t.Errorf("%v", err)
			}
			if len(r.asked) != 0 {
				t.Error("something was done")
			}
			r.refused(c.policy, c.kind)
		})
	}
}

// refused checks that the ledger has one event about a refusal by policy, by which the
// lease lives as long as before, and else none.
func (r *renewals) refused(recorded bool, kind exchange.Kind) {
	r.t.Helper()
	if !recorded {
		if len(r.events) != 0 {
			r.t.Errorf("%d events", len(r.events))
		}
		return
	}
	if len(r.events) != 1 {
		r.t.Fatalf("%d events", len(r.events))
	}
	e := r.events[0]
	if e.Type != exchange.EventRenewed || e.Record.ErrorKind != kind.String() || e.Record.Expires != exchange.FormatTime(r.expiry()) ||
		e.Record.Lease != r.id.String() || e.Record.Rule != "today" || !strings.HasPrefix(e.Record.Explanation, "not renewed: ") || e.Record.Door != "rest" {
		r.t.Errorf("the record says %+v", e.Record)
	}
}

// quota admits so many refusals.
type quota struct{ left, released int }

func (q *quota) Admit(_ context.Context, of exchange.Question, d exchange.Decision) (func(error), error) {
	if d.Allowed || of.Tenant != "default" || of.Subject.Name != gateway || q.left == 0 {
		return nil, exchange.Fault(exchange.KindThrottled, "slower", nil)
	}
	q.left--
	return func(error) { q.released++ }, nil
}

// TestS32RefusedRenewalsAreStoredWithinARate.
func TestS32RefusedRenewalsAreStoredWithinARate(t *testing.T) {
	governor := &quota{left: 3}
	r := newRenewals(t)
	r.options.Governor = governor
	r.desk = lease.NewDesk(r.options)
	r.rules.refuses = true
	for range 5 {
		if _, err := r.ask(); kindOf(err) != exchange.KindInvalidTarget {
			t.Errorf("%v", err)
		}
	}
	if len(r.events) != 3 || governor.released != 3 {
		t.Errorf("%d events, %d released", len(r.events), governor.released)
	}
}

// TestS26TheRecordFollowsTheProvider: where it gives less, refuses or does not answer,
// the lease says what is true, or the most that may be.
func TestS26TheRecordFollowsTheProvider(t *testing.T) {
	for name, c := range map[string]struct {
		gives  func(time.Time) (time.Time, error)
		until  time.Duration
		kind   exchange.Kind
		events int
	}{
		"less": {func(u time.Time) (time.Time, error) { return u.Add(-10 * time.Minute), nil }, 50 * time.Minute, 0, 2},
		"more": {func(u time.Time) (time.Time, error) { return u.Add(time.Minute), nil }, 61 * time.Minute, 0, 2},
		"no": {func(time.Time) (time.Time, error) {
			return time.Time{}, exchange.Fault(exchange.KindProviderRefused, "", errors.New("not key"))
		}, 30 * time.Minute, exchange.KindProviderRefused, 2},
		"nonsense":  {func(time.Time) (time.Time, error) { return time.Time{}, errors.New("EOF with key") }, 30 * time.Minute, exchange.KindProviderRefused, 2},
		"no answer": {func(time.Time) (time.Time, error) { return time.Time{}, context.DeadlineExceeded }, time.Hour, exchange.KindUnavailable, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRenewals(t)
			r.gives = c.gives
			l, err := r.ask()
			if (err == nil) != (c.kind == 0) || err != nil && kindOf(err) != c.kind {
				t.Errorf("%v", err)
			}
			if want := monday.Add(c.until); !r.expiry().Equal(want) || err == nil && !l.Expires.Equal(want) {
				t.Errorf("on record until %v, want %v", r.expiry(), want)
			}
			if len(r.events) != c.events {
				t.Fatalf("%d events", len(r.events))
			}
			last := r.events[len(r.events)-1].Record
			if last.Expires != exchange.FormatTime(r.expiry()) || (last.ErrorKind != "") != (err != nil) || strings.Contains(last.Explanation, "key") { // S39
				t.Errorf("the last event is %+v", last)
			}
		})
	}
}

// TestS31RenewalIsDecidedAgain: a deny that came in between makes it stale.
func TestS31RenewalIsDecidedAgain(t *testing.T) {
	r := newRenewals(t)
	r.add(map[string]string{"subject": "nobody"})
	if _, err := r.ask(); err != nil || r.rules.refresh != 1 {
		t.Errorf("%d refreshes, %v", r.rules.refresh, err)
	}
	r = newRenewals(t)
	d := r.add(map[string]string{"subject": gateway})
	r.rules.refuses = false
	if _, err := r.ask(func(*lease.Extension) { r.rules.refuses = r.rules.epoch == d.Epoch }); err != nil && kindOf(err) != exchange.KindInvalidTarget {
		t.Errorf("%v", err)
	}
}

// TestS26RevokeAndRenewAtOnce: whatever comes first, in the end it is revoked.
func TestS26RevokeAndRenewAtOnce(t *testing.T) {
	for range 50 {
		r := newRenewals(t)
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := r.ask(); err != nil && kindOf(err) != exchange.KindUnavailable && kindOf(err) != exchange.KindInvalidRequest {
				t.Error(err)
			}
		})
		group.Go(func() {
			if _, err := r.take(r.id); err != nil {
				t.Error(err)
			}
		})
		group.Wait()
		if l, _ := r.LeaseWithRecord(t.Context(), "default", r.id); l.State != exchange.LeaseRevoked || len(r.revocations()) != 1 {
			t.Fatalf("in the end it is %+v", l.Lease)
		}
	}
}

// TestS26NoRenewalPassesACap, whatever the caps are: its latest moment, the fresh
// token, today's limit counted from the first issue; and what is refused changes
// nothing.
func TestS26NoRenewalPassesACap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		minutes := func(name string, least, most int) time.Duration {
			return time.Duration(rapid.IntRange(least, most).Draw(rt, name)) * time.Minute
		}
		age, left, latest := minutes("age", 0, 120), minutes("left", -10, 120), minutes("latest", -10, 240)
		token, limit, asked := minutes("token", -10, 240), minutes("limit", 1, 240), minutes("asked", 0, 300)
		r := newRenewals(t, func(l *lease.Outstanding) {
			l.Issued, l.Expires, l.Latest = monday.Add(-age), monday.Add(left), monday.Add(latest)
		})
		r.rules.limit = limit
		given, err := r.ask(func(x *lease.Extension) { x.Lifetime, x.Subject.Expires = asked, monday.Add(token) })
		until := r.expiry()
		if err != nil {
			if !until.Equal(monday.Add(left)) || len(r.asked) != 0 {
				rt.Fatalf("refused (%v), and it lives until %v", err, until)
			}
			return
		}
		for name, limit := range map[string]time.Time{
			"its latest": monday.Add(latest), "the token": monday.Add(token), "the rule": monday.Add(limit - age),
		} {
			if until.After(limit) {
				rt.Fatalf("it lives until %v, past %s: %v", until, name, limit)
			}
		}
		if !until.Equal(given.Expires) || !until.After(monday.Add(left)) || left <= 0 {
			rt.Fatalf("it lives until %v, of %v", until, left)
		}
	})
}
