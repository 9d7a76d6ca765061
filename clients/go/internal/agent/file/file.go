package file

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/disk"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/format"
)

const (
	// backOff is how long a failure is let rest; it doubles with each further one, up to
	// maxBackOff.
	backOff    = 5 * time.Second
	maxBackOff = time.Minute
	// maxContent bounds what is read of a file that may be removed, in bytes.
	maxContent = 4 << 20
)

// part is one file on disk.
type part struct {
	path string
	text []byte
	dies bool // it holds the credential
}

// file is one entry at work.
type file struct {
	deps    *Deps
	metrics *metrics
	entry   Entry
	targets []string
	access  disk.Access
	render  func(*gathering) ([]part, error)

	// What follows is of the one that renews.
	used     []use
	secrets  []string // of what is in the file
	before   []string // of what was in it before
	sum      [32]byte // of the part that dies
	changed  bool     // some part of it, by a writing that then failed
	failures int
	due      time.Time // zero: at once
	dead     bool

	mu    sync.Mutex
	state Status
}

func newFile(i int, e *Entry, d *Deps, m *metrics) (*file, error) {
	access, err := newAccess(e)
	if err != nil {
		return nil, err
	}
	f := &file{deps: d, metrics: m, entry: *e, access: access, targets: []string{e.Target}}
	switch {
	case e.OCI != nil:
		files := &ociFiles{settings: *e.OCI, target: e.Target, token: e.Path, access: access, random: d.Random}
		f.render = files.render
	case e.Target == "":
		page, err := newPage(e)
		if err != nil {
			return nil, fmt.Errorf("template: %w", err)
		}
		f.targets = page.targets
		f.render = func(g *gathering) ([]part, error) { return f.whole(page.render(g)) }
	default:
		f.render = func(g *gathering) ([]part, error) {
			c, err := g.take(e.Target)
			if err != nil {
				return nil, err
			}
			return f.whole(format.Write(f.entry.kind(), c, format.Options{Field: f.entry.Field, Variable: f.entry.Variable}))
		}
	}
	f.state = Status{Path: e.Path, Targets: f.targets}
	return f, nil
}

func (f *file) whole(text []byte, err error) ([]part, error) {
	return []part{{path: f.entry.Path, text: text, dies: true}}, err
}

// renew asks for what the file needs, and writes it if it is another than before. The
// next time is set, whatever comes of it.
func (f *file) renew(ctx context.Context) (changed bool, err error) {
	g := newGathering(ctx, f.deps)
	parts, err := f.render(g)
	if err == nil {
		changed, err = f.write(parts)
	}
	now := f.deps.Now()
	if ctx.Err() != nil {
		return changed, errors.Join(err, ctx.Err())
	}
	if err == nil {
		f.used, f.dead = g.used, false
		if changed {
			f.before = f.secrets
		}
		f.secrets = g.secrets
		f.metrics.expires.WithLabelValues(f.entry.Path).Set(float64(g.expires().Unix()))
		f.note(func(s *Status) {
			s.Expires, s.Fault = g.expires(), ""
			if g.stale == nil || s.Written.IsZero() {
				s.Written = now
			}
		})
	}
	if changed {
		f.metrics.writes.WithLabelValues(f.entry.Path).Inc()
		f.deps.Log.InfoContext(ctx, "file written", "path", f.entry.Path, "targets", f.targets, "expires", g.expires())
	}
	if fault := errors.Join(err, g.stale); fault != nil {
		f.fail(ctx, now, fault)
		return changed, err
	}
	f.failures = 0
	// A credential that is to be renewed at once is not asked for without end.
	f.due = later(g.refresh(), now.Add(f.pause(0)))
	if len(g.used) == 0 { // a template without targets
		f.due = now.Add(24 * time.Hour)
	}
	return changed, nil
}

// write writes all parts, and reports whether one changed since all were written last.
func (f *file) write(parts []part) (changed bool, err error) {
	for _, p := range parts {
		other, err := f.access.Put(p.path, p.text)
		if err != nil {
			return false, err
		}
		f.changed = f.changed || other
		if p.dies {
			f.sum = sha256.Sum256(p.text)
		}
	}
	changed, f.changed = f.changed, false
	return changed, nil
}

func (f *file) fail(ctx context.Context, now time.Time, fault error) {
	pause := f.pause(f.failures)
	var refused *cambio.Error
	if errors.As(fault, &refused) {
		pause = max(pause, refused.RetryAfter)
	}
	f.failures++
	f.due = now.Add(pause)
	f.metrics.faults.WithLabelValues(f.entry.Path).Inc()
	f.note(func(s *Status) { s.Fault = fault.Error() })
	f.deps.Log.WarnContext(ctx, "file not renewed", "path", f.entry.Path, "error", fault, "next_try", f.due)
}

// pause is how long to rest after a failure, between half of it and the whole.
func (f *file) pause(failures int) time.Duration { return jittered(f.deps, failures) }

func jittered(d *Deps, failures int) time.Duration {
	whole := min(backOff<<min(failures, 8), maxBackOff)
	var chance [8]byte
	if _, err := d.Random.Read(chance[:]); err != nil {
		return whole
	}
	return whole/2 + time.Duration(binary.BigEndian.Uint64(chance[:])%uint64(whole/2))
}

// isDue reports whether it is time to renew: the time has come, a source has another
// credential than the one that is in the file, since somebody had it rejected, or the
// file is gone.
func (f *file) isDue(now time.Time) bool {
	if !now.Before(f.due) {
		return true
	}
	if f.failures > 0 {
		return false
	}
	for _, u := range f.used {
		if held, _ := u.source.Held(); held != nil && !held.Value.Equal(u.credential.Value) {
			return true
		}
	}
	_, err := os.Lstat(f.entry.Path)
	return errors.Is(err, os.ErrNotExist)
}

// bury says once that the credential in the file has died, and removes it if that is
// wished, unless somebody else has put another there.
func (f *file) bury(ctx context.Context, now time.Time) {
	expires := f.status().Expires
	if f.dead || expires.IsZero() || now.Before(expires) {
		return
	}
	f.dead = true
	f.deps.Log.ErrorContext(ctx, "the credential in the file has died", "path", f.entry.Path, "expired", expires, "removed", f.entry.RemoveExpired)
	if !f.entry.RemoveExpired {
		return
	}
	text, err := disk.ReadOwn(f.entry.Path, maxContent)
	if err == nil && sha256.Sum256(text) == f.sum {
		err = os.Remove(f.entry.Path)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		f.deps.Log.ErrorContext(ctx, "the dead file is not removed", "error", disk.Advise(f.entry.Path, err))
	}
}

func (f *file) note(change func(*Status)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.state)
}

func (f *file) status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
