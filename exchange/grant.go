package exchange

import "time"

// Grant is what was decided, resolved for the provider: vend exactly this.
type Grant struct {
	Exchange    ID
	Tenant      string
	Target      *Target
	Subject     Subject
	Actors      []Actor // proven first, then asserted, outermost first
	Client      string
	Scopes      []string
	Type        TokenType
	PublicKey   []byte
	Passthrough Token
	Rule        string
	RuleHash    [32]byte // SHA-256 of the rule's canonical form; zero: unsaid, then Revision counts (S23)
	Revision    Revision

	Now      time.Time
	Lifetime time.Duration // wished for; NotAfter - Now at most
	// NotAfter is the least of the four caps: subject, actors, rule, request
	// (S5). A credential may pass it only where the target may outlive.
	NotAfter time.Time

	// Rejected is the SHA-256 of a credential that its resource refused, as the caller
	// says; zero: none. What is at hand and is this one is replaced, unless it was minted
	// a moment ago: who refuses that does not refuse it for its age.
	Rejected [32]byte

	// Stopped reports whether a credential that is at hand already must not serve: an
	// emergency deny names it, or it turned out to be revoked. Then it is dropped and
	// another one minted. Nil: none is.
	Stopped func(Secret) bool
}
