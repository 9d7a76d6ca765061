package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// TestTailOfStrangers: however a tail ends, the command says why, with the right
// exit status, and from where to go on.
func TestTailOfStrangers(t *testing.T) {
	const one = `{"result":{"exchange":{"exchange":"e1"}}}` + "\n"
	flush := func(w http.ResponseWriter, text string) {
		fmt.Fprint(w, text)
		_ = http.NewResponseController(w).Flush()
	}
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		status  int
		last    string
		want    string
	}{
		"a cut":                  {func(w http.ResponseWriter, _ *http.Request) { flush(w, one); panic(http.ErrAbortHandler) }, statusUnreachable, "e1", "broke off"},
		"an end":                 {func(w http.ResponseWriter, _ *http.Request) { flush(w, `{"result":{}}`+"\n"+one) }, statusUnreachable, "e1", "broke off"},
		"half a line":            {func(w http.ResponseWriter, _ *http.Request) { flush(w, one+`{"resu`) }, statusFault, "e1", "no tail"},
		"silence":                {func(w http.ResponseWriter, r *http.Request) { flush(w, one); <-r.Context().Done() }, statusUnreachable, "e1", "broke off"},
		"silence from the start": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, statusUnreachable, "", "cannot be reached"},
		"a server that stops": {func(w http.ResponseWriter, _ *http.Request) {
			flush(w, one+`{"error":"temporarily_unavailable","error_description":"stopping"}`+"\n")
		}, statusUnreachable, "e1", "stopping"},
		"a token that expires": {func(w http.ResponseWriter, _ *http.Request) {
			flush(w, one+`{"error":"invalid_token","error_description":"expired"}`+"\n")
		}, statusFault, "e1", "expired"},
		"a refusal": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			flush(w, `{"error":"access_denied"}`)
		}, statusFault, "", "access_denied"},
		"a page":   {func(w http.ResponseWriter, _ *http.Request) { flush(w, "<html>\n") }, statusFault, "", "no tail"},
		"too much": {func(w http.ResponseWriter, _ *http.Request) { flush(w, `{"`+strings.Repeat("a", maxTailLine)) }, statusFault, "", "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(c.handler)
			defer server.Close()
			base, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			s := &remote{base: base, token: exchange.NewSecret("t"), http: server.Client()}
			silence := 100 * time.Millisecond
			if !strings.HasPrefix(name, "silence") {
				silence = tailSilence
			}
			last, err := s.tail(t.Context(), nil, silence, func(json.RawMessage) error { return nil })
			var known *failure
			status := statusFault
			if errors.As(err, &known) {
				status = known.status
			}
			if err == nil || last != c.last || status != c.status || !strings.Contains(err.Error(), c.want) {
				t.Errorf("after %q, status %d: %v; want after %q, status %d, %q", last, status, err, c.last, c.status, c.want)
			}
		})
	}
	t.Run("an interrupt", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { flush(w, one); <-r.Context().Done() }))
		defer server.Close()
		base, err := url.Parse(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		s := &remote{base: base, token: exchange.NewSecret("t"), http: server.Client()}
		if last, err := s.tail(ctx, nil, tailSilence, func(json.RawMessage) error { cancel(); return nil }); last != "e1" || err != nil {
			t.Errorf("after %q: %v", last, err)
		}
	})
}

func TestCSVCells(t *testing.T) {
	for want, v := range map[string]any{
		"": nil, "a": "a", "true": true, "a b": []any{"a", "b"}, "'=cmd()": "=cmd()", "'+1": "+1", "'-1": "-1", "'@a": "@a", "'\tx": "\tx", "1.5": 1.5,
	} {
		if got := csvCell(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}

func TestSince(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{"30d": now.AddDate(0, 0, -30), "36h": now.Add(-36 * time.Hour), "90m": now.Add(-90 * time.Minute)} {
		if got, err := since(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "0d", "-1d", "99999d", "h", "0h", "-1h", "9999999h", "yesterday", "1.5d"} {
		if got, err := since(text, now); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// FuzzCSVCell: no text of others begins a formula.
func FuzzCSVCell(f *testing.F) {
	for _, seed := range []string{"=1", "+a", "-", "@", "\t", "\r", "a", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, v := range []any{text, []any{text}} {
			if got := csvCell(v); got != "" && strings.ContainsRune("=+-@\t\r", rune(got[0])) {
				t.Errorf("%q becomes %q", v, got)
			}
		}
	})
}
