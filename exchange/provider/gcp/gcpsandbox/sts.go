package gcpsandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

const exchangeGrant = "urn:ietf:params:oauth:grant-type:token-exchange"

// federatedLife is how long a federated token lives.
const federatedLife = time.Hour

// token is POST /v1/token of the Security Token Service.
func (s *Sandbox) token(w http.ResponseWriter, r *http.Request) {
	switch s.Weather.Mood() {
	case sandbox.Throttling:
		w.Header().Set("Retry-After", "7")
		refuse(w, http.StatusTooManyRequests, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Token exchange requests'.", "RATE_LIMIT_EXCEEDED")
		return
	case sandbox.Refusing:
		deny(w, http.StatusForbidden, "unauthorized_client", rejected)
		return
	}
	switch err := r.ParseForm(); {
	case err != nil || r.Header.Get("Authorization") != "":
		deny(w, http.StatusBadRequest, "invalid_request", "The request is malformed, or carries an Authorization header.")
	case r.PostForm.Get("grant_type") != exchangeGrant:
		deny(w, http.StatusBadRequest, "unsupported_grant_type", "The grant type is not supported.")
	case r.PostForm.Get("requested_token_type") != string(exchange.TokenTypeAccessToken):
		deny(w, http.StatusBadRequest, "invalid_request", "Invalid value for \"requestedTokenType\".")
	case r.PostForm.Get("subject_token_type") == string(exchange.TokenTypeAccessToken):
		s.downscope(w, r)
	default:
		s.federate(w, r)
	}
}

const rejected = "The given credential is rejected by the attribute condition."

func (s *Sandbox) federate(w http.ResponseWriter, r *http.Request) {
	form := r.PostForm
	p, ok := s.providers[strings.TrimPrefix(form.Get("audience"), "//iam.googleapis.com/")]
	if !ok || p.Disabled || !strings.HasPrefix(form.Get("audience"), "//iam.googleapis.com/") {
		deny(w, http.StatusBadRequest, "invalid_target",
			`The target service indicated by the "audience" parameters is invalid. This might either be because the pool or provider is disabled or deleted or because it doesn't exist.`)
		return
	}
	scopes := strings.Fields(form.Get("scope"))
	if len(scopes) == 0 {
		deny(w, http.StatusBadRequest, "invalid_scope", "Missing required field: scope.")
		return
	}
	if t := form.Get("subject_token_type"); t != string(exchange.TokenTypeJWT) && t != string(exchange.TokenTypeIDToken) {
		deny(w, http.StatusBadRequest, "invalid_request", "Invalid value for \"subjectTokenType\".")
		return
	}
	claims, ok := s.verify(w, p, form.Get("subject_token"))
	if !ok {
		return
	}
	t := accessToken{Principal: p.principal(claims.Subject), Federated: true, Subject: claims.Subject, Scopes: scopes}
	if form.Get("actor_token") != "" {
		if t.Actor, ok = s.actor(w, p, form.Get("actor_token"), form.Get("actor_token_type")); !ok {
			return
		}
	}
	s.grant(w, t, federatedLife, true)
}

// verify holds an assertion to what its provider asks.
func (s *Sandbox) verify(w http.ResponseWriter, p Provider, token string) (sandbox.Claims, bool) {
	audiences := p.Audiences
	if len(audiences) == 0 {
		audiences = []string{"https://iam.googleapis.com/" + p.Name, "//iam.googleapis.com/" + p.Name}
	}
	claims, err := s.assertions.Verify(token, sandbox.Expect{
		Audiences: audiences, Algorithms: []jose.SignatureAlgorithm{jose.RS256, jose.ES256}, MaxSubject: maxSubject, MaxAge: maxAge,
	})
	var f *sandbox.Fault
	switch {
	case errors.As(err, &f):
		deny(w, http.StatusBadRequest, "invalid_grant", map[sandbox.Reason]string{
			sandbox.ReasonMalformed: "Unable to parse the ID Token.",
			sandbox.ReasonAlgorithm: "Invalid value for JWT algorithm.",
			sandbox.ReasonKey:       "Error connecting to the given credential's issuer.",
			sandbox.ReasonSignature: "Unable to verify the ID Token signature.",
			sandbox.ReasonIssuer:    fmt.Sprintf("The issuer in ID Token %s does not match the expected ones.", claims.Issuer),
			sandbox.ReasonAudience:  fmt.Sprintf("The audience in ID Token [%s] does not match the expected audience.", claims.Audience),
			sandbox.ReasonExpired:   "ID Token has expired and is stale to sign-in.",
			sandbox.ReasonNotYet:    "ID Token is issued in the future: stale to sign-in.",
			sandbox.ReasonTooLong:   fmt.Sprintf("ID Token issued at %d is stale to sign-in.", claims.Issued.Unix()),
			sandbox.ReasonSubject:   "The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your attribute mapping or the incoming assertion to produce a mapped attribute that is less than 127 bytes.",
		}[f.Reason])
		return claims, false
	case err != nil:
		deny(w, http.StatusBadRequest, "invalid_grant", "Unable to parse the ID Token.")
		return claims, false
	case p.Condition != nil && !p.Condition(claims):
		deny(w, http.StatusForbidden, "unauthorized_client", rejected)
		return claims, false
	}
	return claims, true
}

// actor verifies an actor token by the providers that the subject's provider lists.
func (s *Sandbox) actor(w http.ResponseWriter, p Provider, token, kind string) (string, bool) {
	if kind != string(exchange.TokenTypeJWT) && kind != string(exchange.TokenTypeIDToken) || len(p.Actors) == 0 {
		deny(w, http.StatusBadRequest, "invalid_request", "The actor token is not supported by the provider.")
		return "", false
	}
	var audiences []string
	for _, name := range p.Actors {
		a := s.providers[name]
		audiences = append(append(audiences, a.Audiences...), "https://iam.googleapis.com/"+name)
	}
	claims, err := s.assertions.Verify(token, sandbox.Expect{Audiences: audiences, Algorithms: []jose.SignatureAlgorithm{jose.RS256, jose.ES256}, MaxSubject: maxSubject, MaxAge: maxAge})
	if err != nil {
		deny(w, http.StatusBadRequest, "invalid_grant", "The actor token is invalid.")
		return "", false
	}
	return claims.Subject, true
}

// principal is the name by which roles are granted.
func (p Provider) principal(subject string) string {
	pool, _, _ := strings.Cut(p.Name, "/providers/")
	return "principal://iam.googleapis.com/" + pool + "/subject/" + subject
}

// downscope narrows an access token to a Credential Access Boundary.
func (s *Sandbox) downscope(w http.ResponseWriter, r *http.Request) {
	t, err := s.open(r.PostForm.Get("subject_token"))
	if err != nil || t.Federated {
		deny(w, http.StatusBadRequest, "invalid_grant", "Invalid subject token.")
		return
	}
	var options struct {
		Boundary struct {
			Rules []rule `json:"accessBoundaryRules"`
		} `json:"accessBoundary"`
	}
	text := r.PostForm.Get("options")
	if json.Unmarshal([]byte(text), &options) != nil || len(options.Boundary.Rules) == 0 || len(options.Boundary.Rules) > 10 || len(text) > 2048 {
		deny(w, http.StatusBadRequest, "invalid_request", "Invalid access boundary.")
		return
	}
	for _, one := range options.Boundary.Rules {
		if !strings.HasPrefix(one.Resource, "//storage.googleapis.com/projects/_/buckets/") || len(one.Permissions) == 0 {
			deny(w, http.StatusBadRequest, "invalid_request", "Invalid access boundary rule.")
			return
		}
	}
	t.Boundary = options.Boundary.Rules
	s.grant(w, t, 0, false) // it lives as long as before
}

// grant answers with a token; for a service account's, Google says no expiry.
func (s *Sandbox) grant(w http.ResponseWriter, t accessToken, life time.Duration, expiry bool) {
	if expiry {
		t.Expires = s.world.Now().Add(life).Unix()
	}
	text, err := s.seal(t)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "INTERNAL", "Internal error encountered.", "")
		return
	}
	answer := map[string]any{"access_token": text, "issued_token_type": exchange.TokenTypeAccessToken, "token_type": "Bearer"}
	if expiry {
		answer["expires_in"] = int(life.Seconds())
	}
	switch s.Weather.Mood() {
	case sandbox.WithoutExpiry:
		delete(answer, "expires_in")
	case sandbox.PastExpiry:
		answer["expires_in"] = -60
	}
	write(w, http.StatusOK, answer)
}

// lets reports whether a principal has roles/iam.workloadIdentityUser.
func (a Account) lets(principal string) bool {
	return slices.ContainsFunc(a.Users, func(u string) bool {
		if pool, all := strings.CutSuffix(u, "/*"); all {
			return strings.HasPrefix(principal, strings.Replace(pool, "principalSet://", "principal://", 1)+"/subject/")
		}
		return u == principal
	})
}
