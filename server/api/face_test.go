package api_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/cambio-sts/cambio/exchange"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
	"github.com/cambio-sts/cambio/server"
	"github.com/cambio-sts/cambio/server/api"
)

// The address is the peer's, whatever a caller writes, by either face.
func TestS19AddressIsThePeer(t *testing.T) {
	h := open(t)
	h.send(t, "POST", "/v1/exchanges", goodBody,
		"X-Forwarded-For", "203.0.113.7", "Forwarded", "for=203.0.113.7", "X-Real-Ip", "203.0.113.7",
		"Grpc-Metadata-X-Forwarded-For", "203.0.113.7")
	if got := h.bureau.last(t); got.ClientIP.String() != "127.0.0.1" || got.Door != "rest" {
		t.Errorf("REST: %s by %s", got.ClientIP, got.Door)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-forwarded-for", "203.0.113.7", "grpcgateway-x-forwarded-for", "203.0.113.7")
	if _, err := h.exchange.Exchange(ctx, goodRequest()); err != nil {
		t.Fatal(err)
	}
	if got := h.bureau.last(t); got.ClientIP.String() != "127.0.0.1" || got.Door != "grpc" {
		t.Errorf("gRPC: %s by %s", got.ClientIP, got.Door)
	}
}

func TestS19TrustedProxyNamesTheAddress(t *testing.T) {
	h := open(t, func(o *api.Options) { o.Trusted = loopback() })
	h.send(t, "POST", "/v1/exchanges", goodBody, "X-Forwarded-For", "198.51.100.1, 203.0.113.7")
	if got := h.bureau.last(t); got.ClientIP.String() != "203.0.113.7" {
		t.Errorf("REST: %s", got.ClientIP)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-forwarded-for", "198.51.100.1, 203.0.113.7")
	if _, err := h.exchange.Exchange(ctx, goodRequest()); err != nil {
		t.Fatal(err)
	}
	if got := h.bureau.last(t); got.ClientIP.String() != "203.0.113.7" {
		t.Errorf("gRPC: %s", got.ClientIP)
	}
}

// What the two faces hand to each other inside cannot be said from outside: while
// a REST call waits there under its number, a gRPC caller that names the number
// (any of the first ones) stays who it is.
func TestS19InsideCallsCannotBeForged(t *testing.T) {
	h := open(t)
	began, finish := make(chan struct{}), make(chan struct{})
	h.bureau.answer = func(ctx context.Context, r exchange.Request) (exchange.Receipt, error) {
		if r.Door == "rest" {
			close(began)
			<-finish
		}
		return issue(ctx, r)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.send(t, "POST", "/v1/exchanges", goodBody, "User-Agent", "victim/1")
	}()
	<-began
	for n := range 8 {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "cambio-call", strconv.Itoa(n))
		if _, err := h.exchange.Exchange(ctx, goodRequest()); err != nil {
			t.Fatal(err)
		}
		if got := h.bureau.last(t); got.Door != "grpc" || strings.Contains(got.UserAgent, "victim") {
			t.Errorf("passed for %s, %s", got.Door, got.UserAgent)
		}
	}
	close(finish)
	<-done
}

// Headers that grpc-gateway would turn into metadata, a deadline or another method
// do nothing.
func TestS19GatewayHeadersAreDropped(t *testing.T) {
	h := open(t)
	fill(t, h)
	for _, name := range []string{"Grpc-Metadata-Authorization", "Grpcgateway-Authorization", "Grpc-Metadata-Cambio-Call-Bin"} {
		h.send(t, "GET", "/v1/exchanges", "", name, "Bearer "+auditor).want(t, 401, "invalid_token", "needs Authorization")
	}
	// Dropped and not mistaken for a credential either.
	if got := h.send(t, "POST", "/v1/exchanges", goodBody, "Grpc-Metadata-Authorization", "Bearer x", "Grpc-Timeout", "1n", "Te", "trailers"); got.status != 200 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	if got := h.send(t, "POST", "/v1/exchanges", goodBody, "Grpc-Timeout", "soon"); got.status != 200 {
		t.Errorf("got %d %s", got.status, got.body)
	}
	before := h.bureau.count()
	for _, c := range []struct{ method, override, contentType string }{
		{"POST", "GET", "application/x-www-form-urlencoded"},
		{"GET", "POST", "application/json"},
		{"PUT", "POST", "application/json"},
	} {
		got := h.send(t, c.method, "/v1/exchanges", "", "X-Http-Method-Override", c.override, "Content-Type", c.contentType, "Authorization", "Bearer "+nobody)
		if got.status < 400 {
			t.Errorf("%+v: %d %s", c, got.status, got.body)
		}
	}
	if h.bureau.count() != before || h.book.reads != 0 {
		t.Error("a method was overridden")
	}
}

func TestRESTRequestsThatFitNoMethod(t *testing.T) {
	h := open(t)
	id := exchangeID.String()
	for _, c := range []struct {
		method, path, body string
		status             int
		advice             string
	}{
		{"PUT", "/v1/exchanges", "{}", 405, "this path takes GET, POST"},
		{"TRACE", "/v1/denies", "", 405, "this path takes GET, POST"},
		{"OPTIONS", "/v1/exchanges:tail", "", 405, "this path takes GET"},
		{"DELETE", "/v1/exchanges/" + id, "", 405, "this path takes"},
		{"POST", "/v1/exchanges/" + id, "{}", 405, "this path takes"},
		{"GET", "/v1/leases/" + id + ":renew", "", 405, "this path takes POST"},
		{"POST", "/v1/leases/" + id, "{}", 405, "this path takes GET"},
		{"POST", "/:verbs/v1/leases/" + id + "/renew", "{}", 404, "nothing at this path"},
		{"GET", "/v1/nothing", "", 404, "nothing at this path"},
		{"GET", "/v1/exchanges/" + id + "/events", "", 404, "nothing at this path"},
		{"GET", "/v1//exchanges", "", 404, "nothing at this path"},
		{"GET", "/v1/exchanges/", "", 400, "36 characters"},
		{"GET", "/", "", 404, "nothing at this path"},
		{"GET", "/v1/exchanges/..%2f", "", 404, ""},
		{"GET", "/v1/exchanges/%ff", "", 400, "not UTF-8"},
		{"GET", "/v1/exchanges/" + id + "?filter=x", "", 400, "takes no query parameters"},
		{"GET", "/v1/exchanges?filtr=x", "", 400, "this method takes filter, page_size, page_token"},
		{"GET", "/v1/exchanges?pageSize=1", "", 400, "this method takes filter, page_size, page_token"},
		{"GET", "/v1/exchanges?page_size=1&page_size=2", "", 400, "page_size came twice"},
		{"GET", "/v1/exchanges?page_size=many", "", 400, ""},
		{"GET", "/v1/exchanges?page_size=99999999999", "", 400, ""},
		{"GET", "/v1/exchanges?filter=%ff", "", 400, "filter is not UTF-8"},
		{"GET", "/v1/exchanges?filter=%zz", "", 400, "not form-encoded"},
		{"GET", "/v1/exchanges?a;b", "", 400, "not form-encoded"},
		{"GET", "/v1/exchanges", "{}", 400, "takes no body"},
		{"POST", "/v1/exchanges?reason=x", goodBody, 400, "takes no query parameters"},
	} {
		headers := []string{"Authorization", "Bearer " + auditor}
		if c.method == "POST" {
			headers = nil
		}
		got := h.send(t, c.method, c.path, c.body, headers...)
		got.want(t, c.status, "invalid_request", c.advice)
		if allow := got.header.Get("Allow"); (allow != "") != (c.status == 405) || strings.Contains(allow, c.method) {
			t.Errorf("%s %s: Allow: %q", c.method, c.path, allow) // RFC 9110 §15.5.6
		}
	}
	if h.bureau.count() != 0 || h.book.reads > 3 {
		t.Errorf("%d exchanges, %d reads", h.bureau.count(), h.book.reads)
	}
	if got := h.send(t, "GET", "/v1/exchanges?filter=&page_size=0&page_token=", "", "Authorization", "bearer "+auditor); got.status != 200 {
		t.Errorf("empty parameters: %d %s", got.status, got.body)
	}
	r, err := http.NewRequestWithContext(t.Context(), "HEAD", h.url+"/v1/exchanges", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != 405 {
		t.Errorf("HEAD: %d, %v", resp.StatusCode, err)
	}
}

// Reflection is on, and lists what there is.
func TestReflectionListsTheServices(t *testing.T) {
	h := open(t)
	stream, err := grpc_reflection_v1.NewServerReflectionClient(h.conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range got.GetListServicesResponse().GetService() {
		names = append(names, s.GetName())
	}
	if want := "cambio.v1.AuditService cambio.v1.DenyService cambio.v1.ExchangeService cambio.v1.LeaseService cambio.v1.SigningService grpc.reflection.v1.ServerReflection"; strings.Join(names, " ") != want {
		t.Errorf("got %v", names)
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
}

func TestUnknownMethodsAreUnimplemented(t *testing.T) {
	h := open(t)
	err := h.conn.Invoke(t.Context(), "/cambio.v1.AuditService/DropTables", &cambiov1.GetExchangeRequest{}, &cambiov1.GetExchangeResponse{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v", err)
	}
}

// A log line of a refused call says which exchange it was, by either face.
func TestLogNamesTheExchange(t *testing.T) {
	h := open(t)
	h.send(t, "POST", "/v1/exchanges", goodBody)
	if _, err := h.exchange.Exchange(t.Context(), goodRequest()); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(h.log.String(), `"exchange":"`+exchangeID.String()); n < 1 {
		t.Errorf("%d lines name it:\n%s", n, h.log)
	}
}

func TestNewWantsWhatItNeeds(t *testing.T) {
	h := &house{bureau: &bureau{answer: issue}, verifier: &verifier{}, book: &book{}}
	good := api.Options{
		Exchanger: h.bureau, Log: h.book, Desk: h.desk, Leases: &shelf{}, Audit: h.book, Fingerprint: fingerprint, Verifier: h.verifier, Roles: roles, Note: h.book.Note,
		PageKey: bytes.Repeat([]byte{7}, 32), Now: func() time.Time { return noon },
	}
	for name, change := range map[string]func(*api.Options){
		"exchanger": func(o *api.Options) { o.Exchanger = nil },
		"log":       func(o *api.Options) { o.Log = nil },
		"audit":     func(o *api.Options) { o.Audit = nil },
		"key":       func(o *api.Options) { o.Fingerprint = nil },
		"leases":    func(o *api.Options) { o.Leases = nil },
		"desk":      func(o *api.Options) { o.Desk = nil },
		"verifier":  func(o *api.Options) { o.Verifier = nil },
		"roles":     func(o *api.Options) { o.Roles = nil },
		"note":      func(o *api.Options) { o.Note = nil },
		"now":       func(o *api.Options) { o.Now = nil },
		"page key":  func(o *api.Options) { o.PageKey = o.PageKey[:31] },
	} {
		o := good
		change(&o)
		if door, err := api.New(o); err == nil {
			door.Close()
			t.Errorf("without %s: no error", name)
		}
	}
	door, err := api.New(good)
	if err != nil {
		t.Fatal(err)
	}
	door.Close()
}

func TestOpenAPIIsTheCommittedOne(t *testing.T) {
	h := open(t)
	want, err := os.ReadFile("../../proto/cambio/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/openapi.json", "/v1/openapi.json"} {
		got := h.send(t, "GET", path, "")
		if got.status != 200 || got.body != string(want) || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d, %d bytes, want %d", path, got.status, len(got.body), len(want))
		}
		h.send(t, "POST", path, "{}").want(t, 405, "invalid_request", "GET")
		paths, _ := got.fields["paths"].(map[string]any)
		if len(paths) != 13 {
			t.Errorf("paths: %v", paths)
		}
	}
}

// Without the listener's entry around it a face gathers the facts itself.
func TestFacesStandByThemselves(t *testing.T) {
	b := &bureau{answer: issue}
	book := &book{}
	door, err := api.New(api.Options{
		Exchanger: b, Log: book, Desk: &desk{}, Leases: &shelf{}, Audit: book, Fingerprint: fingerprint, Verifier: &verifier{}, Roles: roles, Note: book.Note,
		PageKey: bytes.Repeat([]byte{7}, 32), Now: func() time.Time { return noon }, Trusted: loopback(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer door.Close()
	s := httptest.NewServer(door.REST())
	defer s.Close()
	h := &house{url: s.URL}
	h.send(t, "POST", "/v1/exchanges", goodBody, "X-Forwarded-For", "203.0.113.7",
		"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "User-Agent", strings.Repeat("u", 600))
	got := b.last(t)
	if got.ClientIP.String() != "203.0.113.7" || got.TraceID != "0af7651916cd43dd8448eb211c80319c" || !got.RequestStarted.Equal(noon) || len(got.UserAgent) != 512 {
		t.Errorf("got %s, %q, %s, %d bytes of agent", got.ClientIP, got.TraceID, got.RequestStarted, len(got.UserAgent))
	}
}

// However long an exchange may take, its call is not cut before; and where it may
// take little, not held much longer.
func TestCallsLastAsLongAsExchanges(t *testing.T) {
	for _, timeout := range []time.Duration{0, time.Second, 2 * time.Minute} {
		t.Run(timeout.String(), func(t *testing.T) {
			h := open(t, func(o *api.Options) { o.Timeout = timeout })
			left := make(chan time.Duration, 1)
			h.bureau.answer = func(ctx context.Context, r exchange.Request) (exchange.Receipt, error) {
				deadline, ok := ctx.Deadline()
				if !ok {
					t.Error("no deadline")
				}
				left <- time.Until(deadline)
				return issue(ctx, r)
			}
			want := server.ExchangeTime(timeout)
			check := func(face string) {
				t.Helper()
				if got := <-left; got > want || got < want-patience {
					t.Errorf("%s: an exchange of %s gets %s, want %s", face, timeout, got, want)
				}
			}
			if got := h.send(t, "POST", "/v1/exchanges", goodBody); got.status != 200 {
				t.Fatalf("%d %s", got.status, got.body)
			}
			check("REST")
			if _, err := h.exchange.Exchange(t.Context(), goodRequest()); err != nil {
				t.Fatal(err)
			}
			check("gRPC")
		})
	}
	if least := 2*time.Minute + exchange.SettleTimeout; server.ExchangeTime(2*time.Minute) < least {
		t.Errorf("less than %s, which one attempt takes", least)
	}
}

// patience is how long a request takes to come to its handler on a busy machine.
const patience = 5 * time.Second
