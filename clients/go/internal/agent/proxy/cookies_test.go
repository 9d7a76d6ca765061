package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

func TestCookiesOfTheListArePassedOn(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	asked := atomic.Int32{}
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.Header().Set("Set-Cookie", "sid=stolen")
		fmt.Fprintf(w, "%q", r.Header["Cookie"])
	})
	h := serve(t, server.Client(), server.Clock.Now, fmt.Sprintf(
		"routes:\n- {provider: mcp, target: gpt, upstream: %q, ca_file: %q, cookie_passthrough: {enabled: true, cookie_names: [sid, __Host-a], origin: %q}}\n",
		u.URL+"/mcp", u.ca, u.URL))
	for _, one := range []struct {
		lines []string
		want  string // empty: refused
	}{
		{nil, `[]`},
		{[]string{"sid=user-cookie-1"}, `["sid=user-cookie-1"]`},
		{[]string{"other=x; sid=user-cookie-1;  __Host-a=b;SID=y"}, `["sid=user-cookie-1; __Host-a=b"]`},
		{[]string{"other=x", "sid=\"quoted\""}, `["sid=\"quoted\""]`},
		{[]string{"other"}, `[]`},
		{[]string{`other="a; sid=b"`}, ""}, // who quotes so is read as RFC 6265 §5.4 says, and a quote is no end
		{[]string{"sid="}, `["sid="]`},
		{[]string{"sid=a; sid=a"}, ""},
		{[]string{"sid=a", "sid=b"}, ""},
		{[]string{"sid=a b"}, ""},
		{[]string{"sid=a,b"}, ""},
		{[]string{`sid=a\b`}, ""},
		{[]string{`sid="a`}, ""},
		{[]string{"sid=\u00e4"}, ""},
		{[]string{"sid=a\tb"}, ""},
		{[]string{"sid=" + strings.Repeat("x", 4096)}, ""},
		{[]string{"x=" + strings.Repeat("x", 17<<10)}, ""},
	} {
		before := asked.Load()
		resp, text := h.ask(t, "POST", "/mcp", nil, func(r *http.Request) { r.Header["Cookie"] = one.lines })
		if want := map[bool]int{true: 400, false: 200}[one.want == ""]; resp.StatusCode != want || one.want != "" && text != one.want {
			t.Errorf("%.60q: %d %s", one.lines, resp.StatusCode, text)
		}
		if one.want == "" && asked.Load() != before {
			t.Errorf("%.60q: the upstream was asked", one.lines)
		}
		if resp.Header.Get("Set-Cookie") != "" {
			t.Error("Set-Cookie came through")
		}
		if strings.Contains(text, "user-cookie-2") {
			t.Error("a refusal has a value")
		}
	}
	// CR and LF cannot even be sent: net/http ends the header there
	answer := h.raw(t, "POST /mcp HTTP/1.1\r\nHost: "+h.address+"\r\nX-Api-Key: "+h.room.Secret().Reveal()+"\r\nConnection: close\r\nCookie: sid=a\rX-Injected: 1\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 400") {
		t.Errorf("%q", answer)
	}
	h.settle(t)
	if log := h.log.String(); strings.Contains(log, "sid=") || strings.Contains(log, "other") {
		t.Error("the log has cookies")
	}
}

// Whatever users do, at once or in turn, and however small the pool: no connection of
// the upstream ever serves two of them.
func TestNoTwoUsersShareAConnection(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	cookies := rapid.SampledFrom([]string{"", "a=1", "a=2", "b=1", "a=1; b=1", "a=11", "a=1; b=", "a=; b=1", "a=1; x=2"})
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2=%v", h2), func(t *testing.T) {
			var mu sync.Mutex
			of := map[any]string{} // connection: user
			shared := 0
			var connections atomic.Int64
			u := newUpstream(t, func(_ http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				user, connection := r.Header.Get("Cookie"), r.Context().Value(connectionKey{})
				if before, ok := of[connection]; ok && before != user {
					shared++
				}
				of[connection] = user
			}, func(s *httptest.Server) {
				s.EnableHTTP2 = h2
				s.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
					return context.WithValue(ctx, connectionKey{}, connections.Add(1))
				}
			})
			var houses []*house
			for most := range 4 {
				houses = append(houses, serve(t, server.Client(), server.Clock.Now, fmt.Sprintf(
					"routes:\n- {provider: mcp, target: gpt, upstream: %q, ca_file: %q, cookie_passthrough: {enabled: true, cookie_names: [a, b], max_users: %d}}\n", u.URL+"/mcp", u.ca, most+1)))
			}
			rapid.Check(t, func(rt *rapid.T) {
				h := rapid.SampledFrom(houses).Draw(rt, "house")
				for range rapid.IntRange(1, 4).Draw(rt, "rounds") {
					var wait sync.WaitGroup
					for _, line := range rapid.SliceOfN(cookies, 1, 6).Draw(rt, "at once") {
						wait.Go(func() {
							req, _ := http.NewRequest("POST", h.url+"/mcp", nil)
							req.Header.Set("X-Api-Key", h.room.Secret().Reveal())
							req.Header.Set("Cookie", line)
							resp, err := http.DefaultClient.Do(req)
							if err != nil {
								rt.Error(err)
								return
							}
							_, _ = io.Copy(io.Discard, resp.Body)
							_ = resp.Body.Close()
							if resp.StatusCode != 200 && resp.StatusCode != 503 { // 503: all are busy
								rt.Errorf("status %d", resp.StatusCode)
							}
						})
					}
					wait.Wait()
				}
				mu.Lock()
				defer mu.Unlock()
				if shared > 0 {
					rt.Fatalf("%d requests by a connection of another user", shared)
				}
			})
			mu.Lock()
			defer mu.Unlock()
			if len(of) < 8 {
				t.Errorf("only %d connections: nothing was shown", len(of))
			}
		})
	}
}

type connectionKey struct{}

// A user who makes room for another leaves no connection behind.
func TestConnectionsOfUsersAreBounded(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	var mu sync.Mutex
	open, most := 0, 0
	closed := make(chan struct{}, 64)
	u := newUpstream(t, func(http.ResponseWriter, *http.Request) {}, func(s *httptest.Server) {
		s.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			mu.Lock()
			defer mu.Unlock()
			switch s {
			case http.StateNew:
				open++
				most = max(most, open)
			case http.StateClosed:
				open--
				closed <- struct{}{}
			}
		}
	})
	h := serve(t, server.Client(), server.Clock.Now, fmt.Sprintf(
		"routes:\n- {provider: mcp, target: gpt, upstream: %q, ca_file: %q, cookie_passthrough: {enabled: true, cookie_names: [a], max_users: 2}}\n", u.URL+"/mcp", u.ca))
	for i := range 10 {
		if resp, _ := h.ask(t, "POST", "/mcp", nil, func(r *http.Request) { r.Header.Set("Cookie", fmt.Sprintf("a=%d", i)) }); resp.StatusCode != 200 {
			t.Fatalf("status %d", resp.StatusCode)
		}
		if i >= 2 {
			<-closed
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if most > 3 { // two, and one that is on its way out
		t.Errorf("%d connections at a time", most)
	}
}
