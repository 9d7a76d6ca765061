// Package anthropicsandbox stands in for the Claude API: its token endpoint for
// workload identity federation, and the messages endpoint behind it.
package anthropicsandbox

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// Rule is a federation rule.
type Rule struct {
	ID               string
	OrganizationID   string
	ServiceAccountID string
	Audience         string        // exact `aud`
	SubjectPrefix    string        // exact `sub`, or a prefix where it ends with *
	Lifetime         time.Duration // 60 s to 24 h; zero: 1 h
	Workspaces       []string
}

// Server is the stand-in.
type Server struct {
	sandbox.Weather
	world      sandbox.World
	assertions *sandbox.Assertions
	rules      []Rule

	mu     sync.Mutex
	tokens map[string]token
}

type token struct {
	subject, account, workspace string
	expires                     time.Time
}

// New makes a stand-in with federation rules that trust the world's issuer.
func New(w sandbox.World, rules ...Rule) *Server {
	return &Server{world: w, assertions: sandbox.NewAssertions(w), rules: rules, tokens: map[string]token{}}
}

// ServeHTTP is the API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Request-Id", "req_"+rand.Text())
	switch r.Method + " " + r.URL.Path {
	case "POST /v1/oauth/token":
		s.Wrap(http.HandlerFunc(s.exchange)).ServeHTTP(w, r)
	case "POST /v1/messages":
		s.messages(w, r)
	default:
		apiError(w, http.StatusNotFound, "not_found_error", "there is nothing at this path")
	}
}

const maxRequest = 64 << 10

func (s *Server) exchange(w http.ResponseWriter, r *http.Request) {
	switch s.Mood() {
	case sandbox.Throttling:
		w.Header().Set("Retry-After", "3")
		apiError(w, http.StatusTooManyRequests, "rate_limit_error", "too many exchanges")
		return
	case sandbox.Refusing:
		oauthError(w, http.StatusUnauthorized, "invalid_grant", "the federation rule does not match")
		return
	}
	var q struct {
		GrantType        string `json:"grant_type"`
		Assertion        string `json:"assertion"`
		FederationRuleID string `json:"federation_rule_id"`
		OrganizationID   string `json:"organization_id"`
		ServiceAccountID string `json:"service_account_id"`
		WorkspaceID      string `json:"workspace_id"`
	}
	switch {
	case r.Header.Get("Content-Type") != "application/json",
		json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&q) != nil:
		oauthError(w, http.StatusBadRequest, "invalid_request", "the body is not JSON")
		return
	case !strings.Contains(r.Header.Get("Anthropic-Beta"), "oidc-federation-2026-04-01"):
		oauthError(w, http.StatusBadRequest, "invalid_request", "the beta header for federation is missing")
		return
	case q.GrantType != "urn:ietf:params:oauth:grant-type:jwt-bearer":
		oauthError(w, http.StatusBadRequest, "unsupported_grant_type", "only jwt-bearer is taken")
		return
	case len(q.Assertion) > 16<<10:
		oauthError(w, http.StatusBadRequest, "invalid_request", "the assertion is too long")
		return
	}
	rule, ok := s.rule(q.FederationRuleID, q.OrganizationID)
	if !ok {
		apiError(w, http.StatusNotFound, "not_found_error", "no such federation rule in this organization")
		return
	}
	c, err := s.assertions.Verify(q.Assertion, sandbox.Expect{
		Audiences: []string{rule.Audience}, Algorithms: []jose.SignatureAlgorithm{jose.RS256, jose.ES256},
		MaxLife: time.Hour, SingleUse: true,
	})
	if err != nil {
		oauthError(w, http.StatusUnauthorized, "invalid_grant", err.Error())
		return
	}
	prefix, open := strings.CutSuffix(rule.SubjectPrefix, "*")
	if c.Subject != rule.SubjectPrefix && !(open && strings.HasPrefix(c.Subject, prefix)) ||
		q.ServiceAccountID != "" && q.ServiceAccountID != rule.ServiceAccountID {
		oauthError(w, http.StatusUnauthorized, "invalid_grant", "the federation rule does not match the assertion")
		return
	}
	workspace, ok := rule.workspace(q.WorkspaceID)
	if !ok {
		oauthError(w, http.StatusUnauthorized, "invalid_grant", "the rule is not enabled for this workspace: name one of its own")
		return
	}
	s.issue(w, rule, c, workspace)
}

func (s *Server) rule(id, organization string) (Rule, bool) {
	for _, rule := range s.rules {
		if rule.ID == id && rule.OrganizationID == organization {
			return rule, true
		}
	}
	return Rule{}, false
}

// workspace is the one that is named, or the rule's only one.
func (r Rule) workspace(named string) (string, bool) {
	if named == "" {
		if len(r.Workspaces) == 0 {
			return "default", true
		}
		return r.Workspaces[0], len(r.Workspaces) == 1
	}
	for _, w := range r.Workspaces {
		if w == named {
			return w, true
		}
	}
	return named, named == "default" && len(r.Workspaces) == 0
}

func (s *Server) issue(w http.ResponseWriter, rule Rule, c sandbox.Claims, workspace string) {
	now := s.world.Now()
	life := rule.Lifetime
	if life == 0 {
		life = time.Hour
	}
	life = max(time.Minute, min(life, 2*c.Expires.Sub(now))).Truncate(time.Second)
	value := "sk-ant-oat01-" + rand.Text()
	s.mu.Lock()
	s.tokens[value] = token{subject: c.Subject, account: rule.ServiceAccountID, workspace: workspace, expires: now.Add(life)}
	s.mu.Unlock()
	answer := map[string]any{"access_token": value, "token_type": "Bearer", "expires_in": int64(life / time.Second)}
	switch s.Mood() {
	case sandbox.WithoutExpiry:
		delete(answer, "expires_in")
	case sandbox.PastExpiry:
		answer["expires_in"] = -5
	}
	writeJSON(w, http.StatusOK, answer)
}

// Whoami is the assertion's `sub` that a token was bought with.
func (s *Server) Whoami(bearer string) (subject string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.tokens[bearer]
	return t.subject, ok && s.world.Now().Before(t.expires)
}

func writeJSON(w http.ResponseWriter, status int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(object)
}

func oauthError(w http.ResponseWriter, status int, code, description string) {
	writeJSON(w, status, map[string]string{"error": code, "error_description": description})
}

func apiError(w http.ResponseWriter, status int, kind, message string) {
	writeJSON(w, status, map[string]any{"type": "error", "error": map[string]string{"type": kind, "message": message}})
}
