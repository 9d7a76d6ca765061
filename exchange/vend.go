package exchange

import (
	"context"
	"slices"
	"time"
)

// vend serves the grant, and again where what was at hand had been revoked elsewhere.
func (x *run) vend(ctx context.Context) (Credential, error) {
	for range maxDecisions {
		if c, err := x.serve(ctx); err != errFell {
			return c, err
		}
	}
	return Credential{}, x.fail(ctx, Fault(KindUnavailable, "credentials are being revoked one after the other; try again", errFell))
}

// serve reserves, and runs the slot in as many commits as it needs. errFell: nothing
// is written yet.
func (x *run) serve(ctx context.Context) (Credential, error) {
	slot, err := x.Vendor.Reserve(ctx, x.grant())
	if err != nil {
		return Credential{}, x.fail(ctx, err)
	}
	if slot.Mode() == ModeUpstream {
		// From the intent on nobody's hanging up ends the exchange: others may be
		// waiting for this flight, and what is minted must be settled.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), x.timeout)
		defer cancel()
		if err := x.intend(ctx); err != nil {
			x.release(ctx, slot, Credential{}, false)
			return Credential{}, x.withhold(ctx, err)
		}
	}
	begun := x.Now()
	credential, err := slot.Vend(ctx)
	x.report.Durations.Vend = x.Now().Sub(begun).Microseconds()
	if err == nil {
		if slot.Mode() == ModeUpstream {
			x.minted = credential
		}
		err = x.checkLifetime(credential)
	}
	if err != nil {
		x.release(ctx, slot, credential, false)
		return Credential{}, x.fail(ctx, err)
	}
	return x.settleIssued(ctx, slot, credential)
}

// checkLifetime holds S5 over every driver: nothing outlives its caps unless the
// target says so aloud, and nothing dead is handed out.
func (x *run) checkLifetime(c Credential) error {
	if c.Value.IsZero() || !c.Expires.After(x.Now()) {
		return Fault(KindUnavailable, "the provider returned a credential that is not usable; try again", nil)
	}
	if !x.decision.Target.MayOutlive && c.Expires.After(x.notAfter()) {
		return Fault(KindInvalidLifetime, "the provider cannot give so short a life: ask for longer, or bring a token that lives longer", nil)
	}
	return nil
}

// release ends the slot. What it minted in vain and could not take back is for
// the operator: the log has it, and the lease's expiry ends it.
func (x *run) release(ctx context.Context, slot Slot, c Credential, settled bool) {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), SettleTimeout)
	defer cancel()
	if err := slot.Release(bounded, c, settled); err != nil {
		x.report.Unrevoked = x.redactError(err)
	}
}

// grant resolves the decision for the vendor.
func (x *run) grant() Grant {
	now := x.question.Now
	return Grant{
		Exchange: x.id, Tenant: x.subject.Tenant, Target: x.decision.Target, Subject: x.subject,
		Actors: x.chain(),
		Client: x.request.Client, Scopes: x.decision.Scopes, Type: x.request.RequestedType,
		PublicKey: x.request.PublicKey, Passthrough: x.request.PassthroughToken,
		Rule: x.decision.Rule, RuleHash: x.decision.RuleHash, Revision: x.decision.Revision,
		Now: now, Lifetime: x.decision.Lifetime, NotAfter: x.notAfter(), Rejected: x.request.Rejected, Stopped: x.stopped(),
	}
}

// stopped tells which credentials at hand must not serve: those that fell, and those
// that an emergency deny names; nil where there are none.
func (x *run) stopped() func(Secret) bool {
	denied := x.denied()
	if len(x.fallen) == 0 {
		return denied
	}
	return func(value Secret) bool {
		return slices.ContainsFunc(x.fallen, value.Equal) || denied != nil && denied(value)
	}
}

// denied tells which credentials an emergency deny names; nil where none does.
func (x *run) denied() func(Secret) bool {
	denier, ok := x.decider.(CredentialDenier)
	if !ok {
		return nil
	}
	denied := denier.DeniesCredentials(x.question, x.decision)
	if denied == nil {
		return nil
	}
	return func(value Secret) bool { return denied(x.Sealer.Fingerprint(value)) }
}

// notAfter is the least of the caps: subject, every actor, rule, request (S5).
func (x *run) notAfter() time.Time {
	limit := x.question.Now.Add(x.decision.Lifetime)
	if x.subject.Expires.Before(limit) {
		limit = x.subject.Expires
	}
	for _, a := range x.actors {
		if a.Expires.Before(limit) {
			limit = a.Expires
		}
	}
	return limit
}
