package cambio

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
)

const (
	// backOff is how long a source does not ask after a failure, or half of it by chance;
	// it doubles with each further one, up to maxBackOff.
	backOff    = 5 * time.Second
	maxBackOff = time.Minute
	// stormWindow is how long a credential that replaced a rejected one is not
	// replaced again: who refuses that too does not refuse for its age.
	stormWindow = 10 * time.Second
)

// TokenSource keeps the credential of one request: it asks when there is none, renews ahead,
// and serves what is still good while the server cannot be asked. However many callers
// there are, one exchange is under way at a time. It is safe for concurrent use.
type TokenSource struct {
	client  *Client
	request Request

	current atomic.Pointer[held]
	// exchanges that were begun by the source and have ended
	succeeded, refused atomic.Uint64

	mu       sync.Mutex
	flight   *flight
	failures int
	failed   error
	until    time.Time // nothing is asked before
}

// held is a credential, and whether it replaced one that was rejected.
type held struct {
	*Credential
	life   time.Duration
	forced time.Time // zero: it did not
}

// lasts reports whether there is a credential, with enough life left.
func (h *held) lasts(now time.Time, left time.Duration) bool {
	return h != nil && h.Expires.Sub(now) > min(left, h.life/2)
}

// flight is one exchange; done is closed when it has ended.
type flight struct {
	done       chan struct{}
	credential *Credential
	err        error
}

func newSource(c *Client, request Request) *TokenSource {
	return &TokenSource{client: c, request: request}
}

// Now is the time by the client's clock, which Expires and Refresh are measured by.
func (s *TokenSource) Now() time.Time { return s.client.now() }

// Request is what the source asks for.
func (s *TokenSource) Request() Request { return s.request }

// Credential is a credential that is good at this moment: the held one, or what an
// exchange gives. The exchange goes on when ctx ends: others may wait for it.
func (s *TokenSource) Credential(ctx context.Context) (*Credential, error) {
	return s.AtLeast(ctx, 0)
}

// AtLeast is Credential, for who needs it to live a while yet: where the held one ends
// sooner, it is renewed first. Of credentials that live less than twice as long, half
// their life is enough.
func (s *TokenSource) AtLeast(ctx context.Context, left time.Duration) (*Credential, error) {
	now := s.client.now()
	if h := s.current.Load(); h.lasts(now, left) {
		if !now.Before(h.Refresh) {
			_, _ = s.start(now, left) // ahead, and nobody waits
		}
		return h.Credential, nil
	}
	f, err := s.start(now, left)
	if err != nil {
		return nil, err
	}
	return f.wait(ctx)
}

// Best is AtLeast, or, where the server does not give another, the credential that is
// held, for as long as it lives: it works until it dies.
func (s *TokenSource) Best(ctx context.Context, left time.Duration) (*Credential, error) {
	credential, err := s.AtLeast(ctx, left)
	if err == nil {
		return credential, nil
	}
	if h := s.current.Load(); h.lasts(s.client.now(), 0) {
		return h.Credential, nil
	}
	return nil, err
}

// Renew gets another credential than the one that somebody rejected. Who comes with one
// that was replaced already gets the replacement, so that a hundred refusals cause one
// exchange; and a replacement that is rejected at once is not replaced again within
// ten seconds. Then the rejected one is returned: it is not for its age.
func (s *TokenSource) Renew(ctx context.Context, rejected Secret) (*Credential, error) {
	now := s.client.now()
	h := s.current.Load()
	if h != nil && now.Before(h.Expires) {
		if !h.Value.Equal(rejected) {
			return h.Credential, nil
		}
		if !h.forced.IsZero() && now.Sub(h.forced) < stormWindow {
			return h.Credential, nil
		}
	}
	f, err := s.startFor(now, h)
	if err != nil {
		return nil, err
	}
	return f.wait(ctx)
}

// Token is the credential as x/oauth2 has it. Its expiry is that of the credential.
func (s *TokenSource) Token() (*oauth2.Token, error) {
	credential, err := s.Credential(context.Background())
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{
		AccessToken: credential.Value.Reveal(), TokenType: credential.Type, Expiry: credential.Expires,
		ExpiresIn: int64(credential.Expires.Sub(s.client.now()) / time.Second),
	}, nil
}

// Held is the credential that is held, and the last failure, for who shows the state of
// things; nothing is asked. Either may be nil.
func (s *TokenSource) Held() (*Credential, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.current.Load(); h != nil {
		return h.Credential, s.failed
	}
	return nil, s.failed
}

// Exchanges counts those of the source: what gave a credential, and what did not.
func (s *TokenSource) Exchanges() (succeeded, failed uint64) {
	return s.succeeded.Load(), s.refused.Load()
}

func (s *TokenSource) start(now time.Time, left time.Duration) (*flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.current.Load(); h.lasts(now, left) && now.Before(h.Refresh) {
		// Somebody was faster; what is held is as good as it gets.
		return &flight{done: closed, credential: h.Credential}, nil
	}
	return s.startLocked(now, nil)
}

// startFor starts the renewal of a rejected credential, unless it was replaced.
func (s *TokenSource) startFor(now time.Time, rejected *held) (*flight, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.current.Load(); h != rejected && h != nil {
		return &flight{done: closed, credential: h.Credential}, nil
	}
	return s.startLocked(now, rejected)
}

// startLocked starts an exchange, unless one is under way. rejected nil: it is time for
// one, and nothing was refused.
func (s *TokenSource) startLocked(now time.Time, rejected *held) (*flight, error) {
	if s.flight != nil {
		return s.flight, nil
	}
	if s.failed != nil && now.Before(s.until) {
		return nil, s.failed
	}
	f := &flight{done: make(chan struct{})}
	s.flight = f
	go s.fly(f, rejected)
	return f, nil
}

// fly asks the server. It is not bound to a caller, who may leave.
func (s *TokenSource) fly(f *flight, rejected *held) {
	began := s.client.now()
	request, forced := s.request, time.Time{}
	if rejected != nil {
		request.Rejected, forced = rejected.Value, began
	}
	credential, err := s.client.Exchange(context.Background(), request)
	now := s.client.now()
	if err == nil && !now.Before(credential.Expires) {
		// Who took it would ask for the next at once, and so without end.
		credential, err = nil, &Error{
			Code: CodeBadAnswer, Status: http.StatusOK, ExchangeID: credential.ExchangeID, Retryable: true,
			Description: "the server gave a credential that has ended already: raise the lifetime",
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flight = nil
	switch {
	case err == nil:
		s.succeeded.Add(1)
		s.current.Store(&held{Credential: credential, life: credential.Expires.Sub(began), forced: forced})
		s.failures, s.failed = 0, nil
	default:
		s.refused.Add(1)
		s.failed = err
		wait := min(backOff<<min(s.failures, 8), maxBackOff)
		wait = wait/2 + time.Duration(s.client.random()*float64(wait)/2)
		var refused *Error
		if errors.As(err, &refused) {
			wait = max(wait, refused.RetryAfter) // not a moment less
		}
		s.failures++
		s.until = now.Add(wait)
	}
	f.credential, f.err = credential, err
	close(f.done)
}

func (f *flight) wait(ctx context.Context) (*Credential, error) {
	select {
	case <-f.done:
		return f.credential, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()
