package lease

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Bounds on one call of Stop.
const (
	stopPage     = 500             // leases that are read at once
	stopListed   = 500             // credentials that one answer names, about
	stopTogether = 32              // revocations at once
	stopBudget   = 8 * time.Second // after which no more are begun
)

// Fate is what becomes of a credential that a deny covers.
type Fate uint8

// The fates.
const (
	FateRevoked    Fate = iota + 1 // dead now
	FateExpires                    // nothing takes it back
	FateNotStopped                 // it could be taken back, and was not
	FatePending                    // its exchange is under way, or its process died
)

// Stopped is one credential that a deny covers.
type Stopped struct {
	Fate Fate
	Why  string
	// Lease is that of the credential. Of a pending one it has what the intent says,
	// and no id.
	Lease      exchange.Lease
	Credential string // its fingerprint; empty for a pending one
}

// Place is how far Stop has come: the last lease that it looked at, or the last
// intent. The zero Place is the beginning.
type Place struct {
	Intents bool
	Expires time.Time
	After   exchange.ID
}

// Stop takes back what a deny in force covers, as far as that can be done, and says
// what becomes of each credential and of each exchange under way. It goes on from a
// place and returns where to go on next; more is false at the end. What was not
// stopped is tried again by going there again.
//
// It is called after Add: the deny's epoch keeps anything new from being issued, so
// what it finds is all there is.
func (k *Desk) Stop(ctx context.Context, d exchange.Deny, operator string, from Place) (all []Stopped, next Place, more bool, err error) {
	begun := k.o.Now()
	over := func() bool { return len(all) >= stopListed || k.o.Now().Sub(begun) >= stopBudget }
	for !from.Intents {
		page, err := k.o.Book.Outstanding(ctx, Query{
			Tenant: d.Tenant, Subject: d.Match["subject"], Target: d.Match["target"], Rule: d.Match["rule"],
			Expires: from.Expires, After: from.After, Limit: stopPage,
		})
		if err != nil {
			return nil, from, false, fmt.Errorf("reading what is outstanding: %w", err)
		}
		for rest := page; len(rest) > 0; {
			n := min(len(rest), stopTogether)
			all = append(all, k.stopEach(ctx, d, operator, rest[:n])...)
			from.Expires, from.After = rest[n-1].Expires, rest[n-1].ID
			if rest = rest[n:]; over() {
				return all, from, true, nil
			}
		}
		if len(page) < stopPage {
			from = Place{Intents: true}
		}
	}
	for {
		page, err := k.o.Book.Unsettled(ctx, d.Tenant, from.After, stopPage)
		if err != nil {
			return nil, from, false, fmt.Errorf("reading the exchanges under way: %w", err)
		}
		for i := range page {
			r := &page[i].Event.Record
			if from.After = page[i].Event.Exchange; !covers(d.Match, r) {
				continue
			}
			all = append(all, Stopped{
				Fate: FatePending, Why: "its exchange is under way or was broken off: it can no longer be issued, and whatever was minted is withheld, and revoked where the provider can",
				Lease: exchange.Lease{Tenant: d.Tenant, Exchange: page[i].Event.Exchange, Target: r.Target, Provider: r.Provider, Subject: r.Subject, Rule: r.Rule},
			})
		}
		if len(page) < stopPage {
			return all, from, false, nil
		}
		if over() {
			return all, from, true, nil
		}
	}
}

// stopEach stops those of the leases that the deny covers, at the same time.
func (k *Desk) stopEach(ctx context.Context, d exchange.Deny, operator string, leases []Outstanding) []Stopped {
	covered := make([]Stopped, 0, len(leases))
	for _, l := range leases {
		r := l.Record
		r.Subject, r.Target, r.Rule = l.Subject, l.Target, l.Rule // also where the ledger has the record no more
		if covers(d.Match, &r) {
			covered = append(covered, Stopped{Lease: l.Lease, Credential: l.Record.Credential})
		}
	}
	var revoking sync.WaitGroup
	for i := range covered {
		s := &covered[i]
		if len(s.Lease.Sealed) == 0 {
			s.Fate, s.Why = FateExpires, "nothing takes it back: whoever accepts it checks it without asking, or its provider has no way to revoke it"
			continue
		}
		revoking.Go(func() { k.revoke(ctx, d, operator, s) })
	}
	revoking.Wait()
	return covered
}

// revoke takes one credential back at its provider, then says so in the ledger. In
// between it is dead and on record as active: going there again mends that.
func (k *Desk) revoke(ctx context.Context, d exchange.Deny, operator string, s *Stopped) {
	s.Fate = FateNotStopped
	plain, err := k.o.Sealer.Open("lease", s.Lease.ID.String(), s.Lease.Sealed)
	if err != nil {
		s.Why = "what revokes it cannot be unsealed: is this replica's seal.key the one it was sealed with?"
		return
	}
	with := exchange.NewSecret(string(plain))
	if err := k.o.Revoke(ctx, d.Tenant, s.Lease.Target, with); err != nil {
		s.Why = strings.ReplaceAll(err.Error(), with.Reveal(), "REDACTED")
		if len(s.Why) > maxReason {
			s.Why = strings.ToValidUTF8(s.Why[:maxReason], "") + " …"
		}
		return
	}
	s.Fate, s.Why = FateRevoked, "revoked at the provider"
	now := k.o.Now()
	id, err := exchange.NewID(now, k.o.Random)
	if err == nil {
		_, err = k.o.Book.RevokeLease(ctx, d.Tenant, s.Lease.ID, exchange.Event{
			ID: id, Exchange: s.Lease.Exchange, Tenant: d.Tenant, Type: exchange.EventRevoked, At: now, Record: exchange.Record{
				Exchange: s.Lease.Exchange.String(), Type: exchange.EventRevoked.String(), At: exchange.FormatTime(now), Tenant: d.Tenant,
				Subject: s.Lease.Subject, Target: s.Lease.Target, Provider: s.Lease.Provider, Rule: s.Lease.Rule, Reason: d.Reason,
				Explanation: "revoked by " + operator + " with the emergency deny " + d.ID.String(),
				Credential:  s.Credential, Handle: s.Lease.Handle, Lease: s.Lease.ID.String(),
			},
		})
	}
	if err != nil {
		s.Why += ", which could not be recorded: send the same request again"
	}
}
