package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/cambio-sts/cambio/server"
)

// How long a stop may take: requests in flight first, then what they queued. With
// the seconds that a load balancer needs to look away, it fits into the thirty
// after which Kubernetes kills.
const (
	drainRequests = 15 * time.Second
	drainLedger   = 5 * time.Second
)

// late is a handler that is known only after the port is: the URL that a port of
// 0 came to is part of what is served.
type late struct{ handler atomic.Pointer[http.Handler] }

func (l *late) set(h http.Handler) { l.handler.Store(&h) }

// ServeHTTP answers 503 until set.
func (l *late) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := l.handler.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	http.Error(w, "starting", http.StatusServiceUnavailable)
}

// ports are the two listeners, bound before anything is opened: a port that is
// taken must not cost a start.
type ports struct {
	main, ops           *server.Server
	doors, grpc, second late
	guard               func(http.Handler) http.Handler // around the second port; nil: nothing
}

func bind(ctx context.Context, listen, ops server.Options) (*ports, error) {
	p := &ports{}
	var err error
	listen.Handler, listen.GRPC = &p.doors, &p.grpc
	if p.main, err = server.Listen(ctx, listen); err != nil {
		return nil, err
	}
	ops.Handler = &p.second
	if p.ops, err = server.Listen(ctx, ops); err != nil {
		return nil, errors.Join(fmt.Errorf("ops: %w", err), p.main.Shutdown(ctx))
	}
	return p, nil
}

// close lets go of ports that never served.
func (p *ports) close(ctx context.Context) {
	_ = errors.Join(p.main.Shutdown(ctx), p.ops.Shutdown(ctx))
}

// run serves until ctx ends, or a listener fails, and then stops in order: it is no
// longer ready, no new requests, those in flight settle, the ledger drains, the
// store closes. ready is called when requests are answered.
func (p *ports) run(ctx context.Context, h *house, ready func() error) error {
	second := h.ops()
	if p.guard != nil {
		second = p.guard(second)
	}
	p.second.set(second)
	h.start()
	failed := make(chan error, 2)
	for _, s := range []*server.Server{p.main, p.ops} {
		go func() { failed <- s.Serve() }()
	}
	err := ready()
	if err == nil {
		select {
		case <-ctx.Done():
			h.log.Info("stopping")
		case err = <-failed:
		}
	}
	h.stopping.Store(true) // the second port answers until the end
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainRequests)
	defer cancel()
	h.api.EndTails()
	err = errors.Join(err, p.main.Shutdown(drain))
	drain, cancel = context.WithTimeout(context.WithoutCancel(ctx), drainLedger)
	defer cancel()
	err = errors.Join(err, h.close(drain), p.ops.Shutdown(drain))
	if err == nil {
		h.log.Info("stopped")
	}
	return err
}
