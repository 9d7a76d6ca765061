package exchange

import "time"

// Credential is what is handed out.
type Credential struct {
	Value      Secret
	TokenType  string    // "Bearer", or "N_A" for what is not an OAuth access token (RFC 8693 §2.2.1)
	IssuedType TokenType // issued_token_type
	Issued     time.Time
	Expires    time.Time
	Scopes     []string
	// Handle is the provider's own public name for it (access key id, `jti`,
	// token `uti`), for the ledger and for matching a cloud's audit log.
	Handle string
	// RevokeWith is what the driver needs to revoke or renew it; kept sealed
	// with the lease. Zero: nothing can be done.
	RevokeWith Secret
	// Lease names the lease of this credential; Minted says that this slot made
	// both, so that the lease must be written. The vendor sets them.
	Lease  ID
	Minted bool
}
