package lease

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Revocation says which credential to take back.
type Revocation struct {
	Tenant string
	Lease  exchange.ID
	Reason string // one line of at most 512 bytes
	// NeedsReason: somebody else's credential is not taken back without one.
	NeedsReason bool
	// By says who does it and from where; its Subject is named in the ledger.
	By exchange.Record
}

// Revoked is what Revoke found and did.
type Revoked struct {
	// Lease as it is now.
	Lease exchange.Lease
	// Credentials are what becomes of the lease's own credential, first, unless it had
	// ended before; then of those that descend from it, and of exchanges under way.
	Credentials []Stopped
	// Next is where to go on; More is false at the end.
	Next Place
	More bool
}

// Revoke takes back one credential and everything that was obtained with it (S26),
// as Stop does. The credential itself comes first: once it is revoked nothing new
// descends from it. What has ended already is said, and what descends from it is
// seen to all the same; so the same request again tries again what was not stopped.
// An unknown lease is an *exchange.Error of KindNotFound.
func (k *Desk) Revoke(ctx context.Context, r Revocation, from Place) (Revoked, error) {
	switch {
	case r.NeedsReason && strings.TrimSpace(r.Reason) == "":
		return Revoked{}, exchange.Fault(exchange.KindInvalidRequest, "reason is missing: say why, for those who read the ledger", nil)
	case len(r.Reason) > maxReason || !printable(r.Reason):
		return Revoked{}, exchange.Fault(exchange.KindInvalidRequest, fmt.Sprintf("reason is not one line of at most %d bytes", maxReason), nil)
	}
	l, err := k.o.Book.LeaseWithRecord(ctx, r.Tenant, r.Lease)
	if err != nil {
		return Revoked{}, unreadable(err)
	}
	o := order{
		tenant: r.Tenant, match: map[string]string{"lineage": r.Lease.String()}, except: r.Lease,
		reason: r.Reason, by: r.By, how: "revoked by " + r.By.Subject,
		pending: "an exchange of what descends from it is under way or was broken off: it can no longer be issued, and whatever was minted is withheld, and revoked where the provider can",
	}
	out := Revoked{Lease: l.Lease}
	if from == (Place{}) && StateOf(l.Lease, k.o.Now()) == exchange.LeaseActive {
		own := Stopped{Lease: l.Lease, Credential: l.Record.Credential}
		k.stopOne(ctx, &o, &own)
		out.Credentials = append(out.Credentials, own)
		if own.Fate == FateRevoked || own.Fate == FateRefused {
			out.Lease.State, out.Lease.Revoked = exchange.LeaseRevoked, k.o.Now()
		} else {
			o.pending = "an exchange of what descends from it is under way or was broken off: it may still be issued; send the same request again"
		}
	}
	o.how += ", with the lease " + r.Lease.String() + " that it descends from"
	derived, next, more, err := k.carryOut(ctx, o, from)
	if err != nil {
		return out, exchange.Fault(exchange.KindUnavailable, "what descends from the lease could not be read, and may not be revoked; send the same request again", err)
	}
	out.Credentials = append(out.Credentials, derived...)
	out.Next, out.More = next, more
	return out, nil
}

// StateOf is the state of a lease as of now: that one has expired is written nowhere.
func StateOf(l exchange.Lease, now time.Time) exchange.LeaseState {
	if l.State == exchange.LeaseActive && !now.Before(l.Expires) {
		return exchange.LeaseExpired
	}
	return l.State
}
