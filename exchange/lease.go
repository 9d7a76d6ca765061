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
	Revoked  time.Time // zero: it was not

	// Actor is the outermost actor proven in the exchange, who holds the credential
	// for the subject; empty: nobody acts.
	Actor string
	// Lineage are the leases of the tokens of ours that the exchange's subject token
	// descends from, the oldest first. Empty: it came from another issuer.
	Lineage []ID
	// Latest is as far as renewals may ever go (S26).
	Latest time.Time
	// Origin is an Origin, sealed under ("origin", id), of a token of ours that may
	// come back (S7). Empty: it may not.
	Origin []byte
}
