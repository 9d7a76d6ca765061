// Package ibmsandbox stands in for IBM Cloud: the token endpoint of IAM, and the chat
// endpoint of watsonx.ai behind it.
package ibmsandbox

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// Profile is a trusted profile.
type Profile struct {
	ID, CRN, Name, Account string
	// ComputeResources are the service accounts of the linked cluster that may take
	// it: system:serviceaccount:<namespace>:<name>, or a prefix that ends with *.
	ComputeResources []string
	// Identities are the IAM ids that may assume it.
	Identities []string
}

// Setup is what an account has.
type Setup struct {
	Profiles []Profile
	APIKeys  map[string]string // API key → IAM id of its service id
	Lifetime time.Duration     // of tokens; zero: 1 h
}

// Server is the stand-in.
type Server struct {
	sandbox.Weather
	cluster sandbox.World
	tokens  *sandbox.Assertions // of the linked cluster
	setup   Setup

	mu     sync.Mutex
	issued map[string]session
}

// session is what a token of IAM stands for.
type session struct {
	identity string // IAM id, of a service id or a profile
	resource string // the compute resource that took the profile, if one did
	expires  time.Time
}

// New makes a stand-in. cluster is the issuer of the linked IKS or ROKS cluster.
func New(cluster sandbox.World, setup Setup) *Server {
	if setup.Lifetime == 0 {
		setup.Lifetime = time.Hour
	}
	return &Server{cluster: cluster, tokens: sandbox.NewAssertions(cluster), setup: setup, issued: map[string]session{}}
}

// ServeHTTP is IAM and watsonx.ai, on one host.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "POST /identity/token":
		s.Wrap(http.HandlerFunc(s.token)).ServeHTTP(w, r)
	case "POST /ml/v1/text/chat":
		s.chat(w, r)
	default:
		refuse(w, http.StatusNotFound, "BXNIM0404E", "there is nothing at this path")
	}
}

const maxRequest = 64 << 10

func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	switch s.Mood() {
	case sandbox.Throttling:
		w.Header().Set("Retry-After", "3")
		refuse(w, http.StatusTooManyRequests, "BXNIM0437E", "Too many requests.")
		return
	case sandbox.Refusing:
		refuse(w, http.StatusForbidden, "BXNIM0513E", "You are not authorized to use this trusted profile.")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	if r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.ParseForm() != nil {
		refuse(w, http.StatusBadRequest, "BXNIM0109E", "Property missing or empty: grant_type")
		return
	}
	grant := strings.TrimPrefix(r.PostForm.Get("grant_type"), "urn:ibm:params:oauth:grant-type:")
	switch grant {
	case "apikey":
		identity, known := s.setup.APIKeys[r.PostForm.Get("apikey")]
		if !known {
			refuse(w, http.StatusBadRequest, "BXNIM0415E", "Provided API key could not be found.")
			return
		}
		s.issue(w, session{identity: identity})
	case "cr-token":
		s.computeResource(w, r.PostForm)
	case "assume":
		s.assume(w, r.PostForm)
	default:
		refuse(w, http.StatusBadRequest, "BXNIM0120E", "The grant type is not supported.")
	}
}

// computeResource takes a token of the linked cluster for a profile that trusts the
// service account.
func (s *Server) computeResource(w http.ResponseWriter, form url.Values) {
	c, err := s.tokens.Verify(form.Get("cr_token"), sandbox.Expect{Audiences: []string{"iam"}, List: true})
	if err != nil {
		refuse(w, http.StatusBadRequest, "BXNIM0505E", "Compute resource token: "+err.Error())
		return
	}
	p, ok := s.profile(w, form)
	if !ok {
		return
	}
	if !slices.ContainsFunc(p.ComputeResources, func(pattern string) bool {
		prefix, open := strings.CutSuffix(pattern, "*")
		return pattern == c.Subject || open && strings.HasPrefix(c.Subject, prefix)
	}) {
		refuse(w, http.StatusForbidden, "BXNIM0513E", "The compute resource is not linked to the trusted profile.")
		return
	}
	s.issue(w, session{identity: "iam-" + p.ID, resource: c.Subject})
}

// assume takes a token of IAM's own for a profile that trusts its identity.
func (s *Server) assume(w http.ResponseWriter, form url.Values) {
	own, ok := s.session(form.Get("access_token"))
	if !ok {
		refuse(w, http.StatusUnauthorized, "BXNIM0408E", "Provided token is expired or unknown.")
		return
	}
	p, ok := s.profile(w, form)
	if !ok {
		return
	}
	if !slices.Contains(p.Identities, own.identity) {
		refuse(w, http.StatusForbidden, "BXNIM0513E", "The identity is not allowed to assume the trusted profile.")
		return
	}
	s.issue(w, session{identity: "iam-" + p.ID})
}

// profile finds the one that the form names, in one way; else it answers.
func (s *Server) profile(w http.ResponseWriter, form url.Values) (Profile, bool) {
	id, crn, name, account := form.Get("profile_id"), form.Get("profile_crn"), form.Get("profile_name"), form.Get("account")
	for _, p := range s.setup.Profiles {
		if id != "" && id == p.ID || crn != "" && crn == p.CRN || name != "" && name == p.Name && (account == "" || account == p.Account) {
			return p, true
		}
	}
	refuse(w, http.StatusBadRequest, "BXNIM0439E", "The selected trusted profile cannot be found.")
	return Profile{}, false
}

// jwtHeader is {"kid":"sandbox","alg":"RS256"}.
const jwtHeader = "eyJraWQiOiJzYW5kYm94IiwiYWxnIjoiUlMyNTYifQ"

func (s *Server) issue(w http.ResponseWriter, one session) {
	now := s.cluster.Now()
	one.expires = now.Add(s.setup.Lifetime)
	claims, err := json.Marshal(map[string]any{
		"iam_id": one.identity, "jti": rand.Text(), "iat": now.Unix(), "exp": one.expires.Unix(), "iss": "https://iam.cloud.ibm.com/identity",
	})
	if err != nil {
		refuse(w, http.StatusInternalServerError, "BXNIM0500E", "internal")
		return
	}
	// It has the form of a JWT with RS256, which IBM's SDKs decode to see when it ends.
	// Nobody but this stand-in verifies it: the signature is a number that cannot be
	// guessed.
	var signature [256]byte
	_, _ = rand.Read(signature[:]) // never fails
	value := jwtHeader + "." + base64.RawURLEncoding.EncodeToString(claims) + "." + base64.RawURLEncoding.EncodeToString(signature[:])
	s.mu.Lock()
	s.issued[value] = one
	s.mu.Unlock()
	answer := map[string]any{
		"access_token": value, "refresh_token": "not_supported", "token_type": "Bearer",
		"expires_in": int64(s.setup.Lifetime / time.Second), "expiration": one.expires.Unix(), "scope": "ibm openid",
	}
	switch s.Mood() {
	case sandbox.WithoutExpiry:
		delete(answer, "expires_in")
		delete(answer, "expiration")
	case sandbox.PastExpiry:
		answer["expiration"] = now.Add(-time.Minute).Unix()
	}
	sandbox.JSON(w, http.StatusOK, answer)
}

func (s *Server) session(bearer string) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.issued[bearer]
	return one, ok && s.cluster.Now().Before(one.expires)
}

// Whoami is the IAM id of a token, and the compute resource that took it, if one did.
func (s *Server) Whoami(bearer string) (identity, resource string, ok bool) {
	one, ok := s.session(bearer)
	return one.identity, one.resource, ok
}

// refuse answers an error in IAM's own form.
func refuse(w http.ResponseWriter, status int, code, message string) {
	sandbox.JSON(w, status, map[string]any{
		"errorCode": code, "errorMessage": message, "context": map[string]string{"requestId": rand.Text()},
	})
}
