package proxy_test

import (
	"fmt"
	"io"
	"net/http"
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
