package exchange

import (
	"context"
	"errors"
	"io"
	"slices"
	"time"
)

// maxDecisions bounds how often one exchange is decided again because denies
// keep coming in, and how often it is served again because credentials at hand are
// being revoked.
const maxDecisions = 4

// DefaultTimeout and SettleTimeout bound the steps of one exchange.
const (
	DefaultTimeout = 10 * time.Second // verify, reserve, intend, vend
	SettleTimeout  = 5 * time.Second  // each durable write
)

// Bureau performs exchanges: the one way in for every door. Its members are set
// once, before the first Exchange.
type Bureau struct {
	Policy   Policy
	Verifier Verifier
	Own      OwnTokens // nil: tokens of ours do not come back
	// Passthrough proves passthrough tokens; nil: none is taken.
	Passthrough PassthroughVerifier
	Governor    Governor
	Vendor      Vendor
	Ledger      Ledger
	Observer    Observer
	Sealer      *Sealer
	Now         func() time.Time
	Random      io.Reader     // safe for concurrent use
	Timeout     time.Duration // zero: DefaultTimeout
}

// Receipt is a finished exchange: the credential, whose event is durable.
type Receipt struct {
	Exchange   ID
	Credential Credential
	Asked      []string // the scopes that were asked for
}

// Exchange runs the pipeline of docs/design.md for one request. An error is an
// *Error with the exchange's id; its Advice is for the caller, the rest for the
// log.
//
// The promise it keeps: it returns a credential only after the event that says so
// is durable, whatever fails, and whoever hangs up.
func (b *Bureau) Exchange(ctx context.Context, r Request) (Receipt, error) {
	now := b.Now()
	id, err := NewID(now, b.Random)
	if err != nil {
		return Receipt{}, Fault(KindInternal, "", err)
	}
	timeout := b.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	x := &run{Bureau: b, id: id, request: r, started: now, timeout: timeout}
	credential, err := x.perform(ctx)
	if err != nil {
		err = x.classify(err)
	}
	x.report.Exchange, x.report.Door, x.report.Err = id, r.Door, err
	x.report.Total = b.Now().Sub(now)
	b.Observer.Observe(ctx, x.report)
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{Exchange: id, Credential: credential, Asked: r.Scopes}, nil
}

// run is one exchange under way.
type run struct {
	*Bureau
	id      ID
	request Request
	started time.Time
	timeout time.Duration
	report  Report

	decider  Decider
	subject  Subject
	actor    *Subject // whose the actor token is, once proven
	actors   []Actor
	question Question
	decision Decision
	once     *Once
	minted   Credential // what an upstream slot gave, for the record of its withdrawal
	fallen   []Secret   // credentials at hand that turned out to be revoked
}

// classify makes every failure an *Error with the exchange's id on it.
func (x *run) classify(err error) error {
	var known *Error
	if !errors.As(err, &known) {
		known = &Error{Kind: KindInternal, Err: err}
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			known = &Error{Kind: KindUnavailable, Advice: "the exchange did not finish in time; try again", Err: err}
		}
	}
	tagged := *known
	tagged.Exchange = x.id
	if err != error(known) {
		tagged.Err = err // the whole chain, for the log
	}
	tagged.Err = x.redactError(tagged.Err)
	return &tagged
}

func (x *run) perform(ctx context.Context) (Credential, error) {
	var err error
	if x.decider, err = x.Policy.Current(); err != nil {
		return Credential{}, err
	}
	if err := x.verify(ctx); err != nil {
		return Credential{}, x.turnAway(ctx, err)
	}
	release, err := x.decideAndAdmit(ctx)
	if err != nil {
		return Credential{}, err
	}
	credential, err := x.vend(ctx)
	release(err)
	return credential, err
}

// verify proves the subject and, where one came, the actor, and checks what the
// two may do together.
func (x *run) verify(ctx context.Context) error {
	begun := x.Now()
	defer func() { x.report.Durations.Verify = x.Now().Sub(begun).Microseconds() }()
	var err error
	if x.subject, err = x.verifySubject(ctx); err != nil {
		return err
	}
	x.report.Verified, x.report.Subject = true, x.subject.Name
	if err := x.checkAssertion(); err != nil {
		return err
	}
	if err := x.verifyPassthrough(ctx); err != nil {
		return err
	}
	if x.once = x.subject.Once; x.request.ClientOnce != nil {
		if x.once != nil && *x.once != *x.request.ClientOnce {
			return Fault(KindInvalidClient, "the subject token and the client assertion are both single-use: authenticate the client in another way", nil)
		}
		x.once = x.request.ClientOnce
	}
	clientless := x.subject.Clientless == ClientlessYes
	switch {
	case x.subject.Own != nil:
		if err := x.present(); err != nil {
			return err
		}
	case x.presentedSession():
		x.actors = []Actor{actorOf(x.request.Presenter)}
	case !x.request.ActorToken.IsZero():
		actor, err := x.verifyActor(ctx)
		if err != nil {
			return err
		}
		x.actors = []Actor{actor}
		clientless = clientless || x.subject.Clientless == ClientlessWithActor
	}
	if x.request.Client == "" && !clientless {
		return Fault(KindInvalidClient, "this token may be exchanged only by an authenticated client, or by a client its trust names", nil)
	}
	if may := x.subject.MayAct; may != nil && (len(x.actors) == 0 || !may.Names(x.actors[0])) {
		return Fault(KindInvalidActor, "the subject token's may_act names another actor: let that one act, by its own token as actor_token", nil)
	}
	return CheckChain(x.actors, x.subject.Asserted)
}

// verifySubject is the subject token's subject, whoever issued it, or the client
// that asks for itself.
func (x *run) verifySubject(ctx context.Context) (Subject, error) {
	self := x.request.Self
	if trust, session := x.request.SubjectToken.Type.Session(); session && self == nil {
		return x.verifySession(ctx, trust)
	}
	switch {
	case self == nil && x.Own != nil && x.Own.Ours(x.request.SubjectToken):
		return x.verifyOwn(ctx)
	case self == nil:
		return x.Verifier.Verify(ctx, x.request.SubjectToken, x.started)
	case x.request.Client == "" || !x.request.SubjectToken.IsZero():
		return Subject{}, Fault(KindInternal, "", errors.New("a request for the client itself has no client, or has a subject token too"))
	}
	return *self, nil
}

// proveActor is whose the actor token is, proven once.
func (x *run) proveActor(ctx context.Context) (*Subject, error) {
	if x.actor != nil {
		return x.actor, nil
	}
	if _, session := x.request.ActorToken.Type.Session(); session {
		return nil, Fault(KindInvalidActor, "a session is no actor's token: send the actor's own", nil)
	}
	s, err := x.Verifier.Verify(ctx, x.request.ActorToken, x.started)
	if err != nil {
		var e *Error
		if errors.As(err, &e) && e.Kind == KindInvalidSubject {
			return nil, Fault(KindInvalidActor, e.Advice, e.Err)
		}
		return nil, err
	}
	switch {
	case s.Assertion != nil:
		return nil, Fault(KindInvalidActor, "an identity assertion grant is no actor's token: send the actor's own", nil)
	case len(s.Asserted) > 0:
		return nil, Fault(KindInvalidActor, "the actor token is itself delegated: send the actor's own token", nil)
	case x.request.Client == "" && s.Clientless != ClientlessYes:
		return nil, Fault(KindInvalidClient, "this actor token may be used only by an authenticated client", nil)
	}
	x.actor = &s
	return x.actor, nil
}

func (x *run) verifyActor(ctx context.Context) (Actor, error) {
	s, err := x.proveActor(ctx)
	switch {
	case err != nil:
		return Actor{}, err
	case s.Tenant != x.subject.Tenant:
		return Actor{}, Fault(KindInvalidActor, "the actor token belongs elsewhere", nil)
	}
	if s.Once != nil {
		if x.once != nil {
			return Actor{}, Fault(KindInvalidActor, "the actor token is single-use, and so is another token of this request: one of them must come from another trust", nil)
		}
		x.once = s.Once
	}
	return actorOf(s), nil
}

// turnAway ends an exchange that came to no decision. What verified nothing leaves
// no row, and what did leaves no more rows than its subject may have (S32).
func (x *run) turnAway(ctx context.Context, reason error) error {
	if !x.report.Verified {
		return reason
	}
	x.ask()
	release, over := x.Governor.Admit(ctx, x.question, Decision{})
	if over != nil {
		return reason
	}
	release(reason)
	switch KindOf(reason) {
	case KindUnavailable, KindInternal: // nobody said no
		return x.fail(ctx, reason)
	}
	return x.refuse(ctx, reason)
}

// decideAndAdmit asks policy, then the governor. A refusal is recorded here.
func (x *run) decideAndAdmit(ctx context.Context) (func(error), error) {
	begun := x.Now()
	x.decide()
	x.report.Durations.Decide = x.Now().Sub(begun).Microseconds()
	release, admitErr := x.Governor.Admit(ctx, x.question, x.decision)
	if !x.decision.Allowed {
		refusal := x.refusal()
		if admitErr != nil { // over its rate: counted, not stored (S32); the answer stays the same (S18)
			return nil, refusal
		}
		release(refusal)
		return nil, x.refuse(ctx, refusal)
	}
	if admitErr != nil {
		return nil, admitErr
	}
	return release, nil
}

func (x *run) decide() {
	x.ask()
	x.decision = x.decider.Decide(x.question)
	if t := x.decision.Target; t != nil {
		x.report.Target, x.report.Provider = t.Name, t.Provider
	}
}

// ask forms the question as of now.
func (x *run) ask() {
	r := x.request
	x.question = Question{
		Tenant: x.subject.Tenant, Subject: x.subject, Actors: x.actors, Client: r.Client,
		Audiences: r.Audiences, Resources: r.Resources, Scopes: r.Scopes, Type: r.RequestedType,
		Lifetime: r.Lifetime, Reason: r.Reason, ClientIP: r.ClientIP, Now: x.Now(), ClientHash: r.ClientHash,
	}
}

// decideAgain follows ErrStale: fresh denies, fresh decision. It reports the
// refusal as an error. Like the write that was stale, it is not ended by a caller
// who hangs up.
func (x *run) decideAgain(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), SettleTimeout)
	defer cancel()
	if err := x.Policy.Refresh(ctx); err != nil {
		return Fault(KindUnavailable, "the emergency denies could not be read; try again", err)
	}
	var err error
	if x.decider, err = x.Policy.Current(); err != nil {
		return err
	}
	before := x.decision
	x.decide()
	if !x.decision.Allowed {
		return x.refusal()
	}
	if x.decision.Target.Hash != before.Target.Hash || !slices.Equal(x.decision.Scopes, before.Scopes) {
		return Fault(KindUnavailable, "the policy changed while the exchange was under way; try again", nil)
	}
	return nil
}

func (x *run) refusal() error {
	return Fault(x.decision.Refusal, x.decision.Advice, nil)
}
