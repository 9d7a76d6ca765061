package file

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/keep"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
)

// Deps are what a room needs of its agent.
type Deps struct {
	Targets  *target.Targets
	Log      *slog.Logger          // nil: nothing is logged
	Now      func() time.Time      // nil: time.Now; the clock of the targets' client
	Random   io.Reader             // nil: that of the machine; for keys, and for jitter
	Registry prometheus.Registerer // nil: no metrics
	// Wait waits, and reports whether it did, or ctx ended first. nil: by a timer.
	Wait func(ctx context.Context, d time.Duration) bool
}

// Room is the files of one configuration.
type Room struct {
	deps    Deps
	files   []*file
	groups  []*group
	metrics *metrics
}

// Status is the state of one file.
type Status struct {
	Path    string   `json:"path"`
	Targets []string `json:"targets"`
	// Written is when the file last was as fresh as it should be; zero: there is none
	// yet.
	Written time.Time `json:"written,omitzero"`
	// Expires is when the credential in it dies.
	Expires time.Time `json:"expires,omitzero"`
	// Fault is why it is not renewed; empty: it is.
	Fault string `json:"fault,omitempty"`
}

// New prepares the files; nothing is asked or written yet.
func New(s Settings, d Deps) (*Room, error) {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Random == nil {
		d.Random = rand.Reader
	}
	if d.Wait == nil {
		d.Wait = keep.Timer
	}
	if err := errors.Join(s.Check(d.Targets.Names())...); err != nil {
		return nil, err
	}
	r := &Room{deps: d, metrics: newMetrics()}
	for i := range s {
		f, err := newFile(i, &s[i], &r.deps, r.metrics)
		if err != nil {
			return nil, fmt.Errorf("[%d].%w", i, err)
		}
		r.files = append(r.files, f)
		r.join(f)
	}
	return r, nil
}

// join puts files with the same on_change into one group.
func (r *Room) join(f *file) {
	if f.entry.OnChange != nil {
		for _, g := range r.groups {
			if g.change != nil && g.change.equal(f.entry.OnChange) {
				g.files = append(g.files, f)
				return
			}
		}
	}
	r.groups = append(r.groups, &group{deps: &r.deps, metrics: r.metrics, change: f.entry.OnChange, files: []*file{f}})
}

// Handlers are none: files have no doors.
func (r *Room) Handlers() map[string]http.Handler { return nil }

// Run keeps the files fresh until ctx ends; the files stay. On a reload the Run of the
// old room ends before that of the new one begins.
func (r *Room) Run(ctx context.Context) error {
	if r.deps.Registry != nil {
		for _, collector := range r.metrics.collectors() {
			if err := r.deps.Registry.Register(collector); err != nil {
				return fmt.Errorf("files: %w", err)
			}
			defer r.deps.Registry.Unregister(collector)
		}
	}
	var all sync.WaitGroup
	for _, g := range r.groups {
		all.Go(func() { g.run(ctx) })
	}
	all.Wait()
	return nil
}

// Once writes each file, for what starts after it, so that nobody needs to be told: no
// on_change is done. The error joins the faults of all files that were not written.
func (r *Room) Once(ctx context.Context) error {
	faults := make([]error, len(r.files))
	var all sync.WaitGroup
	for i, f := range r.files {
		all.Go(func() {
			if _, err := f.renew(ctx); err != nil {
				faults[i] = fmt.Errorf("files[%d]: %w", i, err)
			}
		})
	}
	all.Wait()
	return errors.Join(faults...)
}

// Status is the state of each file, in the order of the configuration.
func (r *Room) Status() []Status {
	list := make([]Status, len(r.files))
	for i, f := range r.files {
		list[i] = f.status()
	}
	return list
}
