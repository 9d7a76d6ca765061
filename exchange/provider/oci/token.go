package oci

import (
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// maxToken bounds a session token in bytes. Real ones have 1 to 3 kB.
const maxToken = 16 << 10

// token is a session token as the identity domain issued it. Its signature is
// Oracle's, and is Oracle's to verify: it came over TLS from the domain's own host.
type token struct {
	text    exchange.Secret
	expires time.Time
	handle  string
	tenancy string
	key     *rsa.PublicKey // that requests are signed with; nil: it names none
}

// parseToken reads the claims by itself: the SDK panics where `exp` is missing.
func parseToken(text string) (token, error) {
	if len(text) > maxToken {
		return token{}, fmt.Errorf("the token has %d bytes, over %d", len(text), maxToken)
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 || parts[2] == "" || !printable(text, maxToken) {
		return token{}, errors.New("the token is no signed JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return token{}, errors.New("the token's claims are no base64url")
	}
	var claims struct {
		Expires  *float64        `json:"exp"`
		ID       string          `json:"jti"`
		Tenant   string          `json:"tenant"`
		Resource string          `json:"res_tenant"` // of an RPST, in some realms
		JWK      json.RawMessage `json:"jwk"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return token{}, errors.New("the token's claims are not of their types")
	}
	// Beyond the year 9999 a moment has no RFC 3339 text.
	if claims.Expires == nil || math.IsNaN(*claims.Expires) || *claims.Expires < 1 || *claims.Expires > 253402300799 {
		return token{}, errors.New("the token has no exp")
	}
	t := token{text: exchange.NewSecret(text), expires: time.Unix(int64(*claims.Expires), 0), handle: claims.ID, tenancy: claims.Tenant}
	if !tenancyForm.MatchString(t.tenancy) || len(t.tenancy) > 255 {
		t.tenancy = ""
		if tenancyForm.MatchString(claims.Resource) && len(claims.Resource) <= 255 {
			t.tenancy = claims.Resource
		}
	}
	if !printable(t.handle, 128) {
		sum := sha256.Sum256([]byte(text))
		t.handle = "sha256:" + hex.EncodeToString(sum[:16])
	}
	if t.key, err = keyOf(claims.JWK); err != nil {
		return token{}, err
	}
	return t, nil
}

// keyOf reads the `jwk` claim, which is an object, or a string that holds one.
func keyOf(raw json.RawMessage) (*rsa.PublicKey, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	if raw[0] == '"' {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, errors.New("the token's jwk is no text")
		}
		raw = json.RawMessage(text)
	}
	var jwk struct {
		Type     string `json:"kty"`
		Modulus  string `json:"n"`
		Exponent string `json:"e"`
	}
	if err := json.Unmarshal(raw, &jwk); err != nil || jwk.Type != "RSA" {
		return nil, errors.New("the token's jwk is no RSA key")
	}
	n, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(jwk.Modulus, "="))
	if err != nil || len(n) == 0 || len(n) > 1025 {
		return nil, errors.New("the token's jwk has no modulus")
	}
	e, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(jwk.Exponent, "="))
	if err != nil || len(e) == 0 || len(e) > 4 {
		return nil, errors.New("the token's jwk has no exponent")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, nil
}
