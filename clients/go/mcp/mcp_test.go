package mcp_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
	cambiomcp "github.com/cambio-sts/cambio/clients/go/mcp"
)

// wiki is an MCP server of go-sdk behind a bearer token, and the target that gives it.
type wiki struct {
	mu      sync.Mutex
	good    map[string]bool
	bare    int // requests without a token
	refused int
}

func (w *wiki) target(life time.Duration) standin.Target {
	return func(url.Values, int) standin.Answer {
		token := standin.JWT(map[string]any{"aud": "wiki"})
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.good == nil {
			w.good = map[string]bool{}
		}
		w.good[token] = true
		return standin.Answer{Value: token, Life: life, Scope: "pages.read"}
	}
}

func (w *wiki) revoke() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.good)
}

func (w *wiki) verify(_ context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.good[token] {
		w.refused++
		return nil, auth.ErrInvalidToken
	}
	return &auth.TokenInfo{UserID: "gateway", Scopes: []string{"pages.read"}, Expiration: time.Now().Add(time.Hour)}, nil
}

func (w *wiki) counts() (bare, refused int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bare, w.refused
}

type question struct {
	Page string `json:"page"`
}

// start serves at /mcp, and the older transport at /sse.
func (w *wiki) start(scopes ...string) *httptest.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "wiki", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "read"}, func(_ context.Context, _ *mcp.CallToolRequest, q question) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "of " + q.Page}}}, nil, nil
	})
	get := func(*http.Request) *mcp.Server { return server }
	mux := http.NewServeMux()
	mux.Handle("/mcp", mcp.NewStreamableHTTPHandler(get, nil))
	mux.Handle("/sse", mcp.NewSSEHandler(get, nil))
	guarded := auth.RequireBearerToken(w.verify, &auth.RequireBearerTokenOptions{Scopes: scopes})(mux)
	return httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.mu.Lock()
			w.bare++
			w.mu.Unlock()
		}
		guarded.ServeHTTP(rw, r)
	}))
}

// house is a Cambio with a target for a wiki.
func house(t *testing.T, scopes ...string) (*standin.Server, *wiki, *httptest.Server, *cambio.TokenSource) {
	t.Helper()
	server, w := standin.New(t), &wiki{}
	server.Serve("wiki", w.target(time.Hour))
	site := w.start(scopes...)
	t.Cleanup(func() {
		site.CloseClientConnections()
		site.Close()
	})
	return server, w, site, server.Client().TokenSource(cambio.Request{Audience: "wiki"})
}

func connect(t *testing.T, transport mcp.Transport) (*mcp.ClientSession, error) {
	t.Helper()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "gateway", Version: "1"}, nil).Connect(t.Context(), transport, nil)
	if err == nil {
		t.Cleanup(func() { _ = session.Close() })
	}
	return session, err
}

func read(t *testing.T, session *mcp.ClientSession) error {
	t.Helper()
	result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "read", Arguments: map[string]any{"page": "Cambio"}})
	if err != nil {
		return err
	}
	if text, ok := result.Content[0].(*mcp.TextContent); !ok || text.Text != "of Cambio" {
		t.Errorf("the tool gives %v", result.Content)
	}
	return nil
}

func transports(t *testing.T, site *httptest.Server, source *cambio.TokenSource) map[string]mcp.Transport {
	t.Helper()
	streamable, err := cambiomcp.NewTransport(site.URL+"/mcp", source)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]mcp.Transport{
		"streamable":            streamable,
		"streamable, by client": &mcp.StreamableClientTransport{Endpoint: site.URL + "/mcp", HTTPClient: cambiomcp.HTTPClient(source)},
		"sse":                   &mcp.SSEClientTransport{Endpoint: site.URL + "/sse", HTTPClient: cambiomcp.HTTPClient(source)},
	}
}

func TestTheTokenIsThereFromTheFirstRequest(t *testing.T) {
	server, w, site, source := house(t, "pages.read")
	for name, transport := range transports(t, site, source) {
		session, err := connect(t, transport)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := read(t, session); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if bare, refused := w.counts(); bare != 0 || refused != 0 {
		t.Errorf("%d requests without a token, %d with a bad one", bare, refused)
	}
	if n := server.Exchanges("wiki"); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

func TestAStormOfRefusalsCausesOneRenewal(t *testing.T) {
	for _, name := range []string{"streamable", "streamable, by client", "sse"} {
		t.Run(name, func(t *testing.T) {
			server, w, site, source := house(t)
			session, err := connect(t, transports(t, site, source)[name])
			if err != nil {
				t.Fatal(err)
			}
			w.revoke()
			var all sync.WaitGroup
			for range 30 {
				all.Go(func() {
					if err := read(t, session); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			if n := server.Exchanges("wiki"); n != 2 {
				t.Errorf("%d exchanges, want 2", n)
			}
		})
	}
}

func TestARenewedTokenThatIsRefusedIsAnError(t *testing.T) {
	server, w, site, source := house(t)
	session, err := connect(t, transports(t, site, source)["streamable"])
	if err != nil {
		t.Fatal(err)
	}
	w.revoke()
	if err := read(t, session); err != nil {
		t.Fatal(err)
	}
	w.revoke()
	if err := read(t, session); err == nil || !strings.Contains(err.Error(), "refuses a token that was just renewed") {
		t.Errorf("error %v", err)
	}
	if n := server.Exchanges("wiki"); n != 2 {
		t.Errorf("%d exchanges, want 2", n)
	}
}

func TestAMissingScopeIsNoReasonToRenew(t *testing.T) {
	server, _, site, source := house(t, "pages.read", "pages.write")
	_, err := connect(t, transports(t, site, source)["streamable"])
	if err == nil || !strings.Contains(err.Error(), `the server wants the scopes "pages.read pages.write"`) {
		t.Errorf("error %v", err)
	}
	if n := server.Exchanges("wiki"); n != 1 {
		t.Errorf("%d exchanges, want 1", n)
	}
}

func TestATokenIsServedUntilItDies(t *testing.T) {
	server, _, site, source := house(t)
	session, err := connect(t, transports(t, site, source)["streamable"])
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	server.Clock.Advance(58 * time.Minute)
	if err := read(t, session); err != nil {
		t.Errorf("two minutes before the end: %v", err)
	}
	server.Clock.Advance(2 * time.Minute)
	var refused *cambio.Error
	if err := read(t, session); !errors.As(err, &refused) || refused.Code != cambio.CodeUnreachable {
		t.Errorf("after the end: %v", err)
	}
}

func TestAnotherKindOfCredential(t *testing.T) {
	server, _, site, source := house(t)
	server.Serve("wiki", func(url.Values, int) standin.Answer {
		return standin.Answer{Value: "vended-secret-a", Type: "N_A", IssuedTokenType: cambio.TokenTypeAWSCredentials, Life: time.Hour}
	})
	_, err := connect(t, transports(t, site, source)["streamable"])
	if err == nil || !strings.Contains(err.Error(), "no bearer token") || strings.Contains(err.Error(), "vended-secret-") {
		t.Errorf("error %v", err)
	}
}

func TestAnEndpointIsHTTPSOrThisMachine(t *testing.T) {
	source := standin.New(t).Client().TokenSource(cambio.Request{Audience: "wiki"})
	for endpoint, fine := range map[string]bool{
		"https://mcp.example/": true, "http://127.0.0.1:1/mcp": true, "http://localhost/": true, "http://[::1]/": true,
		"http://mcp.example/": false, "ftp://localhost/": false, "https://user@mcp.example/": false, "mcp.example": false, "": false,
	} {
		if _, err := cambiomcp.NewTransport(endpoint, source); (err == nil) != fine {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}

func TestNoRedirectIsFollowed(t *testing.T) {
	server, w, site, source := house(t)
	front := httptest.NewServer(http.RedirectHandler(site.URL+"/mcp", http.StatusTemporaryRedirect))
	defer front.Close()
	transport, err := cambiomcp.NewTransport(front.URL, source)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, transport); err == nil {
		t.Error("the redirect was followed")
	}
	if bare, refused := w.counts(); bare != 0 || refused != 0 || server.Exchanges("wiki") != 1 {
		t.Errorf("the server behind was asked: %d, %d", bare, refused)
	}
}
