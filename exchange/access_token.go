package exchange

import "time"

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
}

// Assertion is what the federation issuer signs for one cloud's token endpoint
// (S1). It is never handed to a caller.
type Assertion struct {
	Tenant   string
	Target   string
	Values   []string // follow <tenant>:<target> in `sub`, each escaped (S2)
	Audience string
	Issued   time.Time
	Expires  time.Time      // at most ten minutes after Issued
	Claims   map[string]any // session tags and the like; registered names are refused
}
