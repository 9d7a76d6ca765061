// Package keep holds the credentials of an agent ready: each is asked for at the start
// and renewed ahead, whether or not somebody asks at that moment, so that a server that
// is down for a while is not noticed.
package keep

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
)

const (
	// soonest and latest bound the wait until a source is looked at again. It is the
	// source that decides whether the server is asked: it does so every few seconds at
	// most where that fails, so looking often costs nothing.
	soonest = time.Second
	latest  = time.Minute
)

// Keeper looks after the sources of the targets that an agent keeps. Wait is a timer in
// its place; it reports false when ctx ended.
type Keeper struct {
	Targets *target.Targets
	Log     *slog.Logger
	Now     func() time.Time
	Wait    func(ctx context.Context, d time.Duration) bool
}

// Run keeps every credential until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, name := range k.Targets.Names() {
		for _, source := range k.Targets.Watched(name) {
			all.Go(func() { k.source(ctx, name, source) })
		}
	}
	all.Wait()
}

// Once asks for every credential one time, and returns what went wrong.
func (k *Keeper) Once(ctx context.Context) error {
	var faults []error
	for _, name := range k.Targets.Names() {
		for _, source := range k.Targets.Watched(name) {
			if _, err := source.Credential(ctx); err != nil {
				faults = append(faults, &Fault{Target: name, Err: err})
			}
		}
	}
	return errors.Join(faults...)
}

// Fault is why a target's credential cannot be had.
type Fault struct {
	Target string
	Err    error
}

// Error names the target.
func (f *Fault) Error() string { return "target " + f.Target + ": " + f.Err.Error() }

// Unwrap is the reason.
func (f *Fault) Unwrap() error { return f.Err }

func (k *Keeper) source(ctx context.Context, name string, source *cambio.TokenSource) {
	said := "nothing yet" // what the log has already
	for {
		wait := soonest
		credential, err := source.Credential(ctx)
		if err == nil {
			_, err = source.Held() // an earlier renewal may have failed
			wait = min(max(credential.Refresh.Sub(k.Now()), soonest), latest)
		}
		switch now := class(err); {
		case ctx.Err() != nil:
			return
		case now == said:
		case now == "":
			k.Log.InfoContext(ctx, "credential is held", "target", name)
		default:
			k.Log.WarnContext(ctx, "credential cannot be had", "target", name, "held", credential != nil, "error", err)
		}
		said = class(err)
		if !k.Wait(ctx, wait) {
			return
		}
	}
}

// class is what a failure has in common with the next of its kind, so that the log has
// it once; "" for none.
func class(err error) string {
	var known *cambio.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &known):
		return known.Code
	}
	return err.Error()
}

// Timer waits for d, or until ctx ends, which it reports by false.
func Timer(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
