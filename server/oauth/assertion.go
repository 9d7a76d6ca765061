package oauth

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/server"
)

// checkAssertion makes the assertion of jwt-bearer (RFC 7523 §2.1) the subject
// token, and refuses tokens in parameters of other grants: who sends both means
// one of them, and we would have to guess which.
func (f *form) checkAssertion(asked *server.Asked) error {
	text := f.get(assertion)
	switch {
	case asked.Grant != exchange.GrantJWTBearer && text != "":
		return server.Invalid("assertion is for the grant type " + exchange.GrantJWTBearer + "; leave it out here")
	case asked.Grant != exchange.GrantJWTBearer:
		return nil
	case asked.SubjectToken != "" || asked.SubjectTokenType != "":
		return server.Invalid("with jwt-bearer the subject's token is the assertion: leave out subject_token and subject_token_type")
	}
	asked.SubjectToken, asked.SubjectTokenType = text, string(exchange.TokenTypeJWT)
	if typOf(text) == typeIDJAG {
		asked.SubjectTokenType = string(exchange.TokenTypeIDJAG)
		if at := resourceOf(text); at != "" && len(asked.Resources) == 0 {
			asked.Resources = []string{at}
		}
	}
	return nil
}

// typeIDJAG tells the grants of draft-ietf-oauth-identity-assertion-authz-grant,
// which speak for a person to one authorization server, from tokens of a subject
// (S12).
const typeIDJAG = "oauth-id-jag+jwt"

// The bounds of what is looked at here of a JWT, in bytes.
const (
	maxHeader = 8 << 10
	maxClaims = 32 << 10
)

// typOf is the typ of a header that nobody has verified, in lower case and without
// "application/" (RFC 7515 §4.1.9); empty where there is none to be read. The
// verifier reads it again, strictly.
func typOf(jwt string) string {
	first, _, _ := strings.Cut(jwt, ".")
	var header struct {
		Type string `json:"typ"`
	}
	if !peek(first, maxHeader, &header) {
		return ""
	}
	return strings.TrimPrefix(strings.ToLower(header.Type), "application/")
}

// resourceOf is the one resource that claims name which nobody has verified. It says
// what is asked for where the request does not (clients send nothing but the
// assertion); that it is what the grant was made for is checked once that has been
// verified.
func resourceOf(jwt string) string {
	_, rest, _ := strings.Cut(jwt, ".")
	second, _, _ := strings.Cut(rest, ".")
	var claims struct {
		Resource any `json:"resource"`
	}
	if !peek(second, maxClaims, &claims) {
		return ""
	}
	if list, ok := claims.Resource.([]any); ok && len(list) == 1 {
		claims.Resource = list[0]
	}
	text, _ := claims.Resource.(string)
	return text
}

// peek decodes a part of a JWT that nobody has verified.
func peek(part string, limit int, into any) bool {
	if len(part) > limit {
		return false
	}
	text, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(text, into) == nil
}
