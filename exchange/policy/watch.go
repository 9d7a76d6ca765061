package policy

import (
	"context"
	"io/fs"
	"time"
)

// WatchOptions is what a watch needs.
type WatchOptions struct {
	FS   fs.FS
	Load Options
	Set  *Set
	// Every is how often the folder is read. Zero: five seconds.
	Every time.Duration
	// OnLoad is told of each revision put in force. Optional.
	OnLoad func(*Revision)
	// OnFault is told of each broken edit once: the old revision stays. A fault in
	// the files is a Faults. Optional.
	OnFault func(error)
	// OnMended is told, once, that a broken edit was taken back: the folder holds
	// what is in force. After a broken edit that a good one follows, OnLoad says
	// so. Optional.
	OnMended func()
	// OnDelay is told each time that a good edit could not be put in force, because
	// the database is away, say: the old revision stays, and the next tick tries
	// again. Optional.
	OnDelay func(error)
}

// Watch loads the folder whenever its content changes, until ctx ends; then it
// returns nil. It reads contents and not times: folders swapped by symbolic link,
// and files written twice within a clock's tick, are seen.
func Watch(ctx context.Context, o WatchOptions) error {
	if o.Every == 0 {
		o.Every = 5 * time.Second
	}
	if o.OnLoad == nil {
		o.OnLoad = func(*Revision) {}
	}
	if o.OnFault == nil {
		o.OnFault = func(error) {}
	}
	if o.OnMended == nil {
		o.OnMended = func() {}
	}
	if o.OnDelay == nil {
		o.OnDelay = func(error) {}
	}
	w := watch{WatchOptions: o}
	tick := time.NewTicker(o.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			w.look(ctx)
		}
	}
}

type watch struct {
	WatchOptions
	broken string    // what was reported last
	bad    string    // the hash of what had a fault
	good   *Revision // compiled, but not put in force
}

// look loads the folder once if it has changed.
func (w *watch) look(ctx context.Context) {
	s, faults := readFolder(w.FS, isPolicyFile)
	if current := w.Set.Revision(); len(faults) == 0 && current != nil && s.hash == current.hash {
		mended := w.broken != ""
		w.broken, w.bad, w.good = "", "", nil // as it was, or put right again
		if mended {
			w.OnMended()
		}
		return
	}
	if len(faults) == 0 && s.hash == w.bad {
		return
	}
	// An editor may be half-way through: what still stands a moment later counts.
	settle := time.NewTimer(w.Every / 10)
	defer settle.Stop()
	select {
	case <-ctx.Done():
		return
	case <-settle.C:
	}
	again, faults := readFolder(w.FS, isPolicyFile)
	if again.hash != s.hash {
		return // still being written; the next tick looks again
	}
	if len(faults) > 0 {
		w.fault(faults.Error(), faults)
		return
	}
	if w.good == nil || w.good.hash != again.hash {
		r, err := compile(again, w.Load)
		if err != nil {
			w.bad = again.hash
			w.fault(err.Error(), err)
			return
		}
		w.good = r
	}
	r := w.good
	if err := w.Set.Activate(ctx, r); err != nil {
		if ctx.Err() == nil {
			w.OnDelay(err)
		}
		return
	}
	w.broken, w.bad, w.good = "", "", nil
	w.OnLoad(r)
}

func (w *watch) fault(text string, err error) {
	if text == w.broken {
		return
	}
	w.broken = text
	w.OnFault(err)
}
