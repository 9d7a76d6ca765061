// Package oauth2sandbox stands in for somebody else's authorization server, with a
// resource behind it: it authenticates clients, verifies what speaks for a subject, and
// knows its own tokens again. A second one is the identity provider that makes identity
// assertion grants for the first.
//
// It calls itself by the host that it is asked at, so that it needs no address of its
// own.
package oauth2sandbox

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// Client is one that the server knows.
type Client struct {
	ID     string
	Secret string // for client_secret_basic and client_secret_post
	// Keys is the JWK Set of a client that signs for itself.
	Keys []byte
	// Federated is the `sub` of those assertions of the house that authenticate it.
	Federated string
	// Certificate is the SHA-256, in hexadecimal, of the one that it shows.
	Certificate string
	// Grants are the grant types that it may use; empty: all.
	Grants []string
}

// Setup is what the server was told by its own operator.
type Setup struct {
	Clients  []Client
	Scopes   []string // what it can give
	Resource string   // path of the resource; empty: /mcp
	// People is the issuer whose tokens it takes besides the house's.
	People sandbox.World
	// Grants are the issuers whose identity assertion grants it takes.
	Grants   []sandbox.World
	Lifetime time.Duration // of tokens; zero: 1 h
}

// Server is the stand-in. The Bend functions, if set, change what it answers.
type Server struct {
	sandbox.Weather
	setup  Setup
	house  sandbox.World
	ours   *sandbox.Assertions            // of the house
	own    map[string]*sandbox.Assertions // of clients that sign for themselves
	people *sandbox.Assertions            // nil: none are taken
	grants []*sandbox.Assertions          // identity assertion grants
	key    *ecdsa.PrivateKey              // signs such grants for others

	BendToken    func(answer map[string]any)
	BendServer   func(metadata map[string]any)
	BendResource func(metadata map[string]any)
	// Elsewhere serves metadata in its place.
	Elsewhere http.Handler

	mu     sync.Mutex
	issued map[string]Token
}

// Token is what one of its tokens stands for.
type Token struct {
	Client, Subject, Actor, Resource string
	Scopes                           []string
	Expires                          time.Time
}

// New makes a stand-in that trusts the house.
func New(house sandbox.World, setup Setup) (*Server, error) {
	if setup.Lifetime == 0 {
		setup.Lifetime = time.Hour
	}
	if setup.Resource == "" {
		setup.Resource = "/mcp"
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	s := &Server{setup: setup, house: house, ours: sandbox.NewAssertions(house), key: key, own: map[string]*sandbox.Assertions{}, issued: map[string]Token{}}
	for _, c := range setup.Clients {
		if c.Keys != nil {
			s.own[c.ID] = sandbox.NewAssertions(sandbox.World{Issuer: c.ID, Keys: func() []byte { return c.Keys }, Now: house.Now, Random: house.Random})
		}
	}
	if setup.People.Issuer != "" {
		s.people = sandbox.NewAssertions(setup.People)
	}
	for _, w := range setup.Grants {
		s.grants = append(s.grants, sandbox.NewAssertions(w))
	}
	return s, nil
}

// ServeHTTP is the authorization server and the resource.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == "/token" && r.Method == http.MethodPost:
		s.Wrap(http.HandlerFunc(s.token)).ServeHTTP(w, r)
	case path == "/revoke" && r.Method == http.MethodPost:
		s.Wrap(http.HandlerFunc(s.revoke)).ServeHTTP(w, r)
	case strings.HasPrefix(path, "/.well-known/") && s.Elsewhere != nil:
		s.Elsewhere.ServeHTTP(w, r)
	case path == "/.well-known/oauth-authorization-server":
		s.serverMetadata(w, r)
	case path == "/.well-known/oauth-protected-resource"+s.setup.Resource:
		s.resourceMetadata(w, r)
	case path == s.setup.Resource:
		s.whoami(w, r)
	default:
		http.NotFound(w, r)
	}
}

func base(r *http.Request) string { return "https://" + r.Host }

func (s *Server) serverMetadata(w http.ResponseWriter, r *http.Request) {
	m := map[string]any{
		"issuer": base(r), "token_endpoint": base(r) + "/token", "revocation_endpoint": base(r) + "/revoke",
		"response_types_supported": []string{"code"}, "scopes_supported": s.setup.Scopes,
		"grant_types_supported":                 []string{"client_credentials", grantExchange, grantBearer},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth"},
	}
	if s.BendServer != nil {
		s.BendServer(m)
	}
	sandbox.JSON(w, http.StatusOK, m)
}

func (s *Server) resourceMetadata(w http.ResponseWriter, r *http.Request) {
	m := map[string]any{"resource": base(r) + s.setup.Resource, "authorization_servers": []string{base(r)}}
	if s.BendResource != nil {
		s.BendResource(m)
	}
	sandbox.JSON(w, http.StatusOK, m)
}

// issue answers with a token.
func (s *Server) issue(w http.ResponseWriter, r *http.Request, t Token) {
	if asked := r.PostForm.Get("resource"); asked != "" && asked != base(r)+s.setup.Resource {
		sandbox.OAuthError(w, http.StatusBadRequest, "invalid_target", "there is no such resource")
		return
	}
	if t.Scopes == nil {
		t.Scopes = strings.Fields(r.PostForm.Get("scope"))
	}
	for _, scope := range t.Scopes {
		if !slices.Contains(s.setup.Scopes, scope) {
			sandbox.OAuthError(w, http.StatusBadRequest, "invalid_scope", "there is no scope "+scope)
			return
		}
	}
	t.Resource, t.Expires = base(r)+s.setup.Resource, s.house.Now().Add(s.setup.Lifetime)
	value := rand.Text()
	answer := map[string]any{"access_token": value, "token_type": "Bearer", "expires_in": int64(s.setup.Lifetime / time.Second), "scope": strings.Join(t.Scopes, " ")}
	if r.PostForm.Get("grant_type") == grantExchange {
		answer["issued_token_type"] = "urn:ietf:params:oauth:token-type:access_token"
	}
	switch s.Mood() {
	case sandbox.WithoutExpiry:
		delete(answer, "expires_in")
	case sandbox.PastExpiry:
		answer["expires_in"] = -60
	}
	if s.BendToken != nil {
		s.BendToken(answer)
	}
	s.mu.Lock()
	s.issued[value] = t
	s.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	sandbox.JSON(w, http.StatusOK, answer)
}

// Whoami is what a token stands for; false: it is unknown, has expired or is revoked.
func (s *Server) Whoami(value string) (Token, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.issued[value]
	return t, ok && s.house.Now().Before(t.Expires)
}

// whoami is the resource.
func (s *Server) whoami(w http.ResponseWriter, r *http.Request) {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	t, known := s.Whoami(bearer)
	if !ok || !known || t.Resource != base(r)+s.setup.Resource {
		w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="`+base(r)+"/.well-known/oauth-protected-resource"+s.setup.Resource+`"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(t)
}

// revoke is RFC 7009 §2: who asks owns the token, or nothing happens.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) {
	c, ok := s.client(w, r)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if value := r.PostForm.Get("token"); s.issued[value].Client == c.ID {
		delete(s.issued, value)
	}
	w.WriteHeader(http.StatusOK)
}
