package file

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// glance is how often sources are looked at for a credential that was renewed out
	// of turn; nothing is asked for it.
	glance = 30 * time.Second
	// tellings is how often an on_change that fails is tried for one change.
	tellings = 3
)

// group is the files that have an on_change in common, or one file that has none.
type group struct {
	deps    *Deps
	metrics *metrics
	change  *OnChange
	files   []*file

	owed int       // how often the last change may still be told
	at   time.Time // and not before
}

func (o *OnChange) equal(other *OnChange) bool {
	return slices.Equal(o.Command, other.Command) && maps.Equal(o.Environment, other.Environment) &&
		o.Timeout == other.Timeout && o.Signal == other.Signal && o.PIDFile == other.PIDFile && o.Process == other.Process
}

func (g *group) run(ctx context.Context) {
	for {
		g.renew(ctx)
		now := g.deps.Now()
		for _, f := range g.files {
			f.bury(ctx, now)
		}
		if ctx.Err() != nil || !g.deps.Wait(ctx, g.rest(now)) {
			return
		}
	}
}

// renew renews all files that are due, and tells of their change once.
func (g *group) renew(ctx context.Context) {
	var changes atomic.Bool
	var all sync.WaitGroup
	now := g.deps.Now()
	for _, f := range g.files {
		if f.isDue(now) {
			all.Go(func() {
				if changed, _ := f.renew(ctx); changed { // the fault is logged
					changes.Store(true)
				}
			})
		}
	}
	all.Wait()
	if g.change == nil {
		return
	}
	if changes.Load() {
		g.owed, g.at = tellings, time.Time{}
	}
	if g.owed > 0 && !g.deps.Now().Before(g.at) && ctx.Err() == nil {
		g.tell(ctx)
	}
}

func (g *group) tell(ctx context.Context) {
	said, err := g.change.do(ctx)
	var secrets []string
	for _, f := range g.files {
		secrets = slices.Concat(secrets, f.secrets, f.before)
	}
	log := g.deps.Log.With("on_change", g.change.name(), "output", mask(said, secrets))
	if err == nil {
		g.owed = 0
		log.InfoContext(ctx, "change told")
		return
	}
	g.owed--
	g.at = g.deps.Now().Add(jittered(g.deps, tellings-1-g.owed))
	for _, f := range g.files {
		g.metrics.faults.WithLabelValues(f.entry.Path).Inc()
	}
	log.ErrorContext(ctx, "change not told", "error", err, "tries_left", g.owed)
}

// rest is how long nothing is to be done.
func (g *group) rest(now time.Time) time.Duration {
	until := now.Add(glance)
	for _, f := range g.files {
		until = earlier(until, f.due)
		if expires := f.status().Expires; !f.dead && !expires.IsZero() {
			until = earlier(until, expires)
		}
	}
	if g.owed > 0 {
		until = earlier(until, g.at)
	}
	return max(until.Sub(now), time.Millisecond)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
