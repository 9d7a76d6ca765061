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
	case isIDJAG(typOf(text)):
		return exchange.Fault(exchange.KindInvalidSubject, "identity assertion grants (ID-JAG) are not supported here: send the subject's own token as assertion", nil)
	}
	asked.SubjectToken, asked.SubjectTokenType = text, string(exchange.TokenTypeJWT)
	return nil
}

// isIDJAG tells the grants of draft-ietf-oauth-identity-assertion-authz-grant,
// which speak for a person to one authorization server, from tokens of a subject
// (S12).
func isIDJAG(typ string) bool { return typ == "oauth-id-jag+jwt" || typ == "id-jag+jwt" }

// maxHeader bounds the header of a JWT that is looked at here, in bytes.
const maxHeader = 8 << 10

// typOf is the typ of a header that nobody has verified, in lower case and without
// "application/" (RFC 7515 §4.1.9); empty where there is none to be read. The
// verifier reads it again, strictly.
func typOf(jwt string) string {
	first, _, _ := strings.Cut(jwt, ".")
	if len(first) > maxHeader {
		return ""
	}
	text, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		return ""
	}
	var header struct {
		Type string `json:"typ"`
	}
	if json.Unmarshal(text, &header) != nil {
		return ""
	}
	return strings.TrimPrefix(strings.ToLower(header.Type), "application/")
}
