package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// The limits of a listener that Options leave out.
const (
	DefaultReadHeaderTimeout = 5 * time.Second
	DefaultIdleTimeout       = 2 * time.Minute
	DefaultMaxHeaderBytes    = 32 << 10
	DefaultBodyTimeout       = 30 * time.Second
	DefaultReloadEvery       = 10 * time.Second
)

// Options describe one listener.
type Options struct {
	Address  string // host:port; port 0 takes a free one
	CertFile string // PEM; with KeyFile: TLS 1.2 and up
	KeyFile  string
	// Plaintext permits plain text on an address that is not loopback: where
	// something in front does the TLS.
	Plaintext bool

	Handler http.Handler
	// GRPC takes HTTP/2 requests of content type application/grpc; nil: none.
	GRPC http.Handler

	Logger            *slog.Logger  // nil: slog.Default
	ReadHeaderTimeout time.Duration // zero: the default; so below
	BodyTimeout       time.Duration // for the body of a request that is not gRPC
	IdleTimeout       time.Duration
	MaxHeaderBytes    int
	ReloadEvery       time.Duration // how often the certificate's files are looked at
}

// Server is one listener with everything behind it: HTTP/1.1, HTTP/2 and gRPC on
// one port.
type Server struct {
	http     *http.Server
	listener net.Listener
	secure   bool
	work     inflight
	cancel   context.CancelFunc
}

// Listen binds the address and serves nothing yet. It refuses plain text on an
// address that is not loopback, unless Options.Plaintext says so.
func Listen(ctx context.Context, o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return nil, errors.New("listen.tls: cert_file and key_file come together")
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", o.Address, err)
	}
	s := &Server{listener: listener, secure: o.CertFile != ""}
	if err := s.build(o); err != nil {
		_ = listener.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) build(o Options) error {
	// What was bound is looked at, not what was written: a name or an empty host
	// may be any address.
	if bound, ok := s.listener.Addr().(*net.TCPAddr); !s.secure && !o.Plaintext && (!ok || !bound.IP.IsLoopback()) {
		return fmt.Errorf("%s is not a loopback address: give listen.tls a certificate, or say plaintext: true where something in front does the TLS", s.listener.Addr())
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(!s.secure) // for gRPC without TLS
	watching, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.http = &http.Server{
		Handler:           s.work.watch(dispatch(o.Handler, o.GRPC, orElse(o.BodyTimeout, DefaultBodyTimeout))),
		Protocols:         protocols,
		ReadHeaderTimeout: orElse(o.ReadHeaderTimeout, DefaultReadHeaderTimeout),
		IdleTimeout:       orElse(o.IdleTimeout, DefaultIdleTimeout),
		MaxHeaderBytes:    orElse(o.MaxHeaderBytes, DefaultMaxHeaderBytes),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: 1000},
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
		// No ReadTimeout and no WriteTimeout: they would cut streams. dispatch bounds
		// the reading of bodies, and each handler the rest, as ReadBody does.
	}
	if !s.secure {
		return nil
	}
	certificate, err := OpenCertificate(o.CertFile, o.KeyFile)
	if err != nil {
		return err
	}
	s.http.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate.Get}
	go watchCertificate(watching, certificate, orElse(o.ReloadEvery, DefaultReloadEvery), o.Logger)
	return nil
}

func watchCertificate(ctx context.Context, c *Certificate, every time.Duration, log *slog.Logger) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	c.Watch(ctx, ticker.C, func(err error) {
		if err != nil {
			log.ErrorContext(ctx, "the certificate could not be reloaded; the old one stays", "err", err, "not_after", c.NotAfter())
			return
		}
		log.InfoContext(ctx, "the certificate was reloaded", "not_after", c.NotAfter())
	})
}

func orElse[T comparable](value, fallback T) T {
	var zero T
	if value == zero {
		return fallback
	}
	return value
}

// Addr is the address that was bound.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// URL is where the listener is reached from this machine, without a path.
func (s *Server) URL() string {
	scheme := "http"
	if s.secure {
		scheme = "https"
	}
	return scheme + "://" + s.listener.Addr().String()
}

// Serve answers until Shutdown, which makes it return nil.
func (s *Server) Serve() error {
	var err error
	if s.secure {
		err = s.http.ServeTLS(s.listener, "", "")
	} else {
		err = s.http.Serve(s.listener)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Shutdown stops accepting and waits until what is in flight has settled, whose
// caller may have hung up long ago: a handler counts until it returns. When ctx
// ends first, connections are cut and the error says what was still running.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.cancel()
	err := s.http.Shutdown(ctx)
	if err != nil {
		_ = s.http.Close()
	}
	_ = s.listener.Close() // where Serve never ran
	if left := s.work.drain(ctx); left > 0 {
		return fmt.Errorf("stopping: %d requests did not end in time: %w", left, ctx.Err())
	}
	return err
}

// dispatch sends gRPC to its own handler; only HTTP/2 can carry it. Any other
// request that brings a body has a time by which the body must have come: net/http
// reads what a handler left of it before it answers, and would wait for ever.
func dispatch(rest, grpc http.Handler, bodyTimeout time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if grpc != nil && r.ProtoMajor == 2 && isGRPC(r.Header) {
			grpc.ServeHTTP(w, r)
			return
		}
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
		}
		rest.ServeHTTP(w, r)
	})
}

// isGRPC tells application/grpc and application/grpc+proto from
// application/grpc-web, which is another protocol.
func isGRPC(h http.Header) bool {
	rest, ok := strings.CutPrefix(h.Get("Content-Type"), "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}
