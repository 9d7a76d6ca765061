package lease

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Bounds on one call of Stop or Revoke.
const (
	stopPage     = 500             // leases that are read at once
	stopListed   = 500             // credentials that one answer names, about
	stopTogether = 32              // revocations at once
	stopBudget   = 8 * time.Second // after which no more are begun
)

// Fate is what becomes of a credential that is to be stopped.
type Fate uint8

// The fates.
const (
	FateRevoked    Fate = iota + 1 // dead now
	FateExpires                    // nothing takes it back
	FateNotStopped                 // it could be taken back, and was not
	FatePending                    // its exchange is under way, or its process died
	FateRefused                    // a token of ours, or a value that is kept elsewhere: dead here, and for whoever asks here
)

// Stopped is one credential that is to be stopped.
type Stopped struct {
	Fate Fate
	Why  string
	// Lease is that of the credential. Of a pending one it has what the intent says,
	// and no id.
	Lease      exchange.Lease
	Credential string // its fingerprint; empty for a pending one
}

// Place is how far Stop or Revoke has come: the last lease that it looked at, or the
// last intent. The zero Place is the beginning.
type Place struct {
	Intents bool
	Expires time.Time
	After   exchange.ID
}

// order is what is to be stopped, by a deny or by the revocation of one lease.
type order struct {
	tenant  string
	match   map[string]string // as a deny's
	except  exchange.ID       // a lease that has been seen to
	reason  string
	by      exchange.Record // who does it, and from where
	how     string          // the explanation in the ledger
	pending string          // what becomes of an exchange under way
}

// Stop takes back what a deny in force covers, as far as that can be done, and says
// what becomes of each credential and of each exchange under way. It goes on from a
// place and returns where to go on next; more is false at the end. What was not
// stopped is tried again by going there again.
//
// It is called after Add: the deny's epoch keeps anything new from being issued, so
// what it finds is all there is.
func (k *Desk) Stop(ctx context.Context, d exchange.Deny, operator string, from Place) (all []Stopped, next Place, more bool, err error) {
	return k.carryOut(ctx, order{
		tenant: d.Tenant, match: d.Match, reason: d.Reason, how: "revoked by " + operator + " with the emergency deny " + d.ID.String(),
		pending: "its exchange is under way or was broken off: it can no longer be issued, and whatever was minted is withheld, and revoked where the provider can",
	}, from)
}

func (k *Desk) carryOut(ctx context.Context, o order, from Place) (all []Stopped, next Place, more bool, err error) {
	begun := k.o.Now()
	over := func() bool { return len(all) >= stopListed || k.o.Now().Sub(begun) >= stopBudget }
	root, _ := exchange.ParseID(o.match["lineage"]) // zero where there is none
	for !from.Intents {
		page, err := k.o.Book.Outstanding(ctx, Query{
			Tenant: o.tenant, Subject: o.match["subject"], Target: o.match["target"], Rule: o.match["rule"], Lineage: root,
			Expires: from.Expires, After: from.After, Limit: stopPage,
		})
		if err != nil {
			return nil, from, false, fmt.Errorf("reading what is outstanding: %w", err)
		}
		for rest := page; len(rest) > 0; {
			n := min(len(rest), stopTogether)
			all = append(all, k.stopEach(ctx, &o, rest[:n])...)
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
		page, err := k.o.Book.Unsettled(ctx, o.tenant, from.After, stopPage)
		if err != nil {
			return nil, from, false, fmt.Errorf("reading the exchanges under way: %w", err)
		}
		for i := range page {
			r := &page[i].Event.Record
			if from.After = page[i].Event.Exchange; !covers(o.match, r) {
				continue
			}
			all = append(all, Stopped{
				Fate: FatePending, Why: o.pending,
				Lease: exchange.Lease{Tenant: o.tenant, Exchange: page[i].Event.Exchange, Target: r.Target, Provider: r.Provider, Subject: r.Subject, Rule: r.Rule},
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

// stopEach stops those of the leases that are meant, at the same time.
func (k *Desk) stopEach(ctx context.Context, o *order, leases []Outstanding) []Stopped {
	meant := make([]Stopped, 0, len(leases))
	for i := range leases {
		l := &leases[i]
		r := l.recordOf()
		if l.ID != o.except && covers(o.match, &r) {
			meant = append(meant, Stopped{Lease: l.Lease, Credential: l.Record.Credential})
		}
	}
	var stopping sync.WaitGroup
	for i := range meant {
		stopping.Go(func() { k.stopOne(ctx, o, &meant[i]) })
	}
	stopping.Wait()
	return meant
}

// stopOne stops one credential by whatever way there is.
func (k *Desk) stopOne(ctx context.Context, o *order, s *Stopped) {
	switch {
	case len(s.Lease.Sealed) > 0:
		k.revoke(ctx, o, s)
	case ours(&s.Lease):
		k.refuse(ctx, o, s, "introspection and exchange here refuse it from now on; a server that verifies it by itself accepts it until "+exchange.FormatTime(s.Lease.Expires))
	default:
		s.Fate, s.Why = FateExpires, "nothing takes it back: its provider has no way to revoke it, so it works until "+exchange.FormatTime(s.Lease.Expires)
	}
}

// ours reports whether a credential is a token of our own: it carries the id of its
// lease as its own (RFC 7519 §4.1.7).
func ours(l *exchange.Lease) bool { return len(l.Sealed) == 0 && l.Handle == l.ID.String() }

// revoke takes one credential back at its provider, then says so in the ledger. In
// between it is dead and on record as active: going there again mends that.
func (k *Desk) revoke(ctx context.Context, o *order, s *Stopped) {
	s.Fate = FateNotStopped
	with, err := k.unseal(&s.Lease)
	if err != nil {
		s.Why = err.Error()
		return
	}
	switch err := k.o.Revoke(ctx, o.tenant, s.Lease.Target, with); {
	case errors.Is(err, exchange.ErrHandedOut):
		k.refuse(ctx, o, s, "it is not handed out here any more; "+exchange.ErrHandedOut.Error())
		return
	case err != nil:
		s.Why = k.why(err, with)
		return
	}
	s.Fate, s.Why = FateRevoked, "revoked at the provider"
	if _, err := k.record(ctx, o, s); err != nil {
		s.Why += ", which could not be recorded: send the same request again"
	}
}

// unseal gives what revokes or renews a credential. Its error is for the operator.
func (k *Desk) unseal(l *exchange.Lease) (exchange.Secret, error) {
	plain, err := k.o.Sealer.Open("lease", l.ID.String(), l.Sealed)
	if err != nil {
		return exchange.Secret{}, errors.New("what revokes it cannot be unsealed: is this replica's seal.key the one it was sealed with?")
	}
	return exchange.NewSecret(string(plain)), nil
}

// why is a provider's refusal as the operator reads it: one bounded text without the
// secret.
func (*Desk) why(err error, with exchange.Secret) string {
	text := strings.ReplaceAll(err.Error(), with.Reveal(), "REDACTED")
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + " …"
	}
	return text
}

// refuse marks what is dead here alone: introspection and exchange look at the mark.
func (k *Desk) refuse(ctx context.Context, o *order, s *Stopped, why string) {
	if _, err := k.record(ctx, o, s); err != nil {
		s.Fate, s.Why = FateNotStopped, "that it is revoked could not be recorded: send the same request again"
		return
	}
	s.Fate, s.Why = FateRefused, why
}

// record makes the lease revoked, with its event. False: it was not active.
func (k *Desk) record(ctx context.Context, o *order, s *Stopped) (bool, error) {
	now := k.o.Now()
	id, err := exchange.NewID(now, k.o.Random)
	if err != nil {
		return false, err
	}
	l := &s.Lease
	r := exchange.Record{
		Exchange: l.Exchange.String(), Type: exchange.EventRevoked.String(), At: exchange.FormatTime(now), Tenant: o.tenant,
		Subject: l.Subject, Target: l.Target, Provider: l.Provider, Rule: l.Rule, Reason: o.reason, Explanation: o.how,
		Credential: s.Credential, Handle: l.Handle, Lease: l.ID.String(),
		Door: o.by.Door, ClientIP: o.by.ClientIP, UserAgent: o.by.UserAgent, TraceID: o.by.TraceID, TokenID: o.by.TokenID, KeyID: o.by.KeyID,
	}
	if r.Actor = l.Actor; l.Actor != "" {
		r.Actors = []string{l.Actor}
	}
	for _, ancestor := range l.Lineage {
		r.Lineage = append(r.Lineage, ancestor.String())
	}
	return k.o.Book.RevokeLease(ctx, o.tenant, l.ID, exchange.Event{
		ID: id, Exchange: l.Exchange, Tenant: o.tenant, Type: exchange.EventRevoked, At: now, Record: r,
	})
}
