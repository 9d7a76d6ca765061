package oauth2sandbox

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// The grant types of RFC 8693 §2.1 and RFC 7523 §2.1.
const (
	grantExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	grantBearer   = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	typeIDJAG     = "urn:ietf:params:oauth:token-type:id-jag"
)

const maxRequest = 64 << 10

// algorithms are those in which a client may sign for itself.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA}

// token is RFC 6749 §3.2.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	switch s.Mood() {
	case sandbox.Throttling:
		w.Header().Set("Retry-After", "3")
		sandbox.OAuthError(w, http.StatusTooManyRequests, "slow_down", "too many requests")
		return
	case sandbox.Refusing:
		sandbox.OAuthError(w, http.StatusBadRequest, "access_denied", "consent is missing")
		return
	}
	c, ok := s.client(w, r)
	if !ok {
		return
	}
	grant := r.PostForm.Get("grant_type")
	if !slices.Contains([]string{"client_credentials", grantExchange, grantBearer}, grant) {
		sandbox.OAuthError(w, http.StatusBadRequest, "unsupported_grant_type", "there is no such grant")
		return
	}
	if len(c.Grants) > 0 && !slices.Contains(c.Grants, grant) {
		sandbox.OAuthError(w, http.StatusBadRequest, "unauthorized_client", "the client may not use this grant")
		return
	}
	switch grant {
	case "client_credentials":
		if c.ID == "" {
			sandbox.OAuthError(w, http.StatusUnauthorized, "invalid_client", "the client is missing")
			return
		}
		s.issue(w, r, Token{Client: c.ID})
	case grantExchange:
		s.exchange(w, r, c)
	case grantBearer:
		s.bearer(w, r, c)
	}
}

// client authenticates it, in exactly one way (RFC 6749 §2.3). One that brings no proof
// at all is public, and has no name.
func (s *Server) client(w http.ResponseWriter, r *http.Request) (Client, bool) {
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	if r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.ParseForm() != nil {
		sandbox.OAuthError(w, http.StatusBadRequest, "invalid_request", "a form is wanted")
		return Client{}, false
	}
	for _, values := range r.PostForm {
		if len(values) != 1 {
			sandbox.OAuthError(w, http.StatusBadRequest, "invalid_request", "a parameter comes twice")
			return Client{}, false
		}
	}
	form := r.PostForm
	user, password, basic := r.BasicAuth()
	certified := r.TLS != nil && len(r.TLS.PeerCertificates) > 0
	ways := 0
	for _, way := range []bool{basic, form.Has("client_secret"), form.Has("client_assertion"), certified} {
		if way {
			ways++
		}
	}
	c, known := Client{}, ways == 0
	switch {
	case ways > 1:
	case basic:
		id, err := url.QueryUnescape(user)
		secret, err2 := url.QueryUnescape(password)
		c, known = s.bySecret(id, secret)
		known = known && err == nil && err2 == nil
	case form.Has("client_secret"):
		c, known = s.bySecret(form.Get("client_id"), form.Get("client_secret"))
	case form.Has("client_assertion"):
		c, known = s.byAssertion(r)
	case certified:
		sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
		c, known = s.find(func(c *Client) bool {
			return c.ID == form.Get("client_id") && c.Certificate == hex.EncodeToString(sum[:])
		})
	}
	if !known {
		w.Header().Set("WWW-Authenticate", "Basic")
		sandbox.OAuthError(w, http.StatusUnauthorized, "invalid_client", "the client is unknown, or its proof is bad")
	}
	return c, known
}

func (s *Server) find(is func(*Client) bool) (Client, bool) {
	for i := range s.setup.Clients {
		if is(&s.setup.Clients[i]) {
			return s.setup.Clients[i], true
		}
	}
	return Client{}, false
}

func (s *Server) bySecret(id, secret string) (Client, bool) {
	return s.find(func(c *Client) bool {
		return c.ID == id && c.Secret != "" && subtle.ConstantTimeCompare([]byte(c.Secret), []byte(secret)) == 1
	})
}

// byAssertion takes what a client signed for itself, with `iss` and `sub` its own name
// (RFC 7523 §3), or what the house signed for it.
func (s *Server) byAssertion(r *http.Request) (Client, bool) {
	form := r.PostForm
	if form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
		return Client{}, false
	}
	assertion := form.Get("client_assertion")
	expect := sandbox.Expect{Audiences: []string{base(r)}, Algorithms: algorithms, MaxLife: 10 * time.Minute, SingleUse: true}
	if claims, err := s.ours.Verify(assertion, expect); err == nil {
		return s.find(func(c *Client) bool {
			return c.Federated == claims.Subject && (!form.Has("client_id") || form.Get("client_id") == c.ID)
		})
	}
	return s.find(func(c *Client) bool {
		if c.ID != form.Get("client_id") || c.Keys == nil {
			return false
		}
		claims, err := s.own[c.ID].Verify(assertion, expect)
		return err == nil && claims.Subject == c.ID
	})
}

// speaker is the subject of a token of the house or of the people's issuer: for the
// house, what follows tenant and target in `sub`.
func (s *Server) speaker(r *http.Request, token string) (string, bool) {
	expect := sandbox.Expect{Audiences: []string{base(r)}, MaxLife: 10 * time.Minute, SingleUse: true}
	if claims, err := s.ours.Verify(token, expect); err == nil {
		parts := strings.Split(claims.Subject, ":")
		if len(parts) < 3 { // it is a client's, and no subject's
			return "", false
		}
		name, err := url.PathUnescape(strings.Join(parts[2:], ":"))
		return name, err == nil
	}
	if s.people == nil {
		return "", false
	}
	claims, err := s.people.Verify(token, sandbox.Expect{Audiences: []string{"people"}, List: true})
	return claims.Subject, err == nil
}

// exchange is RFC 8693 §2.
func (s *Server) exchange(w http.ResponseWriter, r *http.Request, c Client) {
	form := r.PostForm
	subject, ok := s.speaker(r, form.Get("subject_token"))
	if !ok || form.Get("subject_token_type") == "" || form.Has("actor_token") != form.Has("actor_token_type") {
		sandbox.OAuthError(w, http.StatusBadRequest, "invalid_request", "the subject token is not taken")
		return
	}
	t := Token{Client: c.ID, Subject: subject}
	if form.Has("actor_token") {
		if t.Actor, ok = s.speaker(r, form.Get("actor_token")); !ok {
			sandbox.OAuthError(w, http.StatusBadRequest, "invalid_request", "the actor token is not taken")
			return
		}
	}
	if form.Get("requested_token_type") == typeIDJAG {
		s.grantIdentity(w, r, t)
		return
	}
	s.issue(w, r, t)
}
