package exchange

import "time"

// Deny is an emergency deny: it binds every exchange that settles after it, on
// every replica (S31).
type Deny struct {
	ID     ID
	Tenant string
	Epoch  int64
	// Match names what is denied: subject, actor, trust, target, rule,
	// credential or lineage, to its exact value. All members must hold. A member
	// that a replica does not know is taken to hold (S31).
	Match   map[string]string
	Reason  string
	Created time.Time
	Expires time.Time // zero: until removed
	Removed time.Time // zero: it was not; set only where denies are listed for people
}

// DenyList is the active denies of a tenant as of one epoch.
type DenyList struct {
	Epoch  int64
	Denies []Deny
}
