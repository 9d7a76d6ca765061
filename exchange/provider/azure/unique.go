package azure

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
)

// maxPayload bounds, in bytes of base64, how much of a token is read for its id.
const maxPayload = 32 << 10

var uniqueForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// uniqueID is the token's `uti`, which the sign-in log calls its unique token
// identifier; empty where there is none. Nothing is verified: the token is for
// another to read, and the id is for people to search by.
func uniqueID(token exchange.Secret) string {
	_, rest, _ := strings.Cut(token.Reveal(), ".")
	payload, _, signed := strings.Cut(rest, ".")
	if !signed || len(payload) > maxPayload {
		return ""
	}
	plain, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return ""
	}
	var claims struct {
		UTI string `json:"uti"`
	}
	if json.Unmarshal(plain, &claims) != nil || !uniqueForm.MatchString(claims.UTI) {
		return ""
	}
	return claims.UTI
}
