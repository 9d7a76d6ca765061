package server

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// EntryOptions are what Entry needs to know.
type EntryOptions struct {
	TrustedProxies []netip.Prefix // S19
	Logger         *slog.Logger   // nil: slog.Default
	Now            func() time.Time
}

// Entry is what every request passes on its way in, whichever door it is for: the
// facts enter the context, a panic becomes a 500 that says nothing, the headers
// that keep browsers at bay are set, and one line goes to the access log. The line
// holds the path and no query, since queries are where people put tokens.
func Entry(next http.Handler, o EntryOptions) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &entry{EntryOptions: o, next: next}
}

type entry struct {
	EntryOptions
	next http.Handler
}

// ServeHTTP lets one request in.
func (e *entry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	facts := factsOf(r, e.TrustedProxies, e.Now())
	ctx := WithFacts(r.Context(), facts)
	r = r.WithContext(ctx)
	h := w.Header()
	h["X-Content-Type-Options"] = noSniff
	h["X-Frame-Options"] = noFrames
	h["Referrer-Policy"] = noReferrer
	if r.TLS != nil {
		h["Strict-Transport-Security"] = httpsOnly
	}
	seen := &watcher{ResponseWriter: w}
	defer e.log(seen, r, facts) // the last, so that a cut connection has its line too
	defer func() {
		if panicked := recover(); panicked != nil {
			e.recovered(seen, r, panicked)
		}
	}()
	e.next.ServeHTTP(seen, r)
}

// log writes the line of the access log.
func (e *entry) log(w *watcher, r *http.Request, facts *Facts) {
	status := orElse(w.status, http.StatusOK)
	level := levelOf(status)
	if ctx := r.Context(); e.Logger.Enabled(ctx, level) {
		e.Logger.LogAttrs(ctx, level, "request",
			slog.String("method", bound(r.Method, 16)), slog.String("path", bound(r.URL.Path, 128)),
			slog.Int("status", status), slog.Int64("bytes", w.bytes),
			slog.Int64("us", e.Now().Sub(facts.Started).Microseconds()))
	}
}

// Header values as the map holds them: shared, never written to.
var (
	noSniff    = []string{"nosniff"}
	noFrames   = []string{"DENY"}
	noReferrer = []string{"no-referrer"}
	httpsOnly  = []string{"max-age=31536000"}
)

// recovered answers for a handler that panicked. What it panicked with may hold
// anything and goes nowhere but to the log, by its type.
func (e *entry) recovered(w *watcher, r *http.Request, panicked any) {
	if panicked == http.ErrAbortHandler {
		w.status = statusAborted
		panic(panicked) // net/http's own word for cutting the connection
	}
	e.Logger.ErrorContext(r.Context(), "a handler panicked",
		"panic", nameOf(panicked), "stack", string(debug.Stack()))
	if w.status != 0 { // too late for an answer: cut it, so that nobody takes it for whole
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = w.Write([]byte(`{"error":"server_error","error_description":"the server failed; the trace id finds the reason in its log"}` + "\n"))
}

// statusAborted marks, in the access log, an answer that was cut.
const statusAborted = 499

func levelOf(status int) slog.Level {
	switch {
	case status >= 500 && status != http.StatusServiceUnavailable:
		return slog.LevelError
	case status >= 500:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// bound makes text from outside short and printable.
func bound(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.ToValidUTF8(s, "�")
}

// watcher notes what was answered. Unwrap lets http.ResponseController through,
// and Flush the streams of gRPC, which asks for it by type.
type watcher struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader notes the status.
func (w *watcher) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts.
func (w *watcher) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Flush sends what is buffered.
func (w *watcher) Flush() {
	if f, ok := w.ResponseWriter.(http.Flusher); ok {
		if w.status == 0 {
			w.status = http.StatusOK
		}
		f.Flush()
	}
}

// Unwrap is for http.ResponseController.
func (w *watcher) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// nameOf says what a handler panicked with. A fault of the Go runtime speaks of
// the program alone; everything else is named by its type.
func nameOf(panicked any) string {
	if fault, ok := panicked.(runtime.Error); ok {
		return fault.Error()
	}
	return fmt.Sprintf("%T", panicked)
}
