package policy

import (
	"context"
	"sync"
)

// flights shares one piece of work among callers, so that each gets a result of
// work begun after its call: whoever comes while work is under way waits for the
// next.
type flights struct {
	mu      sync.Mutex
	running *flight
	next    *flight
}

type flight struct {
	done chan struct{}
	err  error
}

// join waits for work begun from now on. When ctx ends first, only the waiting
// ends.
func (f *flights) join(ctx context.Context, work func() error) error {
	f.mu.Lock()
	mine := f.next
	switch {
	case f.running == nil:
		mine = &flight{done: make(chan struct{})}
		f.running = mine
		go f.run(work)
	case mine == nil:
		mine = &flight{done: make(chan struct{})}
		f.next = mine
	}
	f.mu.Unlock()
	select {
	case <-mine.done:
		return mine.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *flights) run(work func() error) {
	for {
		f.mu.Lock()
		current := f.running
		f.mu.Unlock()
		current.err = work()
		close(current.done)
		f.mu.Lock()
		f.running, f.next = f.next, nil
		more := f.running != nil
		f.mu.Unlock()
		if !more {
			return
		}
	}
}
