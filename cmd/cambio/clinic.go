package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/issuer"
	"github.com/cambio-sts/cambio/exchange/outbound"
	"github.com/cambio-sts/cambio/exchange/policy"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// checksAtOnce bounds how many providers are asked at a time.
const checksAtOnce = 4

// The results of a check.
const (
	resultGood    = "ok"
	resultFailed  = "failed"
	resultUnknown = "not checked"
)

// finding is what a check of one target came to.
type finding struct {
	Target   string `json:"target"`
	Provider string `json:"provider"`
	Result   string `json:"result"`
	// Change says what to change, or why nothing was checked.
	Change string `json:"change,omitempty"`
	// Cause is what was seen, for the operator.
	Cause   string  `json:"cause,omitempty"`
	Seconds float64 `json:"seconds"`
}

// clinic checks targets with what a server lends its drivers.
type clinic struct {
	deps    provider.Deps
	timeout time.Duration
}

// noSessions holds none: a check vends nothing.
type noSessions struct{}

var errNoSessions = errors.New("no signing session is held for a check")

func (noSessions) Hold(context.Context, exchange.Session, exchange.Secret, exchange.Secret) error {
	return errNoSessions
}
func (noSessions) Held(context.Context, string, exchange.ID) (exchange.Secret, time.Time, error) {
	return exchange.Secret{}, time.Time{}, errNoSessions
}
func (noSessions) Replace(context.Context, string, exchange.ID, exchange.Secret, exchange.Secret, time.Time) (time.Time, error) {
	return time.Time{}, errNoSessions
}
func (noSessions) End(context.Context, string, exchange.ID) error { return nil }

// newClinic lends drivers what this house would: its issuer, its way out, its secrets.
func (h *house) newClinic(i *issuer.Issuer) (*clinic, error) {
	client, err := outbound.Client(h.outbound(""))
	if err != nil {
		return nil, fmt.Errorf("outbound: %w", err)
	}
	return &clinic{timeout: h.config.Limits.Timeout, deps: provider.Deps{
		HTTP: client, Client: h.certified, Asserter: i, Minter: i, Granter: i, Sessions: noSessions{}, Secret: h.targetSecret, Now: time.Now, Random: rand.Reader,
	}}, nil
}

// examine checks the targets, some at a time; done is told of each as it ends. The
// findings are in the order of the targets.
func (c *clinic) examine(ctx context.Context, targets []*exchange.Target, done func(finding)) []finding {
	found := make([]finding, len(targets))
	turns := make(chan struct{}, checksAtOnce)
	var telling sync.Mutex
	var work sync.WaitGroup
	for i, t := range targets {
		work.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			found[i] = c.check(ctx, t)
			telling.Lock()
			defer telling.Unlock()
			done(found[i])
		})
	}
	work.Wait()
	return found
}

// check asks one target's provider.
func (c *clinic) check(ctx context.Context, t *exchange.Target) finding {
	began := time.Now()
	f := finding{Target: t.Name, Provider: t.Provider}
	config, ok := t.Settings.(provider.Config)
	if !ok {
		f.Result, f.Change = resultUnknown, "its settings belong to no provider"
		return f
	}
	driver, err := config.Open(c.deps)
	if err != nil {
		f.Result, f.Change, f.Cause = resultFailed, "the server could not open this target", err.Error()
		return f
	}
	checker, ok := driver.(provider.Checker)
	if _, local := driver.(provider.LocalDriver); !ok {
		f.Result, f.Change = resultUnknown, "the driver knows no check"
		if local {
			f.Change = "credentials are made here, and nobody is asked"
		}
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	err = checker.Check(ctx)
	f.Seconds = time.Since(began).Round(time.Millisecond).Seconds()
	f.Result = resultGood
	if err != nil {
		f.Result = resultFailed
		f.Change, f.Cause = diagnose(err)
	}
	return f
}

// diagnose tells what to do from what was seen.
func diagnose(err error) (change, cause string) {
	var e *exchange.Error
	switch {
	case errors.As(err, &e) && e.Err != nil:
		return either(e.Advice, e.Kind.String()), e.Err.Error()
	case errors.As(err, &e):
		return either(e.Advice, e.Kind.String()), ""
	case errors.Is(err, context.DeadlineExceeded):
		return "the provider did not answer in time: check the target's endpoint, and outbound of cambio.yaml", ""
	}
	return "", err.Error()
}

// chosen are the targets of a policy by name; all of them without names.
func chosen(r *policy.Revision, names []string) ([]*exchange.Target, error) {
	if len(names) == 0 {
		names = r.Targets()
	}
	var targets []*exchange.Target
	for _, name := range names {
		t := r.Target(name)
		if t == nil {
			return nil, fmt.Errorf("there is no target %q: the policy has %s", name, either(strings.Join(r.Targets(), ", "), "none"))
		}
		targets = append(targets, t)
	}
	return targets, nil
}
