package exchange

import (
	"net/netip"
	"time"
)

// Question is what policy is asked: everything it may look at, and nothing else.
type Question struct {
	Tenant    string
	Subject   Subject
	Actors    []Actor // proven in this request, outermost first
	Client    string
	Audiences []string
	Resources []string
	Scopes    []string // nil: not asked
	Type      TokenType
	Lifetime  time.Duration // zero: not asked
	Reason    string
	ClientIP  netip.Addr
	Now       time.Time

	ClientHash [32]byte // of the client as it was proven
}

// Revision names one loaded policy.
type Revision struct {
	Hash string // lower-case hexadecimal SHA-256 of the files
	Seq  int64  // its place in the database's order (S21)
}

// Decision is policy's answer. A refusal is a Decision too, never an error.
type Decision struct {
	Allowed bool

	// Refusal is the error kind for the caller when not Allowed. It is
	// KindInvalidTarget alike for an unknown target, for no allow and for a
	// deny, so that names cannot be probed (S18).
	Refusal Kind
	// Advice tells the caller what to change. It never says what policy says.
	Advice string
	// Explanation is for the operator, in the ledger only.
	Explanation string

	Rule     string   // the rule that decided; for a refusal, the deny that did
	RuleHash [32]byte // SHA-256 of that rule's canonical form; zero: the whole revision stands for it (S23)
	Target   *Target  // nil when none was named
	Scopes   []string
	Lifetime time.Duration // the least of the rule's, the request's and the default
	Revision Revision
	Epoch    int64 // of the emergency denies that were looked at (S31)
}
