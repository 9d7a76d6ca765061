package azuresandbox

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// The grants and the assertion type that the token endpoint knows.
const (
	grantClient  = "client_credentials"
	grantOBO     = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	assertionJWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

// token is POST /{tenant}/oauth2/v2.0/token.
func (s *Sandbox) token(w http.ResponseWriter, r *http.Request) {
	switch s.Weather.Mood() {
	case sandbox.Throttling:
		w.Header().Set("Retry-After", "7")
		s.refuse(w, r, http.StatusTooManyRequests, fault{"temporarily_unavailable", 90055, "The request was throttled due to excessive request rate."})
		return
	case sandbox.Refusing:
		s.refuse(w, r, http.StatusBadRequest, blocked)
		return
	}
	if !s.knowsTenant(w, r) {
		return
	}
	if err := r.ParseForm(); err != nil {
		s.refuse(w, r, http.StatusBadRequest, fault{"invalid_request", 900144, "The request body is malformed."})
		return
	}
	app, claims, status, f := s.client(r)
	if status != 0 {
		s.refuse(w, r, status, f)
		return
	}
	resource, f, ok := s.resource(r.PostForm.Get("scope"))
	if !ok {
		s.refuse(w, r, http.StatusBadRequest, f)
		return
	}
	t := accessToken{Audience: resource, App: app.ClientID, Assertion: claims}
	switch r.PostForm.Get("grant_type") {
	case grantClient:
	case grantOBO:
		if t.User, f, ok = s.onBehalfOf(r, app); !ok {
			s.refuse(w, r, http.StatusBadRequest, f)
			return
		}
	default:
		s.refuse(w, r, http.StatusBadRequest, fault{"unsupported_grant_type", 70003, "The app requested an unsupported grant type."})
		return
	}
	s.issue(w, r, t)
}

var blocked = fault{"interaction_required", 53003, "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance."}

// client authenticates the application by its federated credential; a status that is
// not zero refuses.
func (s *Sandbox) client(r *http.Request) (App, sandbox.Claims, int, fault) {
	id := r.PostForm.Get("client_id")
	app, ok := s.apps[strings.ToLower(id)]
	if !ok {
		return app, sandbox.Claims{}, http.StatusBadRequest, fault{"unauthorized_client", 700016, fmt.Sprintf(
			"Application with identifier '%s' was not found in the directory '%s'.", id, s.options.TenantID)}
	}
	if r.PostForm.Get("client_assertion_type") != assertionJWT || r.PostForm.Get("client_assertion") == "" {
		return app, sandbox.Claims{}, http.StatusUnauthorized, fault{"invalid_client", 7000218,
			"The request body must contain the following parameter: 'client_assertion' or 'client_secret'."}
	}
	claims, err := s.assertions.Verify(r.PostForm.Get("client_assertion"), sandbox.Expect{})
	if err != nil {
		return app, claims, http.StatusUnauthorized, assertionFault(err)
	}
	if f, ok := app.match(claims); !ok {
		return app, claims, http.StatusUnauthorized, f
	}
	return app, claims, 0, fault{}
}

// resource reads a scope: one resource's /.default, beside those that clients add.
func (s *Sandbox) resource(scope string) (string, fault, bool) {
	var asked []string
	for _, one := range strings.Fields(scope) {
		if !slices.Contains([]string{"openid", "offline_access", "profile", "email"}, one) {
			asked = append(asked, one)
		}
	}
	if len(asked) != 1 || !strings.HasSuffix(asked[0], "/.default") {
		return "", fault{"invalid_scope", 1002012, fmt.Sprintf(
			"The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).", scope)}, false
	}
	resource := strings.TrimSuffix(asked[0], "/.default")
	if !slices.Contains(s.options.Resources, resource) {
		return "", fault{"invalid_resource", 500011, fmt.Sprintf(
			"The resource principal named %s was not found in the tenant named %s.", resource, s.options.TenantID)}, false
	}
	return resource, fault{}, true
}

// onBehalfOf proves the user's token: issued here, for this application, alive.
func (s *Sandbox) onBehalfOf(r *http.Request, app App) (string, fault, bool) {
	if r.PostForm.Get("requested_token_use") != "on_behalf_of" {
		return "", fault{"invalid_request", 900144, "The request body must contain the following parameter: 'requested_token_use'."}, false
	}
	t, err := s.open(r.PostForm.Get("assertion"))
	switch {
	case err != nil:
		return "", fault{"invalid_grant", 50013, "Assertion failed signature validation."}, false
	case !strings.EqualFold(strings.TrimPrefix(t.Audience, "api://"), app.ClientID) || t.User == "":
		return "", fault{"invalid_grant", 500131, "Assertion audience does not match the Client app presenting the assertion."}, false
	case !s.now().Before(t.Expires):
		return "", fault{"invalid_grant", 500133, "Assertion is not within its valid time range."}, false
	case app.NoConsent:
		return "", fault{"invalid_grant", 65001, fmt.Sprintf(
			"The user or administrator has not consented to use the application with ID '%s'. Send an interactive authorization request for this user and resource.", app.ClientID)}, false
	case slices.Contains(s.options.Blocked, t.User):
		return "", blocked, false
	}
	return t.User, fault{}, true
}

// issue answers with a token. Its life is drawn between 60 and 90 minutes, as Entra
// does.
func (s *Sandbox) issue(w http.ResponseWriter, r *http.Request, t accessToken) {
	var draw [2]byte
	if _, err := io.ReadFull(s.options.World.Random, draw[:]); err != nil {
		s.refuse(w, r, http.StatusServiceUnavailable, fault{"server_error", 90033, "A transient error has occurred. Please try again."})
		return
	}
	life := time.Hour + time.Duration(int(draw[0])<<8|int(draw[1]))*30*time.Minute/(1<<16)
	life = life.Truncate(time.Second)
	t.Issued = s.now()
	t.Expires = t.Issued.Add(life)
	text, err := s.sign(t)
	if err != nil {
		s.refuse(w, r, http.StatusServiceUnavailable, fault{"server_error", 90033, "A transient error has occurred. Please try again."})
		return
	}
	answer := map[string]any{
		"token_type": "Bearer", "expires_in": int(life.Seconds()), "ext_expires_in": int(life.Seconds()), "access_token": text,
	}
	switch s.Weather.Mood() {
	case sandbox.WithoutExpiry:
		delete(answer, "expires_in")
	case sandbox.PastExpiry:
		answer["expires_in"] = -60
	}
	if t.User != "" {
		answer["scope"] = t.Audience + "/user_impersonation " + t.Audience + "/.default"
	}
	write(w, http.StatusOK, answer)
}
