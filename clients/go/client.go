package cambio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/quiet"
)

const (
	// defaultTimeout bounds one exchange, retries included.
	defaultTimeout = 10 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 1 << 20
	// attempts at one exchange when the server cannot be reached or is busy.
	attempts = 3
	// maxSources bounds how many sources a client keeps by itself.
	maxSources = 1024
)

// Client exchanges tokens at one Cambio server. It is safe for concurrent use.
type Client struct {
	endpoint string
	origin   string
	identity Identity
	http     *http.Client
	caFile   string
	id       string // client_id; empty: none
	secret   func() (Secret, error)
	timeout  time.Duration
	now      func() time.Time
	random   func() float64 // in [0, 1)

	mu      sync.Mutex
	sources map[string]*TokenSource
}

// Option changes how a Client works.
type Option func(*Client)

// WithHTTPClient sends requests by this client, which holds the CA to trust. Its
// redirects are not followed, whatever it says: a request holds tokens.
func WithHTTPClient(client *http.Client) Option {
	return func(c *Client) { c.http = client }
}

// WithClientSecret authenticates as a registered client, by client_secret_basic. The
// secret is asked for each exchange, so that it can be rotated.
func WithClientSecret(id string, secret func() (Secret, error)) Option {
	return func(c *Client) { c.id, c.secret = id, secret }
}

// WithTimeout bounds one exchange, retries included. The default is ten seconds.
func WithTimeout(timeout time.Duration) Option {
	return func(c *Client) { c.timeout = timeout }
}

// WithClock gives the time and the chance to tests: now, and numbers in [0, 1).
func WithClock(now func() time.Time, random func() float64) Option {
	return func(c *Client) { c.now, c.random = now, random }
}

// New makes a client of the server whose issuer URL is given; empty: CAMBIO_URL. The
// URL is https, save on loopback. identity nil: FromEnvironment. CAMBIO_CLIENT_ID and
// CAMBIO_CLIENT_SECRET_FILE make it a registered client, unless WithClientSecret does.
func New(issuer string, identity Identity, options ...Option) (*Client, error) {
	if issuer == "" {
		if issuer = os.Getenv("CAMBIO_URL"); issuer == "" {
			return nil, errors.New("cambio: no server: give its URL, or set CAMBIO_URL")
		}
	}
	u, err := safeURL(issuer)
	if err != nil {
		return nil, fmt.Errorf("cambio: server %q: %w", issuer, err)
	}
	if u.RawQuery != "" {
		return nil, fmt.Errorf("cambio: server %q: the URL has no query", issuer)
	}
	if identity == nil {
		if identity, err = FromEnvironment(); err != nil {
			return nil, err
		}
	}
	origin := strings.TrimRight(u.String(), "/")
	c := &Client{
		endpoint: origin + "/oauth2/token", origin: origin, identity: identity,
		timeout: defaultTimeout, now: time.Now, random: rand.Float64,
		sources: map[string]*TokenSource{},
	}
	for _, option := range options {
		option(c)
	}
	if id := os.Getenv("CAMBIO_CLIENT_ID"); c.id == "" && id != "" {
		c.id, c.secret = id, SecretFile(os.Getenv("CAMBIO_CLIENT_SECRET_FILE"))
	}
	if c.caFile == "" && c.http == nil {
		c.caFile = os.Getenv("CAMBIO_CA_FILE")
	}
	switch {
	case c.http != nil && c.caFile != "":
		return nil, errors.New("cambio: give an HTTP client or a CA file: the client has its own")
	case c.caFile != "":
		if c.http, err = trusting(c.caFile); err != nil {
			return nil, err
		}
	case c.http == nil:
		c.http = &http.Client{}
	}
	own := *c.http
	own.CheckRedirect = refuseRedirect
	own.Jar = nil
	c.http = &own
	return c, nil
}

// URL is the server's, without a slash at its end.
func (c *Client) URL() string { return c.origin }

// Identity is what the client is known by.
func (c *Client) Identity() Identity { return c.identity }

// HTTPClient is what requests to the server are sent by; it follows no redirect.
func (c *Client) HTTPClient() *http.Client { return c.http }

// TokenSource keeps the credential of a request. Requests that differ in nothing and have no
// tokens of their own share a source, so asking for it again is cheap; a source for one
// user's token is for the caller to keep.
func (c *Client) TokenSource(request Request) *TokenSource {
	if !request.shared() {
		return newSource(c, request)
	}
	key := request.form().Encode()
	c.mu.Lock()
	defer c.mu.Unlock()
	if source, ok := c.sources[key]; ok {
		return source
	}
	source := newSource(c, request)
	if len(c.sources) < maxSources {
		c.sources[key] = source
	}
	return source
}

// NewTokenSource keeps the credential of a request for one caller alone, for as long as the
// caller keeps it: for requests that come and go, such as those of one public key each.
func (c *Client) NewTokenSource(request Request) *TokenSource { return newSource(c, request) }

// Exchange asks the server, each time it is called. What can be had once more is asked
// for once more: a server that is busy or cannot be reached, and a token file that was
// replaced meanwhile. The error is an *Error, or that of ctx.
func (c *Client) Exchange(ctx context.Context, request Request) (*Credential, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	proven, err := c.prove(ctx, request)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		credential, err := c.attempt(ctx, &request, proven)
		var refused *Error
		switch {
		case err == nil:
			return credential, nil
		case !errors.As(err, &refused) || attempt == attempts || ctx.Err() != nil:
			return nil, err
		case refused.Retryable:
			if wait := c.pause(refused.RetryAfter, attempt); !sleep(ctx, wait) {
				return nil, err
			}
			if proven, err = c.prove(ctx, request); err != nil {
				return nil, err
			}
		case attempt == 1 && (refused.Status == http.StatusBadRequest || refused.Status == http.StatusUnauthorized):
			again, unproven := c.prove(ctx, request)
			if unproven != nil || !again.differs(proven) {
				return nil, err
			}
			proven = again
		default:
			return nil, err
		}
	}
}

// pause is how long to wait before the next attempt.
func (c *Client) pause(asked time.Duration, attempt int) time.Duration {
	base := 100 * time.Millisecond << attempt
	return max(asked, base/2+time.Duration(c.random()*float64(base)))
}

// sleep waits, unless ctx ends first, or surely would.
func sleep(ctx context.Context, wait time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// proof is the tokens of one exchange.
type proof struct {
	subject            SubjectToken
	actor, passthrough *SubjectToken
}

// differs reports whether any of the tokens is another than that of an earlier proof of the
// same request.
func (p *proof) differs(earlier *proof) bool {
	other := func(a, b *SubjectToken) bool { return a != nil && b != nil && !a.Value.Equal(b.Value) }
	return other(&p.subject, &earlier.subject) || other(p.actor, earlier.actor) || other(p.passthrough, earlier.passthrough)
}

func (c *Client) prove(ctx context.Context, request Request) (*proof, error) {
	subject, actor := request.Subject, request.Actor
	if subject == nil {
		subject = c.identity
	} else if actor == nil {
		actor = c.identity
	}
	var p proof
	var err error
	if p.subject, err = ask(ctx, subject); err != nil {
		return nil, err
	}
	for _, further := range []struct {
		from Identity
		to   **SubjectToken
	}{{actor, &p.actor}, {request.Passthrough, &p.passthrough}} {
		if further.from == nil || further.from == NoActor {
			continue
		}
		token, err := ask(ctx, further.from)
		if err != nil {
			return nil, err
		}
		*further.to = &token
	}
	return &p, nil
}

func ask(ctx context.Context, identity Identity) (SubjectToken, error) {
	token, err := identity.SubjectToken(ctx)
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return SubjectToken{}, err
		}
		return SubjectToken{}, &Error{Code: CodeIdentity, Description: "the workload's own token cannot be had", Retryable: true, cause: err}
	}
	if token.Type == "" {
		token.Type = TokenTypeJWT
	}
	return token, nil
}

func (c *Client) attempt(ctx context.Context, request *Request, p *proof) (*Credential, error) {
	form := request.form()
	form.Set("subject_token", p.subject.Value.Reveal())
	form.Set("subject_token_type", p.subject.Type)
	if p.actor != nil {
		form.Set("actor_token", p.actor.Value.Reveal())
		form.Set("actor_token_type", p.actor.Type)
	}
	if p.passthrough != nil {
		form.Set("passthrough_token", p.passthrough.Value.Reveal())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("cambio: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	if c.id != "" {
		secret, err := c.secret()
		if err != nil {
			return nil, &Error{Code: CodeIdentity, Description: "the client's secret cannot be had", Retryable: true, cause: err}
		}
		// RFC 6749 §2.3.1: both are form-encoded first.
		req.SetBasicAuth(url.QueryEscape(c.id), url.QueryEscape(secret.Reveal()))
	}
	secrets := append(p.secrets(), secretsOf(req)...)
	began := c.now()
	text, err := c.send(ctx, req, secrets)
	if err != nil {
		return nil, err
	}
	return c.read(text, began, p)
}

// send returns the body of a 200, a byte longer than maxAnswer at most; whatever else
// comes is an *Error, which leaves the secrets out.
func (c *Client) send(ctx context.Context, req *http.Request, secrets []string) ([]byte, error) {
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err, secrets)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, c.unreachable(ctx, err, secrets)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(resp, text, secrets)
	}
	return text, nil
}

// secrets are what an exchange brings, for errors to leave out.
func (p *proof) secrets() []string {
	secrets := []string{p.subject.Value.Reveal()}
	for _, further := range []*SubjectToken{p.actor, p.passthrough} {
		if further != nil {
			secrets = append(secrets, further.Value.Reveal())
		}
	}
	return secrets
}

// secretsOf are what a request proves itself with.
func secretsOf(req *http.Request) []string {
	_, value, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	_, password, _ := req.BasicAuth()
	if plain, err := url.QueryUnescape(password); err == nil {
		return []string{value, plain, password}
	}
	return []string{value, password}
}

// unreachable is that no answer came. Its words may be a server's: see package quiet.
func (c *Client) unreachable(ctx context.Context, err error, secrets []string) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return &Error{Code: CodeUnreachable, Description: "no answer from " + c.origin, Retryable: true, cause: quiet.Error(err, secrets...)}
}

// read reads a good answer (RFC 8693 §2.2.1).
func (c *Client) read(text []byte, began time.Time, p *proof) (*Credential, error) {
	var answer struct {
		AccessToken string  `json:"access_token"`
		IssuedType  string  `json:"issued_token_type"`
		TokenType   string  `json:"token_type"`
		ExpiresIn   float64 `json:"expires_in"`
		Scope       string  `json:"scope"`
		ExchangeID  string  `json:"exchange_id"`
		LeaseID     string  `json:"lease_id"`
	}
	if len(text) > maxAnswer || json.Unmarshal(text, &answer) != nil || answer.AccessToken == "" ||
		answer.ExpiresIn < 0 || answer.ExpiresIn > 1<<30 {
		return nil, &Error{Code: CodeBadAnswer, Status: http.StatusOK, Description: "no credential is in the answer of " + c.origin + ": is it a Cambio server?"}
	}
	life := time.Duration(answer.ExpiresIn * float64(time.Second))
	// The server sees to it that a credential dies before what bought it. Should it
	// not: this side knows when that is, unless its clock is so far off that the token
	// that was just taken seems to be dead.
	if end := p.subject.Expires.Sub(began); !p.subject.Expires.IsZero() && end > 0 {
		life = min(life, end)
	}
	credential := &Credential{
		Value: NewSecret(answer.AccessToken), Type: answer.TokenType, IssuedTokenType: answer.IssuedType,
		Scopes: strings.Fields(answer.Scope), Expires: began.Add(life),
		ExchangeID: answer.ExchangeID, LeaseID: answer.LeaseID,
	}
	credential.Refresh = credential.Expires.Add(-ahead(life, c.random()))
	return credential, nil
}

// ahead is how long before its end a credential is renewed: a fifth of its life, five
// minutes at most, and a fifth of that more or less, so that replicas that started
// together do not ask together.
func ahead(life time.Duration, chance float64) time.Duration {
	window := min(5*time.Minute, life/5)
	return window + time.Duration((chance*2-1)*0.2*float64(window))
}
