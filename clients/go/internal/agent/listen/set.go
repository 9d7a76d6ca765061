package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// headerTimeout bounds how long a client takes to say what it wants; how long an
	// answer may take is for the handler, which may stream for hours.
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10 // bytes
	// tellEvery is how often the log has it that a listener is full.
	tellEvery = time.Minute
	// unixPrefix marks the address of a unix socket.
	unixPrefix = "unix:"
)

// Set is the addresses that are bound. It is safe for concurrent use.
type Set struct {
	log   *slog.Logger
	drain time.Duration

	mu      sync.Mutex
	bound   map[string]*server
	leaving sync.WaitGroup // servers that drain
}

// Endpoint is what is served at an address.
type Endpoint struct {
	Handler http.Handler
	// TLS of the connections that begin from now on; nil: plain.
	TLS *tls.Config
	// Mode of a unix socket when it is made; 0: 0600. More is for handlers that check
	// the peer.
	Mode fs.FileMode
	// Places is how many connections there are at a time; 0: DefaultPlaces. The next one
	// waits until a place comes free.
	Places int
	// Within is how long a request may take from its header to the end of its answer,
	// whatever its sender does not send or read; 0: however long, as a stream does.
	Within time.Duration
}

func (e *Endpoint) places() int {
	if e.Places == 0 {
		return DefaultPlaces
	}
	return e.Places
}

// server is one address. What it serves is exchanged while it serves: a request stays
// with the handler that it began with.
type server struct {
	net.Listener // the one that is bound
	http         *http.Server
	places       *places
	log          *slog.Logger
	told         time.Time // when it was said that every place is taken
	endpoint     atomic.Pointer[Endpoint]
}

// Accept waits for a place, and begins TLS where the endpoint of the moment wants it.
func (b *server) Accept() (net.Conn, error) {
	c, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !b.places.try() && !b.makeRoom() {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	c = &placed{c, sync.OnceFunc(b.places.leave)}
	if config := b.endpoint.Load().TLS; config != nil {
		return tls.Server(c, config), nil
	}
	return c, nil
}

// makeRoom waits for a place. Meanwhile connections without a request are closed, and the
// others when theirs has ended: a place is for who has something to ask.
func (b *server) makeRoom() bool {
	if now := time.Now(); now.Sub(b.told) >= tellEvery {
		b.told = now
		b.log.Warn("every connection of a listener is in use: the next one waits", "listener", b.Addr().String(), "connections", b.endpoint.Load().places())
	}
	b.http.SetKeepAlivesEnabled(false)
	defer b.http.SetKeepAlivesEnabled(true)
	return b.places.wait()
}

// Close stops listening, and lets nobody wait for a place.
func (b *server) Close() error {
	b.places.close()
	return b.Listener.Close()
}

// exchange serves another endpoint from now on.
func (b *server) exchange(e *Endpoint) {
	b.endpoint.Store(e)
	b.places.allow(e.places())
}

// New makes a set that binds nothing yet. An address that is given up lets requests that
// are under way go on for drain.
func New(log *slog.Logger, drain time.Duration) *Set {
	return &Set{log: log, drain: drain, bound: map[string]*server{}}
}

// Update serves the endpoints at their addresses, "host:port" or "unix:/path", and gives
// up the addresses that are not among them. If one cannot be bound all stays as it was,
// and the error says which.
func (s *Set) Update(endpoints map[string]Endpoint) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := map[string]*server{}
	var faults []error
	for address, e := range endpoints {
		if _, ok := s.bound[address]; ok {
			continue
		}
		l, err := bind(address, e.Mode)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		fresh[address] = s.newServer(l)
	}
	if len(faults) > 0 {
		for _, f := range fresh {
			_ = f.Close()
		}
		return errors.Join(faults...)
	}
	for address, b := range s.bound {
		if _, ok := endpoints[address]; !ok {
			delete(s.bound, address)
			s.leave(b)
		}
	}
	maps.Copy(s.bound, fresh)
	for address, e := range endpoints {
		s.bound[address].exchange(&e)
	}
	for _, f := range fresh { // what it serves is in place
		go func() { _ = f.http.Serve(f) }()
	}
	return nil
}

// Bound is where each address really is: of port 0, the port that was given.
func (s *Set) Bound() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	bound := map[string]string{}
	for address, b := range s.bound {
		if strings.HasPrefix(address, unixPrefix) {
			bound[address] = address
		} else {
			bound[address] = b.Addr().String()
		}
	}
	return bound
}

// Close gives up every address, and returns when nothing is under way any more, or drain
// has passed.
func (s *Set) Close() {
	s.mu.Lock()
	for address, b := range s.bound {
		delete(s.bound, address)
		s.leave(b)
	}
	s.mu.Unlock()
	s.leaving.Wait()
}

func (s *Set) newServer(l net.Listener) *server {
	b := &server{Listener: l, places: newPlaces(), log: s.log}
	b.http = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			e := b.endpoint.Load()
			e.bound(w)
			e.Handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ConnContext: WithConn,
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	return b
}

// bound sets the time that a request has. The connection may have had one with another
// endpoint before.
func (e *Endpoint) bound(w http.ResponseWriter) {
	control := http.NewResponseController(w)
	if e.Within == 0 {
		_ = control.SetWriteDeadline(time.Time{}) // none to read by is what it comes with
		return
	}
	end := time.Now().Add(e.Within)
	_, _ = control.SetReadDeadline(end), control.SetWriteDeadline(end)
}

// leave stops a server: it takes nothing new at once, and ends when what is under way has
// ended, or drain has passed.
func (s *Set) leave(b *server) {
	_ = b.Close() // now, so that the address can be bound again
	s.leaving.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), s.drain)
		defer cancel()
		if b.http.Shutdown(ctx) != nil {
			_ = b.http.Close()
		}
	})
}

// bind listens at an address.
func bind(address string, mode fs.FileMode) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, unixPrefix); ok {
		l, err := bindUnix(path, mode)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", address, err)
		}
		return l, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return nil, fmt.Errorf("%s: %w: free the address, or give another", address, err)
	}
	return l, nil
}
