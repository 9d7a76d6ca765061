package gcpsandbox

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// accessToken is what an access token stands for. Google's are opaque; these are
// sealed with a key that this stand-in made, so that it keeps no list of them.
type accessToken struct {
	Principal string   `json:"p"`           // principal://… or a service account's email
	Federated bool     `json:"f,omitempty"` // not of a service account
	Subject   string   `json:"s"`           // google.subject behind it
	Actor     string   `json:"a,omitempty"` // google.subject of who acts
	Scopes    []string `json:"c"`
	Expires   int64    `json:"e"`
	Boundary  []rule   `json:"b,omitempty"`
	ID        string   `json:"i"`
}

// rule is one rule of a Credential Access Boundary.
type rule struct {
	Resource    string   `json:"availableResource"`
	Permissions []string `json:"availablePermissions"`
}

const prefix = "ya29."

func (s *Sandbox) mac(payload string) []byte {
	h := hmac.New(sha256.New, s.secret[:])
	h.Write([]byte(payload))
	return h.Sum(nil)
}

func (s *Sandbox) seal(t accessToken) (string, error) {
	t.ID = rand.Text()
	plain, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	payload := base64.RawURLEncoding.EncodeToString(plain)
	return prefix + payload + "_" + base64.RawURLEncoding.EncodeToString(s.mac(payload)), nil
}

// open reads a token that is alive.
func (s *Sandbox) open(text string) (accessToken, error) {
	const macLength = 43 // 32 bytes
	rest, ours := strings.CutPrefix(text, prefix)
	if !ours || len(rest) < macLength+1 {
		return accessToken{}, errors.New("not a token of this cloud")
	}
	payload, sum := rest[:len(rest)-macLength-1], rest[len(rest)-macLength:]
	given, err := base64.RawURLEncoding.DecodeString(sum)
	if err != nil || !hmac.Equal(given, s.mac(payload)) {
		return accessToken{}, errors.New("not a token of this cloud")
	}
	plain, err := base64.RawURLEncoding.DecodeString(payload)
	var t accessToken
	if err != nil || json.Unmarshal(plain, &t) != nil {
		return accessToken{}, errors.New("not a token of this cloud")
	}
	if !s.world.Now().Before(time.Unix(t.Expires, 0)) {
		return accessToken{}, errors.New("the token has expired")
	}
	return t, nil
}

// bearer is the token of a request that has one of these scopes.
func (s *Sandbox) bearer(w http.ResponseWriter, r *http.Request, scopes ...string) (accessToken, bool) {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	t, err := s.open(text)
	if !strings.EqualFold(scheme, "Bearer") || err != nil {
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://accounts.google.com/", error="invalid_token"`)
		refuse(w, http.StatusUnauthorized, "UNAUTHENTICATED",
			"Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.", "ACCESS_TOKEN_TYPE_UNSUPPORTED")
		return t, false
	}
	for _, scope := range scopes {
		if slices.Contains(t.Scopes, scope) {
			return t, true
		}
	}
	refuse(w, http.StatusForbidden, "PERMISSION_DENIED", "Request had insufficient authentication scopes.", "ACCESS_TOKEN_SCOPE_INSUFFICIENT")
	return t, false
}

// tokenInfo is Google's token information endpoint, for access tokens.
func (s *Sandbox) tokenInfo(w http.ResponseWriter, r *http.Request) {
	t, err := s.open(r.URL.Query().Get("access_token"))
	if err != nil {
		deny(w, http.StatusBadRequest, "invalid_token", "Invalid Value")
		return
	}
	write(w, http.StatusOK, map[string]any{
		"azp": t.Principal, "aud": t.Principal, "scope": strings.Join(t.Scopes, " "), "exp": t.Expires,
		"expires_in": t.Expires - s.world.Now().Unix(), "email": t.Principal, "access_type": "online",
	})
}
