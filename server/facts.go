package server

import (
	"context"
	"encoding/hex"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/cambio-sts/cambio/exchange"
)

// Facts are what every log line and every record of a request repeats. They enter
// the context once, at the listener; doors read them, and fill in the exchange.
type Facts struct {
	TraceID  string // 32 hexadecimal digits: the caller's (W3C Trace Context) or our own
	ClientIP netip.Addr
	Started  time.Time

	exchange atomic.Pointer[exchange.ID]
}

// SetExchange notes the exchange that the request turned out to be.
func (f *Facts) SetExchange(id exchange.ID) {
	if !id.IsZero() {
		f.exchange.Store(&id)
	}
}

// Exchange is the exchange's id, or the zero id.
func (f *Facts) Exchange() exchange.ID {
	if id := f.exchange.Load(); id != nil {
		return *id
	}
	return exchange.ID{}
}

type factsKey struct{}

// WithFacts puts the facts of a request into its context.
func WithFacts(ctx context.Context, f *Facts) context.Context {
	return context.WithValue(ctx, factsKey{}, f)
}

// FactsOf gives the facts of a request: empty ones outside of any request, never
// nil.
func FactsOf(ctx context.Context) *Facts {
	if f, ok := ctx.Value(factsKey{}).(*Facts); ok {
		return f
	}
	return &Facts{}
}

// factsOf gathers the facts of a request as it arrives.
func factsOf(r *http.Request, trusted []netip.Prefix, now time.Time) *Facts {
	f := &Facts{ClientIP: ClientIP(r, trusted), Started: now}
	if span := trace.SpanContextFromContext(r.Context()); span.HasTraceID() {
		f.TraceID = span.TraceID().String() // a tracer in front has read the header already
	} else if id, ok := ParseTraceparent(r.Header["Traceparent"]); ok {
		f.TraceID = id
	} else {
		f.TraceID = newTraceID()
	}
	return f
}

// newTraceID names a request that came without a trace. It is a name and no
// secret, so the runtime's own generator is good enough.
func newTraceID() string {
	var raw [16]byte
	var text [32]byte
	for i, word := range [2]uint64{rand.Uint64(), rand.Uint64()} {
		for j := range 8 {
			raw[i*8+j] = byte(word >> (8 * j))
		}
	}
	hex.Encode(text[:], raw[:])
	return string(text[:])
}

// ParseTraceparent reads the trace id out of a traceparent header (W3C Trace
// Context §3.2). Anything but exactly one well-formed header is no trace at all.
func ParseTraceparent(values []string) (traceID string, ok bool) {
	if len(values) != 1 {
		return "", false
	}
	h := values[0]
	if len(h) < 55 || h[2] != '-' || h[35] != '-' || h[52] != '-' {
		return "", false
	}
	version, id, parent, flags := h[:2], h[3:35], h[36:52], h[53:55]
	if !lowerHex(version) || !lowerHex(id) || !lowerHex(parent) || !lowerHex(flags) {
		return "", false
	}
	later := len(h) > 55 // only a version after 00 may say more (§3.2.4)
	if version == "ff" || later && (version == "00" || h[55] != '-') {
		return "", false
	}
	if strings.Trim(id, "0") == "" || strings.Trim(parent, "0") == "" {
		return "", false
	}
	return id, true
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// NewLogHandler wraps a slog.Handler so that each line logged with a request's
// context carries its facts.
func NewLogHandler(next slog.Handler) slog.Handler { return factsHandler{next} }

type factsHandler struct{ slog.Handler }

// Handle adds the facts and passes on.
func (h factsHandler) Handle(ctx context.Context, r slog.Record) error {
	if f, ok := ctx.Value(factsKey{}).(*Facts); ok {
		r.AddAttrs(slog.String("trace_id", f.TraceID))
		if f.ClientIP.IsValid() {
			r.AddAttrs(slog.String("client_ip", f.ClientIP.String()))
		}
		if id := f.Exchange(); !id.IsZero() {
			r.AddAttrs(slog.String("exchange", id.String()))
		}
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs keeps the wrapping.
func (h factsHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return factsHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup keeps the wrapping.
func (h factsHandler) WithGroup(name string) slog.Handler {
	return factsHandler{h.Handler.WithGroup(name)}
}
