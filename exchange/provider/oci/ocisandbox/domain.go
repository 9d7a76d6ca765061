package ocisandbox

import (
	"crypto/rsa"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// The token types of the exchange.
const (
	upst = "urn:oci:token-type:oci-upst"
	rpst = "urn:oci:token-type:oci-rpst"
)

// Lives of what the domain issues.
const (
	maxUPST     = time.Hour
	maxRPST     = 12 * time.Hour
	defaultRPST = 20 * time.Minute
)

// refusal is an OAuth error (RFC 6749 §5.2).
type refusal struct {
	status     int
	code, text string
}

func (r *refusal) Error() string { return r.code + ": " + r.text }

func refuse(code, format string, args ...any) error {
	status := http.StatusBadRequest
	if code == "invalid_client" {
		status = http.StatusUnauthorized
	}
	return &refusal{status, code, fmt.Sprintf(format, args...)}
}

// exchange is POST /oauth2/v1/token.
func (b *Sandbox) exchange(w http.ResponseWriter, r *http.Request) {
	switch b.Weather.Mood() {
	case sandbox.Throttling:
		w.Header().Set("Retry-After", "7")
		answer(w, http.StatusTooManyRequests, map[string]string{"error": "too_many_requests", "error_description": "The rate limit of this identity domain is exceeded."})
		return
	case sandbox.Refusing:
		answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant", "error_description": "No impersonation rule matches the subject of " + r.PostFormValue("subject_token")})
		return
	}
	token, err := b.token(r)
	var no *refusal
	switch {
	case errors.As(err, &no):
		answer(w, no.status, map[string]string{"error": no.code, "error_description": no.text})
	case err != nil:
		answer(w, http.StatusInternalServerError, map[string]string{"error": "server_error"})
	default:
		answer(w, http.StatusOK, map[string]string{"token": token})
	}
}

func (b *Sandbox) token(r *http.Request) (string, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return "", refuse("invalid_request", "the body cannot be read")
	}
	if err := b.client(r, body); err != nil {
		return "", err
	}
	form, err := formOf(r, body)
	if err != nil {
		return "", err
	}
	if form["grant_type"] != "urn:ietf:params:oauth:grant-type:token-exchange" {
		return "", refuse("unsupported_grant_type", "grant_type %q", form["grant_type"])
	}
	if form["subject_token_type"] != "jwt" {
		return "", refuse("invalid_request", "subject_token_type must be jwt")
	}
	c, err := b.assertions.Verify(form["subject_token"], sandbox.Expect{
		Audiences: []string{b.setup.Trust.Audience}, SingleUse: true,
	})
	if err != nil {
		return "", refuse("invalid_grant", "%v", err)
	}
	key, err := keyOf(form["public_key"])
	if err != nil {
		return "", err
	}
	if form["requested_token_type"] == upst {
		return b.forUser(form, c, key)
	}
	if form["requested_token_type"] != rpst {
		return "", refuse("invalid_request", "requested_token_type %q", form["requested_token_type"])
	}
	return b.forResource(form, c, key)
}

// client proves who asks: the application by its secret, or a principal by its
// signature.
func (b *Sandbox) client(r *http.Request, body []byte) error {
	if strings.HasPrefix(r.Header.Get("Authorization"), "Signature ") {
		claims, err := b.signed(r, body)
		if err != nil {
			return refuse("invalid_client", "%v", err)
		}
		if claims.Principal != "instance" {
			return refuse("unauthorized_client", "the principal is not allowed GET_RPST")
		}
		return nil
	}
	id, secret, _ := r.BasicAuth()
	id, err1 := url.QueryUnescape(id)
	secret, err2 := url.QueryUnescape(secret)
	if err1 != nil || err2 != nil || b.setup.ClientID == "" || id != b.setup.ClientID ||
		subtle.ConstantTimeCompare([]byte(secret), []byte(b.setup.ClientSecret)) != 1 {
		return refuse("invalid_client", "Client authentication failed.")
	}
	return nil
}

// formOf takes each parameter once, and none that the domain does not know.
func formOf(r *http.Request, body []byte) (map[string]string, error) {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	values, bad := url.ParseQuery(string(body))
	if err != nil || bad != nil || media != "application/x-www-form-urlencoded" || r.URL.RawQuery != "" {
		return nil, refuse("invalid_request", "the body is no form")
	}
	form := map[string]string{}
	for name, v := range values {
		switch name {
		case "grant_type", "requested_token_type", "subject_token", "subject_token_type", "public_key", "res_type", "rpst_exp":
		default:
			return nil, refuse("invalid_request", "unknown parameter %q", name)
		}
		if len(v) != 1 {
			return nil, refuse("invalid_request", "%s came twice", name)
		}
		form[name] = v[0]
	}
	return form, nil
}

func keyOf(text string) (*rsa.PublicKey, error) {
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, refuse("invalid_request", "public_key is no base64")
	}
	parsed, err := x509.ParsePKIXPublicKey(der)
	key, ok := parsed.(*rsa.PublicKey)
	if err != nil || !ok {
		return nil, refuse("invalid_request", "public_key is no RSA key")
	}
	if key.N.BitLen() < 2048 {
		return nil, refuse("invalid_request", "public_key has %d bits", key.N.BitLen())
	}
	return key, nil
}

// forUser issues a UPST to the user that the first matching rule names. It lives an
// hour, and no longer than the assertion.
func (b *Sandbox) forUser(form map[string]string, c sandbox.Claims, key *rsa.PublicKey) (string, error) {
	if form["res_type"] != "" || form["rpst_exp"] != "" {
		return "", refuse("invalid_request", "res_type and rpst_exp go with an RPST")
	}
	now := b.setup.World.Now()
	expires := now.Add(maxUPST)
	if c.Expires.Before(expires) {
		expires = c.Expires
	}
	for _, rule := range b.setup.Trust.Impersonate {
		if matches(rule.Pattern, c.Subject) {
			return b.mint(Claims{Subject: rule.User, Source: c.Subject, Principal: "user", Tenant: b.setup.Tenancy}, key, expires)
		}
	}
	return "", refuse("invalid_grant", "no impersonation rule matches the subject")
}

// forResource issues an RPST.
func (b *Sandbox) forResource(form map[string]string, c sandbox.Claims, key *rsa.PublicKey) (string, error) {
	trust := b.setup.Trust
	if trust.ImpersonatingResource == "" {
		return "", refuse("unauthorized_client", "no trust for resources has this issuer")
	}
	if form["res_type"] != trust.ImpersonatingResource {
		return "", refuse("invalid_request", "res_type %q is not the trust's impersonatingResource", form["res_type"])
	}
	life := defaultRPST
	if text := form["rpst_exp"]; text != "" {
		seconds, err := strconv.Atoi(text)
		if life = time.Duration(seconds) * time.Second; err != nil || seconds < 1 || life > maxRPST {
			return "", refuse("invalid_request", "rpst_exp is 1 to 43200")
		}
	}
	// Oracle's SDKs read the tenancy from tenant where they did the exchange themselves,
	// and from res_tenant where they were handed the token.
	claims := Claims{
		Subject: c.Subject, Principal: "identityfederateddomainapp", Tenant: b.setup.Tenancy, Resource: form["res_type"], ResourceTenant: b.setup.Tenancy,
	}
	for _, name := range trust.ClaimPropagations {
		if v, ok := c.All[name].(string); ok && strings.HasPrefix(name, "ext_") {
			if claims.Propagated == nil {
				claims.Propagated = map[string]string{}
			}
			claims.Propagated[name] = v
		}
	}
	return b.mint(claims, key, b.setup.World.Now().Add(life))
}

// matches compares with a pattern in which * stands for any text.
func matches(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == text
	}
	rest, ok := strings.CutPrefix(text, parts[0])
	if !ok {
		return false
	}
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}
