package exchange

import "time"

// LeaseState says what became of a lease.
type LeaseState uint8

// The states of a lease.
const (
	LeaseActive  LeaseState = 1
	LeaseRevoked LeaseState = 2
	LeaseExpired LeaseState = 3
)

// Lease is the handle on a credential that was handed out. It is written with the
// outcome of the exchange that minted the credential; later exchanges that reuse
// the credential point to it.
type Lease struct {
	ID       ID
	Tenant   string
	Exchange ID // that minted it
	Target   string
	Provider string
	Subject  string
	Rule     string
	Handle   string
	Sealed   []byte // RevokeWith, sealed under ("lease", id); empty: cannot be revoked there
	Issued   time.Time
	Expires  time.Time
	State    LeaseState
}
