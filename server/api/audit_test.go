package api_test

import (
	"context"
	"errors"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
)

func as(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

// fill writes seven exchanges of ours, one of another tenant, and one under way.
func fill(t *testing.T, h *house) []exchange.ID {
	t.Helper()
	var ids []exchange.ID
	for n, c := range []struct {
		of     exchange.EventType
		record exchange.Record
	}{
		{exchange.EventIssued, exchange.Record{Subject: "k8s:prod:llm:gateway", Target: "bedrock", Rule: "gateway"}},
		{exchange.EventDenied, exchange.Record{Subject: "k8s:prod:preview:x", Target: "bedrock", ErrorKind: "invalid_target", Explanation: "no-preview"}},
		{exchange.EventIssued, exchange.Record{Subject: "oidc:corp:ada", Actor: "k8s:prod:agents:bot", Target: "github-mcp"}},
		{exchange.EventFailed, exchange.Record{Subject: "k8s:prod:llm:gateway", Target: "vertex", ErrorKind: "unavailable"}},
		{exchange.EventIssued, exchange.Record{Subject: "k8s:prod:llm:gateway", Target: "vertex", Reason: "50% off*"}},
		{exchange.EventIssued, exchange.Record{Subject: "oidc:corp:émile", Target: "github-mcp"}},
		{exchange.EventUnknown, exchange.Record{Subject: "oidc:corp:ada", Target: "bedrock"}},
	} {
		ids = append(ids, h.book.add(t, n+1, c.of, "default", c.record))
	}
	h.book.add(t, 100, exchange.EventIssued, "elsewhere", exchange.Record{Subject: "oidc:corp:ada", Target: "bedrock"})
	h.book.add(t, 101, exchange.EventIntent, "default", exchange.Record{Subject: "oidc:corp:ada", Target: "bedrock"})
	return ids
}

func idsOf(list []*cambiov1.Exchange) []string {
	var out []string
	for _, e := range list {
		out = append(out, e.GetExchange())
	}
	return out
}

// Every member of a record arrives under its own name, by both faces.
func TestGetExchangeShowsAllOfIt(t *testing.T) {
	h := open(t)
	record := exchange.Record{
		Subject: "s", Trust: "t", Actor: "a", Actors: []string{"a", "b"}, Asserted: []string{"t says c"}, Client: "cl",
		Target: "ta", Provider: "p", Door: "oauth", GrantType: "g", TokenType: "tt", AskedTargets: []string{"ta"},
		AskedScopes: []string{"x"}, Scopes: []string{"y"}, AskedLifetime: 60, Lifetime: 50, Expires: exchange.FormatTime(noon.Add(time.Hour)),
		Excess: 7, Rule: "r", Revision: "rev", Epoch: 3, Reason: "why", ErrorKind: "unavailable", Explanation: "rule r, predicate p",
		Credential: "fp", Handle: "h", Lease: "l", Lineage: []string{"m", "n"}, Reused: true, ClientIP: "10.0.0.1", UserAgent: "ua", TraceID: "tr", TokenID: "j",
		KeyID: "k", Claims: exchange.Attributes{"groups": {"g1", "g2"}}, Durations: &exchange.Durations{Verify: 1, Decide: 2, Intend: 3, Vend: 4_000_000},
	}
	for i, v := 0, reflect.ValueOf(record); i < v.NumField(); i++ { // none is forgotten here
		switch v.Type().Field(i).Name {
		case "Exchange", "Type", "At", "Tenant", "Outcome": // of the row
		default:
			if v.Field(i).IsZero() {
				t.Fatalf("the test leaves out Record.%s", v.Type().Field(i).Name)
			}
		}
	}
	id := h.book.add(t, 1, exchange.EventIntent, "default", exchange.Record{Subject: "s"})
	h.book.addEvent(t, id, noon.Add(2*time.Second), exchange.EventIssued, "default", record)
	h.book.addEvent(t, id, noon.Add(3*time.Second), exchange.EventRevoked, "default", exchange.Record{Subject: "s"})
	micro := func(n int32) *durationpb.Duration { return &durationpb.Duration{Nanos: n * 1000} }
	want := &cambiov1.Exchange{
		Exchange: id.String(), Time: timestamppb.New(noon.Add(2 * time.Second)), Tenant: "default", Outcome: "issued",
		Subject: "s", Trust: "t", Actor: "a", Actors: []string{"a", "b"}, Asserted: []string{"t says c"}, Client: "cl",
		Target: "ta", Provider: "p", Door: "oauth", GrantType: "g", TokenType: "tt", AskedTargets: []string{"ta"},
		AskedScopes: []string{"x"}, Scopes: []string{"y"}, AskedLifetime: &durationpb.Duration{Seconds: 60}, Lifetime: &durationpb.Duration{Seconds: 50},
		ExpireTime: timestamppb.New(noon.Add(time.Hour)), Excess: &durationpb.Duration{Seconds: 7}, Rule: "r", Revision: "rev", Epoch: 3, Reason: "why",
		ErrorKind: "unavailable", Explanation: "rule r, predicate p", Credential: "fp", Handle: "h", Lease: "l", Lineage: []string{"m", "n"}, Reused: true,
		ClientIp: "10.0.0.1", UserAgent: "ua", TraceId: "tr", TokenId: "j", KeyId: "k",
		Claims:    map[string]*cambiov1.ClaimValues{"groups": {Values: []string{"g1", "g2"}}},
		Durations: &cambiov1.StepDurations{Verify: micro(1), Decide: micro(2), Intend: micro(3), Vend: &durationpb.Duration{Seconds: 4}},
	}
	fields := want.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if !want.ProtoReflect().Has(fields.Get(i)) {
			t.Fatalf("the test leaves out %s", fields.Get(i).Name())
		}
	}
	got, err := h.audit.GetExchange(as(t.Context(), auditor), &cambiov1.GetExchangeRequest{Exchange: id.String()})
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got.GetExchange(), want) {
		t.Errorf("got  %v\nwant %v", got.GetExchange(), want)
	}
	var types []string
	for _, e := range got.GetEvents() {
		types = append(types, e.GetType())
		if _, err := exchange.ParseID(e.GetEvent()); err != nil || !e.GetTime().AsTime().Equal(e.GetRecord().GetTime().AsTime()) {
			t.Errorf("event %v", e)
		}
	}
	if want := []string{"intent", "issued", "revoked"}; !slices.Equal(types, want) {
		t.Errorf("events %v, want %v", types, want)
	}
	rest := h.send(t, "GET", "/v1/exchanges/"+id.String(), "", "Authorization", "Bearer "+operator)
	var same cambiov1.GetExchangeResponse
	if err := protojson.Unmarshal([]byte(rest.body), &same); err != nil || !proto.Equal(&same, got) {
		t.Errorf("REST: %v %s", err, rest.body)
	}
	if !strings.Contains(rest.body, `"error_kind"`) || strings.Contains(rest.body, `"errorKind"`) {
		t.Errorf("REST does not speak the names of the .proto: %s", rest.body)
	}
}

func TestGetExchangeUnderWay(t *testing.T) {
	h := open(t)
	id := h.book.add(t, 1, exchange.EventIntent, "default", exchange.Record{Subject: "s"})
	got, err := h.audit.GetExchange(as(t.Context(), auditor), &cambiov1.GetExchangeRequest{Exchange: id.String()})
	if err != nil || got.GetExchange().GetSubject() != "s" || got.GetExchange().GetOutcome() != "" || len(got.GetEvents()) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestGetExchangeRefuses(t *testing.T) {
	h := open(t)
	fill(t, h)
	for _, c := range []struct {
		id     string
		code   codes.Code
		status int
	}{
		{"0199a000-0000-7000-8000-0000000000ff", codes.NotFound, 404},
		{"0199A000-0000-7000-8000-0000000000FF", codes.InvalidArgument, 400},
		{"x", codes.InvalidArgument, 400},
		{"0199a000-0000-4000-8000-0000000000ff", codes.InvalidArgument, 400},
		{"0199a000-0000-7000-8000-0000000000f%00", codes.InvalidArgument, 400},
	} {
		_, err := h.audit.GetExchange(as(t.Context(), auditor), &cambiov1.GetExchangeRequest{Exchange: c.id})
		if status.Code(err) != c.code {
			t.Errorf("%s: got %v, want %s", c.id, err, c.code)
		}
		h.send(t, "GET", "/v1/exchanges/"+c.id, "", "Authorization", "Bearer "+auditor).want(t, c.status, "invalid_request", "")
	}
}

func TestFiltersSelect(t *testing.T) {
	h := open(t)
	ids := fill(t, h)
	for filter, want := range map[string][]int{
		``:                                   {6, 5, 4, 3, 2, 1, 0},
		`target = bedrock`:                   {6, 1, 0},
		`target != "bedrock"`:                {5, 4, 3, 2},
		` outcome=denied `:                   {1},
		`subject:"corp"`:                     {6, 5, 2},
		`subject = "oidc:corp:émile"`:        {5},
		`actor:*`:                            {2},
		`NOT actor:*`:                        {6, 5, 4, 3, 1, 0},
		`actor = ""`:                         {6, 5, 4, 3, 1, 0},
		`reason:"*"`:                         {4},
		`reason:'50% off'`:                   {4},
		`error_kind = unavailable`:           {3},
		`-outcome=issued AND target=bedrock`: {6, 1},
		`target = bedrock AND outcome = denied OR outcome = issued`:            {1, 0}, // OR binds closer (AIP-160)
		`(target = bedrock AND outcome = denied) OR subject = "oidc:corp:ada"`: {6, 2, 1},
		`time >= timestamp("2026-11-21T12:00:06Z")`:                            {6, 5},
		`time < "2026-11-21T13:00:02+01:00"`:                                   {0},
		`time > "2026-11-21T12:00:02.5Z" AND time <= "2026-11-21T12:00:04Z"`:   {3, 2},
		`exchange = "` + ids[3].String() + `"`:                                 {3},
		`exchange > "` + ids[4].String() + `"`:                                 {6, 5},
	} {
		var wanted []string
		for _, n := range want {
			wanted = append(wanted, ids[n].String())
		}
		got, err := h.audit.ListExchanges(as(t.Context(), auditor), &cambiov1.ListExchangesRequest{Filter: filter})
		if err != nil || !slices.Equal(idsOf(got.GetExchanges()), wanted) {
			t.Errorf("%s: got %v %v, want %v", filter, idsOf(got.GetExchanges()), err, wanted)
		}
		rest := h.send(t, "GET", "/v1/exchanges?filter="+url.QueryEscape(filter), "", "Authorization", "Bearer "+auditor)
		var same cambiov1.ListExchangesResponse
		if err := protojson.Unmarshal([]byte(rest.body), &same); err != nil || !slices.Equal(idsOf(same.GetExchanges()), wanted) {
			t.Errorf("REST, %s: got %s", filter, rest.body)
		}
	}
}

// Whatever is in the database, a caller sees its own tenant.
func TestS22TenantScopesTheAudit(t *testing.T) {
	h := open(t)
	ids := fill(t, h)
	got, err := h.audit.ListExchanges(as(t.Context(), elsewhere), &cambiov1.ListExchangesRequest{})
	if err != nil || len(got.GetExchanges()) != 1 || got.GetExchanges()[0].GetTenant() != "elsewhere" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := h.audit.GetExchange(as(t.Context(), elsewhere), &cambiov1.GetExchangeRequest{Exchange: ids[0].String()}); status.Code(err) != codes.NotFound {
		t.Errorf("another tenant's exchange: %v", err)
	}
	for _, e := range h.book.notes {
		if e.Tenant != "elsewhere" || e.Record.Tenant != "elsewhere" {
			t.Errorf("the query was recorded for %s", e.Tenant)
		}
	}
}

// An engine that forgets the tenant gives nothing away.
func TestS22RowOfAnotherTenantEndsTheRequest(t *testing.T) {
	h := open(t, spyRows(func(b *book) []ledger.Exchange { return b.rows }))
	fill(t, h)
	if got, err := h.audit.ListExchanges(as(t.Context(), elsewhere), &cambiov1.ListExchangesRequest{}); status.Code(err) != codes.Internal {
		t.Errorf("got %v, %v", got, err)
	}
	if got, err := h.audit.GetExchange(as(t.Context(), elsewhere), &cambiov1.GetExchangeRequest{Exchange: exchangeID.String()}); status.Code(err) != codes.Internal {
		t.Errorf("got %v, %v", got, err)
	}
}

// Each query is an event with who, from where, and what; without it no answer
// leaves, and nothing is read.
func TestQueriesAreRecordedFirst(t *testing.T) {
	h := open(t)
	ids := fill(t, h)
	if _, err := h.audit.ListExchanges(as(t.Context(), auditor), &cambiov1.ListExchangesRequest{Filter: `target = "bedrock"`}); err != nil {
		t.Fatal(err)
	}
	h.send(t, "GET", "/v1/exchanges/"+ids[0].String(), "", "Authorization", "Bearer "+operator)
	if len(h.book.notes) != 2 {
		t.Fatalf("%d notes", len(h.book.notes))
	}
	for i, want := range []struct{ subject, door, what string }{
		{"oidc:corp:ada", "grpc", `list exchanges; filter: "target = \"bedrock\""`},
		{"oidc:corp:oscar", "rest", "get exchange " + ids[0].String()},
	} {
		e := h.book.notes[i]
		if e.Type != exchange.EventQueried || e.ID != e.Exchange || e.ID.IsZero() || !e.At.Equal(noon) || e.Tenant != "default" {
			t.Errorf("event %+v", e)
		}
		r := e.Record
		if r.Subject != want.subject || r.Trust != "corp" || r.Door != want.door || !strings.HasPrefix(r.Explanation, want.what) ||
			r.ClientIP != "127.0.0.1" || len(r.TraceID) != 32 || r.TokenID != "jti-1" || r.KeyID != "kid-1" || r.Target != "" || r.Outcome != "" {
			t.Errorf("record %+v", r)
		}
	}
	h.book.noteErr = errors.New("disk full at 10.1.2.3")
	reads := h.book.reads
	_, err := h.audit.ListExchanges(as(t.Context(), auditor), &cambiov1.ListExchangesRequest{})
	if s := status.Convert(err); s.Code() != codes.Unavailable || strings.Contains(s.Message(), "10.1.2.3") {
		t.Errorf("got %v", err)
	}
	h.send(t, "GET", "/v1/exchanges/"+ids[0].String(), "", "Authorization", "Bearer "+auditor).want(t, 503, "temporarily_unavailable", "could not be recorded")
	if h.book.reads != reads {
		t.Error("the ledger was read all the same")
	}
}

func TestLedgerThatCannotBeReadIsUnavailable(t *testing.T) {
	h := open(t)
	h.book.readErr = errors.New("dial 10.1.2.3")
	for _, path := range []string{"/v1/exchanges", "/v1/exchanges/" + exchangeID.String()} {
		got := h.send(t, "GET", path, "", "Authorization", "Bearer "+auditor)
		got.want(t, 503, "temporarily_unavailable", "could not be read")
		if strings.Contains(got.body, "10.1.2.3") {
			t.Error(got.body)
		}
	}
}
