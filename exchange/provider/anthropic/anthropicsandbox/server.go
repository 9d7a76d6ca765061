// Package anthropicsandbox stands in for the Claude API: its token endpoint for
// workload identity federation, and the messages endpoint behind it.
package anthropicsandbox

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
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

	tokens *sandbox.Tokens
}

// New makes a stand-in with federation rules that trust the world's issuer.
func New(w sandbox.World, rules ...Rule) *Server {
	return &Server{world: w, assertions: sandbox.NewAssertions(w), rules: rules, tokens: sandbox.NewTokens(w)}
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
		sandbox.OAuthError(w, http.StatusUnauthorized, "invalid_grant", "the federation rule does not match")
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
		sandbox.OAuthError(w, http.StatusBadRequest, "invalid_request", "the body is not JSON")
		return
	case !strings.Contains(r.Header.Get("Anthropic-Beta"), "oidc-federation-2026-04-01"):
		sandbox.OAuthError(w, http.StatusBadRequest, "invalid_request", "the beta header for federation is missing")
		return
	case q.GrantType != "urn:ietf:params:oauth:grant-type:jwt-bearer":
		sandbox.OAuthError(w, http.StatusBadRequest, "unsupported_grant_type", "only jwt-bearer is taken")
		return
	case len(q.Assertion) > 16<<10:
		sandbox.OAuthError(w, http.StatusBadRequest, "invalid_request", "the assertion is too long")
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
		sandbox.OAuthError(w, http.StatusUnauthorized, "invalid_grant", err.Error())
		return
	}
	prefix, open := strings.CutSuffix(rule.SubjectPrefix, "*")
	if c.Subject != rule.SubjectPrefix && !(open && strings.HasPrefix(c.Subject, prefix)) ||
		q.ServiceAccountID != "" && q.ServiceAccountID != rule.ServiceAccountID {
		sandbox.OAuthError(w, http.StatusUnauthorized, "invalid_grant", "the federation rule does not match the assertion")
		return
	}
	workspace, ok := rule.workspace(q.WorkspaceID)
	if !ok {
		sandbox.OAuthError(w, http.StatusUnauthorized, "invalid_grant", "the rule is not enabled for this workspace: name one of its own")
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
	life := rule.Lifetime
	if life == 0 {
		life = time.Hour
	}
	life = max(time.Minute, min(life, 2*c.Expires.Sub(s.world.Now()))).Truncate(time.Second)
	answer := map[string]any{"access_token": s.tokens.Issue("sk-ant-oat01-", c.Subject, life), "token_type": "Bearer", "expires_in": int64(life / time.Second)}
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
	sandbox.JSON(w, status, map[string]any{"type": "error", "error": map[string]string{"type": kind, "message": message}})
}
