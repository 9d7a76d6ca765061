package subject

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ohler55/ojg/jp"
	"golang.org/x/time/rate"

	"github.com/cambio-sts/cambio/exchange"
)

const (
	askDeadline  = 5 * time.Second
	asksAtOnce   = 32   // outstanding at one application; more callers wait
	answersKept  = 8192 // where a trust allows a cache
	maxAnswerAge = time.Minute
	minSession   = time.Second
	maxSession   = time.Hour
	maxPerSecond = 10_000
)

// SecretFor gives the secret that a ${secret:NAME} of a policy names, for sending to
// that host and no other (S20).
type SecretFor func(reference, host string) (exchange.Secret, error)

// asker asks an application whether a session stands. Where to, policy says and
// nothing else; how often is bounded, whoever causes it.
type asker struct {
	exchange.Introspection
	tenant, trust string
	host          string
	signed        bool // the cookie says by itself whose it is
	fetcher       *fetcher
	secret        SecretFor
	active        jp.Expr // nil: the status says it
	subject       jp.Expr
	ends          jp.Expr // nil: no session says when it ends
	now           func() time.Time
	meter         Meter
	slots         chan struct{}
	pace          *rate.Limiter
	good          *memory[answered] // nil: each exchange asks (S37)
}

// answered is a session by which its application stands.
type answered struct {
	all     map[string]any
	subject string    // empty: it did not say
	ends    time.Time // as it said; zero: it did not
	expires time.Time // ends, or what the trust takes for it
	until   time.Time // as long as the answer may be used
}

func (v *Verifier) newAsker(t exchange.Trust) (*asker, error) {
	i := *t.Session.Introspect
	a := &asker{
		Introspection: i, tenant: t.Tenant, trust: t.Name, secret: v.secret, now: v.now, meter: v.meter, signed: t.Issuer != "",
		fetcher: &fetcher{factory: v.client, caFile: i.CAFile},
		slots:   make(chan struct{}, asksAtOnce), pace: rate.NewLimiter(rate.Limit(i.PerSecond), 2*i.PerSecond),
	}
	if i.Cache > 0 {
		a.good = newMemory[answered](answersKept)
	}
	u, err := url.Parse(i.URL)
	if err != nil {
		return nil, errors.New("introspect.url is not a URL")
	}
	a.host = u.Hostname()
	for _, p := range []struct {
		path string
		into *jp.Expr
	}{{i.Active, &a.active}, {i.Subject, &a.subject}, {i.Expires, &a.ends}} {
		if p.path == "" {
			continue
		}
		if *p.into, err = compilePath(p.path); err != nil {
			return nil, fmt.Errorf("introspect: %w", err)
		}
	}
	if _, err := a.fetcher.open(); err != nil {
		return nil, fmt.Errorf("introspect: %w", err)
	}
	if i.ClientSecret != "" && v.secret != nil { // found at load, not by the first caller
		if _, err := v.secret(i.ClientSecret, a.host); err != nil {
			return nil, fmt.Errorf("introspect.client_secret: %w", err)
		}
	}
	return a, nil
}

// ask asks, or remembers where the trust allows it. A failure is never a yes.
func (a *asker) ask(ctx context.Context, cookie, value string, fingerprint [sha256.Size]byte) (answered, error) {
	if a.good != nil {
		if known, ok := a.good.get(fingerprint); ok && a.now().Before(known.until) {
			a.meter.Reviewed(a.tenant, a.trust, Remembered)
			return known, nil
		}
	}
	if !a.pace.AllowN(a.now(), 1) {
		return answered{}, &exchange.Error{
			Kind: exchange.KindThrottled, Advice: "too many sessions of this application are being looked at; try again in a second",
			RetryAfter: time.Second, Err: fmt.Errorf("trust %q: over introspect.per_second", a.trust),
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askDeadline)
	defer cancel()
	select {
	case a.slots <- struct{}{}:
		defer func() { <-a.slots }()
	case <-ctx.Done():
		return answered{}, a.failed(fmt.Errorf("waiting for other questions: %w", ctx.Err()))
	}
	asked := a.now()
	answer, err := a.question(ctx, cookie, value, asked)
	switch {
	case errors.Is(err, errLoggedOut):
		a.meter.Reviewed(a.tenant, a.trust, Refused)
		if a.good != nil {
			a.good.drop(fingerprint)
		}
		return answered{}, errLoggedOut
	case err != nil:
		return answered{}, a.failed(err)
	}
	a.meter.Reviewed(a.tenant, a.trust, Authenticated)
	if a.good != nil {
		answer.until = asked.Add(a.Cache)
		a.good.put(fingerprint, answer)
	}
	return answer, nil
}

func (a *asker) failed(cause error) error {
	a.meter.Reviewed(a.tenant, a.trust, Failed)
	return exchange.Fault(exchange.KindUnavailable, "the session's application could not be asked whether the session stands; try again",
		fmt.Errorf("introspection for trust %q: %w", a.trust, cause))
}

// question performs one call. Only what an application says about the session is
// errLoggedOut; what is wrong between it and us is any other error, and quotes nothing
// of the answer.
func (a *asker) question(ctx context.Context, cookie, value string, asked time.Time) (answered, error) {
	r, err := a.request(ctx, cookie, value)
	if err != nil {
		return answered{}, err
	}
	status, body, err := a.fetcher.send(r)
	switch get := a.Method == http.MethodGet; {
	case err != nil:
		return answered{}, err
	case get && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		return answered{}, errLoggedOut
	case status != http.StatusOK:
		return answered{}, fmt.Errorf("status %d", status)
	case get && strings.TrimSpace(string(body)) == "null": // nobody, to some
		return answered{}, errLoggedOut
	}
	all, err := decodeObject(string(body))
	if err != nil {
		return answered{}, fmt.Errorf("reading the answer: %w", err)
	}
	return a.read(all, asked)
}

func (a *asker) request(ctx context.Context, cookie, value string) (*http.Request, error) {
	if a.Method == http.MethodGet {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.URL, nil)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Accept", "application/json")
		r.Header.Set("Cookie", cookie+"="+value)
		return r, nil
	}
	form := url.Values{"token": {value}, "cookie_name": {cookie}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, a.URL, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if a.ClientID != "" {
		if a.secret == nil {
			return nil, errors.New("there are no secrets here to send")
		}
		secret, err := a.secret(a.ClientSecret, a.host)
		if err != nil {
			return nil, fmt.Errorf("introspect.client_secret: %w", err)
		}
		r.SetBasicAuth(url.QueryEscape(a.ClientID), url.QueryEscape(secret.Reveal())) // RFC 6749 §2.3.1
	}
	return r, nil
}

// read takes an answer apart.
func (a *asker) read(all map[string]any, asked time.Time) (answered, error) {
	out := answered{all: all, expires: asked.Add(a.Lifetime)}
	if a.active != nil {
		active, _, err := one(a.active, all)
		if yes, ok := active.(bool); err != nil || !ok {
			return out, fmt.Errorf("reading the answer: introspect.active finds neither true nor false")
		} else if !yes {
			return out, errLoggedOut
		}
	}
	id, said, err := one(a.subject, all)
	switch id := id.(type) {
	case string:
		out.subject = id
	case int64:
		out.subject = fmt.Sprint(id)
	default:
		if said {
			err = errors.New("it is neither text nor a whole number")
		}
	}
	switch {
	case err == nil && !said && a.active == nil:
		return out, errLoggedOut // a status of 200 for nobody
	case err != nil, len(out.subject) > maxName, out.subject == "" && !a.signed:
		return out, errors.New("reading the answer: introspect.subject does not find one name")
	}
	if a.ends == nil {
		return out, nil
	}
	end, said, err := one(a.ends, all)
	if err == nil && said {
		out.ends, err = endOf(end)
		out.expires = out.ends
	}
	if err != nil {
		return out, errors.New("reading the answer: introspect.expires finds neither seconds since 1970 nor a moment of RFC 3339")
	}
	return out, nil
}

// one is the one value that a path finds; null is none.
func one(path jp.Expr, all map[string]any) (value any, said bool, err error) {
	found := path.Get(all)
	switch {
	case len(found) > 1:
		return nil, false, errors.New("it finds several values")
	case len(found) == 0 || found[0] == nil:
		return nil, false, nil
	}
	return found[0], true, nil
}

// endOf reads a NumericDate (RFC 7519 §2) or a moment of RFC 3339.
func endOf(value any) (time.Time, error) {
	if text, ok := value.(string); ok {
		return time.Parse(time.RFC3339, text)
	}
	return moment(map[string]any{"exp": value}, "exp")
}
