package provider

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Loader is a driver that has to find something out before it can vend, which neither
// Open nor an exchange may wait for. Until it has, it answers an exchange with
// KindUnavailable.
type Loader interface {
	Driver
	// Load finds it out, or anew. What was found before stays where it fails.
	Load(ctx context.Context) error
}

// LoaderConfig is a Config of which some settings make a Loader.
type LoaderConfig interface {
	Config
	// MustLoad reports whether these do.
	MustLoad() bool
}

// How often a Loader loads: after a failure at once, then ever later.
const (
	loadFirst   = time.Second
	loadLongest = 5 * time.Minute
	loadAnew    = time.Hour
)

// loadsAtOnce bounds how many Loaders load at the same time.
const loadsAtOnce = 8

// loads remembers when each Loader loads next.
type loads struct {
	mu   sync.Mutex
	next map[targetName]*nextLoad
}

type nextLoad struct {
	driver Driver // another one loads at once
	at     time.Time
	wait   time.Duration // after the next failure
}

// Load opens those of the targets that have something to find out, lets each find it
// out that is due, and waits for them. It is for calling every second or so, with the
// targets in force; the errors are the operator's.
func (v *Vendor) Load(ctx context.Context, targets []*exchange.Target) error {
	v.loads.mu.Lock()
	defer v.loads.mu.Unlock()
	known := v.loads.next
	v.loads.next = map[targetName]*nextLoad{} // without those that are gone
	var (
		wait   sync.WaitGroup
		turns  = make(chan struct{}, loadsAtOnce)
		mu     sync.Mutex
		faults []error
	)
	for _, t := range targets {
		config, ok := t.Settings.(LoaderConfig)
		if !ok || !config.MustLoad() {
			continue
		}
		driver, err := v.open(t)
		loader, loads := driver.(Loader)
		if err != nil || !loads {
			continue // whoever asks for the target is told
		}
		name := targetName{t.Tenant, t.Name}
		n := known[name]
		if n == nil || n.driver != driver {
			n = &nextLoad{driver: driver, wait: loadFirst}
		}
		v.loads.next[name] = n
		if v.deps.Now().Before(n.at) {
			continue
		}
		turns <- struct{}{}
		wait.Go(func() {
			defer func() { <-turns }()
			if err := v.load(ctx, loader, n); err != nil {
				mu.Lock()
				defer mu.Unlock()
				faults = append(faults, fmt.Errorf("target %q: %w", t.Name, err))
			}
		})
	}
	wait.Wait()
	return errors.Join(faults...)
}

func (v *Vendor) load(ctx context.Context, l Loader, n *nextLoad) error {
	ctx, cancel := context.WithTimeout(ctx, v.timeout)
	defer cancel()
	err := l.Load(ctx)
	if err != nil {
		n.at = v.deps.Now().Add(n.wait)
		n.wait = min(2*n.wait, loadLongest)
		return err
	}
	n.at, n.wait = v.deps.Now().Add(loadAnew), loadFirst
	return nil
}
