package signing_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/signing"
)

// renewing is an office that renews, and says when one renewal is over.
type renewing struct {
	*office
	asked chan signing.Renewal
	done  chan error
	says  func(signing.Renewal) error // what renews
}

// newRenewing has a session of an hour whose lease may live for a day, and an office
// that is at work until the test ends.
func newRenewing(t *testing.T) *renewing {
	t.Helper()
	r := &renewing{asked: make(chan signing.Renewal, 100), done: make(chan error, 100)}
	r.office = newOffice(t, func(o *office, with *signing.Options) {
		with.Renew = func(ctx context.Context, renewal signing.Renewal) error {
			if _, bounded := ctx.Deadline(); !bounded {
				return errors.New("it may last for ever")
			}
			r.asked <- renewal
			return r.says(renewal)
		}
		with.Renewed = func(target string, _ exchange.ID, err error) {
			if target != "oci-genai" {
				err = errors.New("of target " + target)
			}
			r.done <- err
		}
	})
	r.says = func(x signing.Renewal) error { return r.replace(x.Session, r.clock().Add(x.Lifetime)) }
	l := r.leases[r.id]
	l.Actor, l.Latest = "", r.now.Add(24*time.Hour)
	r.leases[r.id] = l
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	work.Go(func() { r.desk.Run(ctx, nil) })
	t.Cleanup(func() { cancel(); work.Wait() })
	return r
}

// replace does what a driver does: the fake signer takes the same snapshot again.
func (r *renewing) replace(id exchange.ID, expires time.Time) error {
	was, _, err := r.desk.Held(context.Background(), "default", id)
	if err != nil {
		return err
	}
	_, err = r.desk.Replace(context.Background(), "default", id, was, was, expires)
	return err
}

func (r *renewing) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

// with is a bearer that lives so long.
func (r *renewing) with(left time.Duration) func(*signing.Ask) {
	return func(a *signing.Ask) { a.Caller.Expires = r.clock().Add(left) }
}

// TestS25SessionsAreRenewedAhead: in the last fifth, by its subject's fresh token,
// once, while it goes on signing; then not again until the new end is near.
func TestS25SessionsAreRenewedAhead(t *testing.T) {
	r := newRenewing(t)
	hold := make(chan struct{})
	replace := r.says
	r.says = func(x signing.Renewal) error { <-hold; return replace(x) }
	if _, err := r.ask(t, r.with(24*time.Hour)); err != nil || len(r.asked) > 0 {
		t.Fatalf("at once: %d, %v", len(r.asked), err)
	}
	r.pass(48 * time.Minute)
	before := r.sessions[r.id].Expires
	for range 20 { // none waits: the renewal is held up
		s, err := r.ask(t, r.with(24*time.Hour), func(a *signing.Ask) { a.By.Door = "rest" })
		if err != nil || !s.Expires.Equal(before) || s.Expires.Sub(s.Renew) != 6*time.Minute {
			t.Fatalf("until %v: %v", s.Expires, err)
		}
	}
	x := <-r.asked
	if x.Session != r.id || x.Ask.Caller.Name != subject || x.Ask.By.Door != "rest" || x.Lifetime != 24*time.Hour-48*time.Minute || !x.Ask.Token.IsZero() {
		t.Errorf("asked %+v", x)
	}
	close(hold)
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	s, err := r.ask(t, r.with(24*time.Hour))
	if err != nil || s.Expires.Sub(r.clock()) != x.Lifetime || len(r.asked) > 0 {
		t.Errorf("until %v, and asked %d times more: %v", s.Expires, len(r.asked), err)
	}
}

// TestS25WhatIsNotRenewed: for none but the subject itself, no further than lease and
// bearer allow, and not for next to nothing.
func TestS25WhatIsNotRenewed(t *testing.T) {
	for name, c := range map[string]struct {
		ask   func(*renewing, *signing.Ask)
		lease func(*exchange.Lease)
		pass  time.Duration
	}{
		"too early":          {pass: 47 * time.Minute},
		"an actor":           {ask: func(_ *renewing, a *signing.Ask) { a.Caller.Name = actor }, lease: func(l *exchange.Lease) { l.Actor = actor }},
		"with an actor":      {lease: func(l *exchange.Lease) { l.Actor = actor }},
		"at its latest":      {lease: func(l *exchange.Lease) { l.Latest = l.Issued.Add(time.Hour) }},
		"near its latest":    {lease: func(l *exchange.Lease) { l.Latest = l.Issued.Add(time.Hour + 59*time.Second) }},
		"an old bearer":      {ask: func(r *renewing, a *signing.Ask) { a.Caller.Expires = r.clock().Add(10 * time.Minute) }},
		"another's token":    {ask: func(_ *renewing, a *signing.Ask) { a.Token = exchange.NewSecret("x") }},
		"another's bearer":   {ask: func(_ *renewing, a *signing.Ask) { a.Caller.Name = "k8s:prod:llm:other" }},
		"what is not signed": {ask: func(_ *renewing, a *signing.Ask) { a.Request.Method = "TRACE" }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRenewing(t)
			if c.lease != nil {
				l := r.leases[r.id]
				c.lease(&l)
				r.leases[r.id] = l
			}
			if c.pass == 0 {
				c.pass = 50 * time.Minute
			}
			r.pass(c.pass)
			_, _ = r.ask(t, r.with(24*time.Hour), func(a *signing.Ask) {
				if c.ask != nil {
					c.ask(r, a)
				}
			})
			if c.ask != nil && c.lease == nil { // the next is due, and comes behind what was before it
				if _, err := r.ask(t, r.with(24*time.Hour)); err != nil {
					t.Fatal(err)
				}
				if x := <-r.asked; x.Ask.Caller.Name != subject || !x.Ask.Caller.Expires.Equal(r.clock().Add(24*time.Hour)) {
					t.Errorf("renewed for %s", x.Ask.Caller.Name)
				}
				<-r.done
			}
			if len(r.asked) != 0 {
				t.Errorf("asked %d times", len(r.asked))
			}
		})
	}
}

// TestS25ARenewalThatFails leaves the session as it was, is tried again after a
// while, and in the end the answer says what helps.
func TestS25ARenewalThatFails(t *testing.T) {
	r := newRenewing(t)
	r.says = func(signing.Renewal) error { return exchange.Fault(exchange.KindProviderRefused, "no", nil) }
	r.pass(50 * time.Minute)
	before := r.sessions[r.id].Expires
	for range 3 {
		for range 5 {
			if s, err := r.ask(t, r.with(24*time.Hour)); err != nil || !s.Expires.Equal(before) {
				t.Fatalf("until %v: %v", s.Expires, err)
			}
		}
		if err := <-r.done; exchange.KindOf(err) != exchange.KindProviderRefused {
			t.Error(err)
		}
		r.pass(time.Minute)
	}
	if len(r.asked) != 3 {
		t.Errorf("asked %d times, want 3", len(r.asked))
	}
	r.pass(10 * time.Minute)
	_, err := r.ask(t, r.with(24*time.Hour))
	var e *exchange.Error
	if !errors.As(err, &e) || e.Kind != exchange.KindNotFound || e.Advice != "there is no such session for you and this token: exchange again for a new one" {
		t.Error(err)
	}
	// That another replica was faster is no failure.
	r = newRenewing(t)
	r.says = func(x signing.Renewal) error {
		return errors.Join(r.replace(x.Session, r.clock().Add(time.Hour)), errors.New("renewed in this moment"))
	}
	r.pass(50 * time.Minute)
	if _, err := r.ask(t, r.with(24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := <-r.done; err != nil {
		t.Error(err)
	}
}

// TestS25RenewalsEndWithTheHouse: what is under way is ended first; nothing is begun
// then, however many wait, and signing waits for none of them.
func TestS25RenewalsEndWithTheHouse(t *testing.T) {
	begun, hold := make(chan struct{}, 1000), make(chan struct{})
	var over int
	var mu sync.Mutex
	o := newOffice(t, func(_ *office, with *signing.Options) {
		with.Renew = func(context.Context, signing.Renewal) error { begun <- struct{}{}; <-hold; return nil }
		with.Renewed = func(string, exchange.ID, error) {
			mu.Lock()
			defer mu.Unlock()
			over++
		}
	})
	ids := []exchange.ID{o.id}
	for range 600 {
		ids = append(ids, o.hold(t, subject))
	}
	for id, l := range o.leases {
		l.Actor, l.Latest = "", l.Issued.Add(24*time.Hour)
		o.leases[id] = l
	}
	o.now = o.now.Add(50 * time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { o.desk.Run(ctx, nil); close(ended) }()
	for _, id := range ids {
		if _, err := o.ask(t, func(a *signing.Ask) { a.Session, a.Caller.Expires = id, o.now.Add(24*time.Hour) }); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		<-begun
	}
	cancel()
	select {
	case <-ended:
		t.Error("it ended over a renewal under way")
	default:
	}
	close(hold)
	<-ended
	mu.Lock()
	defer mu.Unlock()
	// A worker that is free picks by chance between its end and one that waits.
	if left := len(begun); over != 4+left || over > 4+256 {
		t.Errorf("%d are over, %d begun later", over, left)
	}
}

// TestS25OneReplacementWins: of many who renew one snapshot, one does, and all others
// get what that one made; a session that has ended stays so.
func TestS25OneReplacementWins(t *testing.T) {
	o := newOffice(t)
	was, _, err := o.desk.Held(t.Context(), "default", o.id)
	if err != nil || was.Reveal() != "what signs" {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	got := make([]time.Time, 16)
	for i := range got {
		group.Go(func() {
			var err error
			got[i], err = o.desk.Replace(context.Background(), "default", o.id, was, exchange.NewSecret(fmt.Sprint("snapshot ", i)), o.now.Add(time.Duration(i+2)*time.Hour))
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	snapshot, expires, err := o.desk.Held(t.Context(), "default", o.id)
	if err != nil {
		t.Fatal(err)
	}
	for i, until := range got {
		if !until.Equal(expires) {
			t.Errorf("%d: until %v, and it is %v", i, until, expires)
		}
		if until.Equal(o.now.Add(time.Duration(i+2)*time.Hour)) != (snapshot.Reveal() == fmt.Sprint("snapshot ", i)) {
			t.Errorf("%d: expiry and snapshot are of two", i)
		}
	}
	if err := o.desk.End(t.Context(), "default", o.id); err != nil {
		t.Fatal(err)
	}
	if _, err := o.desk.Replace(t.Context(), "default", o.id, snapshot, was, expires); exchange.KindOf(err) != exchange.KindNotFound || len(o.sessions) != 0 {
		t.Errorf("it came back: %v", err)
	}
}
