// Package standin is a Cambio server for the tests of its clients. It takes nothing that
// the real one would refuse, and counts.
package standin

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// Answer is what a target gives.
type Answer struct {
	Value           string
	Type            string // token_type; empty: "Bearer"
	IssuedTokenType string // empty: an access token
	Scope           string // granted; empty: the answer does not say
	Life            time.Duration
	// Status other than 0 refuses, with Code and Description.
	Status            int
	Code, Description string
}

// Target gives the n-th answer to a request, from 1.
type Target func(form url.Values, n int) Answer

// Server answers exchanges and whatever is added to Mux.
type Server struct {
	Mux   *http.ServeMux
	Clock *Clock

	http    *httptest.Server
	subject string

	mu        sync.Mutex
	targets   map[string]Target
	exchanges map[string]int
}

// New starts a server, which ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := Start()
	t.Cleanup(s.Close)
	return s
}

// Start starts a server for an example.
func Start() *Server {
	s := &Server{
		Mux: http.NewServeMux(), Clock: &Clock{now: time.Now()}, subject: JWT(map[string]any{"sub": "system:serviceaccount:llm:gateway"}),
		targets: map[string]Target{}, exchanges: map[string]int{},
	}
	s.Mux.HandleFunc("POST /oauth2/token", s.exchange)
	s.http = httptest.NewServer(s.Mux)
	return s
}

// Serve makes a target.
func (s *Server) Serve(name string, target Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targets[name] = target
}

// Exchanges is how often a target was asked for, refusals included.
func (s *Server) Exchanges(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exchanges[name]
}

// Close takes the server away, as a network that is cut does.
func (s *Server) Close() {
	s.http.CloseClientConnections()
	s.http.Close()
}

// URL is the server's.
func (s *Server) URL() string { return s.http.URL }

// Subject is the one token that the server takes.
func (s *Server) Subject() string { return s.subject }

// Client is a client that the server knows, on the server's clock and without chance.
func (s *Server) Client() *cambio.Client {
	client, err := cambio.New(s.URL(), cambio.Static(cambio.NewSecret(s.subject), ""),
		cambio.WithClock(s.Clock.Now, func() float64 { return 0.5 }), cambio.WithHTTPClient(s.http.Client()))
	if err != nil {
		panic(err)
	}
	return client
}

func (s *Server) exchange(w http.ResponseWriter, r *http.Request) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" || r.ParseForm() != nil {
		refuse(w, http.StatusBadRequest, "invalid_request", "the body is no form")
		return
	}
	form := r.PostForm
	for name, values := range form {
		if len(values) != 1 || values[0] == "" {
			refuse(w, http.StatusBadRequest, "invalid_request", name+" is given once, with a value")
			return
		}
	}
	switch {
	case form.Get("grant_type") != cambio.GrantType:
		refuse(w, http.StatusBadRequest, "unsupported_grant_type", "")
		return
	case form.Get("subject_token") != s.subject || form.Get("subject_token_type") != cambio.TokenTypeJWT:
		refuse(w, http.StatusBadRequest, "invalid_request", "the subject token is not known")
		return
	}
	name := form.Get("audience")
	s.mu.Lock()
	target, known := s.targets[name]
	s.exchanges[name]++
	n := s.exchanges[name]
	s.mu.Unlock()
	if !known {
		refuse(w, http.StatusBadRequest, "invalid_target", "no rule lets you have this target")
		return
	}
	answer := target(form, n)
	if answer.Status != 0 {
		refuse(w, answer.Status, answer.Code, answer.Description)
		return
	}
	if answer.Type == "" {
		answer.Type = "Bearer"
	}
	if answer.IssuedTokenType == "" {
		answer.IssuedTokenType = cambio.TokenTypeAccessToken
	}
	members := map[string]any{
		"access_token": answer.Value, "token_type": answer.Type, "issued_token_type": answer.IssuedTokenType,
		"expires_in": int64(answer.Life / time.Second), "exchange_id": fmt.Sprintf("exchange-%d", n),
	}
	if answer.Scope != "" {
		members["scope"] = answer.Scope
	}
	write(w, http.StatusOK, members)
}

func refuse(w http.ResponseWriter, status int, code, description string) {
	write(w, status, map[string]any{"error": code, "error_description": description, "exchange_id": "exchange-refused"})
}

func write(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

// JWT makes a token that nobody signed, of claims; no two are alike.
func JWT(claims map[string]any) string {
	claims["jti"] = rand.Text()
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	header, signature := []byte(`{"alg":"RS256","typ":"JWT"}`), make([]byte, 32)
	_, _ = rand.Read(signature)
	encode := base64.RawURLEncoding.EncodeToString
	return encode(header) + "." + encode(payload) + "." + encode(signature)
}

// Clock is a time that moves when it is told to.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now is the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the time on.
func (c *Clock) Advance(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(by)
}
