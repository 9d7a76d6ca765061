package cambio_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// step is one thing that happens to a source.
type step struct {
	Kind string
	// For is how much time passes, how long a caller wants a credential to live, how long
	// the one that is given lives, or how long the server asks to be left alone.
	For time.Duration
	// Which of the callers that wait leaves, or which of the values that were seen is
	// rejected, counted from the newest.
	Which int
}

var steps = rapid.Custom(func(r *rapid.T) step {
	return step{
		Kind: rapid.SampledFrom([]string{"pass", "pass", "pass", "call", "call", "best", "renew", "give", "give", "refuse", "leave"}).Draw(r, "kind"),
		For: rapid.SampledFrom([]time.Duration{
			0, time.Millisecond, time.Second, 3 * time.Second, 6 * time.Second, 11 * time.Second, 40 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour,
		}).Draw(r, "for") * time.Duration(rapid.IntRange(80, 120).Draw(r, "percent")) / 100,
		Which: rapid.IntRange(0, 3).Draw(r, "which"),
	}
})

// world is a server whose answers come when a step says so, and those who ask the source.
// Time is that of a synctest bubble.
type world struct {
	source *cambio.TokenSource

	mu      sync.Mutex
	faults  []string
	asking  chan http.Header // the one exchange that is under way; nil: none
	given   int
	refused int // in a row
	resting time.Time
	seen    []cambio.Secret
	waiting []context.CancelFunc
	inside  int // callers
}

func (w *world) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// RoundTrip is the server.
func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	if w.asking != nil {
		w.fault("two exchanges at once")
	}
	if now := time.Now(); now.Before(w.resting) {
		w.fault("asked %v before it may", w.resting.Sub(now))
	}
	answer := make(chan http.Header, 1)
	w.asking = answer
	w.mu.Unlock()
	var head http.Header
	select {
	case head = <-answer:
	case <-req.Context().Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asking = nil
	life, err := time.ParseDuration(head.Get("Life"))
	if err != nil || life < time.Second {
		w.refused++
		rest := min(5*time.Second<<(w.refused-1), time.Minute) / 2
		after, _ := strconv.Atoi(head.Get("Retry-After"))
		w.resting = time.Now().Add(max(rest, min(time.Duration(after)*time.Second, 5*time.Minute)))
		if head == nil {
			return nil, req.Context().Err()
		}
	}
	if err != nil {
		return &http.Response{StatusCode: http.StatusForbidden, Header: head, Body: io.NopCloser(bytes.NewReader([]byte(`{"error":"access_denied"}`)))}, nil
	}
	w.given++
	if life >= time.Second {
		w.refused, w.resting = 0, time.Time{}
	}
	text := fmt.Sprintf(`{"access_token":"issued-%d","token_type":"Bearer","expires_in":%d}`, w.given, life/time.Second)
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader([]byte(text)))}, nil
}

// caller asks, and looks at what it gets. lives: what was held at the time is good enough.
func (w *world) caller(lives bool, ask func(context.Context) (*cambio.Credential, error)) {
	ctx, cancel := context.WithCancel(context.Background())
	w.waiting = append(w.waiting, cancel)
	w.inside++
	began := time.Now()
	go func() {
		defer cancel()
		c, err := ask(ctx)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.inside--
		now := time.Now()
		switch {
		case err == nil && !now.Before(c.Expires):
			w.fault("a dead credential is given out")
		case err == nil:
			w.seen = append(w.seen, c.Value)
		case lives && ctx.Err() == nil:
			w.fault("%v, though what is held lives", err)
		}
		if lives && now != began {
			w.fault("who could have the one that is held waited")
		}
	}()
}

// do lets one step happen, and waits until nothing moves any more.
func (w *world) do(s step) {
	if s.Kind == "pass" {
		time.Sleep(s.For)
	}
	synctest.Wait()
	held, _ := w.source.Held()
	w.mu.Lock()
	lives := held != nil && time.Now().Before(held.Expires)
	switch s.Kind {
	case "call":
		w.caller(lives && s.For == 0, func(ctx context.Context) (*cambio.Credential, error) { return w.source.AtLeast(ctx, s.For) })
	case "best":
		w.caller(lives && w.asking == nil && time.Now().Before(w.resting), func(ctx context.Context) (*cambio.Credential, error) { return w.source.Best(ctx, s.For) })
	case "renew":
		rejected := cambio.NewSecret("of somebody else")
		if n := len(w.seen); n > s.Which {
			rejected = w.seen[n-1-s.Which]
		}
		other := lives && !held.Value.Equal(rejected)
		w.caller(other, func(ctx context.Context) (*cambio.Credential, error) { return w.source.Renew(ctx, rejected) })
	case "give":
		if w.asking != nil {
			w.asking <- http.Header{"Life": {s.For.String()}}
		}
	case "refuse":
		if w.asking != nil {
			w.asking <- http.Header{"Retry-After": {strconv.Itoa(int(s.For / time.Second))}}
		}
	case "leave":
		if n := len(w.waiting); n > s.Which {
			w.waiting[n-1-s.Which]()
		}
	}
	w.mu.Unlock()
	synctest.Wait()
}

func (w *world) run(t *testing.T, steps []step, chance float64) {
	synctest.Test(t, func(t *testing.T) {
		client, err := cambio.New("https://cambio.example", workload(),
			cambio.WithHTTPClient(&http.Client{Transport: w}), cambio.WithClock(time.Now, func() float64 { return chance }))
		if err != nil {
			w.fault("%v", err)
			return
		}
		w.source = client.NewTokenSource(cambio.Request{Audience: "x"})
		for _, s := range steps {
			w.do(s)
		}
		for range 3 { // nobody waits for ever
			w.do(step{Kind: "give", For: time.Hour})
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.inside > 0 {
			w.fault("%d callers wait for ever", w.inside)
		}
	})
}

// Whatever happens in whatever order: there is one exchange at a time, none sooner than a
// failure lets it, nobody gets a dead credential, and who can have the one that is held
// does not wait for another.
func TestSourceUnderEveryInterleaving(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		list := rapid.SliceOfN(steps, 50, 250).Draw(r, "steps")
		var w world
		w.run(t, list, rapid.Float64Range(0, 0.999).Draw(r, "chance"))
		if len(w.faults) > 0 {
			r.Fatal(w.faults)
		}
	})
}
