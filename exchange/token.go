package exchange

// TokenType is a token type identifier (RFC 8693 §3), or one of ours for what
// that list does not know.
type TokenType string

// The token type identifiers that Cambio reads or issues.
const (
	TokenTypeAccessToken  TokenType = "urn:ietf:params:oauth:token-type:access_token"
	TokenTypeIDToken      TokenType = "urn:ietf:params:oauth:token-type:id_token"
	TokenTypeJWT          TokenType = "urn:ietf:params:oauth:token-type:jwt"
	TokenTypeRefreshToken TokenType = "urn:ietf:params:oauth:token-type:refresh_token"
	TokenTypeIDJAG        TokenType = "urn:ietf:params:oauth:token-type:id-jag"
)

// Token is a token as a caller presented it. Its Type is the caller's label and
// is believed in nothing but what the verifier says: the trust decides.
type Token struct {
	Value Secret
	Type  TokenType
}

// IsZero reports whether no token was presented.
func (t Token) IsZero() bool { return t.Value.IsZero() }
