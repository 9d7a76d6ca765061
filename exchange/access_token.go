package exchange

import "time"

// The longest lives of what the issuers sign. A signing key stays published for as
// long after its last use.
const (
	MaxAccessTokenLifetime = 12 * time.Hour
	MaxAssertionLifetime   = 10 * time.Minute
	MaxIDJAGLifetime       = 5 * time.Minute
)

// ValidScope reports whether s is one scope token of RFC 6749 §3.3: printable
// ASCII without space, quote and backslash.
func ValidScope(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// AccessToken is what the issuer signs as `at+jwt` (RFC 9068 §2).
type AccessToken struct {
	ID       ID // `jti`
	Subject  string
	Audience string // the exact registered resource; one per token
	ClientID string // S3: the registered client, else the outermost actor, else the subject
	Scopes   []string
	Issued   time.Time
	Expires  time.Time
	Actors   []Actor // outermost first; become nested `act` (RFC 8693 §4.1)
	MayAct   *MayAct // becomes `may_act` (RFC 8693 §4.4); nil: none
}

// IDJAG is what the issuer signs as `oauth-id-jag+jwt`: its word to another
// authorization server that one client may act for the subject there
// (draft-ietf-oauth-identity-assertion-authz-grant §3). Audience is that server's
// issuer, and ClientID is the client as that server knows it.
type IDJAG struct {
	AccessToken
	Resource string // URI of the resource that is wanted behind that server
}

// Assertion is what the federation issuer signs for one cloud's token endpoint
// (S1). It is never handed to a caller.
type Assertion struct {
	Tenant   string
	Target   string
	Values   []string // follow <tenant>:<target> in `sub`, each escaped (S2)
	Audience string
	Endpoint string // host name, without port, that it will be sent to: a vendor's fixed Audience goes only there (S2)
	Issued   time.Time
	Expires  time.Time      // at most MaxAssertionLifetime after Issued
	Claims   map[string]any // session tags and the like; registered names are refused
}
