package subject

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// The pace of fetches.
const (
	fetchDeadline = 5 * time.Second  // of discovery and keys together
	fetchInterval = 10 * time.Second // between two attempts at one issuer, whoever asks
	fetchEvery    = 5 * time.Minute  // keys older than this are fetched again
	fileInterval  = time.Second      // the same two for a file, which costs nobody anything
	fileEvery     = 5 * time.Second
	defaultStale  = time.Hour
	minStale      = time.Minute // less would make every hiccup of an issuer an outage of ours
)

// source keeps the keys of one trust. Fetches are single flights with a deadline
// of their own, so that a caller who hangs up takes nobody along; a second
// attempt comes fetchInterval after the first at the earliest, whatever it found.
// What an issuer says about caching is not asked: the pace is ours.
type source struct {
	tenant, trust string
	fetch         func(ctx context.Context) ([]byte, error)
	kind          exchange.TrustKind
	interval      time.Duration // between attempts
	every         time.Duration // age at which keys are fetched again
	stale         time.Duration // age at which they serve no longer
	now           func() time.Time
	meter         Meter

	held atomic.Pointer[held]

	mu     sync.Mutex
	flight *flight   // under way; nil: none
	tried  time.Time // when the newest attempt began
	failed error     // of the newest attempt; nil: it succeeded
}

// held is a key set and when it was last seen to be so.
type held struct {
	keys *keySet
	at   time.Time
}

// flight is one attempt.
type flight struct{ done chan struct{} }

func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return exchange.Fault(exchange.KindUnavailable, "the keys of the token's issuer did not come in time; try again", ctx.Err())
	}
}

// attempt joins the flight under way or starts one. It returns nil where the last
// attempt is too fresh.
func (s *source) attempt() *flight {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight
	}
	if !s.tried.IsZero() && now.Sub(s.tried) < s.interval && !now.Before(s.tried) {
		return nil
	}
	f := &flight{done: make(chan struct{})}
	s.flight, s.tried = f, now
	go s.fly(f, now)
	return f
}

func (s *source) fly(f *flight, began time.Time) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchDeadline)
	defer cancel()
	err := s.renew(ctx, began)
	s.meter.Fetched(s.tenant, s.trust, err)
	s.mu.Lock()
	s.flight, s.failed = nil, err
	s.mu.Unlock()
	close(f.done)
}

// renew fetches and takes over. An unchanged document keeps the parsed set, so
// that comparisons by pointer still hold. A set is as old as the moment at which
// its fetch began.
func (s *source) renew(ctx context.Context, began time.Time) error {
	document, err := s.fetch(ctx)
	if err != nil {
		return err
	}
	if old := s.held.Load(); old != nil && old.keys.sum == sha256.Sum256(document) {
		s.held.Store(&held{keys: old.keys, at: began})
		return nil
	}
	keys, err := parseKeySet(document, s.kind)
	if err != nil {
		return err
	}
	s.held.Store(&held{keys: keys, at: began})
	return nil
}

// current returns keys that may be used now, fetching where there are none or
// where they are overdue.
func (s *source) current(ctx context.Context) (*keySet, error) {
	h := s.held.Load()
	now := s.now()
	if h != nil && now.Sub(h.at) < s.every {
		return h.keys, nil
	}
	f := s.attempt()
	// A little overdue, or overdue because the issuer is down: callers need not
	// wait for what Run is about to bring, or for what does not come.
	waits := h == nil || now.Sub(h.at) >= s.stale || now.Sub(h.at) >= 2*s.every && !s.isDown()
	if f != nil && waits {
		if err := f.wait(ctx); err != nil {
			return nil, err
		}
	}
	if h = s.held.Load(); h == nil || s.now().Sub(h.at) >= s.stale {
		return nil, s.unavailable()
	}
	return h.keys, nil
}

// search is for a token whose key is not among seen: one attempt per interval for
// all such tokens together. It returns the keys as they are after it.
func (s *source) search(ctx context.Context, seen *keySet) (*keySet, error) {
	if h := s.held.Load(); h != nil && h.keys != seen {
		return h.keys, nil
	}
	f := s.attempt()
	if f != nil {
		if err := f.wait(ctx); err != nil {
			return nil, err
		}
	}
	if s.isDown() {
		return nil, s.unavailable()
	}
	if h := s.held.Load(); h != nil {
		return h.keys, nil
	}
	return nil, s.unavailable()
}

// isDown reports that the newest finished attempt failed.
func (s *source) isDown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed != nil
}

func (s *source) unavailable() error {
	s.mu.Lock()
	cause := s.failed
	s.mu.Unlock()
	if cause == nil {
		cause = fmt.Errorf("no keys yet")
	}
	return &exchange.Error{
		Kind: exchange.KindUnavailable, Advice: "the keys of the token's issuer cannot be had at present; try again",
		RetryAfter: s.interval, Err: fmt.Errorf("keys of trust %q: %w", s.trust, cause),
	}
}

// due reports that Run should fetch: a little before callers would have to.
func (s *source) due() bool {
	h := s.held.Load()
	return h == nil || s.now().Sub(h.at) >= s.every*4/5
}
