package exchange

import (
	"context"
	"errors"
	"time"
)

// recordTime is RFC 3339 with microseconds: what both engines keep exactly.
const recordTime = "2006-01-02T15:04:05.000000Z"

// FormatTime writes a moment the way records do.
func FormatTime(t time.Time) string { return t.UTC().Format(recordTime) }

// event builds the exchange's event of type t. reason is nil for an intent and
// for what was issued.
func (x *run) event(t EventType, c Credential, reason error) (Event, error) {
	now := x.Now()
	id, err := NewID(now, x.Random)
	if err != nil {
		return Event{}, err
	}
	r, d := x.request, x.decision
	durations := x.report.Durations
	record := Record{
		Exchange: x.id.String(), Type: t.String(), At: FormatTime(now), Tenant: x.subject.Tenant,
		Subject: x.subject.Name, Trust: x.subject.Trust, Client: r.Client,
		Door: r.Door, GrantType: r.Grant, TokenType: string(r.RequestedType),
		AskedScopes: r.Scopes, AskedLifetime: int64(r.Lifetime / time.Second),
		Rule: d.Rule, Revision: d.Revision.Hash, Epoch: d.Epoch, Reason: r.Reason,
		UserAgent: r.UserAgent, TraceID: r.TraceID, TokenID: x.subject.JTI, KeyID: x.subject.KeyID,
		Claims: x.subject.Record, Durations: &durations,
	}
	record.AskedTargets = append(append(record.AskedTargets, r.Audiences...), r.Resources...)
	for _, a := range x.actors {
		record.Actors = append(record.Actors, a.Name)
	}
	for _, a := range x.subject.Asserted {
		record.Asserted = append(record.Asserted, a.AssertedBy+" says "+a.Name)
	}
	if len(record.Actors) > 0 {
		record.Actor = record.Actors[0]
	}
	if d.Target != nil {
		record.Target, record.Provider = d.Target.Name, d.Target.Provider
	}
	if r.ClientIP.IsValid() {
		record.ClientIP = r.ClientIP.String()
	}
	if t.Terminal() {
		record.Outcome = t.String()
	}
	if reason != nil {
		record.ErrorKind, record.Explanation = explain(reason, d)
		if !x.minted.Value.IsZero() { // minted, then withdrawn
			record.Credential, record.Handle = x.Sealer.Fingerprint(x.minted.Value), x.minted.Handle
			if x.report.Unrevoked != nil {
				record.Explanation += "; the credential was withheld, and could not be revoked: " + x.report.Unrevoked.Error()
			} else {
				record.Explanation += "; the credential was withheld"
			}
		}
	}
	if t == EventIssued {
		record.Scopes, record.TokenType = c.Scopes, string(c.IssuedType)
		record.Lifetime = int64(c.Expires.Sub(now) / time.Second)
		record.Expires = FormatTime(c.Expires)
		if excess := c.Expires.Sub(x.notAfter()); excess > 0 {
			record.Excess = int64((excess + time.Second - 1) / time.Second)
		}
		record.Credential, record.Handle = x.Sealer.Fingerprint(c.Value), c.Handle
		record.Lease, record.Reused = c.Lease.String(), !c.Minted
	}
	return Event{ID: id, Exchange: x.id, Tenant: x.subject.Tenant, Type: t, At: now, Record: record}, nil
}

// explain gives the operator the kind and the whole reason.
func explain(reason error, d Decision) (kind, text string) {
	var known *Error
	switch {
	case errors.As(reason, &known):
		kind, text = known.Kind.String(), known.Error()
	case errors.Is(reason, context.DeadlineExceeded), errors.Is(reason, context.Canceled):
		kind, text = KindUnavailable.String(), reason.Error()
	default:
		kind, text = KindInternal.String(), reason.Error()
	}
	if !d.Allowed && d.Explanation != "" {
		text = d.Explanation
	}
	return kind, text
}

// lease is the row that goes with a credential minted by this exchange.
func (x *run) lease(c Credential) (*Lease, error) {
	l := &Lease{
		ID: c.Lease, Tenant: x.subject.Tenant, Exchange: x.id, Target: x.decision.Target.Name,
		Provider: x.decision.Target.Provider, Subject: x.subject.Name, Rule: x.decision.Rule,
		Handle: c.Handle, Issued: c.Issued, Expires: c.Expires, State: LeaseActive,
	}
	if !c.RevokeWith.IsZero() {
		sealed, err := x.Sealer.Seal("lease", c.Lease.String(), []byte(c.RevokeWith.Reveal()))
		if err != nil {
			return nil, err
		}
		l.Sealed = sealed
	}
	return l, nil
}
