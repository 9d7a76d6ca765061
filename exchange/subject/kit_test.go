package subject_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/subject"
)

// clock is the time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// house plays every issuer of a test: a TLS server to which all names resolve.
type house struct {
	server *httptest.Server

	mu       sync.Mutex
	handlers map[string]http.HandlerFunc // host and path
	asked    map[string]int
}

func newHouse(t testing.TB) *house {
	h := &house{handlers: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	h.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.asked[r.Host+r.URL.Path]++
		handler := h.handlers[r.Host+r.URL.Path]
		h.mu.Unlock()
		if handler == nil {
			http.NotFound(w, r)
			return
		}
		handler(w, r)
	}))
	t.Cleanup(h.server.Close)
	return h
}

// client resolves every name to the house. Redirects are not followed, as by the
// real client.
func (h *house) client(string) (*http.Client, error) {
	transport := h.server.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: transport.TLSClientConfig.RootCAs, ServerName: "example.com"}
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, h.server.Listener.Addr().String())
	}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, nil
}

func (h *house) handle(address string, f http.HandlerFunc) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handlers[strings.TrimPrefix(address, "https://")] = f
}

func (h *house) serve(address string, body []byte) {
	h.handle(address, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
}

func (h *house) fail(address string, status int) {
	h.handle(address, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
}

func (h *house) count(address string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked[strings.TrimPrefix(address, "https://")]
}

// issuer publishes discovery and keys for an issuer URL.
func (h *house) issuer(issuer string, keys ...signer) {
	h.serve(issuer+"/.well-known/openid-configuration", marshal(map[string]any{"issuer": issuer, "jwks_uri": issuer + "/keys"}))
	h.serve(issuer+"/keys", keySetOf(keys...))
}

// signer makes tokens, good and bad.
type signer struct {
	algorithm string
	id        string
	private   crypto.Signer
}

var (
	rsaKey   = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	otherRSA = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	smallRSA = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 1024)) })
	p256     = sync.OnceValue(func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	p384     = sync.OnceValue(func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	ed       = sync.OnceValue(func() crypto.Signer {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return must(private, err)
	})
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newES256(id string) signer {
	return signer{"ES256", id, must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
}

func keySetOf(keys ...signer) []byte {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{}}
	for _, k := range keys {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.private.Public(), KeyID: k.id, Algorithm: k.algorithm, Use: "sig"})
	}
	return marshal(set)
}

func marshal(v any) []byte { return must(json.Marshal(v)) }

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// seal signs header and claims as they stand, whatever they say.
func (s signer) seal(header, claims string) string {
	return s.finish(b64([]byte(header)) + "." + b64([]byte(claims)))
}

// finish signs two encoded parts.
func (s signer) finish(input string) string {
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512, "DSA": crypto.SHA512}[s.algorithm[2:]]
	h := hash.New()
	h.Write([]byte(input))
	digest := h.Sum(nil)
	var signature []byte
	switch private := s.private.(type) {
	case *rsa.PrivateKey:
		if s.algorithm[0] == 'P' {
			signature = must(rsa.SignPSS(rand.Reader, private, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}))
		} else {
			signature = must(rsa.SignPKCS1v15(nil, private, hash, digest))
		}
	case *ecdsa.PrivateKey:
		r, v, err := ecdsa.Sign(rand.Reader, private, digest)
		if err != nil {
			panic(err)
		}
		size := (private.Curve.Params().BitSize + 7) / 8
		signature = append(r.FillBytes(make([]byte, size)), v.FillBytes(make([]byte, size))...)
	case ed25519.PrivateKey:
		signature = ed25519.Sign(private, []byte(input))
	}
	return input + "." + b64(signature)
}

func (s signer) header() string {
	h := map[string]string{"alg": s.algorithm}
	if s.id != "" {
		h["kid"] = s.id
	}
	return string(marshal(h))
}

// token signs claims honestly.
func (s signer) token(claims map[string]any) string {
	return s.seal(s.header(), string(marshal(claims)))
}

// The moment and the names that most tests share.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const login = "https://login.test"

// person is a good token of the issuer login, with changes. A nil value takes a
// claim out.
func person(changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": login, "sub": "alice", "aud": "cambio", "jti": "j-1",
		"iat": noon.Add(-time.Minute).Unix(), "exp": noon.Add(10 * time.Minute).Unix(),
	}
	return change(c, changes)
}

func change(c, changes map[string]any) map[string]any {
	maps.Copy(c, changes)
	for name, value := range changes {
		if value == nil {
			delete(c, name)
		}
	}
	return c
}

// corp is the trust for the issuer login.
func corp() exchange.Trust {
	return exchange.Trust{
		Tenant: "default", Name: "corp", Kind: exchange.TrustOIDC, Issuer: login, Audiences: []string{"cambio"},
		Hash: sha256.Sum256([]byte("corp")),
	}
}

// counts is a Meter that remembers.
type counts struct {
	mu      sync.Mutex
	fetched int
	failed  int
	hits    int
	misses  int
	reviews map[subject.ReviewResult]int
	shared  []string
}

func (c *counts) Fetched(_, _ string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fetched++
	if err != nil {
		c.failed++
	}
}

func (c *counts) Looked(hit bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if hit {
		c.hits++
	} else {
		c.misses++
	}
}

func (c *counts) Reviewed(_, _ string, r subject.ReviewResult) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reviews == nil {
		c.reviews = map[subject.ReviewResult]int{}
	}
	c.reviews[r]++
}

func (c *counts) Shared(_, trust, other string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shared = append(c.shared, trust+"="+other)
}

func (c *counts) hitCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hits
}

// bench is a verifier with everything a test moves.
type bench struct {
	t     testing.TB
	clock *clock
	house *house
	meter *counts
	*subject.Verifier
}

func newBench(t testing.TB, trusts ...exchange.Trust) *bench {
	t.Helper()
	b := &bench{t: t, clock: &clock{now: noon}, house: newHouse(t), meter: &counts{}}
	b.Verifier = subject.New(subject.Options{
		Client: b.house.client, OwnIssuers: []string{"https://cambio.test"}, Now: b.clock.Now, Meter: b.meter,
	})
	b.load(trusts...)
	return b
}

func (b *bench) load(trusts ...exchange.Trust) {
	b.t.Helper()
	if err := b.Load(trusts); err != nil {
		b.t.Fatalf("Load: %v", err)
	}
}

// verify judges a token at the clock's present.
func (b *bench) verify(raw string) (exchange.Subject, error) {
	return b.Verify(context.Background(), exchange.Token{Value: exchange.NewSecret(raw), Type: exchange.TokenTypeJWT}, b.clock.Now())
}

func (b *bench) accepts(raw string) exchange.Subject {
	b.t.Helper()
	s, err := b.verify(raw)
	if err != nil {
		b.t.Fatalf("refused: %v", err)
	}
	return s
}

// refuses asserts an error of the kind whose advice holds the words, and that no
// subject comes with it.
func (b *bench) refuses(raw string, kind exchange.Kind, words string) {
	b.t.Helper()
	s, err := b.verify(raw)
	if err == nil {
		b.t.Fatalf("accepted as %s, want %v: %s", s.Name, kind, words)
	}
	wantError(b.t, err, kind, words)
	if s.Name != "" {
		b.t.Errorf("a subject came with the error: %s", s.Name)
	}
}

func wantError(t testing.TB, err error, kind exchange.Kind, words string) {
	t.Helper()
	var e *exchange.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is not an *exchange.Error", err)
	}
	if e.Kind != kind || !strings.Contains(e.Advice, words) {
		t.Errorf("error %v (advice %q), want %v and advice with %q", err, e.Advice, kind, words)
	}
}

// writeFile puts a document into a file of the test's own.
func writeFile(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func decodeB64(s string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(s) }
