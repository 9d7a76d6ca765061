package lease

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Extension asks that a credential live longer.
type Extension struct {
	Tenant string
	Lease  exchange.ID
	// Subject is who asks, as a fresh token of its own proved.
	Subject  exchange.Subject
	Lifetime time.Duration // from now; zero: what policy gives to those who do not say
	Reason   string
	ClientIP netip.Addr
	By       exchange.Record // from where it is asked
}

// maxRenewals bounds how often one renewal is decided again because denies keep
// coming in.
const maxRenewals = 4

// renewTimeout bounds what follows once a renewal is durable: the provider's answer
// and its record.
const renewTimeout = 20 * time.Second

// mayNotRenew says why a lease cannot live longer, and what helps.
func mayNotRenew(why string) error {
	return exchange.Fault(exchange.KindInvalidRequest, "the lease cannot be renewed: "+why+": exchange again for a new credential", nil)
}

// Renew makes a credential live longer where the provider can (S26). It is decided
// by the policy and the denies of this moment, for the lease's own subject; the
// first maximum holds, counted from the first issue. The new expiry is durable
// before the provider is asked, and set right where it gives less. It returns the
// lease as it is now. Its errors of KindInvalidRequest say why a lease cannot be
// renewed; the refusals of policy are as those of an exchange.
func (k *Desk) Renew(ctx context.Context, x Extension) (exchange.Lease, error) {
	for range maxRenewals {
		l, with, until, err := k.extend(ctx, x)
		switch {
		case errors.Is(err, exchange.ErrStale):
			if err := k.o.Policy.Refresh(ctx); err != nil {
				return exchange.Lease{}, exchange.Fault(exchange.KindUnavailable, "the emergency denies could not be read; try again", err)
			}
			continue
		case err != nil:
			return exchange.Lease{}, err
		}
		return k.prolong(ctx, x, l, with, until)
	}
	return exchange.Lease{}, exchange.Fault(exchange.KindUnavailable, "emergency denies keep coming in; try again", exchange.ErrStale)
}

// extend decides, and makes the new expiry durable.
func (k *Desk) extend(ctx context.Context, x Extension) (l Outstanding, with exchange.Secret, until time.Time, err error) {
	decider, err := k.o.Policy.Current() // before the standing is read, which knows of every deny that this knows of
	if err != nil {
		return l, with, until, err
	}
	if l, err = k.o.Book.LeaseWithRecord(ctx, x.Tenant, x.Lease); err != nil {
		return l, with, until, unreadable(err)
	}
	now := k.o.Now()
	if err = k.renewable(x, &l, now); err != nil {
		return l, with, until, err
	}
	switch _, err = k.o.Standing(ctx, x.Tenant, x.Lease); {
	case exchange.KindOf(err) == exchange.KindNotFound && err != nil:
		return l, with, until, mayNotRenew("it is stopped, or what it descends from")
	case err != nil:
		return l, with, until, err
	}
	if with, err = k.unseal(&l.Lease); err != nil {
		return l, with, until, exchange.Fault(exchange.KindInternal, "", err)
	}
	d, until, err := k.decide(decider, x, &l, now)
	switch {
	case err != nil && !d.Allowed:
		return l, with, until, k.turnDown(ctx, x, l, d, err)
	case err != nil:
		return l, with, until, err
	}
	event, err := k.renewal(x, &l, d, until, "renewed; it would have expired at "+exchange.FormatTime(l.Expires))
	if err != nil {
		return l, with, until, err
	}
	switch done, err := k.o.Book.RenewLease(ctx, Renewal{
		Tenant: x.Tenant, Lease: x.Lease, From: l.Expires, Until: until, Epoch: d.Epoch, Event: event,
	}); {
	case errors.Is(err, exchange.ErrStale):
		return l, with, until, err
	case err != nil:
		return l, with, until, exchange.Fault(exchange.KindUnavailable, "the renewal could not be recorded, so the provider was not asked; try again", err)
	case !done:
		return l, with, until, exchange.Fault(exchange.KindUnavailable, "the lease was revoked, renewed or has expired in this moment; look at it, and try again", nil)
	}
	return l, with, until, nil
}

// renewable refuses what no policy could allow.
func (k *Desk) renewable(x Extension, l *Outstanding, now time.Time) error {
	switch s := x.Subject; {
	case StateOf(l.Lease, now) == exchange.LeaseRevoked:
		return mayNotRenew("it was revoked at " + exchange.FormatTime(l.Revoked))
	case StateOf(l.Lease, now) == exchange.LeaseExpired:
		return mayNotRenew("it expired at " + exchange.FormatTime(l.Expires))
	case l.Actor != "":
		return mayNotRenew("somebody acts for its subject, and both have to prove themselves")
	case s.Tenant != l.Tenant || s.Name != l.Subject:
		return mayNotRenew("only its own subject can, by a fresh token of its own")
	case len(s.Asserted) > 0 || s.MayAct != nil || s.Own != nil || s.Assertion != nil || s.Once != nil:
		return mayNotRenew("this token does not speak for its subject alone")
	}
	if why := k.Fixed(l.Lease); why != "" {
		return mayNotRenew(why)
	}
	if l.Record.Lease == "" {
		return mayNotRenew("the ledger does not have its exchange any more")
	}
	return nil
}

// Fixed says why nobody could renew a lease that has not ended; empty: it may be
// renewed until Latest, where policy allows.
func (k *Desk) Fixed(l exchange.Lease) string {
	switch {
	case l.Actor != "":
		return "somebody acts for its subject, and both have to prove themselves"
	case len(l.Sealed) == 0 || k.o.Renew == nil || !k.o.CanRenew(l.Tenant, l.Target):
		return "its provider does not renew credentials"
	case !l.Latest.After(l.Expires):
		return "it lives as long as its rule allows already"
	}
	return ""
}

// decide asks the policy of this moment, and finds the new expiry: past none of the
// caps, each counted as at the first issue. With an error, the decision says whether
// it is a refusal.
func (k *Desk) decide(decider exchange.Decider, x Extension, l *Outstanding, now time.Time) (exchange.Decision, time.Time, error) {
	q := exchange.Question{
		Tenant: x.Tenant, Subject: x.Subject, Audiences: []string{l.Target}, Scopes: l.Record.Scopes,
		Lifetime: x.Lifetime, Reason: x.Reason, ClientIP: x.ClientIP, Now: now,
	}
	d := decider.Decide(q)
	if !d.Allowed {
		return d, time.Time{}, exchange.Fault(d.Refusal, d.Advice, errors.New(d.Explanation))
	}
	until := earliest(now.Add(d.Lifetime), l.Latest, x.Subject.Expires).Truncate(time.Microsecond)
	if !until.After(l.Expires) {
		return d, until, mayNotRenew("it would not live longer than until " + exchange.FormatTime(l.Expires))
	}
	// The rule's limit of today counts from the first issue, too: a renewal is no way
	// around it.
	q.Lifetime = until.Sub(l.Issued)
	if whole := decider.Decide(q); !whole.Allowed || whole.Target.Hash != d.Target.Hash || !slices.Equal(whole.Scopes, d.Scopes) {
		d.Allowed = false
		return d, until, mayNotRenew("counted from its first issue it would live longer than policy allows")
	}
	if denier, ok := decider.(exchange.CredentialDenier); ok {
		if denied := denier.DeniesCredentials(q, d); denied != nil && denied(l.Record.Credential) {
			d.Allowed = false
			return d, until, mayNotRenew("it is stopped")
		}
	}
	return d, until, nil
}

// turnDown records that a renewal was decided against, within the rate at which
// refusals of the subject are recorded (S32), and returns the refusal.
func (k *Desk) turnDown(ctx context.Context, x Extension, l Outstanding, d exchange.Decision, refusal error) error {
	if k.o.Governor != nil {
		release, over := k.o.Governor.Admit(ctx, exchange.Question{Tenant: x.Tenant, Subject: x.Subject}, d)
		if over != nil {
			return refusal
		}
		release(refusal)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTimeout)
	defer cancel()
	why := refusal.Error()
	if d.Explanation != "" {
		why = d.Explanation
	}
	_, err := k.correct(ctx, x, l, d, l.Expires, "not renewed: "+why, refusal)
	return err
}

func earliest(first time.Time, others ...time.Time) time.Time {
	for _, t := range others {
		if t.Before(first) {
			first = t
		}
	}
	return first
}

// prolong asks the provider, and sets the lease right where it gives something else.
// Nobody's hanging up ends it: what is on record has to be true.
func (k *Desk) prolong(ctx context.Context, x Extension, l Outstanding, with exchange.Secret, until time.Time) (exchange.Lease, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTimeout)
	defer cancel()
	before := l.Expires
	given, err := k.o.Renew(ctx, x.Tenant, l.Target, with, until)
	given = given.UTC().Truncate(time.Microsecond)
	l.Expires = until
	switch {
	case err == nil && given.Equal(until):
		return l.Lease, nil
	case err == nil:
		return k.correct(ctx, x, l, issuedBy(&l), given, "the provider says that it lives until then", nil)
	case transient(err):
		return k.correct(ctx, x, l, issuedBy(&l), until, "the provider did not answer, so it may live until then, or only until "+exchange.FormatTime(before)+": "+k.why(err, with),
			exchange.Fault(exchange.KindUnavailable, "the provider did not answer, so whether the credential lives longer is not known; try again", err))
	}
	kind := exchange.KindOf(err)
	if kind == exchange.KindInternal {
		kind = exchange.KindProviderRefused
	}
	return k.correct(ctx, x, l, issuedBy(&l), before, "the provider did not renew it: "+k.why(err, with),
		exchange.Fault(kind, "the provider did not renew the credential, which lives until "+exchange.FormatTime(before)+": exchange again for a new one", err))
}

// issuedBy is what the record says of the decision where there is no newer one.
func issuedBy(l *Outstanding) exchange.Decision { return exchange.Decision{Rule: l.Rule} }

// correct records what became of a renewal, and returns failed.
func (k *Desk) correct(ctx context.Context, x Extension, l Outstanding, d exchange.Decision, expires time.Time, how string, failed error) (exchange.Lease, error) {
	event, err := k.renewal(x, &l, d, expires, how)
	if err == nil {
		if failed != nil {
			event.Record.ErrorKind = exchange.KindOf(failed).String()
		}
		_, err = k.o.Book.RenewLease(ctx, Renewal{Tenant: x.Tenant, Lease: x.Lease, From: l.Expires, Until: expires, Corrects: true, Event: event})
	}
	if err != nil && failed == nil {
		failed = exchange.Fault(exchange.KindUnavailable, "the credential lives until "+exchange.FormatTime(expires)+", which could not be recorded", err)
	} else if err != nil {
		failed = fmt.Errorf("%w (and it could not be recorded: %w)", failed, err)
	}
	l.Expires = expires
	return l.Lease, failed
}

// renewal is an event about a renewal. It repeats what the lease was issued as.
func (k *Desk) renewal(x Extension, l *Outstanding, d exchange.Decision, expires time.Time, how string) (exchange.Event, error) {
	now := k.o.Now()
	id, err := exchange.NewID(now, k.o.Random)
	if err != nil {
		return exchange.Event{}, err
	}
	r := l.recordOf()
	r.Type, r.At, r.Outcome, r.Durations = exchange.EventRenewed.String(), exchange.FormatTime(now), "", nil
	r.Expires, r.Lifetime, r.AskedLifetime = exchange.FormatTime(expires), int64(expires.Sub(now)/time.Second), int64(x.Lifetime/time.Second)
	r.Rule, r.Revision, r.Epoch, r.Reason, r.Explanation = d.Rule, d.Revision.Hash, d.Epoch, x.Reason, how
	r.Door, r.ClientIP, r.UserAgent, r.TraceID, r.TokenID, r.KeyID = x.By.Door, x.By.ClientIP, x.By.UserAgent, x.By.TraceID, x.By.TokenID, x.By.KeyID
	return exchange.Event{ID: id, Exchange: l.Exchange, Tenant: l.Tenant, Type: exchange.EventRenewed, At: now, Record: r}, nil
}
