package api_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
)

// shelf keeps leases, the last to expire first, and what it was asked.
type shelf struct {
	leases  []lease.Outstanding
	lists   []lease.List
	asked   []lease.Extension
	revoked []lease.Revocation
	from    []lease.Place
	answer  lease.Revoked
	fails   error
}

func (s *shelf) Leases(_ context.Context, q lease.List) (list []exchange.Lease, err error) {
	s.lists = append(s.lists, q)
	below, id := q.Below()
	for _, l := range s.leases {
		place := l.Expires.Before(below) || l.Expires.Equal(below) && bytes.Compare(l.ID[:], id[:]) < 0
		if l.Tenant == q.Tenant && place && len(list) < q.Limit && (q.Owner == "" || q.Owner == l.Subject || q.Owner == l.Actor) &&
			(q.Subject == "" || q.Subject == l.Subject) && (q.Ended || lease.StateOf(l.Lease, noon) == exchange.LeaseActive) {
			list = append(list, l.Lease)
		}
	}
	return list, s.fails
}

func (s *shelf) Lease(_ context.Context, tenant string, id exchange.ID) (lease.Outstanding, error) {
	for _, l := range s.leases {
		if l.ID == id && l.Tenant == tenant {
			return l, s.fails
		}
	}
	return lease.Outstanding{}, exchange.Fault(exchange.KindNotFound, "there is no such lease", nil)
}

func (s *shelf) Fixed(l exchange.Lease) string {
	if len(l.Sealed) > 0 {
		return ""
	}
	return "its provider does not renew credentials"
}

func (s *shelf) Renew(_ context.Context, x lease.Extension) (exchange.Lease, error) {
	s.asked = append(s.asked, x)
	l, _ := s.Lease(context.Background(), x.Tenant, x.Lease)
	l.Expires = noon.Add(x.Lifetime)
	return l.Lease, s.fails
}

func (s *shelf) Revoke(_ context.Context, r lease.Revocation, from lease.Place) (lease.Revoked, error) {
	s.revoked, s.from = append(s.revoked, r), append(s.from, from)
	l, err := s.Lease(context.Background(), r.Tenant, r.Lease)
	answer := s.answer
	answer.Lease = l.Lease
	answer.More = answer.More && from == (lease.Place{})
	return answer, err
}

// lend puts a lease on the shelf that dies in so many minutes.
func (h *house) lend(t *testing.T, subject, actor string, minutes int) exchange.ID {
	t.Helper()
	id, err := exchange.NewID(noon, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	l := lease.Outstanding{
		Lease: exchange.Lease{
			ID: id, Tenant: "default", Exchange: id, Target: "bedrock", Provider: "aws", Subject: subject, Actor: actor, Rule: "r",
			Handle: "ASIA1", Sealed: []byte{1}, Issued: noon.Add(-time.Hour), Expires: noon.Add(time.Duration(minutes) * time.Minute),
			Latest: noon.Add(2 * time.Hour), State: exchange.LeaseActive,
		},
		Record: exchange.Record{Credential: "fp", Scopes: []string{"read"}},
	}
	h.leases.leases = append(h.leases.leases, l)
	slices.SortFunc(h.leases.leases, func(a, b lease.Outstanding) int {
		return cmp.Or(b.Expires.Compare(a.Expires), bytes.Compare(b.ID[:], a.ID[:]))
	})
	return id
}

const (
	ada, oscar, nemo = "oidc:corp:ada", "oidc:corp:oscar", "oidc:corp:nemo"
)

// TestS26OwnersSeeTheirOwn, the holder of a role sees all, and anybody else nothing.
func TestS26OwnersSeeTheirOwn(t *testing.T) {
	h := open(t)
	mine, held := h.lend(t, nemo, "", 10), h.lend(t, "oidc:corp:alice", nemo, 20)
	theirs, gone := h.lend(t, "oidc:corp:alice", "", 30), h.lend(t, nemo, "", -10)
	ids := func(path, token string) (list []string) {
		t.Helper()
		code, got := h.call(t, "GET", path, token, "")
		if code != 200 {
			t.Fatalf("%s: %d %v", path, code, got)
		}
		all, _ := got["leases"].([]any)
		for _, l := range all {
			list = append(list, l.(map[string]any)["lease"].(string))
		}
		return list
	}
	for _, c := range []struct {
		path, token string
		want        []exchange.ID
	}{
		{"/v1/leases", nobody, []exchange.ID{held, mine}},
		{"/v1/leases?subject=oidc:corp:alice", nobody, []exchange.ID{held}},
		{"/v1/leases?show_ended=true", nobody, []exchange.ID{held, mine, gone}},
		{"/v1/leases", auditor, []exchange.ID{theirs, held, mine}},
		{"/v1/leases", operator, []exchange.ID{theirs, held, mine}},
		{"/v1/leases", elsewhere, nil}, // S22
	} {
		var want []string
		for _, id := range c.want {
			want = append(want, id.String())
		}
		if got := ids(c.path, c.token); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", c.path, got, want)
		}
	}
	if n := len(h.book.notes); n != 3 || h.book.notes[0].Type != exchange.EventQueried || h.book.notes[0].Record.Subject != ada {
		t.Errorf("%d queries are on record", n)
	}
	for _, c := range []struct {
		id    exchange.ID
		token string
		want  int
	}{
		{mine, nobody, 200}, {held, nobody, 200}, {theirs, nobody, 404}, {theirs, auditor, 200}, {theirs, operator, 200}, {theirs, elsewhere, 404},
		{mine, delegated, 403}, {mine, burning, 401}, {mine, "", 401}, {mine, replayed, 401},
	} {
		code, got := h.call(t, "GET", "/v1/leases/"+c.id.String(), c.token, "")
		if code != c.want || code == 404 && got["error_description"] != "there is no such lease" {
			t.Errorf("%s by %s: %d %v, want %d", c.id, c.token, code, got, c.want)
		}
	}
	_, got := h.call(t, "GET", "/v1/leases/"+mine.String(), nobody, "")
	one := got["lease"].(map[string]any)
	for name, want := range map[string]any{
		"state": "STATE_ACTIVE", "subject": nemo, "target": "bedrock", "provider": "aws", "rule": "r", "handle": "ASIA1", "credential": "fp",
		"issue_time": "2026-11-21T11:00:00Z", "expire_time": "2026-11-21T12:10:00Z", "latest_expire_time": "2026-11-21T14:00:00Z",
		"renewable": true, "revocation": "REVOCATION_PROVIDER", "exchange": mine.String(),
	} {
		if one[name] != want {
			t.Errorf("%s is %v, want %v", name, one[name], want)
		}
	}
	h.book.noteErr = errors.New("the disk is full")
	for _, path := range []string{"/v1/leases", "/v1/leases/" + mine.String()} {
		if code, _ := h.call(t, "GET", path, auditor, ""); code != 503 {
			t.Errorf("%s was answered without a record: %d", path, code)
		}
		if code, _ := h.call(t, "GET", path, nobody, ""); code != 200 {
			t.Errorf("%s of one's own: %d", path, code)
		}
	}
}

// TestS26LeasePages: each lease once, and no token opens another list.
func TestS26LeasePages(t *testing.T) {
	h := open(t)
	for n := range 7 {
		h.lend(t, nemo, "", 10+n/2)
	}
	seen := map[string]bool{}
	var tokens []string
	for token := ""; ; {
		code, got := h.call(t, "GET", "/v1/leases?page_size=3&page_token="+url.QueryEscape(token), nobody, "")
		if code != 200 {
			t.Fatalf("%d %v", code, got)
		}
		for _, l := range got["leases"].([]any) {
			id := l.(map[string]any)["lease"].(string)
			if seen[id] {
				t.Errorf("%s twice", id)
			}
			seen[id] = true
		}
		if token, _ = got["next_page_token"].(string); token == "" {
			break
		}
		tokens = append(tokens, token)
	}
	if len(seen) != 7 || len(tokens) != 2 {
		t.Errorf("%d leases in %d pages", len(seen), len(tokens)+1)
	}
	for what, c := range map[string][2]string{
		"tampered with":       {"/v1/leases?page_token=B" + tokens[0][1:], nobody},
		"of somebody else":    {"/v1/leases?page_token=" + tokens[0], auditor},
		"with another filter": {"/v1/leases?target=x&page_token=" + tokens[0], nobody},
		"in another list":     {"/v1/denies?page_token=" + tokens[0], operator},
		"of the exchanges":    {"/v1/exchanges?page_token=" + tokens[0], operator},
	} {
		if code, got := h.call(t, "GET", c[0], c[1], ""); code != 400 {
			t.Errorf("a page token %s: %d %v", what, code, got)
		}
	}
}

// TestS26WhoRevokes: the owner without a reason, an operator with one, nobody else;
// and the answer says what becomes of each.
func TestS26WhoRevokes(t *testing.T) {
	h := open(t)
	mine, theirs := h.lend(t, nemo, "", 10), h.lend(t, "oidc:corp:alice", "", 20)
	h.leases.answer = lease.Revoked{
		Credentials: []lease.Stopped{{Fate: lease.FateRefused, Why: "w", Lease: exchange.Lease{ID: mine, Exchange: mine, Expires: noon}}},
		More:        true, Next: lease.Place{Expires: noon, After: mine},
	}
	revoke := func(id exchange.ID, token, body string) (int, map[string]any) {
		t.Helper()
		return h.call(t, "POST", "/v1/leases/"+id.String()+":revoke", token, body)
	}
	code, got := revoke(mine, nobody, "{}")
	if code != 200 || got["credentials"].([]any)[0].(map[string]any)["state"] != "STATE_REFUSED" || got["lease"].(map[string]any)["lease"] != mine.String() {
		t.Fatalf("%d %v", code, got)
	}
	if r := h.leases.revoked[0]; r.NeedsReason || r.Tenant != "default" || r.By.Subject != nemo || r.By.Door != "rest" || r.By.ClientIP == "" {
		t.Errorf("asked for %+v", r)
	}
	if len(h.book.notes) != 0 {
		t.Error("an owner's own doing is noted as a query")
	}
	page := got["next_page_token"].(string)
	if code, got := revoke(mine, nobody, `{"page_token":"`+page+`"}`); code != 200 || got["next_page_token"] != nil && got["next_page_token"] != "" || h.leases.from[1] != h.leases.answer.Next {
		t.Errorf("the second page: %d %v", code, got)
	}
	if code, _ := revoke(theirs, operator, `{"reason":"INC-7"}`); code != 200 || !h.leases.revoked[2].NeedsReason || h.leases.revoked[2].Reason != "INC-7" {
		t.Errorf("an operator: %d", code)
	}
	if n := len(h.book.notes); n != 1 || !strings.Contains(h.book.notes[0].Record.Explanation, "revoke lease "+theirs.String()) {
		t.Errorf("%d notes", n)
	}
	before := len(h.leases.revoked)
	unknown := mine
	unknown[15]++
	for what, c := range map[string]struct {
		id          exchange.ID
		token, body string
		want        int
	}{
		"somebody else":    {theirs, nobody, "{}", 404},
		"an auditor":       {theirs, auditor, `{"reason":"r"}`, 404},
		"another tenant":   {mine, elsewhere, "{}", 404},
		"unknown":          {unknown, operator, `{"reason":"r"}`, 404},
		"delegated":        {mine, delegated, "{}", 403},
		"no token":         {mine, "", "{}", 401},
		"a forged page":    {mine, nobody, `{"page_token":"AAAA"}`, 400},
		"a page of others": {mine, operator, `{"reason":"r","page_token":"` + page + `"}`, 400},
		"unknown members":  {mine, nobody, `{"why":"r"}`, 400},
	} {
		if code, got := revoke(c.id, c.token, c.body); code != c.want || got["error"] == nil {
			t.Errorf("%s: %d %v, want %d", what, code, got, c.want)
		}
	}
	for _, path := range []string{"/v1/leases/7:revoke", "/v1/leases/7:renew"} {
		if code, _ := h.call(t, "POST", path, operator, "{}"); code != 400 {
			t.Errorf("%s: %d", path, code)
		}
	}
	for _, path := range []string{"/v1/leases/" + mine.String() + ":burn", "/v1/leases/" + mine.String()} {
		if code, _ := h.call(t, "POST", path, operator, "{}"); code != 404 && code != 405 {
			t.Errorf("%s: %d", path, code)
		}
	}
	if len(h.leases.revoked) != before {
		t.Error("something was revoked")
	}
}

func TestS26WhoRenews(t *testing.T) {
	h := open(t)
	mine, theirs := h.lend(t, nemo, "", 10), h.lend(t, "oidc:corp:alice", "", 20)
	renew := func(id exchange.ID, token, body string) (int, map[string]any) {
		t.Helper()
		return h.call(t, "POST", "/v1/leases/"+id.String()+":renew", token, body)
	}
	code, got := renew(mine, nobody, `{"requested_lifetime":1800,"reason":"slow"}`)
	if code != 200 || got["lease"].(map[string]any)["expire_time"] != "2026-11-21T12:30:00Z" {
		t.Fatalf("%d %v", code, got)
	}
	if x := h.leases.asked[0]; x.Subject.Name != nemo || x.Lifetime != 30*time.Minute || x.Reason != "slow" || x.Tenant != "default" || x.By.Door != "rest" || !x.ClientIP.IsValid() {
		t.Errorf("asked for %+v", x)
	}
	for what, c := range map[string]struct {
		id          exchange.ID
		token, body string
		want        int
	}{
		"somebody else": {theirs, nobody, "{}", 404},
		"an auditor":    {theirs, auditor, "{}", 404},
		"delegated":     {mine, delegated, "{}", 403},
		"less than no":  {mine, nobody, `{"requested_lifetime":-1}`, 400},
		"two lines":     {mine, nobody, `{"reason":"a\nb"}`, 400},
	} {
		if code, got := renew(c.id, c.token, c.body); code != c.want || got["error"] == nil {
			t.Errorf("%s: %d %v, want %d", what, code, got, c.want)
		}
	}
	if len(h.leases.asked) != 1 {
		t.Error("something was renewed")
	}
	h.leases.fails = exchange.Fault(exchange.KindInvalidRequest, "the lease cannot be renewed: exchange again", nil)
	if code, got := renew(mine, nobody, "{}"); code != 400 || !strings.Contains(got["error_description"].(string), "exchange again") {
		t.Errorf("%d %v", code, got)
	}
}
