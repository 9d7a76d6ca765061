package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server/api"
)

// tail is a tail by either face: next gives the next exchange's id, or "" for a
// sign of life, or how it ended.
type tail struct {
	next func() (string, error)
	end  func()
}

// exchange skips signs of life.
func (l tail) exchange(t *testing.T) string {
	t.Helper()
	for range 100_000 {
		id, err := l.next()
		if err != nil {
			t.Fatal(err)
		}
		if id != "" {
			return id
		}
	}
	t.Fatal("nothing but signs of life")
	return ""
}

// fate reads until the tail ends.
func (l tail) fate() error {
	for {
		if _, err := l.next(); err != nil {
			return err
		}
	}
}

func (h *house) tailGRPC(t *testing.T, token string, in *cambiov1.TailExchangesRequest) tail {
	t.Helper()
	ctx, cancel := context.WithCancel(as(t.Context(), token))
	t.Cleanup(cancel)
	stream, err := h.audit.TailExchanges(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	return tail{end: cancel, next: func() (string, error) {
		m, err := stream.Recv()
		return m.GetExchange().GetExchange(), err
	}}
}

func (h *house) tailREST(t *testing.T, token, query string) (tail, *http.Response) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", h.url+"/v1/exchanges:tail?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	lines := bufio.NewReader(resp.Body)
	return tail{end: cancel, next: func() (string, error) {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return "", err
		}
		var of struct {
			Result json.RawMessage `json:"result"`
			Error  string          `json:"error"`
			Why    string          `json:"error_description"`
		}
		if err := json.Unmarshal(line, &of); err != nil {
			return "", err
		}
		if of.Error != "" {
			return "", errors.New(of.Error + ": " + of.Why)
		}
		var m cambiov1.TailExchangesResponse
		err = protojson.Unmarshal(of.Result, &m)
		return m.GetExchange().GetExchange(), err
	}}, resp
}

// Both faces show what finishes while they are open, and go on after an exchange.
func TestTailFollows(t *testing.T) {
	h := open(t)
	ids := fill(t, h)
	rest, resp := h.tailREST(t, auditor, "filter=subject:corp")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/x-ndjson" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	native := h.tailGRPC(t, operator, &cambiov1.TailExchangesRequest{Filter: "subject:corp"})
	for _, l := range []tail{rest, native} {
		for range 3 { // at once, and then heartbeats
			if id, err := l.next(); id != "" || err != nil {
				t.Fatalf("%q %v", id, err)
			}
		}
	}
	h.book.add(t, 200, exchange.EventIssued, "elsewhere", exchange.Record{Subject: "oidc:corp:eve"}) // S22
	h.book.add(t, 201, exchange.EventIssued, "default", exchange.Record{Subject: "k8s:prod:a:b"})
	h.book.add(t, 202, exchange.EventIntent, "default", exchange.Record{Subject: "oidc:corp:ada"})
	first := h.book.add(t, 203, exchange.EventDenied, "default", exchange.Record{Subject: "oidc:corp:ada"}).String()
	second := h.book.add(t, 204, exchange.EventIssued, "default", exchange.Record{Subject: "oidc:corp:bob"}).String()
	for name, l := range map[string]tail{"REST": rest, "gRPC": native} {
		if a, b := l.exchange(t), l.exchange(t); a != first || b != second {
			t.Errorf("%s: %s, %s; want %s, %s", name, a, b, first, second)
		}
		l.end()
	}
	again, _ := h.tailREST(t, auditor, "filter=subject:corp&after="+ids[2].String())
	var got []string
	for range 4 {
		got = append(got, again.exchange(t))
	}
	if want := []string{ids[5].String(), ids[6].String(), first, second}; !slices.Equal(got, want) {
		t.Errorf("going on: %v, want %v", got, want)
	}
	for i, want := range []string{`tail exchanges; filter: "subject:corp"; after ""`, `tail exchanges; filter: "subject:corp"; after "` + ids[2].String() + `"`} {
		if got := h.book.noted()[2*i]; got.Type != exchange.EventQueried || got.Record.Explanation != want {
			t.Errorf("noted %+v", got.Record)
		}
	}
}

// What cannot be followed is refused as everywhere, before anything is sent (S17).
func TestS17TailRefuses(t *testing.T) {
	h := open(t)
	ids := fill(t, h)
	for name, c := range map[string]struct {
		token, filter, after string
		code                 codes.Code
		status               int
		oauth, advice        string
	}{
		"no such token":    {"x", "", "", codes.Unauthenticated, 401, "invalid_token", ""},
		"no role":          {nobody, "", "", codes.PermissionDenied, 403, "access_denied", "auditor"},
		"delegated":        {delegated, "", "", codes.PermissionDenied, 403, "access_denied", ""},
		"single-use":       {burning, "", "", codes.Unauthenticated, 401, "invalid_token", ""},
		"half a filter":    {auditor, "subject =", "", codes.InvalidArgument, 400, "invalid_request", "filter"},
		"no such field":    {auditor, "salary = 1", "", codes.InvalidArgument, 400, "invalid_request", "filter"},
		"no id":            {auditor, "", "x", codes.InvalidArgument, 400, "invalid_request", "after"},
		"unknown":          {auditor, "", exchangeID.String(), codes.NotFound, 404, "invalid_request", ""},
		"another tenant's": {elsewhere, "", ids[0].String(), codes.NotFound, 404, "invalid_request", ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := h.tailGRPC(t, c.token, &cambiov1.TailExchangesRequest{Filter: c.filter, After: c.after}).fate()
			if status.Code(err) != c.code {
				t.Errorf("gRPC: %v, want %s", err, c.code)
			}
			path := "/v1/exchanges:tail?filter=" + strings.ReplaceAll(c.filter, " ", "+") + "&after=" + c.after
			h.send(t, "GET", path, "", "Authorization", "Bearer "+c.token).want(t, c.status, c.oauth, c.advice)
		})
	}
	h.send(t, "GET", "/v1/exchanges:tail", "").want(t, 401, "invalid_token", "needs Authorization")
	h.send(t, "GET", "/v1/exchanges:tail?from=x", "", "Authorization", "Bearer "+auditor).want(t, 400, "invalid_request", "filter, after")
	h.send(t, "POST", "/v1/exchanges:tail", "{}", "Authorization", "Bearer "+auditor).want(t, 405, "invalid_request", "")
	h.book.fail(nil, errors.New("disk full"))
	h.send(t, "GET", "/v1/exchanges:tail", "", "Authorization", "Bearer "+auditor).want(t, 503, "temporarily_unavailable", "recorded")
}

// A tail that has begun ends with the reason as its last line, and by gRPC as its
// status.
func TestTailEnds(t *testing.T) {
	now := make(chan time.Time, 1)
	now <- noon
	granted := make(chan []string, 1)
	granted <- []string{"auditor"}
	peek := func() time.Time { t := <-now; now <- t; return t }
	for name, c := range map[string]struct {
		cut    func(h *house)
		code   codes.Code
		oauth  string
		advice string
	}{
		"the database goes": {func(h *house) { h.book.fail(errors.New("dial 10.1.2.3"), nil) }, codes.Unavailable, "temporarily_unavailable", "could not be read"},
		"the server stops":  {func(h *house) { h.door.EndTails() }, codes.Unavailable, "temporarily_unavailable", "stopping"},
		"the token expires": {func(*house) { <-now; now <- noon.Add(2 * time.Hour) }, codes.Unauthenticated, "invalid_token", "expired"},
		"the role is taken": {func(*house) { <-granted; granted <- nil }, codes.PermissionDenied, "access_denied", "auditor"},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, func(o *api.Options) {
				o.Now = peek
				o.Roles = func(exchange.Subject) []string { r := <-granted; granted <- r; return r }
			})
			rest, _ := h.tailREST(t, auditor, "")
			native := h.tailGRPC(t, auditor, &cambiov1.TailExchangesRequest{})
			for _, l := range []tail{rest, native} {
				if _, err := l.next(); err != nil {
					t.Fatal(err)
				}
			}
			c.cut(h)
			if err := rest.fate(); !strings.HasPrefix(err.Error(), c.oauth+": ") || !strings.Contains(err.Error(), c.advice) || strings.Contains(err.Error(), "10.1.2.3") {
				t.Errorf("REST: %v", err)
			}
			if _, err := rest.next(); !errors.Is(err, io.EOF) {
				t.Errorf("REST, after its end: %v", err)
			}
			if s := status.Convert(native.fate()); s.Code() != c.code || !strings.Contains(s.Message(), c.advice) {
				t.Errorf("gRPC: %v", s)
			}
			<-now
			now <- noon
			<-granted
			granted <- []string{"auditor"}
		})
	}
}

// An engine that forgets the tenant gives nothing away.
func TestS22TailOfAnotherTenantsRowEnds(t *testing.T) {
	h := open(t, func(o *api.Options) { o.Audit = leaky{o.Log.(*book)} })
	fill(t, h)
	if s := status.Convert(h.tailGRPC(t, elsewhere, &cambiov1.TailExchangesRequest{}).fate()); s.Code() != codes.Internal {
		t.Errorf("got %v", s)
	}
}

// leaky follows every tenant.
type leaky struct{ *book }

func (l leaky) Tail(_ context.Context, q ledger.TailQuery) ([]ledger.Exchange, ledger.Place, bool, error) {
	if q.After == "" {
		return nil, "0", false, nil
	}
	return l.rows, "0", false, nil
}

// A caller who does not read holds a page and no more, and there is room for so
// many tails only; who hangs up makes room.
func TestTailsAreBounded(t *testing.T) {
	looks := make(chan struct{}, 1)
	h := open(t, func(o *api.Options) { o.Audit = endless{o.Log.(*book), looks} })
	slow, err := net.Dial("tcp", h.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Close() }()
	if _, err := io.WriteString(slow, "GET /v1/exchanges:tail HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+auditor+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	// It stops looking when the way is full of what nobody takes.
	for stalled := false; !stalled; {
		select {
		case <-looks:
		case <-time.After(time.Second):
			stalled = true
		}
	}
	var open []tail
	for {
		l := h.tailGRPC(t, auditor, &cambiov1.TailExchangesRequest{})
		if _, err := l.next(); err != nil {
			if s := status.Convert(err); s.Code() != codes.ResourceExhausted || !strings.Contains(s.Message(), "too many tails") {
				t.Errorf("got %v", s)
			}
			break
		}
		if open = append(open, l); len(open) > 64 {
			t.Fatal("there is no bound")
		}
	}
	if len(open) != 63 { // and the slow one
		t.Errorf("room for %d", len(open))
	}
	for _, l := range open {
		l.end()
	}
	for {
		if _, err := h.tailGRPC(t, auditor, &cambiov1.TailExchangesRequest{}).next(); err == nil {
			break
		}
	}
}

// endless always has more, of great rows, for who asks by REST; gRPC callers see
// nothing.
type endless struct {
	*book
	looks chan struct{}
}

func (e endless) Tail(ctx context.Context, q ledger.TailQuery) ([]ledger.Exchange, ledger.Place, bool, error) {
	if q.After == "" {
		e.mu.Lock()
		defer e.mu.Unlock()
		if len(e.notes) > 1 {
			return nil, "idle", false, nil
		}
		return nil, "0", false, nil
	}
	if q.After == "idle" {
		return nil, "idle", false, nil
	}
	select {
	case e.looks <- struct{}{}:
	case <-ctx.Done():
		return nil, "", false, ctx.Err()
	}
	record := ledger.Encode(exchange.Event{ID: exchangeID, Exchange: exchangeID, Tenant: "default", Type: exchange.EventIssued, At: noon,
		Record: exchange.Record{Explanation: strings.Repeat("x", 4000)}})
	row := ledger.Exchange{ID: exchangeID, Exchange: exchangeID, Tenant: "default", Type: exchange.EventIssued, Record: record}
	return slices.Repeat([]ledger.Exchange{row}, q.Limit), "0", true, nil
}
