package exchange

import "time"

// TrustClient is the kind of a subject that is a registered client and has proven
// itself with what policy registered, not with a token of a trust.
const TrustClient TrustKind = "client"

// The grant types that a client may use (RFC 8693 §2.1, RFC 6749 §4.4.2, RFC 7523
// §2.1).
const (
	GrantTokenExchange     = "urn:ietf:params:oauth:grant-type:token-exchange"
	GrantClientCredentials = "client_credentials"
	GrantJWTBearer         = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// Client is a registered client as policy has it. It proves itself in exactly one
// way: Secrets, Keys or Token says which.
type Client struct {
	Tenant string
	Name   string // the client_id; an https URL, or without a colon: so it is no subject's name (S3)

	Secrets    [][32]byte // SHA-256 of machine-made secrets: two while one replaces the other
	Keys       KeySource  // private_key_jwt (RFC 7523 §2.2): where its public keys are
	Algorithms []string   // of its assertions; JOSE names; empty: the verifier's default
	Token      bool       // a token of a trust that policy matches

	DefaultResource string // URI of the target that it means by naming none; empty: none
	// Serves are the URIs of the resources that this client is the server of: it may
	// introspect the tokens of ours for them (RFC 7662 §2.1) and exchange them on (S7).
	Serves []string
	Grants []string // that it may use; never empty

	// Hash is the SHA-256 of the canonical form of the above and of what a token
	// must match, made by policy. A request carries it, so that a decision under
	// another revision can tell.
	Hash [32]byte
}

// Subject is the client itself as the subject of its own request, for one that
// proved itself without a token.
func (c *Client) Subject(now time.Time) Subject {
	return Subject{
		Name: CanonicalName("client", c.Name), Tenant: c.Tenant, TrustHash: c.Hash, Kind: TrustClient, ID: c.Name,
		Attributes: Attributes{}, Issued: now, Expires: now.Add(MaxAccessTokenLifetime),
	}
}
