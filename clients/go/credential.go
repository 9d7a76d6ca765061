package cambio

import "time"

// Credential is what an exchange gave. It is not changed after it was returned.
type Credential struct {
	// Value is the token, or what the target issues in its place: of AWS and OCI a
	// JSON object, see the README of each provider.
	Value Secret
	// Type is how a token is sent, such as "Bearer"; "N_A" for what is no token.
	Type string
	// IssuedTokenType says what Value is.
	IssuedTokenType string
	// Scopes are those that were granted.
	Scopes []string
	// Expires is by this machine's clock, whatever the server's says. It has a
	// monotonic reading: a clock that is set does not move it.
	Expires time.Time
	// Refresh is from when a source renews.
	Refresh time.Time
	// ExchangeID and LeaseID find the credential in the server's ledger.
	ExchangeID, LeaseID string
}
