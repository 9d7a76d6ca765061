package api_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cambio-sts/cambio/exchange"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
)

// What belongs to no exchange is listed by type, by both faces; the queries among
// it where they are asked for.
func TestListEvents(t *testing.T) {
	h := open(t)
	fill(t, h)
	h.book.add(t, 900, exchange.EventKeysChanged, "default", exchange.Record{Explanation: "rotate"})
	h.book.add(t, 901, exchange.EventQueried, "default", exchange.Record{Subject: "oidc:corp:ada"})
	h.book.add(t, 902, exchange.EventPolicyLoaded, "default", exchange.Record{Revision: "abc"})
	h.book.add(t, 903, exchange.EventDenyAdded, "elsewhere", exchange.Record{Reason: "not ours"})
	h.book.add(t, 904, exchange.EventDenyAdded, "default", exchange.Record{Reason: "INC-7"})
	for asked, want := range map[string][]string{
		"":                     {"deny_added", "policy_loaded", "keys_changed"},
		"keys_changed":         {"keys_changed"},
		"queried,keys_changed": {"queried", "keys_changed"},
		"approved":             nil,
	} {
		for _, size := range []int32{0, 1} {
			var got []string
			in := &cambiov1.ListEventsRequest{Type: asked, PageSize: size}
			for {
				page, err := h.audit.ListEvents(as(t.Context(), auditor), in)
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range page.GetEvents() {
					got = append(got, e.GetType())
					if e.GetRecord().GetTenant() != "default" || e.GetTime() == nil || e.GetEvent() == "" {
						t.Errorf("event %v", e)
					}
				}
				if in.PageToken = page.GetNextPageToken(); in.PageToken == "" {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q by %d: %v, want %v", asked, size, got, want)
			}
		}
	}
	rest := h.send(t, "GET", "/v1/events?type=deny_added", "", "Authorization", "Bearer "+operator)
	if rest.status != 200 || !strings.Contains(rest.body, "INC-7") || strings.Contains(rest.body, "not ours") {
		t.Errorf("REST: %d %s", rest.status, rest.body)
	}
	if n := h.book.noted(); len(n) == 0 || !strings.Contains(n[len(n)-1].Record.Explanation, `list events; type: "deny_added"`) {
		t.Error("the look was not recorded")
	}
	notes := len(h.book.noted())
	for _, bad := range []*cambiov1.ListEventsRequest{{Type: "issued"}, {Type: "queried,"}, {PageSize: -1}, {PageToken: "AAAA"}} {
		if _, err := h.audit.ListEvents(as(t.Context(), auditor), bad); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if _, err := h.audit.ListEvents(as(t.Context(), nobody), &cambiov1.ListEventsRequest{}); status.Code(err) != codes.PermissionDenied {
		t.Errorf("without a role: %v", err)
	}
	if len(h.book.noted()) != notes {
		t.Error("a refused look was recorded as one")
	}
}
