package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
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

// bureau is an Exchanger that keeps what it was asked.
type bureau struct {
	mu     sync.Mutex
	asked  []exchange.Request
	answer func(ctx context.Context, r exchange.Request) (exchange.Receipt, error)
}

func (b *bureau) Exchange(ctx context.Context, r exchange.Request) (exchange.Receipt, error) {
	b.mu.Lock()
	b.asked = append(b.asked, r)
	answer := b.answer
	b.mu.Unlock()
	return answer(ctx, r)
}

func (b *bureau) last(t *testing.T) exchange.Request {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.asked) == 0 {
		t.Fatal("the exchange was not asked")
	}
	return b.asked[len(b.asked)-1]
}

func (b *bureau) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.asked)
}

// verifier knows the tokens above.
type verifier struct{ down bool }

func (v *verifier) Verify(_ context.Context, t exchange.Token, _ time.Time) (exchange.Subject, error) {
	if v.down {
		return exchange.Subject{}, exchange.Fault(exchange.KindUnavailable, "the keys of the issuer could not be had; try again", errors.New("dial tcp 10.9.8.7"))
	}
	s := exchange.Subject{
		Tenant: "default", Trust: "corp", Clientless: exchange.ClientlessYes, JTI: "jti-1", KeyID: "kid-1",
		Expires: noon.Add(time.Hour), Audience: []string{"cambio"},
	}
	switch t.Value.Reveal() {
	case auditor:
		s.Name = "oidc:corp:ada"
	case operator:
		s.Name = "oidc:corp:oscar"
	case nobody:
		s.Name = "oidc:corp:nemo"
	case elsewhere:
		s.Name, s.Tenant = "oidc:corp:ada", "elsewhere"
	case replayed:
		s.Name, s.Clientless = "oidc:corp:ada", exchange.ClientlessWithActor
	case burning:
		s.Name, s.Once = "oidc:corp:ada", &exchange.Once{Realm: "jti:corp"}
	case delegated:
		s.Name, s.Asserted = "oidc:corp:ada", []exchange.Actor{{Name: "somebody"}}
	default:
		return exchange.Subject{}, exchange.Fault(exchange.KindInvalidSubject, "the token is not of a trusted issuer", errors.New("signature"))
	}
	return s, nil
}

func roles(s exchange.Subject) []string {
	switch s.Name {
	case "oidc:corp:ada":
		return []string{"reader-of-novels", "auditor"}
	case "oidc:corp:oscar":
		return []string{"operator"}
	}
	return nil
}

// book is a Log in memory, and the ledger's Note beside it. It refuses queries
// that an engine would not stand.
type book struct {
	mu      sync.Mutex
	rows    []ledger.Exchange
	notes   []exchange.Event
	reads   int
	noteErr error
	readErr error
}

func (b *book) Note(_ context.Context, e exchange.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.noteErr != nil {
		return b.noteErr
	}
	b.notes = append(b.notes, e)
	return nil
}

func (b *book) read() error {
	b.reads++
	if b.readErr != nil {
		return b.readErr
	}
	if b.reads > len(b.notes) {
		return errors.New("read before it was noted")
	}
	return nil
}

func (b *book) List(_ context.Context, q ledger.Query) ([]ledger.Exchange, ledger.Cursor, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.read(); err != nil {
		return nil, "", err
	}
	if q.Tenant == "" || q.Limit < 1 || q.Limit > ledger.MaxPage {
		return nil, "", errors.New("a query that no engine takes")
	}
	var found []ledger.Exchange
	for _, row := range slices.Backward(b.rows) { // ids rise with time
		r, err := ledger.DecodeRecord(row.Record)
		if err != nil {
			return nil, "", err
		}
		if row.Tenant != q.Tenant || !row.Type.Terminal() || q.After != "" && row.Exchange.String() >= string(q.After) || !matches(q.Filter.Root, row, r) {
			continue
		}
		if len(found) == q.Limit {
			return found, ledger.Cursor(found[len(found)-1].Exchange.String()), nil
		}
		found = append(found, row)
	}
	return found, "", nil
}

func (b *book) Get(_ context.Context, tenant string, id exchange.ID) ([]ledger.Exchange, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.read(); err != nil {
		return nil, err
	}
	var found []ledger.Exchange
	for _, row := range b.rows {
		if row.Tenant == tenant && row.Exchange == id {
			found = append(found, row)
		}
	}
	return found, nil
}

// matches evaluates a filter the slow way.
func matches(n *ledger.Node, row ledger.Exchange, r exchange.Record) bool {
	if n == nil {
		return true
	}
	switch n.Op {
	case ledger.OpAnd:
		return !slices.ContainsFunc(n.Nodes, func(n *ledger.Node) bool { return !matches(n, row, r) })
	case ledger.OpOr:
		return slices.ContainsFunc(n.Nodes, func(n *ledger.Node) bool { return matches(n, row, r) })
	case ledger.OpNot:
		return !matches(n.Nodes[0], row, r)
	}
	var order int
	value := ""
	if n.Field == ledger.FieldTime {
		order = int(row.At - n.Value.Time)
	} else {
		value = map[ledger.Field]string{
			ledger.FieldSubject: r.Subject, ledger.FieldActor: r.Actor, ledger.FieldTarget: r.Target,
			ledger.FieldOutcome: r.Outcome, ledger.FieldRule: r.Rule, ledger.FieldReason: r.Reason,
			ledger.FieldExchange: r.Exchange, ledger.FieldErrorKind: r.ErrorKind,
		}[n.Field]
		order = strings.Compare(value, n.Value.Text)
	}
	switch n.Op {
	case ledger.OpEq:
		return order == 0
	case ledger.OpNe:
		return order != 0
	case ledger.OpLt:
		return order < 0
	case ledger.OpLe:
		return order <= 0
	case ledger.OpGt:
		return order > 0
	case ledger.OpGe:
		return order >= 0
	}
	return strings.Contains(value, n.Value.Text)
}

// add writes a row; n makes its id and its second.
func (b *book) add(t *testing.T, n int, of exchange.EventType, tenant string, r exchange.Record) exchange.ID {
	t.Helper()
	at := noon.Add(time.Duration(n) * time.Second)
	id, err := exchange.NewID(at, bytes.NewReader([]byte{0, 0, 0, 0, 0, 0, 0, 0, byte(n >> 8), byte(n)}))
	if err != nil {
		t.Fatal(err)
	}
	b.addEvent(t, id, at, of, tenant, r)
	return id
}

func (b *book) addEvent(t *testing.T, id exchange.ID, at time.Time, of exchange.EventType, tenant string, r exchange.Record) {
	t.Helper()
	if of.Terminal() {
		r.Outcome = of.String()
	}
	record := ledger.Encode(exchange.Event{ID: id, Exchange: id, Tenant: tenant, Type: of, At: at, Record: r})
	b.rows = append(b.rows, ledger.Exchange{ID: id, Exchange: id, Tenant: tenant, Type: of, At: at.UnixMicro(), Record: record})
}

// house is the API on a real socket, with everything around it in reach.
type house struct {
	bureau   *bureau
	verifier *verifier
	book     *book
	log      *buffer
	url      string
	address  string
	exchange cambiov1.ExchangeServiceClient
	audit    cambiov1.AuditServiceClient
	conn     *grpc.ClientConn
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
	h := &house{bureau: &bureau{answer: issue}, verifier: &verifier{}, book: &book{}, log: &buffer{}}
	logger := slog.New(server.NewLogHandler(slog.NewJSONHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	o := api.Options{
		Exchanger: h.bureau, Log: h.book, Verifier: h.verifier, Roles: roles, Note: h.book.Note,
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
	h.url, h.address = listener.URL(), listener.Addr().String()
	h.conn, err = grpc.NewClient(h.address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent("tester/1"))
	if err != nil {
		t.Fatal(err)
	}
	h.exchange, h.audit = cambiov1.NewExchangeServiceClient(h.conn), cambiov1.NewAuditServiceClient(h.conn)
	t.Cleanup(func() {
		_ = h.conn.Close()
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
