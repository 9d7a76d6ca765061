package provider

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
)

// maxPayload bounds, in bytes of base64, how much of a token is read for its name.
const maxPayload = 32 << 10

var handleForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)

// HandleOf is what a claim of somebody else's token says it is called, such as `jti`
// or `uti`: the name under which the provider's own log has it. It is empty where the
// token is no JWT, or the claim no plain name. Nothing is verified: the token is for
// another to read, and the name is for people to search by.
func HandleOf(token exchange.Secret, claim string) string {
	_, rest, _ := strings.Cut(token.Reveal(), ".")
	payload, _, signed := strings.Cut(rest, ".")
	if !signed || len(payload) > maxPayload {
		return ""
	}
	plain, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return ""
	}
	var claims map[string]json.RawMessage
	if json.Unmarshal(plain, &claims) != nil {
		return ""
	}
	var name string
	if json.Unmarshal(claims[claim], &name) != nil || !handleForm.MatchString(name) {
		return ""
	}
	return name
}
