package policy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// maxLag is how long a replica may be behind the newest revision, or without word
// from the database, before it issues nothing (S21).
const maxLag = 10 * time.Second

// pollTimeout bounds one reading of the database.
const pollTimeout = 5 * time.Second

// SetOptions is what a Set is made of.
type SetOptions struct {
	State  State
	Tenant string // empty: DefaultTenant
	Now    func() time.Time
	Random io.Reader // for the ids of events
	// OnActivate hands a revision's trusts to the verifier before the revision
	// decides anything. An error leaves the old revision in force. When a later
	// step fails it is called again with the old revision. Optional.
	OnActivate func(*Revision) error
	// OnError is told when the database could not be read. Optional.
	OnError func(error)
	// Every is how often the database is asked. Zero: one second.
	Every time.Duration
}

// Set holds the revision in force and the emergency denies. It implements
// exchange.Policy and is safe for concurrent use.
type Set struct {
	o SetOptions

	current  atomic.Pointer[pinned]
	activate sync.Mutex // one Activate at a time
	write    sync.Mutex // guards changes of current
	polls    flights
}

// pinned is everything that one exchange decides by.
type pinned struct {
	revision *Revision
	seq      int64
	denies   *denies

	confirmed time.Time // when the database was last asked, successfully
	newest    int64     // the greatest place in the order, as of confirmed
	since     time.Time // when a newer revision was loaded, by our clock; zero: none
}

// NewSet makes a Set without a revision: Current fails until Activate succeeds.
func NewSet(o SetOptions) *Set {
	if o.Tenant == "" {
		o.Tenant = DefaultTenant
	}
	if o.Every == 0 {
		o.Every = time.Second
	}
	if o.OnActivate == nil {
		o.OnActivate = func(*Revision) error { return nil }
	}
	if o.OnError == nil {
		o.OnError = func(error) {}
	}
	return &Set{o: o}
}

// Decide implements exchange.Decider.
func (p *pinned) Decide(q exchange.Question) exchange.Decision {
	d := p.revision.decide(&q, p.denies)
	d.Revision.Seq = p.seq
	return d
}

// DeniesCredentials implements exchange.CredentialDenier.
func (p *pinned) DeniesCredentials(q exchange.Question, d exchange.Decision) func(string) bool {
	if p.denies == nil || !p.denies.credentials {
		return nil
	}
	return func(fingerprint string) bool { return p.denies.matchCredential(&q, &d, fingerprint) }
}

// Serves implements exchange.Servers.
func (p *pinned) Serves(client, resource string) bool { return p.revision.Serves(client, resource) }

// Presents implements exchange.Presenters.
func (p *pinned) Presents(trust string, who exchange.Actor) bool {
	return p.revision.Presents(trust, who)
}

// Activate puts a revision in force: it tells the verifier, takes a place in the
// database's order, reads the denies, and swaps. On an error the old revision stays.
func (s *Set) Activate(ctx context.Context, r *Revision) error {
	if r.tenant != s.o.Tenant {
		return fmt.Errorf("the policy is of tenant %q, not %q", r.tenant, s.o.Tenant)
	}
	s.activate.Lock()
	defer s.activate.Unlock()
	old := s.current.Load()
	if old != nil && old.revision.hash == r.hash {
		return nil
	}
	if err := s.o.OnActivate(r); err != nil {
		return errors.Join(fmt.Errorf("handing the trusts to the verifier: %w", err), s.back(old))
	}
	next, err := s.enter(ctx, r, old)
	if err != nil {
		return errors.Join(err, s.back(old))
	}
	s.write.Lock()
	defer s.write.Unlock()
	if now := s.current.Load(); now != nil && now.denies.epoch > next.denies.epoch {
		next.denies = now.denies // read in between
	}
	s.current.Store(next)
	return nil
}

// back gives the verifier the old revision's trusts again.
func (s *Set) back(old *pinned) error {
	if old == nil {
		return nil
	}
	if err := s.o.OnActivate(old.revision); err != nil {
		return fmt.Errorf("handing the old trusts back to the verifier: %w", err)
	}
	return nil
}

// enter takes the revision's place in the order and reads what goes with it.
func (s *Set) enter(ctx context.Context, r *Revision, old *pinned) (*pinned, error) {
	replaces := ""
	if old != nil {
		replaces = old.revision.hash
	}
	now := s.o.Now()
	id, err := exchange.NewID(now, s.o.Random)
	if err != nil {
		return nil, err
	}
	event := exchange.Event{ID: id, Exchange: id, Tenant: r.tenant, Type: exchange.EventPolicyLoaded, At: now, Record: exchange.Record{
		Exchange: id.String(), Type: exchange.EventPolicyLoaded.String(), At: exchange.FormatTime(now), Tenant: r.tenant, Revision: r.hash,
	}}
	p := &pinned{revision: r}
	if p.seq, err = s.o.State.LoadRevision(ctx, r.tenant, r.hash, replaces, event); err != nil {
		return nil, fmt.Errorf("recording that the policy was loaded: %w", err)
	}
	if err := s.read(ctx, p); err != nil {
		return nil, err
	}
	return p, nil
}

// read fills in what the database knows: the newest place, and the denies.
func (s *Set) read(ctx context.Context, p *pinned) error {
	begun := s.o.Now() // what is read is at least this fresh
	seq, _, loaded, now, err := s.o.State.NewestRevision(ctx, s.o.Tenant)
	if err != nil {
		return fmt.Errorf("reading the newest policy revision: %w", err)
	}
	list, err := s.o.State.Denies(ctx, s.o.Tenant)
	if err != nil {
		return fmt.Errorf("reading the emergency denies: %w", err)
	}
	p.confirmed, p.newest, p.since = begun, seq, time.Time{}
	if seq > p.seq {
		p.since = begun.Add(-max(0, now.Sub(loaded))) // the age is by the database's clock alone
	}
	if p.denies == nil || list.Epoch > p.denies.epoch {
		p.denies = newDenies(s.o.Tenant, list)
	}
	return nil
}

// Current implements exchange.Policy.
func (s *Set) Current() (exchange.Decider, error) {
	p := s.current.Load()
	if err := s.fit(p); err != nil {
		return nil, exchange.Fault(exchange.KindUnavailable, "this replica cannot decide at the moment; try again", err)
	}
	return p, nil
}

// Status is nil when the set can decide; else it says why not, for /readyz.
func (s *Set) Status() error { return s.fit(s.current.Load()) }

func (s *Set) fit(p *pinned) error {
	if p == nil {
		return errors.New("no policy has been loaded yet")
	}
	now := s.o.Now()
	if silent := now.Sub(p.confirmed); silent > maxLag {
		return fmt.Errorf("the database has not confirmed the policy revision for %s", silent.Round(time.Second))
	}
	if !p.since.IsZero() && now.Sub(p.since) > maxLag {
		return fmt.Errorf("the policy loaded here is number %d and number %d has been in force for %s: load the newest files here too "+
			"(files that were in force before keep their old number at a start: to go back to them, change them, if only by a comment)",
			p.seq, p.newest, now.Sub(p.since).Round(time.Second))
	}
	return nil
}

// Revision is the revision in force; nil before the first.
func (s *Set) Revision() *Revision {
	if p := s.current.Load(); p != nil {
		return p.revision
	}
	return nil
}

// Refresh implements exchange.Policy: what it finds was read after the call.
// Concurrent calls share readings.
func (s *Set) Refresh(ctx context.Context) error {
	return s.polls.join(ctx, func() error {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), pollTimeout)
		defer cancel()
		return s.poll(bounded)
	})
}

func (s *Set) poll(ctx context.Context) error {
	old := s.current.Load()
	if old == nil {
		return nil
	}
	fresh := *old
	if err := s.read(ctx, &fresh); err != nil {
		return err
	}
	s.write.Lock()
	defer s.write.Unlock()
	now := s.current.Load()
	if now.seq != fresh.seq || now.revision != fresh.revision {
		// Another revision came in between: keep it, and what is newer here.
		fresh.revision, fresh.seq, fresh.since = now.revision, now.seq, now.since
		fresh.confirmed, fresh.newest = now.confirmed, now.newest
	}
	if now.denies.epoch > fresh.denies.epoch {
		fresh.denies = now.denies
	}
	s.current.Store(&fresh)
	return nil
}

// Run asks the database for newer revisions and denies until ctx ends. It returns
// nil.
func (s *Set) Run(ctx context.Context) error {
	tick := time.NewTicker(s.o.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := s.Refresh(ctx); err != nil && ctx.Err() == nil {
				s.o.OnError(err)
			}
		}
	}
}
