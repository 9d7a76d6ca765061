package gcpsandbox

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// serviceAccount is the IAM Service Account Credentials API.
func (s *Sandbox) serviceAccount(w http.ResponseWriter, r *http.Request) {
	switch s.IAM.Mood() {
	case sandbox.Throttling:
		w.Header().Set("Retry-After", "7")
		refuse(w, http.StatusTooManyRequests, "RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Generate access token requests'.", "RATE_LIMIT_EXCEEDED")
		return
	case sandbox.Refusing:
		refuse(w, http.StatusForbidden, "PERMISSION_DENIED", "Permission denied on resource (or it may not exist).", "IAM_PERMISSION_DENIED")
		return
	}
	t, ok := s.bearer(w, r, CloudPlatform, "https://www.googleapis.com/auth/iam")
	if !ok {
		return
	}
	var request struct {
		Scope        []string `json:"scope"`
		Lifetime     string   `json:"lifetime"`
		Delegates    []string `json:"delegates"`
		Audience     string   `json:"audience"`
		IncludeEmail bool     `json:"includeEmail"`
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		refuse(w, http.StatusBadRequest, "INVALID_ARGUMENT", "Invalid JSON payload received.", "")
		return
	}
	email, method, _ := strings.Cut(r.PathValue("call"), ":")
	account, ok := s.accounts[email]
	if !ok {
		refuse(w, http.StatusNotFound, "NOT_FOUND", "Not found; Gaia id not found for email "+email, "")
		return
	}
	if len(t.Boundary) > 0 || !s.may(t.Principal, request.Delegates, account) {
		refuse(w, http.StatusForbidden, "PERMISSION_DENIED",
			"Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).", "IAM_PERMISSION_DENIED")
		return
	}
	switch method {
	case "generateAccessToken":
		s.generateAccessToken(w, t, account, request.Scope, request.Lifetime)
	case "generateIdToken":
		s.generateIDToken(w, t, account, request.Audience, request.IncludeEmail)
	default:
		refuse(w, http.StatusNotFound, "NOT_FOUND", "Method not found.", "")
	}
}

// may follows the delegates: each may make tokens of the next, the last of the
// account.
func (s *Sandbox) may(principal string, delegates []string, account Account) bool {
	allowed := func(a Account) bool { return a.lets(principal) || slices.Contains(a.Creators, principal) }
	for _, name := range delegates {
		email, named := strings.CutPrefix(name, "projects/-/serviceAccounts/")
		next, known := s.accounts[email]
		if !named || !known || !allowed(next) {
			return false
		}
		principal = email
	}
	return allowed(account)
}

func (s *Sandbox) generateAccessToken(w http.ResponseWriter, by accessToken, account Account, scopes []string, lifetime string) {
	life := time.Hour
	if lifetime != "" {
		parsed, err := time.ParseDuration(lifetime)
		longest := time.Hour
		if account.Extended {
			longest = 12 * time.Hour
		}
		if err != nil || !strings.HasSuffix(lifetime, "s") || parsed <= 0 || parsed > longest {
			refuse(w, http.StatusBadRequest, "INVALID_ARGUMENT", "The access token lifetime cannot exceed 3600 seconds.", "")
			return
		}
		life = parsed
	}
	if len(scopes) == 0 {
		refuse(w, http.StatusBadRequest, "INVALID_ARGUMENT", "At least one scope is required.", "")
		return
	}
	expires := s.world.Now().Add(life)
	text, err := s.seal(accessToken{Principal: account.Email, Subject: by.Subject, Actor: by.Actor, Scopes: scopes, Expires: expires.Unix()})
	if err != nil {
		refuse(w, http.StatusInternalServerError, "INTERNAL", "Internal error encountered.", "")
		return
	}
	answer := map[string]any{"accessToken": text, "expireTime": expires.UTC().Format(time.RFC3339)}
	switch s.IAM.Mood() {
	case sandbox.WithoutExpiry:
		delete(answer, "expireTime")
	case sandbox.PastExpiry:
		answer["expireTime"] = s.world.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	}
	write(w, http.StatusOK, answer)
}

func (s *Sandbox) generateIDToken(w http.ResponseWriter, by accessToken, account Account, audience string, email bool) {
	if audience == "" {
		refuse(w, http.StatusBadRequest, "INVALID_ARGUMENT", "The audience is required.", "")
		return
	}
	now := s.world.Now()
	claims := map[string]any{
		"iss": "https://accounts.google.com", "aud": audience, "azp": account.Email, "sub": account.Email,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		// What no real one tells: the google.subject that it was bought by.
		"sandbox": map[string]string{"subject": by.Subject, "actor": by.Actor, "id": rand.Text()},
	}
	if email {
		claims["email"], claims["email_verified"] = account.Email, true
	}
	switch s.IAM.Mood() {
	case sandbox.WithoutExpiry:
		delete(claims, "exp")
	case sandbox.PastExpiry:
		claims["exp"] = now.Add(-time.Minute).Unix()
	}
	payload, err := json.Marshal(claims)
	k, failed := s.signer()
	if err != nil || failed != nil {
		refuse(w, http.StatusInternalServerError, "INTERNAL", "Internal error encountered.", "")
		return
	}
	signed, err := k.Sign(payload)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "INTERNAL", "Internal error encountered.", "")
		return
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		refuse(w, http.StatusInternalServerError, "INTERNAL", "Internal error encountered.", "")
		return
	}
	write(w, http.StatusOK, map[string]string{"token": text})
}
