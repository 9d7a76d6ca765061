package api_test

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/ledger"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
)

func TestPagesGoThroughTheListOnce(t *testing.T) {
	h := open(t)
	ids := fill(t, h)
	for size := 1; size <= 8; size++ {
		var seen []string
		token := ""
		for page := 0; ; page++ {
			path := "/v1/exchanges?page_size=" + strconv.Itoa(size) + "&page_token=" + token
			rest := h.send(t, "GET", path, "", "Authorization", "Bearer "+auditor)
			var got cambiov1.ListExchangesResponse
			if err := protojson.Unmarshal([]byte(rest.body), &got); err != nil || page > 8 {
				t.Fatalf("page %d: %v %s", page, err, rest.body)
			}
			seen = append(seen, idsOf(got.GetExchanges())...)
			if token = got.GetNextPageToken(); token == "" {
				break
			}
		}
		if len(seen) != len(ids) || seen[0] != ids[6].String() || seen[6] != ids[0].String() {
			t.Errorf("pages of %d: %v", size, seen)
		}
	}
}

func TestPageSizes(t *testing.T) {
	asked := make(chan ledger.Query, 1)
	h := open(t, spy(asked))
	for size, want := range map[int32]int{0: 50, 1: 1, 1000: 1000, 1001: 1000, 1 << 30: 1000} {
		if _, err := h.audit.ListExchanges(as(t.Context(), auditor), &cambiov1.ListExchangesRequest{PageSize: size}); err != nil {
			t.Fatal(err)
		}
		if q := <-asked; q.Limit != want {
			t.Errorf("page_size %d: limit %d, want %d", size, q.Limit, want)
		}
	}
	_, err := h.audit.ListExchanges(as(t.Context(), auditor), &cambiov1.ListExchangesRequest{PageSize: -1})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("got %v", err)
	}
}

// A page of great records ends early, under what gRPC clients take by default, and
// the next goes on where it ended.
func TestGreatPagesEndEarly(t *testing.T) {
	h := open(t)
	const n = 300
	for i := range n {
		r := exchange.Record{Subject: "s", UserAgent: strings.Repeat("u", 1000)}
		for range 16 {
			r.Asserted = append(r.Asserted, strings.Repeat("a", 1000))
		}
		h.book.add(t, i+1, exchange.EventIssued, "default", r)
	}
	seen, pages := 0, 0
	for in := (&cambiov1.ListExchangesRequest{PageSize: 1000}); ; pages++ {
		got, err := h.audit.ListExchanges(as(t.Context(), auditor), in)
		if err != nil {
			t.Fatal(err)
		}
		seen += len(got.GetExchanges())
		if in.PageToken = got.GetNextPageToken(); in.PageToken == "" {
			break
		}
	}
	if seen != n || pages == 0 {
		t.Errorf("saw %d of %d on %d pages", seen, n, pages+1)
	}
}

func TestPageTokensAreOfOneList(t *testing.T) {
	h := open(t)
	fill(t, h)
	get := func(token, filter, who string) error {
		_, err := h.audit.ListExchanges(as(t.Context(), who), &cambiov1.ListExchangesRequest{Filter: filter, PageToken: token, PageSize: 2})
		return err
	}
	first, err := h.audit.ListExchanges(as(t.Context(), auditor), &cambiov1.ListExchangesRequest{Filter: "outcome=issued", PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	good := first.GetNextPageToken()
	if err := get(good, "outcome=issued", operator); err != nil {
		t.Errorf("a colleague with another size: %v", err)
	}
	bad := map[string]error{
		"another filter": get(good, "outcome=denied", auditor),
		"no filter":      get(good, "", auditor),
		"another tenant": get(good, "outcome=issued", elsewhere),
		"noise":          get("AAAA", "outcome=issued", auditor),
		"not base64":     get("!", "outcome=issued", auditor),
		"padded":         get(good+"=", "outcome=issued", auditor),
		"long":           get(strings.Repeat("A", 1000), "outcome=issued", auditor),
		"a bare cursor":  get(base64.RawURLEncoding.EncodeToString([]byte(exchangeID.String())), "outcome=issued", auditor),
	}
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		bent := slices.Clone(raw)
		bent[i] ^= 1
		bad["byte "+strconv.Itoa(i)] = get(base64.RawURLEncoding.EncodeToString(bent), "outcome=issued", auditor)
	}
	for name, err := range bad {
		if s := status.Convert(err); s.Code() != codes.InvalidArgument || !strings.Contains(s.Message(), "page_token") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
