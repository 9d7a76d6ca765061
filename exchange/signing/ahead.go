package signing

import (
	"context"
	"sync"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Bounds on what is renewed ahead of time.
const (
	renewWorkers = 4                // renewals at once
	renewQueue   = 256              // sessions that wait for one
	renewTimeout = 10 * time.Second // of one, until the provider is asked
	renewPause   = 30 * time.Second // before the same session is looked at again
	renewSpots   = 10_000           // sessions that are remembered for that
)

// Renewal asks that a session live on, as a fresh token of its caller allows.
type Renewal struct {
	Session  exchange.ID
	Ask      Ask           // who asks, and from where
	Lifetime time.Duration // from now
}

// ahead is what is to be renewed.
type ahead struct {
	queue chan job
	mu    sync.Mutex
	spots map[exchange.ID]time.Time // not before then; zero: it waits, or is under way
}

type job struct {
	renewal Renewal
	target  string
	expires time.Time // what the session had
	pause   time.Duration
}

func newAhead() *ahead {
	return &ahead{queue: make(chan job, renewQueue), spots: map[exchange.ID]time.Time{}}
}

// window is how much of a snapshot's life is left when it is renewed: a fifth, and a
// minute at least, but never over half.
func window(made, expires time.Time) time.Duration {
	life := expires.Sub(made)
	return max(life/5, min(time.Minute, life/2))
}

// gain is the least that a renewal must add, so that what is near its last moment
// is not renewed over and over for ever less.
func gain(w time.Duration) time.Duration { return min(time.Minute, w) }

// renewAt is when to exchange again. Where the session is renewed ahead, half of the
// time for that must have passed in vain.
func renewAt(l *exchange.Lease, made, expires time.Time) time.Time {
	w := window(made, expires)
	if l.Actor == "" && l.Latest.Sub(expires) >= gain(w) {
		return expires.Add(-w / 2)
	}
	return expires.Add(-w)
}

// renewAhead sees to it that a session is renewed that is about to end, if its own
// subject asks with a token that lives longer. It waits for nothing.
func (d *Desk) renewAhead(a Ask, l *exchange.Lease, made, expires time.Time) {
	now, w := d.o.Now(), window(made, expires)
	if d.o.Renew == nil || now.Before(expires.Add(-w)) || l.Actor != "" || a.Caller.Name != l.Subject {
		return
	}
	until := l.Latest
	if a.Caller.Expires.Before(until) {
		until = a.Caller.Expires
	}
	if until.Sub(expires) < gain(w) || !d.ahead.claim(l.ID, now) {
		return
	}
	a.Token, a.Request = exchange.Secret{}, exchange.SignRequest{} // which it needs not
	j := job{
		renewal: Renewal{Session: l.ID, Ask: a, Lifetime: l.Latest.Sub(now)}, target: l.Target,
		expires: expires, pause: min(renewPause, w/4),
	}
	select {
	case d.ahead.queue <- j:
	default: // the next signature tries again
		d.ahead.rest(l.ID, now)
	}
}

// claim takes a session for one renewal.
func (h *ahead) claim(id exchange.ID, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	until, known := h.spots[id]
	if known && (until.IsZero() || now.Before(until)) || !known && len(h.spots) >= renewSpots {
		return false
	}
	h.spots[id] = time.Time{}
	return true
}

// rest leaves a session alone until then.
func (h *ahead) rest(id exchange.ID, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.spots[id] = until
}

// forget makes room.
func (h *ahead) forget(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, until := range h.spots {
		if !until.IsZero() && !now.Before(until) {
			delete(h.spots, id)
		}
	}
}

// work renews one session after another until ctx ends.
func (d *Desk) work(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-d.ahead.queue:
			d.renew(ctx, j)
			d.ahead.rest(j.renewal.Session, d.o.Now().Add(j.pause))
		}
	}
}

// renew renews one session. What fails leaves it as it was.
func (d *Desk) renew(ctx context.Context, j job) {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	err := d.o.Renew(ctx, j.renewal)
	if err != nil {
		s, missing := d.o.Store.Session(ctx, j.renewal.Ask.Caller.Tenant, j.renewal.Session)
		if missing == nil && s.Expires.After(j.expires) {
			err = nil // another replica was faster
		}
	}
	d.o.Renewed(j.target, j.renewal.Session, err)
}
