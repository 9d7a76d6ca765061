package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
)

// TestS26TakingBackGoesOn: from page to page to the end; and where it does not come
// there, it says so.
func TestS26TakingBackGoesOn(t *testing.T) {
	root, child := exchange.ID{1}, exchange.ID{2}
	left := func(id exchange.ID) lease.Stopped {
		return lease.Stopped{Fate: lease.FateNotStopped, Why: "403", Lease: exchange.Lease{ID: id}}
	}
	lost := errors.New("the connection was lost")
	for name, c := range map[string]struct {
		fails   map[int]error // by page
		left    map[int]lease.Stopped
		hangsUp int // after that page
		pages   int
		kind    exchange.Kind
		advice  string
		logged  int
	}{
		"to the end":                 {pages: 4},
		"what a provider keeps":      {left: map[int]lease.Stopped{1: left(child), 4: left(child)}, pages: 4, logged: 2},
		"the token itself is not":    {left: map[int]lease.Stopped{1: left(root)}, pages: 1, kind: exchange.KindUnavailable, advice: "could not be recorded"},
		"there is no such token":     {fails: map[int]error{1: exchange.Fault(exchange.KindNotFound, "", nil)}, pages: 1, kind: exchange.KindNotFound},
		"the database goes away":     {fails: map[int]error{3: exchange.Fault(exchange.KindUnavailable, "", lost)}, pages: 3, kind: exchange.KindUnavailable, advice: "not all"},
		"time runs out":              {hangsUp: 2, pages: 2, kind: exchange.KindUnavailable, advice: "not all"},
		"time runs out, at the last": {hangsUp: 4, left: map[int]lease.Stopped{4: left(child)}, pages: 4, kind: exchange.KindUnavailable, advice: "not all", logged: 1},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, hangUp := context.WithCancel(t.Context())
			defer hangUp()
			page := 0
			revoke := func(_ context.Context, r lease.Revocation, from lease.Place) (lease.Revoked, error) {
				if r.Lease != root || r.Tenant != "default" || from.After != (exchange.ID{15: byte(page)}) {
					t.Errorf("page %d: asked for %+v from %+v", page, r, from)
				}
				page++
				if page == c.hangsUp {
					hangUp()
				}
				out := lease.Revoked{Next: lease.Place{After: exchange.ID{15: byte(page)}}, More: page < 4}
				if s, ok := c.left[page]; ok {
					out.Credentials = append(out.Credentials, s)
				}
				return out, c.fails[page]
			}
			var log bytes.Buffer
			err := takeBack(ctx, revoke, slog.New(slog.NewTextHandler(&log, nil)), lease.Revocation{Tenant: "default", Lease: root})
			var known *exchange.Error
			if (err == nil) != (c.kind == 0) || err != nil && (!errors.As(err, &known) || known.Kind != c.kind || !strings.Contains(known.Advice, c.advice)) {
				t.Errorf("%v", err)
			}
			if n := strings.Count(log.String(), child.String()); page != c.pages || n != c.logged {
				t.Errorf("%d pages, %d logged: %s", page, n, log.String())
			}
		})
	}
}

// TestS26TakingBackMany: a client gives back a token that more came of than one
// answer names, and all of it is revoked.
func TestS26TakingBackMany(t *testing.T) {
	const callers, each = 8, 65 // 520 in all
	w := openChainedWorld(t)
	first, _ := w.one.given("chat", w.cluster.token("llm", "gateway"), "notes-mcp")
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for range each {
				if code, body := w.one.exchange("notes", first, "vault-mcp"); code != http.StatusOK {
					t.Errorf("%d %v", code, body["error_description"])
				}
			}
		})
	}
	all.Wait()
	listed := func() int {
		t.Helper()
		out, status := w.run("lease", "list", "--target", "vault-mcp", "--limit", "0", "--output", "json", "--url", w.other.p.ready.URL, "--token-file", "operator.jwt")
		if status != 0 {
			t.Fatal(out)
		}
		return strings.Count(out, "\n")
	}
	if n := listed(); n != callers*each {
		t.Fatalf("%d leases, want %d", n, callers*each)
	}
	if code, body := w.one.ask("/oauth2/revoke", "chat", url.Values{"token": {first}}); code != http.StatusOK {
		t.Fatalf("%d %v", code, body["error_description"])
	}
	if n := listed(); n != 0 {
		t.Errorf("%d are out after the revocation", n)
	}
}
