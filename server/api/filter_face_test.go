package api_test

import (
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
)

// A filter that does not parse is told where and what was expected, by every method
// that takes one and by both faces, before anything is read or recorded.
func TestBadFiltersAreExplainedByEveryMethod(t *testing.T) {
	h := open(t)
	fill(t, h)
	for filter, want := range map[string]string{
		`subject =`:                      "filter, character 10: the filter ends too early; expected comparisons",
		`subjct = "a"`:                   "filter, character 1: expected one of the fields time, subject,",
		`  target = "a" target = "b"`:    "filter, character 16: expected AND or OR",
		`größe = 1`:                      "filter, character 1: expected one of the fields",
		`reason = "größe" = 1`:           `filter, character 18: "=" was not expected here`,
		`outcome = "refused"`:            "filter, character 11: outcome is one of issued, denied, failed, unknown",
		`time > "yesterday"`:             "filter, character 8: expected a moment in RFC 3339",
		`target < "b"`:                   "filter, character 1: < orders time and exchange only",
		strings.Repeat("(", 21) + "a=b":  "filter, character 21: parentheses are nested too deep: 20 levels at most",
		strings.Repeat("reason:a ", 300): "filter is too long: 2048 bytes at most",
	} {
		ctx := as(t.Context(), auditor)
		_, listed := h.audit.ListExchanges(ctx, &cambiov1.ListExchangesRequest{Filter: filter})
		_, summed := h.audit.SummarizeExchanges(ctx, &cambiov1.SummarizeExchangesRequest{Filter: filter})
		_, tailed := h.tailGRPC(t, auditor, &cambiov1.TailExchangesRequest{Filter: filter}).next()
		for method, err := range map[string]error{"list": listed, "summarize": summed, "tail": tailed} {
			if s := status.Convert(err); s.Code() != codes.InvalidArgument || !strings.Contains(s.Message(), want) {
				t.Errorf("%s by gRPC, %s: got %v, want %q", method, filter, err, want)
			}
		}
		for _, path := range []string{"/v1/exchanges", "/v1/exchanges:summarize", "/v1/exchanges:tail"} {
			h.send(t, "GET", path+"?filter="+url.QueryEscape(filter), "", "Authorization", "Bearer "+auditor).want(t, 400, "invalid_request", want)
		}
	}
	if len(h.book.noted()) != 0 || h.book.reads != 0 {
		t.Errorf("%d queries were recorded, %d read", len(h.book.noted()), h.book.reads)
	}
}
