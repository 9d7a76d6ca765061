package oauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/server"
	"github.com/cambio-sts/cambio/server/oauth"
)

const (
	issuer     = "https://cambio.example"
	jwtType    = "urn:ietf:params:oauth:token-type:jwt"
	accessType = "urn:ietf:params:oauth:token-type:access_token"
	subject    = "eyJhbGciOiJFUzI1NiJ9.c3ViamVjdA.c3ViamVjdHNpZ25hdHVyZQ"
	actor      = "eyJhbGciOiJFUzI1NiJ9.YWN0b3I.YWN0b3JzaWduYXR1cmU"
	passed     = "eyJhbGciOiJFUzI1NiJ9.cGFzc2Vk.cGFzc2Vkc2lnbmF0dXJl"
	issued     = "the-credential-that-was-issued"
)

// secrets are never to be seen in a log, whatever happened.
var secrets = []string{subject, actor, passed, issued, "hunter2"}

var (
	start      = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	exchangeID = exchange.ID{0x01, 0x9a, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0x01}
	leaseID    = exchange.ID{0x01, 0x9a, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0x02}
)

// bureau stands in for the pipeline. It holds every door to the contract of
// exchange.Request and answers as it is told.
type bureau struct {
	t      testing.TB
	mu     sync.Mutex
	seen   []exchange.Request
	burnt  map[exchange.Once]bool
	answer func(exchange.Request) (exchange.Receipt, error)
}

func (b *bureau) Exchange(ctx context.Context, r exchange.Request) (exchange.Receipt, error) {
	b.mu.Lock()
	b.seen = append(b.seen, r)
	b.mu.Unlock()
	switch {
	case r.Door != "oauth" || r.Grant != server.GrantTokenExchange && r.Grant != exchange.GrantJWTBearer && r.Grant != exchange.GrantClientCredentials:
		b.t.Errorf("door %q, grant %q", r.Door, r.Grant)
	case (r.Self != nil) != (r.Grant == exchange.GrantClientCredentials) || r.Self != nil && (r.Client == "" || !r.SubjectToken.IsZero()):
		b.t.Error("the client itself is the subject of client_credentials, and of nothing else")
	case r.Self == nil && (r.SubjectToken.IsZero() || r.SubjectToken.Type == ""):
		b.t.Error("an exchange without a subject token")
	case r.ActorToken.IsZero() != (r.ActorToken.Type == ""):
		b.t.Error("an actor token without its type, or the other way round")
	case (r.Client == "") != (r.ClientHash == [32]byte{}) || r.Client == "" && r.ClientOnce != nil:
		b.t.Errorf("client %q is half proven", r.Client)
	case r.Lifetime < 0 || slices.Contains(r.Audiences, "") || slices.Contains(r.Resources, "") || slices.Contains(r.Scopes, ""):
		b.t.Errorf("an empty or negative member in %+v", r)
	case r.RequestStarted.IsZero():
		b.t.Error("nobody knows when the request began")
	case ctx.Err() != nil:
		b.t.Errorf("the context ended before the exchange began: %v", ctx.Err())
	}
	if once := r.ClientOnce; once != nil { // as the ledger does
		b.mu.Lock()
		used := b.burnt[*once]
		if b.burnt == nil {
			b.burnt = map[exchange.Once]bool{}
		}
		b.burnt[*once] = true
		b.mu.Unlock()
		if used {
			return exchange.Receipt{}, exchange.Fault(exchange.KindInvalidClient, "this client assertion has been used already: sign a fresh one for each request", nil)
		}
	}
	if b.answer != nil {
		return b.answer(r)
	}
	return exchange.Receipt{Exchange: exchangeID, Asked: r.Scopes, Credential: credential()}, nil
}

func (b *bureau) only() exchange.Request {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.seen) != 1 {
		b.t.Fatalf("%d exchanges", len(b.seen))
	}
	return b.seen[0]
}

func (b *bureau) none() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.seen) > 0 {
		b.t.Fatalf("an exchange was begun: %+v", b.seen)
	}
}

func credential() exchange.Credential {
	return exchange.Credential{
		Value: exchange.NewSecret(issued), TokenType: "Bearer", IssuedType: exchange.TokenTypeAccessToken,
		Issued: start, Expires: start.Add(15 * time.Minute), Scopes: []string{"tools.read", "tools.call"}, Lease: leaseID,
	}
}

// fixedKeys are the public documents, each telling itself apart.
type fixedKeys struct{}

func (fixedKeys) AccessJWKS() []byte {
	return []byte(`{"keys":[{"kty":"EC","alg":"ES256","kid":"a1"},{"kty":"RSA","alg":"RS256","kid":"a2"},{"kty":"EC","alg":"ES256","kid":"a3"}]}`)
}
func (fixedKeys) FederationJWKS() []byte {
	return []byte(`{"keys":[{"kty":"RSA","alg":"RS256","kid":"f1"}]}`)
}
func (fixedKeys) FederationDiscovery() []byte {
	return []byte(`{"issuer":"` + issuer + `/federation"}`)
}

// door is a running door with its bureau, its log and what it refused.
type door struct {
	t       testing.TB
	bureau  *bureau
	url     string
	client  *http.Client
	log     *bytes.Buffer
	refused []exchange.Kind
}

func openDoor(t testing.TB, change ...func(*oauth.Options)) *door {
	t.Helper()
	d := &door{t: t, bureau: &bureau{t: t}, log: new(bytes.Buffer)}
	var mu sync.Mutex
	logger := slog.New(server.NewLogHandler(slog.NewJSONHandler(lockedWriter{&mu, d.log}, &slog.HandlerOptions{Level: slog.LevelDebug})))
	o := oauth.Options{
		Issuer: issuer, Exchanger: d.bureau, Keys: fixedKeys{}, Logger: logger, Now: func() time.Time { return start },
		Refused: func(k exchange.Kind) {
			mu.Lock()
			defer mu.Unlock()
			d.refused = append(d.refused, k)
		},
	}
	for _, f := range change {
		f(&o)
	}
	live := httptest.NewServer(server.Entry(oauth.New(o), server.EntryOptions{
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}, Logger: logger, Now: o.Now,
	}))
	d.url, d.client = live.URL, live.Client()
	t.Cleanup(func() {
		live.Close()
		mu.Lock()
		defer mu.Unlock()
		for _, s := range secrets {
			if strings.Contains(d.log.String(), s) {
				t.Errorf("the log holds %q:\n%s", s, d.log)
			}
		}
	})
	return d
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.w.Write(p)
}

// answer is what came back, whole.
type answer struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

func (d *door) do(r *http.Request) answer {
	d.t.Helper()
	response, err := d.client.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	a := answer{status: response.StatusCode, header: response.Header, text: string(text)}
	if r.Method != http.MethodHead {
		if err := json.Unmarshal(text, &a.body); err != nil {
			d.t.Fatalf("%d: the body is no JSON: %q", a.status, text)
		}
	}
	return a
}

// send posts a raw body to the token endpoint.
func (d *door) send(body string, headers ...string) answer {
	d.t.Helper()
	r, err := http.NewRequest(http.MethodPost, d.url+"/oauth2/token", strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(headers); i += 2 {
		r.Header[http.CanonicalHeaderKey(headers[i])] = []string{headers[i+1]}
	}
	return d.do(r)
}

// ask is send with the parameters of the least exchange, changed as the pairs say:
// name, value; an empty value leaves the parameter out.
func (d *door) ask(pairs ...string) answer {
	d.t.Helper()
	return d.send(with(pairs...))
}

func with(pairs ...string) string {
	form := url.Values{
		"grant_type": {server.GrantTokenExchange}, "subject_token": {subject}, "subject_token_type": {jwtType},
		"audience": {"github-mcp"},
	}
	touched := map[string]bool{}
	for i := 0; i < len(pairs); i += 2 {
		if !touched[pairs[i]] {
			form.Del(pairs[i])
			touched[pairs[i]] = true
		}
		if pairs[i+1] != "" {
			form.Add(pairs[i], pairs[i+1])
		}
	}
	return form.Encode()
}

// wantFailure checks everything that any failure of this door promises.
func (a answer) wantFailure(t testing.TB, status int, code string) {
	t.Helper()
	if a.status != status || a.body["error"] != code {
		t.Errorf("got %d %s, want %d %s", a.status, a.text, status, code)
	}
	a.wantUnkept(t)
	description, _ := a.body["error_description"].(string)
	if description == "" {
		t.Errorf("%s says nothing of what to change", a.text)
	}
	for _, c := range description { // RFC 6749 §5.2
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			t.Errorf("error_description holds %q", c)
		}
	}
	if status == http.StatusUnauthorized && a.header.Get("WWW-Authenticate") == "" {
		t.Error("401 without WWW-Authenticate")
	}
	for _, s := range secrets {
		if strings.Contains(a.text, s) {
			t.Errorf("the answer repeats %q", s)
		}
	}
}

// wantUnkept: nobody may keep the answer (RFC 6749 §5.1).
func (a answer) wantUnkept(t testing.TB) {
	t.Helper()
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Pragma") != "no-cache" {
		t.Errorf("caches may keep it: %v", a.header)
	}
	if a.header.Get("Content-Type") != "application/json" {
		t.Errorf("content type %q", a.header.Get("Content-Type"))
	}
}

func (a answer) wantIssued(t testing.TB) {
	t.Helper()
	if a.status != http.StatusOK || a.body["access_token"] != issued {
		t.Fatalf("got %d %s", a.status, a.text)
	}
	a.wantUnkept(t)
}

func refusing(kind exchange.Kind, advice string) func(exchange.Request) (exchange.Receipt, error) {
	return func(exchange.Request) (exchange.Receipt, error) {
		return exchange.Receipt{}, &exchange.Error{Kind: kind, Advice: advice, Exchange: exchangeID, Err: errors.New("rule no-preview in llm.yaml said so")}
	}
}
