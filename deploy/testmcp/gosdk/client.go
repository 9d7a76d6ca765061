package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// patience bounds one order.
const patience = 20 * time.Second

// order is a line of what obey is told: a token to send from now on, and what to do.
type order struct{ Token, Do string }

// answer is a line of what came of an order: a result or an error, and the last
// refusal as it was seen on the wire.
type answer struct {
	Result    any    `json:"result,omitempty"`
	Error     string `json:"error,omitempty"`
	Status    int    `json:"status"`
	Challenge string `json:"challenge"`
}

// wire sends whatever token is held at that moment, and notes refusals.
type wire struct {
	mu        sync.Mutex
	token     string
	status    int
	challenge string
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	token := w.token
	w.mu.Unlock()
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && (response.StatusCode == http.StatusUnauthorized || response.StatusCode == http.StatusForbidden) {
		w.mu.Lock()
		w.status, w.challenge = response.StatusCode, response.Header.Get("Www-Authenticate")
		w.mu.Unlock()
	}
	return response, err
}

// obey carries out orders in one session, one a line.
func obey(ctx context.Context, transport, endpoint string, in io.Reader, out io.Writer) error {
	w := &wire{}
	client := &http.Client{Transport: w}
	var through mcp.Transport = &mcp.StreamableClientTransport{Endpoint: endpoint, HTTPClient: client, MaxRetries: -1}
	if transport == "sse" {
		through = &mcp.SSEClientTransport{Endpoint: endpoint, HTTPClient: client}
	}
	var session *mcp.ClientSession
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var o order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		w.mu.Lock()
		if w.status, w.challenge = 0, ""; o.Token != "" {
			w.token = o.Token
		}
		w.mu.Unlock()
		result, err := do(ctx, o.Do, through, &session)
		w.mu.Lock()
		a := answer{Result: result, Status: w.status, Challenge: w.challenge}
		w.mu.Unlock()
		if err != nil {
			a.Error = err.Error()
		}
		if err := json.NewEncoder(out).Encode(a); err != nil {
			return err
		}
	}
	return lines.Err()
}

func do(ctx context.Context, what string, through mcp.Transport, session **mcp.ClientSession) (any, error) {
	if what == "open" { // not bounded: an SSE session lasts as long as the context of its opening
		var err error
		*session, err = mcp.NewClient(&mcp.Implementation{Name: "cambio-test", Version: "1"}, nil).Connect(ctx, through, nil)
		return nil, err
	}
	if *session == nil {
		return nil, errors.New("no session is open")
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	switch what {
	case "list":
		return list(ctx, *session)
	case "call":
		return call(ctx, *session)
	case "close":
		err := (*session).Close()
		*session = nil
		return nil, err
	}
	return nil, fmt.Errorf("%q is no order", what)
}

func list(ctx context.Context, s *mcp.ClientSession) ([]string, error) {
	tools, err := s.ListTools(ctx, nil)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, t := range tools.Tools {
		names = append(names, t.Name)
	}
	return names, nil
}

// call is what the server said it takes us for.
func call(ctx context.Context, s *mcp.ClientSession) (any, error) {
	result, err := s.CallTool(ctx, &mcp.CallToolParams{Name: "whoami"})
	switch {
	case err != nil:
		return nil, err
	case result.IsError || len(result.Content) != 1:
		return nil, errors.New("the tool failed")
	}
	text, ok := result.Content[0].(*mcp.TextContent)
	if !ok {
		return nil, errors.New("the tool says no text")
	}
	return json.RawMessage(text.Text), nil
}
