package api_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
)

// desk keeps what it was asked, and hands out what it was given.
type desk struct {
	denies  []exchange.Deny
	events  []exchange.Event
	stopped []lease.Stopped
	next    lease.Place
	more    bool
	from    []lease.Place
	below   []int64
	fails   error
	stuck   error // of Stop
}

func (d *desk) Add(_ context.Context, deny exchange.Deny, e exchange.Event) (exchange.Deny, error) {
	if d.fails != nil {
		return exchange.Deny{}, d.fails
	}
	if deny.ID.IsZero() {
		var err error
		if deny.ID, err = exchange.NewID(noon, rand.Reader); err != nil {
			return exchange.Deny{}, err
		}
	}
	deny.Created, deny.Epoch = noon, int64(len(d.denies)+1)
	d.denies, d.events = append(d.denies, deny), append(d.events, e)
	return deny, nil
}

func (d *desk) Remove(_ context.Context, tenant string, id exchange.ID, e exchange.Event) error {
	for i := range d.denies {
		if d.denies[i].ID == id && d.denies[i].Tenant == tenant && d.denies[i].Removed.IsZero() {
			d.denies[i].Removed, d.events = noon, append(d.events, e)
			return nil
		}
	}
	return exchange.Fault(exchange.KindNotFound, "there is no such deny", nil)
}

func (d *desk) List(_ context.Context, tenant string, below int64, ended bool, limit int) (list []exchange.Deny, err error) {
	d.below = append(d.below, below)
	for _, one := range slices.Backward(d.denies) {
		if one.Tenant == tenant && (below == 0 || one.Epoch < below) && (ended || one.Removed.IsZero()) && len(list) < limit {
			list = append(list, one)
		}
	}
	return list, d.fails
}

func (d *desk) Stop(_ context.Context, _ exchange.Deny, operator string, from lease.Place) ([]lease.Stopped, lease.Place, bool, error) {
	if operator != "oidc:corp:oscar" {
		return nil, from, false, errors.New("nobody stopped it")
	}
	d.from = append(d.from, from)
	return d.stopped, d.next, d.more && len(d.from) == 1, d.stuck
}

// call sends one request to the REST face.
func (h *house) call(t *testing.T, method, path, token, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, h.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return resp.StatusCode, got
}

func TestAddDenySaysWhatBecomesOfEach(t *testing.T) {
	h := open(t)
	id, err := exchange.NewID(noon, bytes.NewReader(bytes.Repeat([]byte{9}, 10)))
	if err != nil {
		t.Fatal(err)
	}
	h.desk.stopped = []lease.Stopped{
		{Fate: lease.FateRevoked, Why: "w1", Credential: "fp", Lease: exchange.Lease{
			ID: id, Exchange: id, Target: "ta", Provider: "p", Subject: "s", Rule: "r", Handle: "h", Expires: noon.Add(time.Hour)}},
		{Fate: lease.FateExpires, Why: "w2", Lease: exchange.Lease{ID: id, Exchange: id, Expires: noon.Add(time.Minute)}},
		{Fate: lease.FateNotStopped, Why: "w3", Lease: exchange.Lease{ID: id, Exchange: id, Expires: noon.Add(time.Minute)}},
		{Fate: lease.FatePending, Why: "w4", Lease: exchange.Lease{Exchange: id}},
	}
	h.desk.more, h.desk.next = true, lease.Place{Expires: noon.Add(time.Minute), After: id}
	code, got := h.call(t, "POST", "/v1/denies", operator, `{"match":{"subject":"s","target":"ta"},"reason":"why","expire_time":"2026-11-21T14:00:00Z","request_id":"`+id.String()+`"}`)
	if code != 200 || got["epoch"] != "1" {
		t.Fatalf("%d %v", code, got)
	}
	deny := got["deny"].(map[string]any)
	if deny["deny"] != id.String() || deny["reason"] != "why" || deny["expire_time"] != "2026-11-21T14:00:00Z" || deny["create_time"] == "" || deny["match"].(map[string]any)["target"] != "ta" {
		t.Errorf("the deny is %v", deny)
	}
	list := got["credentials"].([]any)
	for i, want := range []string{"STATE_REVOKED", "STATE_EXPIRES", "STATE_NOT_STOPPED", "STATE_PENDING"} {
		if one := list[i].(map[string]any); one["state"] != want || one["explanation"] == "" || one["exchange"] != id.String() || (one["expire_time"] == nil) != (i == 3) || (one["lease"] == "") != (i == 3) && one["lease"] != nil {
			t.Errorf("credential %d is %v", i, one)
		}
	}
	first := list[0].(map[string]any)
	for name, want := range map[string]string{"subject": "s", "target": "ta", "provider": "p", "rule": "r", "handle": "h", "credential": "fp", "expire_time": "2026-11-21T13:00:00Z"} {
		if first[name] != want {
			t.Errorf("%s is %v, want %s", name, first[name], want)
		}
	}
	if e := h.desk.events[0]; e.Record.Subject != "oidc:corp:oscar" || e.Record.Door != "rest" || e.Record.TokenID != "jti-1" || e.Record.ClientIP == "" {
		t.Errorf("who did it: %+v", e.Record)
	}
	if d := h.desk.denies[0]; d.Tenant != "default" || !d.Expires.Equal(noon.Add(2*time.Hour)) { // S22
		t.Errorf("asked for %+v", d)
	}

	token := got["next_page_token"].(string)
	code, got = h.call(t, "POST", "/v1/denies", operator, `{"match":{"subject":"s","target":"ta"},"reason":"why","request_id":"`+id.String()+`","page_token":"`+token+`"}`)
	if code != 200 || got["next_page_token"] != nil && got["next_page_token"] != "" || len(h.desk.from) != 2 || h.desk.from[1] != h.desk.next {
		t.Errorf("the second page: %d, from %+v", code, h.desk.from)
	}
	other, err := exchange.NewID(noon, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{
		"of another deny":      `{"match":{"subject":"s"},"reason":"why","request_id":"` + other.String() + `","page_token":"` + token + `"}`,
		"tampered with":        `{"match":{"subject":"s"},"reason":"why","request_id":"` + id.String() + `","page_token":"B` + token[1:] + `"}`,
		"without its request":  `{"match":{"subject":"s"},"reason":"why","page_token":"` + token + `"}`,
		"in a list of denies":  "",
		"in a list of the log": "",
	} {
		switch {
		case strings.HasSuffix(name, "denies"):
			code, _ = h.call(t, "GET", "/v1/denies?page_token="+token, operator, "")
		case body == "":
			code, _ = h.call(t, "GET", "/v1/exchanges?page_token="+token, operator, "")
		default:
			code, _ = h.call(t, "POST", "/v1/denies", operator, body)
		}
		if code != 400 {
			t.Errorf("a page token %s: %d", name, code)
		}
	}
}

func TestBadDenyRequests(t *testing.T) {
	h := open(t)
	h.desk.fails = exchange.Fault(exchange.KindInvalidRequest, "reason is missing", nil)
	good := `{"match":{"subject":"s"},"reason":"r"}`
	for name, c := range map[string]struct {
		method, path, token, body string
		want                      int
	}{
		"what the desk refuses":     {"POST", "/v1/denies", operator, good, 400},
		"an unknown member":         {"POST", "/v1/denies", operator, `{"matches":{}}`, 400},
		"a match that is no map":    {"POST", "/v1/denies", operator, `{"match":["subject"]}`, 400},
		"a value that is no text":   {"POST", "/v1/denies", operator, `{"match":{"subject":1}}`, 400},
		"a member twice":            {"POST", "/v1/denies", operator, `{"match":{"subject":"a","subject":"b"},"reason":"r"}`, 400},
		"a moment that is none":     {"POST", "/v1/denies", operator, `{"match":{"subject":"a"},"reason":"r","expire_time":"soon"}`, 400},
		"a request_id that is none": {"POST", "/v1/denies", operator, `{"match":{"subject":"a"},"reason":"r","request_id":"7"}`, 400},
		"no object":                 {"POST", "/v1/denies", operator, "{}x", 400},
		"an auditor":                {"POST", "/v1/denies", auditor, good, 403},
		"an auditor who removes":    {"DELETE", "/v1/denies/01a1fdd5-0000-7000-8000-000000000000", auditor, "", 403},
		"nobody's role":             {"GET", "/v1/denies", nobody, "", 403},
		"a delegated token":         {"POST", "/v1/denies", delegated, good, 403},
		"a single-use token":        {"POST", "/v1/denies", burning, good, 401},
		"no token":                  {"POST", "/v1/denies", "", good, 401},
		"removing what is no id":    {"DELETE", "/v1/denies/7", operator, "", 400},
		"removing what is not":      {"DELETE", "/v1/denies/01a1fdd5-0000-7000-8000-000000000000", operator, "", 404},
		"a page of less than none":  {"GET", "/v1/denies?page_size=-1", auditor, "", 400},
		"a forged page":             {"GET", "/v1/denies?page_token=AAAA", auditor, "", 400},
	} {
		t.Run(name, func(t *testing.T) {
			if code, got := h.call(t, c.method, c.path, c.token, c.body); code != c.want || got["error"] == nil {
				t.Errorf("%d %v, want %d", code, got, c.want)
			}
		})
	}
	if len(h.desk.denies)+len(h.desk.events) != 0 {
		t.Error("something was written")
	}
}

func TestListAndRemoveDenies(t *testing.T) {
	h := open(t)
	client := cambiov1.NewDenyServiceClient(h.conn)
	var ids []string
	for range 5 {
		got, err := client.AddDeny(as(t.Context(), operator), &cambiov1.AddDenyRequest{Match: map[string]string{"rule": "r"}, Reason: "why"})
		if err != nil {
			t.Fatal(err)
		}
		ids = append([]string{got.GetDeny().GetDeny()}, ids...)
	}
	if _, err := client.RemoveDeny(as(t.Context(), operator), &cambiov1.RemoveDenyRequest{Deny: ids[1]}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.RemoveDeny(as(t.Context(), operator), &cambiov1.RemoveDenyRequest{Deny: ids[1]}); status.Code(err) != codes.NotFound {
		t.Errorf("removed twice: %v", err)
	}
	for ended, want := range map[bool][]string{true: ids, false: append(slices.Clone(ids[:1]), ids[2:]...)} {
		var got []string
		for token := ""; ; {
			page, err := client.ListDenies(as(t.Context(), auditor), &cambiov1.ListDeniesRequest{ShowRemoved: ended, PageSize: 2, PageToken: token})
			if err != nil || len(page.GetDenies()) > 2 {
				t.Fatalf("%d denies, %v", len(page.GetDenies()), err)
			}
			for _, d := range page.GetDenies() {
				got = append(got, d.GetDeny())
			}
			if token = page.GetNextPageToken(); token == "" {
				break
			}
			if _, err := client.ListDenies(as(t.Context(), auditor), &cambiov1.ListDeniesRequest{ShowRemoved: !ended, PageToken: token}); status.Code(err) != codes.InvalidArgument {
				t.Errorf("the page of another list: %v", err)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("with the removed %t: %v, want %v", ended, got, want)
		}
	}
	if page, err := client.ListDenies(as(t.Context(), elsewhere), &cambiov1.ListDeniesRequest{}); err != nil || len(page.GetDenies()) != 0 { // S22
		t.Errorf("another tenant sees %v, %v", page, err)
	}
	if n := len(h.book.notes); n != 6 || h.book.notes[0].Type != exchange.EventQueried || h.book.notes[0].Record.Subject != "oidc:corp:ada" {
		t.Errorf("%d queries are on record", n)
	}
	h.book.noteErr = errors.New("the disk is full")
	if _, err := client.ListDenies(as(t.Context(), auditor), &cambiov1.ListDeniesRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("answered without a record: %v", err)
	}
}

// What is in force stays known where the rest fails.
func TestADenyStandsWhereStoppingFails(t *testing.T) {
	h := open(t)
	h.desk.stuck = errors.New("the connection was lost")
	code, got := h.call(t, "POST", "/v1/denies", operator, `{"match":{"subject":"s"},"reason":"r"}`)
	if text, _ := got["error_description"].(string); code != 503 || !strings.Contains(text, h.desk.denies[0].ID.String()) || !strings.Contains(text, "in force") {
		t.Errorf("%d %v", code, got)
	}
}
