package exchange

import (
	"context"
	"errors"
	"strings"
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
	for _, lease := range x.lineage() {
		record.Lineage = append(record.Lineage, lease.String())
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
		if !x.minted.Value.IsZero() {
			record.Credential, record.Handle = x.Sealer.Fingerprint(x.minted.Value), x.minted.Handle
			record.Explanation += "; the credential was withheld"
		}
		if x.report.Unrevoked != nil {
			record.Explanation += "; what was minted could not be taken back: " + x.report.Unrevoked.Error()
		}
		record.Explanation = x.redact(record.Explanation)
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

// redact removes the tokens of this exchange from a text that others wrote: an
// error of a provider may quote what it was sent.
func (x *run) redact(text string) string {
	for _, s := range []Secret{
		x.request.SubjectToken.Value, x.request.ActorToken.Value, x.request.PassthroughToken.Value,
		x.minted.Value, x.minted.RevokeWith, x.cookieValue(),
	} {
		if !s.IsZero() {
			text = strings.ReplaceAll(text, s.Reveal(), redacted)
		}
	}
	return text
}

// redactError is err, or where its text holds a token, what is left of the text.
func (x *run) redactError(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if clean := x.redact(text); clean != text {
		return errors.New(clean)
	}
	return err
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
		Latest: c.Issued.Add(x.decision.Lifetime), Lineage: x.lineage(),
	}
	if len(x.actors) > 0 {
		l.Actor = x.actors[0].Name
	}
	if !c.RevokeWith.IsZero() {
		sealed, err := x.Sealer.Seal("lease", c.Lease.String(), []byte(c.RevokeWith.Reveal()))
		if err != nil {
			return nil, err
		}
		l.Sealed = sealed
	}
	if t := x.decision.Target; t.Returns && t.Own {
		sealed, err := x.Sealer.SealOrigin(l.ID, x.origin())
		if err != nil {
			return nil, err
		}
		l.Origin = sealed
	}
	return l, nil
}
