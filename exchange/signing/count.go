package signing

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// FlushEvery is how often signatures are written to the ledger: one event for each
// session that signed. A replica that dies loses the count of that time, and of
// nothing else: each session's own event was durable before it was handed out.
const FlushEvery = time.Minute

// maxCounts bounds how many sessions are counted before they are written early.
const maxCounts = 10_000

// pruneBatch is how many expired sessions are forgotten in one statement.
const pruneBatch = 1000

// tally counts signatures by session.
type tally struct {
	mu     sync.Mutex
	counts map[exchange.ID]*count
}

type count struct {
	lease       exchange.Lease
	n           int
	first, last time.Time
}

// add counts one; full: there is no room for more sessions.
func (t *tally) add(l *exchange.Lease, now time.Time) (full bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counts[l.ID]
	if c == nil {
		c = &count{lease: *l, first: now}
		t.counts[l.ID] = c
	}
	c.n, c.last = c.n+1, now
	return len(t.counts) >= maxCounts
}

func (t *tally) take() map[exchange.ID]*count {
	t.mu.Lock()
	defer t.mu.Unlock()
	counts := t.counts
	t.counts = map[exchange.ID]*count{}
	return counts
}

// back returns what could not be written.
func (t *tally) back(c *count) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if since := t.counts[c.lease.ID]; since != nil {
		since.n, since.first = since.n+c.n, c.first
		return
	}
	if len(t.counts) < maxCounts {
		t.counts[c.lease.ID] = c
	}
}

// Run renews sessions ahead of time, and writes counts and forgets expired sessions at
// each tick, until ctx ends; then it ends what it began, and writes what is left.
func (d *Desk) Run(ctx context.Context, tick <-chan time.Time) {
	var workers sync.WaitGroup
	for range renewWorkers {
		workers.Go(func() { d.work(ctx) })
	}
	for {
		select {
		case <-ctx.Done():
			workers.Wait()
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchange.SettleTimeout)
			defer cancel()
			d.flush(last)
			return
		case <-tick:
			d.flush(ctx)
			d.prune(ctx)
			d.ahead.forget(d.o.Now())
		}
	}
}

func (d *Desk) flush(ctx context.Context) {
	for _, c := range d.tally.take() {
		event, err := d.event(c)
		if err == nil {
			err = d.o.Note(ctx, event)
		}
		if err != nil {
			d.tally.back(c)
			d.o.Report(fmt.Errorf("recording %d signatures of session %s: %w", c.n, c.lease.ID, err))
		}
	}
}

func (d *Desk) prune(ctx context.Context) {
	for {
		n, err := d.o.Store.PruneSessions(ctx, pruneBatch)
		if err != nil {
			d.o.Report(fmt.Errorf("forgetting expired sessions: %w", err))
		}
		if n < pruneBatch || err != nil {
			return
		}
	}
}

// event belongs to the exchange that made the session.
func (d *Desk) event(c *count) (exchange.Event, error) {
	now := d.o.Now()
	id, err := exchange.NewID(now, d.o.Random)
	if err != nil {
		return exchange.Event{}, err
	}
	l := &c.lease
	return exchange.Event{
		ID: id, Exchange: l.Exchange, Tenant: l.Tenant, Type: exchange.EventSigned, At: now,
		Record: exchange.Record{
			Exchange: l.Exchange.String(), Type: exchange.EventSigned.String(), At: exchange.FormatTime(now), Tenant: l.Tenant,
			Subject: l.Subject, Actor: l.Actor, Target: l.Target, Provider: l.Provider, Rule: l.Rule, Handle: l.Handle, Lease: l.ID.String(),
			Explanation: fmt.Sprintf("%d signatures from %s to %s", c.n, exchange.FormatTime(c.first), exchange.FormatTime(c.last)),
		},
	}, nil
}
