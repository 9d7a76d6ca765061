package cambio_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// value is a source's credential of the moment.
func value(t *testing.T, s *cambio.TokenSource) string {
	t.Helper()
	c, err := s.Credential(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c.Value.Reveal()
}

// becomes waits until a source holds another credential: a renewal that nobody waits for.
func becomes(t *testing.T, s *cambio.TokenSource, want string) {
	t.Helper()
	for {
		if c, _ := s.Held(); c != nil && c.Value.Reveal() == want {
			return
		}
		if t.Context().Err() != nil {
			t.Fatalf("never became %s", want)
		}
	}
}

func TestTwoHundredColdCallersCauseOneExchange(t *testing.T) {
	b := newBureau(t)
	client, _ := newClient(t, b, workload())
	var group sync.WaitGroup
	for range 200 {
		group.Go(func() {
			if v := value(t, client.TokenSource(cambio.Request{Audience: "x"})); v != "issued-1" {
				t.Errorf("got %s", v)
			}
		})
	}
	group.Wait()
	if b.asked() != 1 {
		t.Errorf("asked %d times", b.asked())
	}
}

func TestRenewalIsAheadAndNobodyWaits(t *testing.T) {
	b := newBureau(t)
	client, clock := newClient(t, b, workload())
	source := client.TokenSource(cambio.Request{Audience: "x"})
	value(t, source)
	clock.Pass(54 * time.Minute)
	value(t, source)
	if b.asked() != 1 {
		t.Fatalf("asked %d times before it was due", b.asked())
	}
	release := make(chan struct{})
	b.decide(func(n int, _ url.Values, w http.ResponseWriter) {
		<-release
		issue(w, fmt.Sprintf("issued-%d", n), time.Hour)
	})
	clock.Pass(2 * time.Minute)
	for range 100 {
		if v := value(t, source); v != "issued-1" {
			t.Fatalf("got %s while the renewal is under way", v)
		}
	}
	close(release)
	becomes(t, source, "issued-2")
	if b.asked() != 2 {
		t.Errorf("asked %d times", b.asked())
	}
}

func TestWhatIsGoodServesWhileTheServerIsDown(t *testing.T) {
	b := newBureau(t)
	client, clock := newClient(t, b, workload())
	source := client.TokenSource(cambio.Request{Audience: "x"})
	value(t, source)
	b.decide(func(_ int, _ url.Values, w http.ResponseWriter) { refuse(w, 500, "server_error") })

	clock.Pass(56 * time.Minute)
	for b.asked() < 2 { // the renewal that fails
		value(t, source)
	}
	for _, fault := source.Held(); fault == nil; _, fault = source.Held() {
	}
	for range 100 {
		value(t, source)
	}
	if b.asked() != 2 {
		t.Errorf("a server that fails was asked %d times at once", b.asked())
	}
	clock.Pass(4 * time.Minute) // dead now
	_, err := source.Credential(t.Context())
	var refused *cambio.Error
	if !errors.As(err, &refused) || refused.Code != "server_error" || refused.ExchangeID == "" {
		t.Fatalf("got %v", err)
	}
	asked := b.asked()
	for range 100 {
		if _, again := source.Credential(t.Context()); again == nil {
			t.Fatal("a credential out of nowhere")
		}
	}
	if b.asked() != asked {
		t.Errorf("asked %d times more within the back-off", b.asked()-asked)
	}

	b.decide(nil)
	clock.Pass(11 * time.Second) // the second failure is waited out for ten seconds at most
	value(t, source)
	if _, fault := source.Held(); fault != nil {
		t.Errorf("the fault stays: %v", fault)
	}
}

func TestRetryAfterIsWaitedOut(t *testing.T) {
	b := newBureau(t)
	client, clock := newClient(t, b, workload())
	source := client.TokenSource(cambio.Request{Audience: "x"})
	b.decide(func(_ int, _ url.Values, w http.ResponseWriter) {
		w.Header().Set("Retry-After", "100")
		refuse(w, 429, "temporarily_unavailable")
	})
	if _, err := source.Credential(t.Context()); err == nil {
		t.Fatal("no error")
	}
	clock.Pass(99 * time.Second)
	if _, err := source.Credential(t.Context()); err == nil || b.asked() != 1 {
		t.Errorf("asked %d times: %v", b.asked(), err)
	}
	clock.Pass(2 * time.Second)
	b.decide(nil)
	value(t, source)
}

func TestAHundredRejectionsCauseOneRenewal(t *testing.T) {
	b := newBureau(t)
	client, clock := newClient(t, b, workload())
	source := client.TokenSource(cambio.Request{Audience: "x"})
	first := cambio.NewSecret(value(t, source))
	var group sync.WaitGroup
	for range 100 {
		group.Go(func() {
			c, err := source.Renew(t.Context(), first)
			if err != nil || c.Value.Reveal() != "issued-2" {
				t.Errorf("got %v", err)
			}
		})
	}
	group.Wait()
	if b.asked() != 2 {
		t.Fatalf("asked %d times", b.asked())
	}
	sum := sha256.Sum256([]byte(first.Reveal()))
	if b.last().Get("rejected_sha256") != base64.RawURLEncoding.EncodeToString(sum[:]) {
		t.Error("the server is not told what was rejected, and would give the same again")
	}
	// Rejected again at once: it is not for its age.
	second := cambio.NewSecret("issued-2")
	if c, err := source.Renew(t.Context(), second); err != nil || c.Value.Reveal() != "issued-2" || b.asked() != 2 {
		t.Errorf("asked %d times: %v", b.asked(), err)
	}
	clock.Pass(11 * time.Second)
	if c, err := source.Renew(t.Context(), second); err != nil || c.Value.Reveal() != "issued-3" {
		t.Errorf("later: %v", err)
	}
}

func TestAWaiterWhoLeavesStopsNobody(t *testing.T) {
	b := newBureau(t)
	client, _ := newClient(t, b, workload())
	source := client.TokenSource(cambio.Request{Audience: "x"})
	began, release := make(chan struct{}), make(chan struct{})
	b.decide(func(_ int, _ url.Values, w http.ResponseWriter) {
		close(began)
		<-release
		issue(w, "whole", time.Hour)
	})
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := source.Credential(ctx)
		left <- err
	}()
	<-began
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("left with %v", err)
	}
	close(release)
	if v := value(t, source); v != "whole" || b.asked() != 1 {
		t.Errorf("got %s after %d exchanges", v, b.asked())
	}
}

func TestAtLeast(t *testing.T) {
	for name, test := range map[string]struct {
		life, passed time.Duration
		renewed      bool
	}{
		"a long one, young":          {time.Hour, time.Minute, false},
		"a long one, a minute left":  {time.Hour, 59 * time.Minute, true},
		"two minutes, a minute left": {2 * time.Minute, time.Minute, true},
		"a minute, more than half":   {time.Minute, 29 * time.Second, false},
		"a minute, less than half":   {time.Minute, 31 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBureau(t)
			client, clock := newClient(t, b, workload())
			b.decide(func(n int, _ url.Values, w http.ResponseWriter) { issue(w, fmt.Sprintf("issued-%d", n), test.life) })
			source := client.TokenSource(cambio.Request{Audience: "x"})
			value(t, source)
			clock.Pass(test.passed)
			c, err := source.AtLeast(t.Context(), time.Minute)
			if err != nil || (c.Value.Reveal() == "issued-2") != test.renewed {
				t.Errorf("got %v, asked %d times", err, b.asked())
			}
		})
	}
}

func TestReplicasDoNotRenewTogether(t *testing.T) {
	b := newBureau(t)
	seen := map[time.Duration]bool{}
	for _, chance := range []float64{0, 0.25, 0.5, 0.75, 0.999} {
		clock := newClock()
		client, err := cambio.New(b.URL, workload(), cambio.WithClock(clock.Now, func() float64 { return chance }))
		if err != nil {
			t.Fatal(err)
		}
		c, err := client.Exchange(t.Context(), cambio.Request{Audience: "x"})
		if err != nil {
			t.Fatal(err)
		}
		ahead := c.Expires.Sub(c.Refresh)
		if ahead < 4*time.Minute || ahead > 6*time.Minute || seen[ahead] {
			t.Errorf("renewed %v ahead at %v", ahead, chance)
		}
		seen[ahead] = true
	}
}

func TestTheSourceIsAnOAuth2TokenSource(t *testing.T) {
	b := newBureau(t)
	client, clock := newClient(t, b, workload())
	token, err := client.TokenSource(cambio.Request{Audience: "x"}).Token()
	if err != nil || token.AccessToken != "issued-1" || token.Type() != "Bearer" || !token.Expiry.Equal(clock.Now().Add(time.Hour)) || token.ExpiresIn != 3600 {
		t.Errorf("got an expiry of %v, %v", token.Expiry, err)
	}
}

// BenchmarkHeld is what a call pays for a credential that is there.
func BenchmarkHeld(b *testing.B) {
	bureau := &bureau{}
	server := serveBureau(bureau)
	defer server.Close()
	client, err := cambio.New(server.URL, workload())
	if err != nil {
		b.Fatal(err)
	}
	source := client.TokenSource(cambio.Request{Audience: "x"})
	for b.Loop() {
		if _, err := source.AtLeast(b.Context(), time.Minute); err != nil {
			b.Fatal(err)
		}
	}
}
