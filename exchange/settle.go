package exchange

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

var errReplayed = Fault(KindReplayed, "this token has been used already: get a fresh one for each exchange", nil)

// replayed blames the client's proof, where that is what burns.
func (x *run) replayed() error {
	if x.request.ClientOnce != nil && x.once == x.request.ClientOnce {
		return Fault(KindInvalidClient, "this client assertion has been used already: sign a fresh one for each request", nil)
	}
	return errReplayed
}

// unwritten says that a durable write certainly did not happen, and how the
// exchange ends instead. Any other error of a write leaves its fate unknown.
type unwritten struct {
	outcome EventType
	reason  error
}

func (u *unwritten) Error() string { return u.reason.Error() }
func (u *unwritten) Unwrap() error { return u.reason }

// write tries a durable write, deciding again as often as denies come in between.
// recheck, if any, looks at what is at hand under the new decision.
func (x *run) write(ctx context.Context, try func() error, recheck func() error) error {
	for range maxDecisions {
		var fallen *FallenError
		switch err := try(); {
		case errors.Is(err, ErrUsed):
			return &unwritten{EventDenied, x.replayed()}
		case errors.As(err, &fallen) && slices.Contains(x.lineage(), fallen.Lease):
			return &unwritten{EventDenied, Fault(KindInvalidSubject, adviceOwn, fallen)}
		case !errors.Is(err, ErrStale):
			return err
		}
		if err := x.decideAgain(ctx); err != nil {
			if !x.decision.Allowed {
				return &unwritten{EventDenied, err}
			}
			return &unwritten{EventFailed, err}
		}
		if recheck != nil {
			if err := recheck(); err != nil { // the new decision may cap lower
				return &unwritten{EventFailed, err}
			}
		}
	}
	return &unwritten{EventFailed, Fault(KindUnavailable, "emergency denies keep coming in; try again", ErrStale)}
}

// withhold ends an exchange after a write that failed; its slot is released
// already. Where the fate of the write is unknown nothing more is said of it here:
// it may stand in the ledger, and if not, the reaper ends the intent.
func (x *run) withhold(ctx context.Context, err error) error {
	var u *unwritten
	if errors.As(err, &u) {
		return x.end(ctx, u.outcome, u.reason)
	}
	return Fault(KindUnavailable, "the exchange could not be recorded, so nothing was issued; try again", err)
}

// intend writes the intent.
func (x *run) intend(ctx context.Context) error {
	begun := x.Now()
	defer func() { x.report.Durations.Intend = x.Now().Sub(begun).Microseconds() }()
	return x.write(ctx, func() error {
		event, err := x.event(EventIntent, Credential{}, nil)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, SettleTimeout)
		defer cancel()
		return x.Ledger.Intend(ctx, Intent{
			Event: event, Deadline: x.Now().Add(x.timeout + SettleTimeout), Epoch: x.decision.Epoch, Once: x.once,
			Relies: x.lineage(),
		})
	}, nil)
}

// settleIssued makes the outcome durable and only then lets the credential out.
func (x *run) settleIssued(ctx context.Context, slot Slot, credential Credential) (Credential, error) {
	err := x.write(ctx,
		func() error { return x.settle(ctx, EventIssued, credential, nil) },
		func() error {
			if stopped := x.stopped(); stopped != nil && stopped(credential.Value) {
				return Fault(KindUnavailable, "the credential at hand was stopped in this moment; try again", nil)
			}
			return x.checkLifetime(credential)
		})
	if err == nil {
		x.release(ctx, slot, credential, true)
		return credential, nil
	}
	x.release(ctx, slot, credential, false)
	var settled *unwritten
	var fallen *FallenError
	switch {
	case errors.As(err, &settled) || !errors.As(err, &fallen):
	case slot.Mode() == ModeHit:
		x.fallen = append(x.fallen, credential.Value)
		return Credential{}, errFell
	default: // the provider is in trouble, and the intent is spent
		err = &unwritten{EventFailed, Fault(KindUnavailable, "the credential at hand was revoked in this moment; try again", fallen)}
	}
	return Credential{}, x.withhold(ctx, err)
}

// errFell: the credential at hand was revoked, by whichever replica, and another may
// serve.
var errFell = errors.New("the credential at hand does not stand any more")

// settle writes the terminal outcome, under a deadline of its own that no caller's
// hanging up ends.
func (x *run) settle(ctx context.Context, t EventType, c Credential, reason error) error {
	event, err := x.event(t, c, reason)
	if err != nil {
		return err
	}
	outcome := Outcome{Event: event, Epoch: x.decision.Epoch}
	if t == EventIssued {
		outcome.Once, outcome.Relies = x.once, x.lineage()
		switch {
		case c.Lease.IsZero():
			return errors.New("a credential without a lease")
		case !c.Minted: // last: where its lineage fell too, that is said
			outcome.Relies = append(slices.Clip(outcome.Relies), c.Lease)
		default:
			if outcome.Lease, err = x.lease(c); err != nil {
				return err
			}
		}
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), SettleTimeout)
	defer cancel()
	if err := x.Ledger.Settle(bounded, outcome); err != nil {
		return err
	}
	x.report.Recorded, x.report.Outcome = true, t
	return nil
}

// refuse records a denial and returns its reason.
func (x *run) refuse(ctx context.Context, reason error) error {
	return x.end(ctx, EventDenied, reason)
}

// fail records that an exchange failed, and returns why.
func (x *run) fail(ctx context.Context, reason error) error {
	return x.end(ctx, EventFailed, reason)
}

// end records an outcome that hands nothing out, and returns its reason, whether or
// not the record could be made: nothing left the house.
func (x *run) end(ctx context.Context, t EventType, reason error) error {
	if err := x.settle(ctx, t, Credential{}, reason); err != nil {
		return errors.Join(reason, fmt.Errorf("recording that the exchange was %s: %w", t, err))
	}
	return reason
}
