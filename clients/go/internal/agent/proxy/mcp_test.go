package proxy_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// person adds what the caller of an MCP client has: the secret of the agent's start, and
// the cookies of a user.
type person struct{ secret, cookies string }

func (p person) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+p.secret)
	req.Header.Set("Cookie", p.cookies)
	return http.DefaultTransport.RoundTrip(req)
}

// The tools of an MCP server, by its own SDK, with the service's bearer token and the
// user's cookie.
func TestToolsOfAnMCPServer(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	tools := mcp.NewServer(&mcp.Implementation{Name: "tools", Version: "1"}, nil)
	mcp.AddTool(tools, &mcp.Tool{Name: "who"}, func(_ context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: req.Extra.Header.Get("Cookie")}}}, nil, nil
	})
	speak := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return tools }, nil)
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer vended-secret-1" || r.URL.Path != "/mcp" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		speak.ServeHTTP(w, r)
	})
	h := serve(t, server.Client(), server.Clock.Now, fmt.Sprintf(
		"routes:\n- {provider: mcp, target: gpt, upstream: %q, ca_file: %q, cookie_passthrough: {enabled: true, cookie_names: [sid]}}\n", u.URL+"/mcp", u.ca))
	for _, user := range []string{"user-cookie-a", "user-cookie-b"} {
		client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
		session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{
			Endpoint: h.url + "/mcp", HTTPClient: &http.Client{Transport: person{h.room.Secret().Reveal(), "off=list; sid=" + user}},
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "who"})
		if err != nil {
			t.Fatal(err)
		}
		if text := got.Content[0].(*mcp.TextContent).Text; text != "sid="+user {
			t.Error("the tool saw other cookies")
		}
		if err := session.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What is counted and logged of a request: its path, and not its query.
func TestRequestsAreCountedAndLogged(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	h := serve(t, server.Client(), server.Clock.Now, openai(u, ""))
	h.ask(t, "GET", "/openai/v1/models?who=vended-secret-of-theirs", nil, nil)
	h.ask(t, "GET", "/openai/v1/models", nil, func(r *http.Request) { r.Header.Del("Authorization") })
	h.ask(t, "GET", "/elsewhere/"+h.room.Secret().Reveal(), nil, nil)
	h.settle(t)
	want := "# HELP cambio_agent_proxy_requests_total Requests, by route and class of status (499: the caller left).\n# TYPE cambio_agent_proxy_requests_total counter\n" +
		"cambio_agent_proxy_requests_total{code=\"4xx\",route=\"\"} 1\ncambio_agent_proxy_requests_total{code=\"4xx\",route=\"openai\"} 2\n"
	if err := testutil.GatherAndCompare(h.registry, strings.NewReader(want), "cambio_agent_proxy_requests_total"); err != nil {
		t.Error(err)
	}
	log := h.log.String()
	for _, part := range []string{`"route":"openai"`, `"path":"/openai/v1/models"`, `"status":418`, `"status":401`, "unknown_caller"} {
		if !strings.Contains(log, part) {
			t.Errorf("the log lacks %s", part)
		}
	}
	if strings.Contains(log, "who") {
		t.Error("the log has a query")
	}
}
