// Package openaisandbox stands in for OpenAI: its token service for workload identity
// federation, and the chat completions endpoint behind it.
package openaisandbox

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// Provider is a workload identity provider.
type Provider struct {
	ID       string
	Audience string // exact `aud`
	Mappings []Mapping
	Lifetime time.Duration // of its tokens; zero: 1 h
}

// Mapping binds subjects to a service account.
type Mapping struct {
	ServiceAccountID string
	Subject          string // exact `sub`, or a prefix where it ends with *
}

// MaxMappings is how many a provider has at most.
const MaxMappings = 50

// Server is the stand-in.
type Server struct {
	sandbox.Weather
	world      sandbox.World
	assertions *sandbox.Assertions
	providers  []Provider

	tokens *sandbox.Tokens
}

// New makes a stand-in with identity providers that trust the world's issuer.
func New(w sandbox.World, providers ...Provider) *Server {
	return &Server{world: w, assertions: sandbox.NewAssertions(w), providers: providers, tokens: sandbox.NewTokens(w)}
}

// ServeHTTP is the token service and the API, on one host.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Request-Id", "req_"+rand.Text())
	switch r.Method + " " + r.URL.Path {
	case "POST /oauth/token":
		s.Wrap(http.HandlerFunc(s.exchange)).ServeHTTP(w, r)
	case "POST /v1/chat/completions":
		s.chat(w, r)
	default:
		apiError(w, http.StatusNotFound, "invalid_request_error", "there is nothing at this path")
	}
}

const maxRequest = 64 << 10

func (s *Server) exchange(w http.ResponseWriter, r *http.Request) {
	switch s.Mood() {
	case sandbox.Throttling:
		w.Header().Set("Retry-After", "3")
		sandbox.OAuthError(w, http.StatusTooManyRequests, "rate_limit_exceeded", "too many exchanges")
		return
	case sandbox.Refusing:
		sandbox.OAuthError(w, http.StatusUnauthorized, "invalid_grant", "the identity provider does not match")
		return
	}
	var q struct {
		GrantType          string `json:"grant_type"`
		SubjectToken       string `json:"subject_token"`
		SubjectTokenType   string `json:"subject_token_type"`
		IdentityProviderID string `json:"identity_provider_id"`
		ServiceAccountID   string `json:"service_account_id"`
	}
	switch {
	case r.Header.Get("Content-Type") != "application/json",
		json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&q) != nil:
		sandbox.OAuthError(w, http.StatusBadRequest, "invalid_request", "the body is not JSON")
		return
	case q.GrantType != "urn:ietf:params:oauth:grant-type:token-exchange":
		sandbox.OAuthError(w, http.StatusBadRequest, "unsupported_grant_type", "only token-exchange is taken")
		return
	case q.SubjectTokenType != "urn:ietf:params:oauth:token-type:jwt" && q.SubjectTokenType != "urn:ietf:params:oauth:token-type:id_token":
		sandbox.OAuthError(w, http.StatusBadRequest, "invalid_request", "subject_token_type is jwt or id_token")
		return
	}
	i := slices.IndexFunc(s.providers, func(p Provider) bool { return p.ID == q.IdentityProviderID })
	if i < 0 {
		sandbox.OAuthError(w, http.StatusNotFound, "not_found", "no such identity provider")
		return
	}
	p := s.providers[i]
	c, err := s.assertions.Verify(q.SubjectToken, sandbox.Expect{
		Audiences: []string{p.Audience}, Algorithms: []jose.SignatureAlgorithm{jose.RS256, jose.ES256}, MaxLife: 24 * time.Hour,
	})
	if err != nil {
		sandbox.OAuthError(w, http.StatusUnauthorized, "invalid_grant", err.Error())
		return
	}
	if len(p.Mappings) > MaxMappings || !slices.ContainsFunc(p.Mappings, func(m Mapping) bool { return m.binds(q.ServiceAccountID, c.Subject) }) {
		sandbox.OAuthError(w, http.StatusUnauthorized, "invalid_grant", "no mapping binds this subject to the service account")
		return
	}
	s.issue(w, p, c)
}

func (m Mapping) binds(account, subject string) bool {
	prefix, open := strings.CutSuffix(m.Subject, "*")
	return m.ServiceAccountID == account && (subject == m.Subject || open && strings.HasPrefix(subject, prefix))
}

func (s *Server) issue(w http.ResponseWriter, p Provider, c sandbox.Claims) {
	life := p.Lifetime
	if life == 0 {
		life = time.Hour
	}
	answer := map[string]any{
		"access_token": s.tokens.Issue("oat_", c.Subject, life), "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer",
		"expires_in": int64(life / time.Second),
	}
	switch s.Mood() {
	case sandbox.WithoutExpiry:
		delete(answer, "expires_in")
	case sandbox.PastExpiry:
		answer["expires_in"] = -5
	}
	sandbox.JSON(w, http.StatusOK, answer)
}

// Whoami is the assertion's `sub` that a token was bought with.
func (s *Server) Whoami(bearer string) (subject string, ok bool) { return s.tokens.Whoami(bearer) }

func apiError(w http.ResponseWriter, status int, kind, message string) {
	sandbox.JSON(w, status, map[string]any{"error": map[string]any{"type": kind, "message": message, "param": nil, "code": nil}})
}
