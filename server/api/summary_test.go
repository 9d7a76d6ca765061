package api_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cambio-sts/cambio/exchange"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
)

func TestSummaryCounts(t *testing.T) {
	h := open(t)
	fill(t, h)
	end := timestamppb.New(noon.Add(time.Hour))
	for name, c := range map[string]struct {
		in    *cambiov1.SummarizeExchangesRequest
		rows  []*cambiov1.ExchangeCount
		group int64
		total int64
	}{
		"by outcome, unasked": {&cambiov1.SummarizeExchangesRequest{EndTime: end}, []*cambiov1.ExchangeCount{
			{Outcome: "issued", Count: 4}, {Outcome: "denied", Count: 1}, {Outcome: "failed", Count: 1}, {Outcome: "unknown", Count: 1},
		}, 4, 7},
		"by hour and target": {&cambiov1.SummarizeExchangesRequest{EndTime: end, By: "hour, target", Filter: "outcome=issued"}, []*cambiov1.ExchangeCount{
			{Hour: timestamppb.New(noon), Target: "github-mcp", Count: 2}, {Hour: timestamppb.New(noon), Target: "bedrock", Count: 1}, {Hour: timestamppb.New(noon), Target: "vertex", Count: 1},
		}, 3, 4},
		"few rows":      {&cambiov1.SummarizeExchangesRequest{EndTime: end, By: "subject", MaxRows: 1}, []*cambiov1.ExchangeCount{{Subject: "k8s:prod:llm:gateway", Count: 3}}, 4, 7},
		"by rule":       {&cambiov1.SummarizeExchangesRequest{EndTime: end, By: "rule", Filter: "rule:*"}, []*cambiov1.ExchangeCount{{Rule: "gateway", Count: 1}}, 1, 1},
		"another month": {&cambiov1.SummarizeExchangesRequest{EndTime: timestamppb.New(noon.Add(-time.Hour))}, nil, 0, 0},
		"part of hours": {&cambiov1.SummarizeExchangesRequest{StartTime: timestamppb.New(noon.Add(59 * time.Minute)), EndTime: timestamppb.New(noon.Add(59*time.Minute + time.Second)), By: "outcome", MaxRows: 1},
			[]*cambiov1.ExchangeCount{{Outcome: "issued", Count: 4}}, 4, 7},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := h.audit.SummarizeExchanges(as(t.Context(), auditor), c.in)
			if err != nil {
				t.Fatal(err)
			}
			query := url.Values{}
			for k, v := range map[string]string{"filter": c.in.GetFilter(), "by": c.in.GetBy()} {
				query.Set(k, v)
			}
			for k, v := range map[string]*timestamppb.Timestamp{"start_time": c.in.GetStartTime(), "end_time": c.in.GetEndTime()} {
				if v != nil {
					query.Set(k, v.AsTime().Format(time.RFC3339))
				}
			}
			if c.in.GetMaxRows() > 0 {
				query.Set("max_rows", "1")
			}
			rest := h.send(t, "GET", "/v1/exchanges:summarize?"+query.Encode(), "", "Authorization", "Bearer "+operator)
			var same cambiov1.SummarizeExchangesResponse
			if err := protojson.Unmarshal([]byte(rest.body), &same); err != nil || !proto.Equal(&same, got) {
				t.Errorf("REST: %v %s", err, rest.body)
			}
			if got.GetGroupCount() != c.group || got.GetExchangeCount() != c.total || len(got.GetRows()) != len(c.rows) {
				t.Fatalf("got %v", got)
			}
			for i, row := range c.rows {
				if !proto.Equal(got.GetRows()[i], row) {
					t.Errorf("row %d: %v, want %v", i, got.GetRows()[i], row)
				}
			}
			if s := got.GetStartTime().AsTime(); s.Truncate(time.Hour) != s || got.GetEndTime().AsTime().Truncate(time.Hour) != got.GetEndTime().AsTime() {
				t.Errorf("from %v until %v", got.GetStartTime(), got.GetEndTime())
			}
		})
	}
	for _, e := range h.book.noted() {
		if e.Type != exchange.EventQueried || !strings.HasPrefix(e.Record.Explanation, "summarize exchanges; filter: ") {
			t.Errorf("noted %+v", e.Record)
		}
	}
	if got, err := h.audit.SummarizeExchanges(as(t.Context(), elsewhere), &cambiov1.SummarizeExchangesRequest{EndTime: end}); err != nil || got.GetExchangeCount() != 1 {
		t.Errorf("S22: %v %v", got, err)
	}
}

func TestS17SummaryRefuses(t *testing.T) {
	h := open(t)
	fill(t, h)
	for name, c := range map[string]struct {
		token, query, advice string
		code                 int
		oauth                string
	}{
		"no such token":    {"x", "", "", 401, "invalid_token"},
		"no role":          {nobody, "", "auditor", 403, "access_denied"},
		"half a filter":    {auditor, "filter=subject+%3D", "filter", 400, "invalid_request"},
		"by a field":       {auditor, "by=client_ip", "by is hour", 400, "invalid_request"},
		"by one twice":     {auditor, "by=rule,rule", "each once", 400, "invalid_request"},
		"a negative size":  {auditor, "max_rows=-1", "max_rows", 400, "invalid_request"},
		"a size of words":  {auditor, "max_rows=ten", "", 400, "invalid_request"},
		"backwards":        {auditor, "start_time=2026-11-21T12:00:00Z&end_time=2026-11-21T10:00:00Z", "before", 400, "invalid_request"},
		"a decade":         {auditor, "start_time=2016-11-21T12:00:00Z", "400 days", 400, "invalid_request"},
		"no time":          {auditor, "start_time=yesterday", "", 400, "invalid_request"},
		"before computers": {auditor, "start_time=0001-01-01T00:00:00Z&end_time=0001-01-02T00:00:00Z", "1970", 400, "invalid_request"},
		"after us":         {auditor, "start_time=9999-12-31T00:00:00Z&end_time=9999-12-31T23:59:59Z", "", 400, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			h.send(t, "GET", "/v1/exchanges:summarize?"+c.query, "", "Authorization", "Bearer "+c.token).want(t, c.code, c.oauth, c.advice)
		})
	}
	h.book.fail(errors.New("dial 10.1.2.3"), nil)
	got := h.send(t, "GET", "/v1/exchanges:summarize", "", "Authorization", "Bearer "+auditor)
	got.want(t, 503, "temporarily_unavailable", "could not be read")
	h.book.fail(nil, errors.New("disk full"))
	h.send(t, "GET", "/v1/exchanges:summarize", "", "Authorization", "Bearer "+auditor).want(t, 503, "temporarily_unavailable", "recorded")
}

// The credential finds its exchanges, and is in no record, log or page token.
func TestFindCredential(t *testing.T) {
	h := open(t)
	fill(t, h)
	name := fingerprint(exchange.NewSecret(minted))
	var ids []string
	for n := range 3 {
		ids = append(ids, h.book.add(t, 300+n, exchange.EventIssued, "default", exchange.Record{Subject: "s", Credential: name}).String())
	}
	h.book.add(t, 310, exchange.EventIssued, "elsewhere", exchange.Record{Subject: "s", Credential: name}) // S22
	in := &cambiov1.FindCredentialRequest{Credential: minted, PageSize: 2}
	got, err := h.audit.FindCredential(as(t.Context(), auditor), in)
	if err != nil || got.GetCredential() != name || len(got.GetExchanges()) != 2 || got.GetExchanges()[0].GetExchange() != ids[2] {
		t.Fatalf("got %v, %v", got, err)
	}
	in.PageToken = got.GetNextPageToken()
	rest := h.send(t, "POST", "/v1/exchanges:findCredential", `{"credential":"`+minted+`","page_token":"`+in.PageToken+`"}`, "Authorization", "Bearer "+operator)
	var last cambiov1.FindCredentialResponse
	if err := protojson.Unmarshal([]byte(rest.body), &last); err != nil || len(last.GetExchanges()) != 1 || last.GetExchanges()[0].GetExchange() != ids[0] || last.GetNextPageToken() != "" {
		t.Errorf("the last page: %v %s", err, rest.body)
	}
	for _, e := range h.book.noted() {
		if strings.Contains(e.Record.Explanation, minted) || !strings.Contains(e.Record.Explanation, "find credential "+name) {
			t.Errorf("noted %q", e.Record.Explanation)
		}
	}
	in.Credential = "another"
	if _, err := h.audit.FindCredential(as(t.Context(), auditor), in); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a page token of another credential: %v", err)
	}
	in.PageToken = ""
	if got, err := h.audit.FindCredential(as(t.Context(), auditor), in); err != nil || len(got.GetExchanges()) != 0 {
		t.Errorf("a credential of somebody else's: %v %v", got, err)
	}
	h.send(t, "POST", "/v1/exchanges:findCredential", `{"credential":""}`, "Authorization", "Bearer "+auditor).want(t, 400, "invalid_request", "credential")
	h.send(t, "POST", "/v1/exchanges:findCredential", `{"credential":"`+minted+`"}`, "Authorization", "Bearer "+nobody).want(t, 403, "access_denied", "auditor")
	h.send(t, "GET", "/v1/exchanges:findCredential", "", "Authorization", "Bearer "+auditor).want(t, 405, "invalid_request", "")
}
