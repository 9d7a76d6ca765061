package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/cambio-sts/cambio/exchange"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server"
	"github.com/cambio-sts/cambio/server/api"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// Secrets that must be in no log and in no error.
const (
	subjectToken = "eyJ.subject-token-secret.x"
	actorToken   = "eyJ.actor-token-secret.x"
	minted       = "minted-credential-secret"
	auditor      = "auditor-token-secret"
	operator     = "operator-token-secret"
	nobody       = "nobody-token-secret"
	elsewhere    = "elsewhere-token-secret" // auditor of another tenant
	replayed     = "replayed-token-secret"  // of a person, by a client that the trust does not name
	burning      = "burning-token-secret"   // single-use
	delegated    = "delegated-token-secret"
)

// house is the API on a real socket, with everything around it in reach.
type house struct {
	bureau   *bureau
	verifier *verifier
	book     *book
	desk     *desk
	leases   *shelf
	log      *buffer
	url      string
	address  string
	exchange cambiov1.ExchangeServiceClient
	audit    cambiov1.AuditServiceClient
	conn     *grpc.ClientConn
	door     *api.Server
}

// fingerprint is a hash that no test could mistake for what it is of.
func fingerprint(s exchange.Secret) string {
	sum := sha256.Sum256([]byte("keyed " + s.Reveal()))
	return hex.EncodeToString(sum[:])
}

// buffer is what loggers write to.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func open(t *testing.T, change ...func(*api.Options)) *house {
	t.Helper()
	h := &house{bureau: &bureau{answer: issue}, verifier: &verifier{}, book: &book{}, desk: &desk{}, leases: &shelf{}, log: &buffer{}}
	logger := slog.New(server.NewLogHandler(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	o := api.Options{
		Exchanger: h.bureau, Log: h.book, Desk: h.desk, Leases: h.leases, Audit: h.book, Fingerprint: fingerprint,
		TailEvery: time.Millisecond, TailBeat: 5 * time.Millisecond, Verifier: h.verifier, Roles: roles, Note: h.book.Note,
		PageKey: bytes.Repeat([]byte{7}, 32), Now: func() time.Time { return noon }, Logger: logger,
	}
	for _, c := range change {
		c(&o)
	}
	door, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	entry := server.EntryOptions{TrustedProxies: o.Trusted, Logger: logger}
	listener, err := server.Listen(t.Context(), server.Options{
		Address: "127.0.0.1:0", Logger: logger,
		Handler: server.Entry(door.REST(), entry), GRPC: server.Entry(door.GRPC(), entry),
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- listener.Serve() }()
	h.door = door
	h.url, h.address = listener.URL(), listener.Addr().String()
	h.conn, err = grpc.NewClient(h.address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent("tester/1"))
	if err != nil {
		t.Fatal(err)
	}
	h.exchange, h.audit = cambiov1.NewExchangeServiceClient(h.conn), cambiov1.NewAuditServiceClient(h.conn)
	t.Cleanup(func() {
		_ = h.conn.Close()
		door.EndTails()
		if err := listener.Shutdown(context.Background()); err != nil {
			t.Errorf("stopping: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("serving: %v", err)
		}
		door.Close()
		h.checkLog(t)
	})
	return h
}

// checkLog finds secrets in the log of the whole test (S39).
func (h *house) checkLog(t *testing.T) {
	t.Helper()
	if text := h.log.String(); strings.Contains(text, "-secret") {
		t.Errorf("a secret is in the log:\n%s", text)
	}
}

var exchangeID = mustID("0199a000-0000-7000-8000-000000000001")
var leaseID = mustID("0199a000-0000-7000-8000-000000000002")

func mustID(s string) exchange.ID {
	id, err := exchange.ParseID(s)
	if err != nil {
		panic(err)
	}
	return id
}

// issue is a bureau's good answer.
func issue(context.Context, exchange.Request) (exchange.Receipt, error) {
	return exchange.Receipt{Exchange: exchangeID, Credential: exchange.Credential{
		Value: exchange.NewSecret(minted), TokenType: "Bearer", IssuedType: exchange.TokenTypeAccessToken,
		Issued: noon, Expires: noon.Add(899*time.Second + 999*time.Millisecond), Scopes: []string{"a", "b"}, Lease: leaseID,
	}}, nil
}

// answer is a REST answer.
type answer struct {
	status int
	header http.Header
	body   string
	fields map[string]any
}

// send makes a REST request; headers are name, value pairs.
func (h *house) send(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Content-Type" {
			r.Header.Del("Content-Type")
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := answer{status: resp.StatusCode, header: resp.Header, body: string(b)}
	if err := json.Unmarshal(b, &out.fields); err != nil {
		t.Fatalf("%s %s: %d: not JSON: %q", method, path, resp.StatusCode, b)
	}
	return out
}

func (a answer) want(t *testing.T, status int, oauth, advice string) {
	t.Helper()
	if a.status != status || a.fields["error"] != oauth || !strings.Contains(text(a.fields["error_description"]), advice) {
		t.Errorf("got %d %s, want %d %s with %q", a.status, a.body, status, oauth, advice)
	}
	if a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control: %q", a.header.Get("Cache-Control"))
	}
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

const goodBody = `{"subject_token":"` + subjectToken + `","subject_token_type":"urn:ietf:params:oauth:token-type:jwt","audience":["bedrock"]}`

func goodRequest() *cambiov1.ExchangeRequest {
	return &cambiov1.ExchangeRequest{
		SubjectToken: subjectToken, SubjectTokenType: "urn:ietf:params:oauth:token-type:jwt", Audience: []string{"bedrock"},
	}
}

func loopback() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }
