package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/origin"
	jose "github.com/go-jose/go-jose/v4"
)

const (
	// fetchTimeout bounds one look at the issuer.
	fetchTimeout = 10 * time.Second
	maxDocument  = 512 << 10 // bytes
	maxKeys      = 64
	// fetchEvery is how often the issuer is asked at most, whatever tokens come: each
	// one that names an unknown key would have it asked again.
	fetchEvery = 10 * time.Second
	// freshKeys is how long keys are good without asking: one that the issuer
	// withdrew is not trusted longer, unless the issuer is away.
	freshKeys = time.Hour
	staleKeys = 24 * time.Hour
)

// keys are an issuer's, fetched when they are first needed. go-oidc's own set asks the
// issuer for each unknown key, reads without bound, and keeps keys forever.
type keys struct {
	issuer, url string // url empty: discovered
	algorithms  []jose.SignatureAlgorithm
	client      *http.Client
	now         func() time.Time

	mu      sync.Mutex
	set     []jose.JSONWebKey
	fetched time.Time // when set was
	asked   time.Time // when that was last tried
	failed  error     // how that ended
	flight  chan struct{}
}

func newKeys(issuer, at string, roots *x509.CertPool, names []string, now func() time.Time) *keys {
	k := &keys{issuer: issuer, url: at, now: now, client: &http.Client{
		Timeout: fetchTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2: true, MaxResponseHeaderBytes: 64 << 10, IdleConnTimeout: idleConn,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for _, name := range names {
		k.algorithms = append(k.algorithms, jose.SignatureAlgorithm(name))
	}
	return k
}

var errUnsigned = errors.New("no key of the issuer made this signature")

// outage is where a key set says that it could not judge: go-oidc hands on its errors as
// text alone.
type outage struct{}

// away marks a verification as one that had no keys.
func away(ctx context.Context) {
	if failed, ok := ctx.Value(outage{}).(*bool); ok {
		*failed = true
	}
}

// VerifySignature returns the payload that an issuer's key signed (oidc.KeySet).
func (k *keys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSignedCompact(token, k.algorithms)
	if err != nil || len(signed.Signatures) != 1 {
		return nil, errUnsigned
	}
	head := signed.Signatures[0].Header
	now := k.now()
	set, age := k.held(now)
	if age < freshKeys {
		if payload, ok := check(set, signed, head); ok {
			return payload, nil
		}
	}
	set, err = k.fetch(ctx, now)
	if err != nil {
		if age >= staleKeys {
			away(ctx)
			return nil, fmt.Errorf("the issuer's keys cannot be had: %w", err)
		}
		set, _ = k.held(now)
	}
	if payload, ok := check(set, signed, head); ok {
		return payload, nil
	}
	return nil, errUnsigned
}

// check tries the keys that the token names; all, if it names none.
func check(set []jose.JSONWebKey, signed *jose.JSONWebSignature, head jose.Header) ([]byte, bool) {
	for _, key := range set {
		if head.KeyID != "" && key.KeyID != head.KeyID || key.Use != "" && key.Use != "sig" ||
			key.Algorithm != "" && key.Algorithm != head.Algorithm {
			continue
		}
		if payload, err := signed.Verify(key); err == nil {
			return payload, true
		}
	}
	return nil, false
}

func (k *keys) held(now time.Time) ([]jose.JSONWebKey, time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fetched.IsZero() {
		return nil, staleKeys
	}
	return k.set, now.Sub(k.fetched)
}

// fetch asks the issuer, once for all who wait, and not sooner than it may. Who comes too
// soon gets what was found then.
func (k *keys) fetch(ctx context.Context, now time.Time) ([]jose.JSONWebKey, error) {
	k.mu.Lock()
	if k.flight == nil {
		if !k.asked.IsZero() && now.Sub(k.asked) < fetchEvery {
			defer k.mu.Unlock()
			return k.set, k.failed
		}
		k.asked, k.flight = now, make(chan struct{})
		go k.ask(k.flight)
	}
	flight := k.flight
	k.mu.Unlock()
	select {
	case <-flight:
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.set, k.failed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ask is not bound to a caller, who may leave.
func (k *keys) ask(done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	set, err := k.download(ctx)
	now := k.now()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failed = err; err == nil {
		k.set, k.fetched = set, now
	}
	k.flight = nil
	close(done)
}

func (k *keys) download(ctx context.Context) ([]jose.JSONWebKey, error) {
	at := k.url
	if at == "" {
		var document struct {
			Issuer  string `json:"issuer"`
			JWKSURI string `json:"jwks_uri"`
		}
		if err := k.get(ctx, strings.TrimRight(k.issuer, "/")+"/.well-known/openid-configuration", &document); err != nil {
			return nil, err
		}
		u, err := url.Parse(document.JWKSURI)
		switch {
		case document.Issuer != k.issuer:
			return nil, errors.New("the issuer's configuration names another issuer")
		case err != nil || !fetchable(u):
			return nil, errors.New("the issuer's jwks_uri is not https")
		}
		at = document.JWKSURI
	}
	var text json.RawMessage
	if err := k.get(ctx, at, &text); err != nil {
		return nil, err
	}
	return parseKeys(text)
}

// parseKeys reads a key set. Keys of kinds that are not understood are left out (RFC 7517
// §5), and so is what is no public key: anybody may know how to sign with those.
func parseKeys(text []byte) ([]jose.JSONWebKey, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(text, &raw) != nil {
		return nil, errors.New("the issuer's keys are no JSON")
	}
	if len(raw.Keys) > maxKeys {
		return nil, fmt.Errorf("the issuer has more than %d keys", maxKeys)
	}
	var set []jose.JSONWebKey
	for _, one := range raw.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(one, &key) == nil && key.Valid() && key.IsPublic() {
			set = append(set, key)
		}
	}
	return set, nil
}

func (k *keys) get(ctx context.Context, at string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return errors.New("that is no URL")
	}
	req.Header.Set("Accept", "application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("status %d", resp.StatusCode)
	case len(text) > maxDocument:
		return fmt.Errorf("more than %d bytes", maxDocument)
	case json.Unmarshal(text, v) != nil:
		return errors.New("no JSON")
	}
	return nil
}

// fetchable reports whether keys may come from there.
func fetchable(u *url.URL) bool {
	return u.Host != "" && u.User == nil && origin.Safe(u)
}
