package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// openai is a route to an upstream, in the two lines that it takes and the upstream.
func openai(u *upstream, more string) string {
	return fmt.Sprintf("routes:\n- {provider: openai, target: gpt, upstream: %q, ca_file: %q%s}\n", u.URL, u.ca, more)
}

func TestCredentialIsPutOnTheRequest(t *testing.T) {
	for _, one := range []struct{ auth, header, want string }{
		{"bearer", "Authorization", "Bearer vended-secret-1"},
		{"{header: x-api-key}", "X-Api-Key", "vended-secret-1"},
		{"{header: api-key}", "Api-Key", "vended-secret-1"},
	} {
		t.Run(one.auth, func(t *testing.T) {
			server := standin.New(t)
			server.Serve("gpt", vend(time.Hour))
			var seen *http.Request
			u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				seen = r
				fmt.Fprintf(w, "%s %s %s", r.Proto, r.RequestURI, body)
			})
			h := serve(t, server.Client(), server.Clock.Now, openai(u, ", auth: "+one.auth))
			resp, text := h.ask(t, "POST", "/openai/v1/chat/completions?a=b%20c&a=d", strings.NewReader(`{"model":"gpt"}`), func(r *http.Request) {
				for _, name := range []string{
					"X-Api-Key", "Api-Key", "X-Amz-Security-Token", "Cookie", "Proxy-Authorization", "X-Forwarded-For", "X-Forwarded-Prefix",
					"X_Api_Key", "X-Http-Method-Override", "X-Original-Url", "X-Goog-Api-Key", "Via", "Te",
				} {
					r.Header[name] = []string{"session=the-callers"}
				}
				r.Header.Set("Connection", "X-Hop")
				r.Header.Set("X-Hop", "1")
				r.Header.Set("X-Echo", "see "+r.Header.Get("Authorization"))
				r.Header.Set("Accept-Encoding", "br;q=1, x")
				r.Header.Set("X-Request-Id", "mine")
			})
			if resp.StatusCode != 200 || text != `HTTP/2.0 /v1/chat/completions?a=b%20c&a=d {"model":"gpt"}` {
				t.Fatalf("%d %s", resp.StatusCode, text)
			}
			if got := seen.Header.Get(one.header); got != one.want {
				t.Errorf("%s: %d bytes that are not the credential", one.header, len(got))
			}
			for name, values := range seen.Header {
				for _, v := range values {
					if strings.Contains(v, "the-callers") || strings.Contains(v, h.room.Secret().Reveal()) {
						t.Errorf("%s of the caller reached the upstream", name)
					}
				}
			}
			if seen.Header.Get("X-Hop") != "" || seen.Header.Get("X-Request-Id") != "mine" || seen.Header.Get("Accept-Encoding") != "br;q=1, x" {
				t.Errorf("headers: %v", seen.Header)
			}
			if seen.Host != u.Listener.Addr().String() {
				t.Errorf("host %q", seen.Host)
			}
		})
	}
}

func TestAnthropicBetaJoinsTheCallers(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	got := make(chan string, 1)
	u := newUpstream(t, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header.Get("Anthropic-Beta") })
	h := serve(t, server.Client(), server.Clock.Now, fmt.Sprintf("routes:\n- {provider: anthropic, target: gpt, upstream: %q, ca_file: %q}\n", u.URL, u.ca))
	resp, _ := h.ask(t, "POST", "/anthropic/v1/messages", strings.NewReader("{}"), func(r *http.Request) {
		r.Header.Set("Anthropic-Beta", "context-1m-2025-08-07")
		r.Header.Set("X-Api-Key", r.Header.Get("Authorization")[len("Bearer "):])
		r.Header.Del("Authorization")
	})
	if beta := <-got; resp.StatusCode != 200 || beta != "context-1m-2025-08-07,oauth-2025-04-20" {
		t.Errorf("%d, beta %q", resp.StatusCode, beta)
	}
}

// Each event is read before the upstream sends the next.
func TestEventsArriveOneByOne(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	next := make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 5 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	})
	h := serve(t, server.Client(), server.Clock.Now, openai(u, ""))
	req, _ := http.NewRequest("POST", h.url+"/openai/v1/responses", strings.NewReader("{}"))
	req.Header.Set("Authorization", "Bearer "+h.room.Secret().Reveal())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for i := range 5 {
		if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", i) || !lines.Scan() {
			t.Fatalf("event %d: %q %v", i, lines.Text(), lines.Err())
		}
		next <- struct{}{}
	}
	if lines.Scan() || lines.Err() != nil {
		t.Errorf("after the end: %q %v", lines.Text(), lines.Err())
	}
}

// Both directions stream at once: each piece of the upload is answered before the next.
func TestUploadStreams(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		_ = rc.Flush()
		p := make([]byte, 16)
		for {
			n, err := r.Body.Read(p)
			if n > 0 {
				_, _ = w.Write(p[:n])
				_ = rc.Flush()
			}
			if err != nil {
				break
			}
		}
		w.Header().Set(http.TrailerPrefix+"X-Sum", r.Trailer.Get("X-Sum")+r.Trailer.Get("Authorization")+r.Trailer.Get("X-Late"))
		w.Header().Set(http.TrailerPrefix+"Set-Cookie", "s=1")
	})
	h := serve(t, server.Client(), server.Clock.Now, openai(u, ""))
	from, to := io.Pipe()
	req, _ := http.NewRequest("POST", h.url+"/openai/v1/responses", from)
	req.Header.Set("X-Api-Key", h.room.Secret().Reveal())
	req.Trailer = http.Header{"X-Sum": nil, "Authorization": nil}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	p := make([]byte, 16)
	for i := range 3 {
		piece := fmt.Sprintf("piece %d", i)
		if _, err := io.WriteString(to, piece); err != nil {
			t.Fatal(err)
		}
		if n, err := resp.Body.Read(p); err != nil || string(p[:n]) != piece {
			t.Fatalf("%q %v", p[:n], err)
		}
	}
	req.Trailer["X-Sum"], req.Trailer["Authorization"] = []string{"42"}, []string{"Bearer the-callers"}
	_ = to.Close()
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Fatalf("%q %v", rest, err)
	}
	if resp.Trailer.Get("X-Sum") != "42" || resp.Trailer.Get("Set-Cookie") != "" {
		t.Errorf("trailers %v", resp.Trailer)
	}
}

func TestLeavingReachesTheUpstream(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	began, ended := make(chan struct{}), make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		close(began)
		<-r.Context().Done()
		close(ended)
	})
	h := serve(t, server.Client(), server.Clock.Now, openai(u, ""))
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "POST", h.url+"/openai/v1/responses", strings.NewReader("{}"))
	req.Header.Set("Api-Key", h.room.Secret().Reveal())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	<-began
	cancel()
	<-ended
	_ = resp.Body.Close()
}

func TestSilenceEndsAStream(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	h := serve(t, server.Client(), server.Clock.Now, openai(u, ", limits: {idle_timeout: 50ms}"))
	req, _ := http.NewRequest("POST", h.url+"/openai/v1/responses", strings.NewReader("{}"))
	req.Header.Set("Api-Key", h.room.Secret().Reveal())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err == nil || string(text) != "data: 1\n\n" {
		t.Errorf("%q %v", text, err)
	}
}

func TestRejectedCredentialIsRenewedOnce(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	var asked atomic.Int32
	var good atomic.Value
	good.Store("Bearer vended-secret-2")
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Authorization") != good.Load() {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write(body)
	})
	h := serve(t, server.Client(), server.Clock.Now, openai(u, ", limits: {buffer: 100}"))
	resp, text := h.ask(t, "POST", "/openai/v1/responses", strings.NewReader("again"), nil)
	if resp.StatusCode != 200 || text != "again" || asked.Load() != 2 || server.Exchanges("gpt") != 2 {
		t.Fatalf("%d %q, asked %d, exchanges %d", resp.StatusCode, text, asked.Load(), server.Exchanges("gpt"))
	}
	good.Store("never")
	for _, body := range []string{strings.Repeat("x", 101), "short"} {
		before := server.Exchanges("gpt")
		if resp, _ = h.ask(t, "POST", "/openai/v1/responses", strings.NewReader(body), nil); resp.StatusCode != 401 {
			t.Errorf("%d", resp.StatusCode)
		}
		if n := server.Exchanges("gpt"); n != before { // long: not held. Short: replaced just now
			t.Errorf("%d exchanges for %d bytes", n-before, len(body))
		}
	}
	want := "# HELP cambio_agent_proxy_renewals_total Credentials that an upstream rejected, by whether there was another.\n# TYPE cambio_agent_proxy_renewals_total counter\n" +
		"cambio_agent_proxy_renewals_total{result=\"kept\",route=\"openai\"} 1\ncambio_agent_proxy_renewals_total{result=\"renewed\",route=\"openai\"} 1\n"
	if err := testutil.GatherAndCompare(h.registry, strings.NewReader(want), "cambio_agent_proxy_renewals_total"); err != nil {
		t.Error(err)
	}
}

func TestStaleUntilDeadThenAnErrorThatHelps(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") })
	h := serve(t, server.Client(), server.Clock.Now, openai(u, ""))
	ask := func() (*http.Response, string) {
		return h.ask(t, "POST", "/openai/v1/responses", strings.NewReader("{}"), nil)
	}
	if resp, text := ask(); resp.StatusCode != 200 {
		t.Fatalf("%d %s", resp.StatusCode, text)
	}
	server.Close()
	server.Clock.Advance(time.Hour - 30*time.Second) // less than a minute is left
	if resp, text := ask(); resp.StatusCode != 200 {
		t.Fatalf("stale: %d %s", resp.StatusCode, text)
	}
	server.Clock.Advance(time.Minute)
	resp, text := ask()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" ||
		!strings.Contains(text, `"type":"error"`) || !strings.Contains(text, `"error":{"type":"api_error"`) || !strings.Contains(text, "see whether the Cambio server is up") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
}

func TestRefusedByPolicyIsNotRetried(t *testing.T) {
	server := standin.New(t)
	u := newUpstream(t, func(http.ResponseWriter, *http.Request) { t.Error("the upstream was asked") })
	h := serve(t, server.Client(), server.Clock.Now, openai(u, ""))
	resp, text := h.ask(t, "POST", "/openai/v1/responses", strings.NewReader("{}"), nil)
	if resp.StatusCode != 502 || resp.Header.Get("X-Should-Retry") != "false" || !strings.Contains(text, "no rule lets you have this target") || !strings.Contains(text, "exchange-refused") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
}

func TestUpstreamThatIsAway(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	u := newUpstream(t, func(http.ResponseWriter, *http.Request) {})
	h := serve(t, server.Client(), server.Clock.Now, openai(u, ""))
	u.Close()
	if resp, text := h.ask(t, "POST", "/openai/v1/responses", strings.NewReader("{}"), nil); resp.StatusCode != 502 || !strings.Contains(text, "upstream_unreachable") {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
}

func TestUpgrades(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer vended-secret-1" || !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSet-Cookie: s=1\r\n\r\n")
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = rw.WriteString("echo " + line)
		_ = rw.Flush()
	}, func(s *httptest.Server) { s.EnableHTTP2 = false })
	for _, allowed := range []bool{false, true} {
		more := ""
		if allowed {
			more = ", upgrades: [websocket]"
		}
		h := serve(t, server.Client(), server.Clock.Now, openai(u, more))
		c, err := net.Dial("tcp", h.address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET /openai/v1/responses HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Api-Key: %s\r\n\r\n", h.address, h.room.Secret().Reveal())
		from := bufio.NewReader(c)
		resp, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !allowed {
			if resp.StatusCode != http.StatusNotImplemented {
				t.Errorf("status %d", resp.StatusCode)
			}
			continue
		}
		fmt.Fprintln(c, "hello")
		echo, err := from.ReadString('\n')
		if resp.StatusCode != 101 || echo != "echo hello\n" || err != nil || resp.Header.Get("Set-Cookie") != "" {
			t.Errorf("status %d, %q %v", resp.StatusCode, echo, err)
		}
	}
}

func TestCookiesAndRedirectsStayHere(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	var location atomic.Value
	u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("Set-Cookie", "session=1")
		w.Header().Set("Alt-Svc", `h3=":443"`)
		w.Header().Set("Link", "</early>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Location", location.Load().(string))
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	h := serve(t, server.Client(), server.Clock.Now, fmt.Sprintf("routes:\n- {provider: openai, target: gpt, upstream: %q, ca_file: %q}\n", u.URL+"/base", u.ca))
	for _, one := range []struct {
		to     string
		status int
		want   string
	}{
		{"/base/v1/models", 307, "/openai/v1/models"},
		{u.URL + "/base/v1/models?a=b", 307, "/openai/v1/models?a=b"},
		{"models", 307, "/openai/v1/models"},
		{"/elsewhere", 502, ""},
		{"https://evil.example/base/v1/models", 502, ""},
		{"//evil.example/x", 502, ""},
		{strings.Replace(u.URL, "https", "http", 1) + "/base/v1/models", 502, ""},
		{"https://user@" + u.Listener.Addr().String() + "/base/v1/models", 502, ""},
		{"/base//evil.example", 307, "/openai//evil.example"},
	} {
		location.Store(one.to)
		resp, text := h.ask(t, "GET", "/openai/v1/models", nil, nil)
		if resp.StatusCode != one.status || resp.Header.Get("Location") != one.want {
			t.Errorf("%s: %d %q %s", one.to, resp.StatusCode, resp.Header.Get("Location"), text)
		}
		for _, name := range []string{"Set-Cookie", "Alt-Svc"} {
			if resp.Header.Get(name) != "" {
				t.Errorf("%s came through", name)
			}
		}
	}
}

func TestLimits(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	hold, holding := make(chan struct{}), make(chan struct{}, 1)
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			holding <- struct{}{}
			<-hold
		}
		_, _ = io.Copy(io.Discard, r.Body)
	})
	h := serve(t, server.Client(), server.Clock.Now, openai(u, ", limits: {max_body: 1000, buffer: 100, concurrent: 1}"))
	for _, body := range []io.Reader{strings.NewReader(strings.Repeat("x", 1001)), io.MultiReader(strings.NewReader(strings.Repeat("x", 1001)))} {
		if resp, text := h.ask(t, "POST", "/openai/v1/responses", body, nil); resp.StatusCode != 413 {
			t.Errorf("%d %s", resp.StatusCode, text)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ask(t, "GET", "/openai/v1/models", nil, nil)
	}()
	<-holding
	if resp, text := h.ask(t, "POST", "/openai/v1/responses", nil, nil); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", resp.StatusCode, text)
	}
	close(hold)
	<-done
}
