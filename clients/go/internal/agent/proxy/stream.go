package proxy

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// stream is an answer's body. A silence of the upstream ends the request, however long
// the whole may take; a caller who reads slowly is not the upstream's silence. Trailers
// are looked at when they are there.
type stream struct {
	io.ReadCloser
	resp  *http.Response
	timer *time.Timer // nil: none
	idle  time.Duration
}

func newStream(resp *http.Response, idle time.Duration, cancel context.CancelCauseFunc) *stream {
	s := &stream{ReadCloser: resp.Body, resp: resp, idle: idle}
	if idle > 0 {
		s.timer = time.AfterFunc(idle, func() { cancel(errIdle) })
	}
	return s
}

// Read waits for the upstream, but not longer than it may be silent.
func (s *stream) Read(p []byte) (int, error) {
	if s.timer != nil {
		s.timer.Reset(s.idle)
		defer s.timer.Stop()
	}
	return s.ReadCloser.Read(p)
}

// Close ends the watch; trailers are complete then.
func (s *stream) Close() error {
	if s.timer != nil {
		s.timer.Stop()
	}
	err := s.ReadCloser.Close()
	withhold(s.resp.Trailer)
	return err
}

// upload is a request's body that streams. What the caller sends as trailers goes on at
// its end, less what no header may be.
type upload struct {
	io.ReadCloser
	in, out *http.Request
	auth    *Auth
}

// forwardTrailers lets the trailers that were announced reach the upstream.
func forwardTrailers(in, out *http.Request, auth *Auth) {
	if len(in.Trailer) == 0 || out.Body == nil {
		out.Trailer = nil
		return
	}
	out.Trailer = http.Header{}
	for name := range in.Trailer {
		if kept(name, auth) {
			out.Trailer[name] = nil
		}
	}
	out.Body = &upload{out.Body, in, out, auth}
}

// Read fills the trailers in at the end: net/http has read them by then, also those
// that nobody announced, which stay behind.
func (u *upload) Read(p []byte) (int, error) {
	n, err := u.ReadCloser.Read(p)
	if err == io.EOF {
		for name := range u.out.Trailer {
			u.out.Trailer[name] = u.in.Trailer[name]
		}
	}
	return n, err
}

// writer sees the answer's head: its status for the log, and no cookie in it, not even
// in an early one (RFC 8297).
type writer struct {
	http.ResponseWriter
	status int
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader sends a head.
func (w *writer) WriteHeader(status int) {
	withhold(w.Header())
	if w.status < 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// buffers are what answers are copied through.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

// Get gives a buffer (httputil.BufferPool).
func (b *buffers) Get() []byte {
	if held, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return held[:]
	}
	return make([]byte, bufferSize)
}

// Put takes it back, without what it held: that was somebody's.
func (b *buffers) Put(p []byte) {
	clear(p)
	b.pool.Put((*[bufferSize]byte)(p))
}

var copying buffers
