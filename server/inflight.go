package server

import (
	"context"
	"net/http"
	"sync"
)

// inflight counts handlers that run. http.Server.Shutdown counts connections,
// and an HTTP/2 caller who hangs up takes the connection along while its exchange
// is still being settled.
type inflight struct {
	mu    sync.Mutex
	count int
	empty chan struct{} // set while draining; closed at zero
}

func (f *inflight) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.count++
		f.mu.Unlock()
		defer f.leave()
		next.ServeHTTP(w, r)
	})
}

func (f *inflight) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count--
	if f.count == 0 && f.empty != nil {
		close(f.empty)
		f.empty = nil
	}
}

// drain waits for zero, or for ctx, and says how many are left.
func (f *inflight) drain(ctx context.Context) int {
	f.mu.Lock()
	if f.count == 0 {
		f.mu.Unlock()
		return 0
	}
	if f.empty == nil {
		f.empty = make(chan struct{})
	}
	empty := f.empty
	f.mu.Unlock()
	select {
	case <-empty:
		return 0
	case <-ctx.Done():
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.count
	}
}
