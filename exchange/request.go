package exchange

import (
	"net/netip"
	"time"
)

// Request is one exchange as a door understood it: syntax is checked, nothing is
// verified, nothing decided.
type Request struct {
	Door   string // oauth, rest or grpc: for the record only; no door has a policy of its own
	Grant  string // the grant type URN
	Client string // a registered client that has proven itself; empty: none

	ClientHash [32]byte // of that client as it was proven
	ClientOnce *Once    // the single-use value of its proof; burns with the exchange's first durable write
	Self       *Subject // the client itself, where it asks for itself (RFC 6749 §4.4) and SubjectToken is zero
	// Presenter is the client itself where it brings a token; nil: no client was
	// authenticated. It becomes the actor where the token is one of ours (S7).
	Presenter *Subject

	SubjectToken     Token
	ActorToken       Token // zero: none
	PassthroughToken Token // zero: none (S8)

	Audiences []string // names of targets (RFC 8693 §2.1); with Resources they must name one target
	Resources []string // URIs of targets (RFC 8707)

	Scopes        []string      // nil: whatever rule and target share
	RequestedType TokenType     // empty: the target's own
	Lifetime      time.Duration // zero: the default
	PublicKey     []byte        // SPKI DER, for proof of possession
	Reason        string        // kept in the ledger
	// Rejected is the SHA-256 of the credential that the caller had and that its resource
	// refused; zero: none. It is no longer served from a cache.
	Rejected [32]byte

	ClientIP       netip.Addr // the TCP peer, or what a trusted proxy said (S19)
	UserAgent      string
	TraceID        string
	RequestStarted time.Time
}
