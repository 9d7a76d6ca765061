package sandbox

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// Mood is how a token endpoint behaves.
type Mood int32

// The moods. The first group is the same for every provider and is acted out by
// Weather.Wrap; the second is for each stand-in to act out in its provider's shape.
const (
	Fair        Mood = iota
	Down             // 503 from a proxy in front of it
	Slow             // no answer until the caller gives up
	HTML             // 200 with a page in place of JSON
	Huge             // a body of 10 MiB
	Redirecting      // 302 to elsewhere

	Throttling
	Refusing
	WithoutExpiry
	PastExpiry
)

// Weather is the mood of one stand-in. The zero Weather is fair.
type Weather struct {
	mood  atomic.Int32
	calls atomic.Int64
}

// Set changes the mood until the returned function is called.
func (w *Weather) Set(m Mood) (restore func()) {
	before := w.mood.Swap(int32(m))
	return func() { w.mood.Store(before) }
}

// Mood is the one in force.
func (w *Weather) Mood() Mood { return Mood(w.mood.Load()) }

// Calls is how many requests came so far, through Wrap.
func (w *Weather) Calls() int64 { return w.calls.Load() }

// hugeBytes is more than any token endpoint answers.
const hugeBytes = 10 << 20

// Wrap puts a token endpoint into the weather.
func (w *Weather) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.calls.Add(1)
		switch w.Mood() {
		case Down:
			http.Error(rw, "upstream connect error", http.StatusServiceUnavailable)
		case Slow:
			_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, hugeBytes)) // net/http sees a caller leave only after the body
			<-r.Context().Done()
		case HTML:
			rw.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = rw.Write([]byte("<!doctype html><title>Sign in</title><p>Please sign in."))
		case Huge:
			rw.Header().Set("Content-Type", "application/json")
			_, _ = rw.Write([]byte(`{"access_token":"` + strings.Repeat("x", hugeBytes) + `"}`))
		case Redirecting:
			http.Redirect(rw, r, "/elsewhere", http.StatusFound)
		default:
			next.ServeHTTP(rw, r)
		}
	})
}
