package lease

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Defaults of ReaperOptions.
const (
	DefaultEvery  = 30 * time.Second
	DefaultGiveUp = time.Hour
	DefaultKeep   = 24 * time.Hour
)

// batch is how many intents one round looks at.
const batch = 256

// The bounds on one round's forgetting of leases. A batch is one transaction.
const (
	pruneBatch   = 2000
	pruneBatches = 500
)

// Bounds of one call to a provider and of one durable write.
const (
	recoverTimeout = 15 * time.Second
	settleTimeout  = 10 * time.Second
)

// ReaperOptions say what a Reaper works with.
type ReaperOptions struct {
	Intents  Intents
	Expiries Expiries
	Ledger   exchange.Ledger
	// Recover ends whatever the intent's exchange minted. An error of
	// KindUnavailable or KindThrottled means: try again; any other, that it cannot
	// be done.
	Recover func(ctx context.Context, i exchange.Intent) error
	Now     func() time.Time
	Random  io.Reader
	// Every is the time between rounds, give or take a tenth; zero: DefaultEvery.
	Every time.Duration
	// GiveUp is how long past its deadline an intent is tried while its provider is
	// down, before it is marked all the same; zero: DefaultGiveUp.
	GiveUp time.Duration
	// Keep is how long after its expiry a lease is forgotten, so that until then it
	// can be said when it ended; zero: DefaultKeep.
	Keep  time.Duration
	Meter Meter // nil: nobody is told
}

// Meter is told what the reaper finds. It must not block.
type Meter interface {
	// Reaped is told of one intent that ended as unknown; revoked: and whatever it
	// minted is dead.
	Reaped(provider string, revoked bool)
	// Pruned is told how many leases were forgotten.
	Pruned(leases int)
	// Failed is told of a round that could not finish.
	Failed(err error)
}

// Reaper ends intents that have no outcome: their process died, or its database
// did. It forgets leases that ended long ago. Any number may run; each step is safe to repeat, and the ledger lets one
// outcome in (S27).
type Reaper struct{ o ReaperOptions }

// NewReaper makes a Reaper.
func NewReaper(o ReaperOptions) *Reaper {
	if o.Every == 0 {
		o.Every = DefaultEvery
	}
	if o.GiveUp == 0 {
		o.GiveUp = DefaultGiveUp
	}
	if o.Keep == 0 {
		o.Keep = DefaultKeep
	}
	return &Reaper{o: o}
}

// Run reaps at once and then every so often, until ctx ends.
func (r *Reaper) Run(ctx context.Context) {
	for {
		_, reaping := r.Reap(ctx)
		_, pruning := r.Prune(ctx)
		if err := errors.Join(reaping, pruning); err != nil && ctx.Err() == nil && r.o.Meter != nil {
			r.o.Meter.Failed(err)
		}
		timer := time.NewTimer(r.pause())
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// pause is Every give or take a tenth: replicas that started together need not reap
// together.
func (r *Reaper) pause() time.Duration {
	var b [8]byte
	if _, err := io.ReadFull(r.o.Random, b[:]); err != nil {
		return r.o.Every
	}
	tenth := uint64(r.o.Every / 10)
	return r.o.Every - time.Duration(tenth) + time.Duration(binary.BigEndian.Uint64(b[:])%(2*tenth+1))
}

// Reap is one round. It returns how many intents it marked unknown, and the first
// error that kept it from one.
func (r *Reaper) Reap(ctx context.Context) (int, error) {
	marked := 0
	var first error
	for {
		intents, err := r.o.Intents.Pending(ctx, batch)
		if err != nil {
			return marked, errors.Join(first, fmt.Errorf("listing the intents without an outcome: %w", err))
		}
		// With a full batch there are more behind: patience with these would keep
		// the reaper from those.
		more := len(intents) == batch
		progress := false
		for _, i := range intents {
			if ctx.Err() != nil {
				return marked, errors.Join(first, ctx.Err())
			}
			ended, err := r.end(ctx, i, more)
			if ended {
				marked++
				progress = true
			}
			if err != nil && first == nil {
				first = err
			}
		}
		if !more || !progress {
			return marked, first
		}
	}
}

// Prune forgets the leases that ended long ago, and returns how many. What one round
// leaves, the next one takes.
func (r *Reaper) Prune(ctx context.Context) (int, error) {
	pruned := 0
	var err error
	for range pruneBatches {
		var n int
		n, err = r.o.Expiries.PruneLeases(ctx, r.o.Keep, pruneBatch)
		if pruned += n; err != nil || n < pruneBatch {
			break
		}
	}
	if pruned > 0 && r.o.Meter != nil {
		r.o.Meter.Pruned(pruned)
	}
	if err != nil {
		return pruned, fmt.Errorf("forgetting leases: %w", err)
	}
	return pruned, nil
}

// end recovers one intent and marks it. It reports whether this call marked it.
func (r *Reaper) end(ctx context.Context, i exchange.Intent, hurry bool) (bool, error) {
	id := i.Event.Exchange
	bounded, cancel := context.WithTimeout(ctx, recoverTimeout)
	recovered := r.o.Recover(bounded, i)
	cancel()
	if transient(recovered) && !hurry && r.o.Now().Before(i.Deadline.Add(r.o.GiveUp)) {
		return false, fmt.Errorf("exchange %s is tried again later: %w", id, recovered)
	}
	text := "no outcome was recorded in time; whatever the provider minted has been revoked"
	if recovered != nil {
		text = "no outcome was recorded in time, and what the provider may have minted is not revoked: " + recovered.Error()
	}
	event, err := r.event(i, exchange.EventUnknown, text)
	if err != nil {
		return false, err
	}
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	err = r.o.Ledger.Settle(ctx, exchange.Outcome{Event: event, Epoch: event.Record.Epoch})
	switch {
	case errors.Is(err, exchange.ErrSettled):
		// A slow settle, or another replica, was first. If it was the settle, what
		// it handed out is dead now: the ledger has to say so.
		if recovered == nil {
			return false, r.noteRevoked(ctx, i)
		}
		return false, nil
	case err != nil:
		return false, fmt.Errorf("marking exchange %s: %w", id, err)
	}
	if r.o.Meter != nil {
		r.o.Meter.Reaped(event.Record.Provider, recovered == nil)
	}
	return true, nil
}

func (r *Reaper) noteRevoked(ctx context.Context, i exchange.Intent) error {
	event, err := r.event(i, exchange.EventRevoked,
		"revoked by the reaper, which found no outcome in time; another outcome was recorded meanwhile")
	if err != nil {
		return err
	}
	if err := r.o.Ledger.Note(ctx, event); err != nil {
		return fmt.Errorf("noting that exchange %s was revoked: %w", i.Event.Exchange, err)
	}
	return nil
}

// event repeats the intent's record, so that one row answers an auditor.
func (r *Reaper) event(i exchange.Intent, t exchange.EventType, text string) (exchange.Event, error) {
	now := r.o.Now()
	id, err := exchange.NewID(now, r.o.Random)
	if err != nil {
		return exchange.Event{}, err
	}
	record := i.Event.Record
	record.Type, record.At, record.Explanation = t.String(), exchange.FormatTime(now), text
	if t.Terminal() {
		record.Outcome, record.ErrorKind = t.String(), exchange.KindUnavailable.String()
	}
	return exchange.Event{
		ID: id, Exchange: i.Event.Exchange, Tenant: i.Event.Tenant, Type: t, At: now, Record: record,
	}, nil
}

// transient reports whether trying again may help.
func transient(err error) bool {
	if err == nil {
		return false
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	k := exchange.KindOf(err)
	return k == exchange.KindUnavailable || k == exchange.KindThrottled
}
