package policy

import (
	"slices"
	"strconv"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// DefaultLifetime is what a request gets that asks for none, where rule and
// provider give as much.
const DefaultLifetime = 15 * time.Minute

// What callers read. Each says what to change and nothing of what policy holds
// (S18); adviceTarget is the same for an unknown and for a refused target.
const (
	adviceNoTarget  = "name the target with audience or resource"
	adviceTarget    = "ask for one target that you may use, by its name as audience or its URI as resource, within the scopes and conditions that were agreed"
	adviceType      = "this target does not issue the requested_token_type: leave it out, or ask for one that the target issues"
	adviceScope     = "ask for fewer scopes, or leave scope out to get what is allowed"
	adviceBound     = "ask within the scopes of the token that you bring, some of which the target must offer; a token without scopes brings none"
	adviceLifetime  = "ask for another requested_lifetime, or leave it out"
	adviceReason    = "say why in the parameter reason"
	adviceChanged   = "the policy has changed since the request was authenticated; try again"
	advicePresenter = "this session cannot be exchanged here by this workload or client"
	adviceOld       = "the policy has changed since this token was issued: get a new one, and exchange that"
)

// Decide answers a question without regard to emergency denies. It is a pure
// function of the revision and the question.
func (r *Revision) Decide(q exchange.Question) exchange.Decision {
	return r.decide(&q, nil)
}

// answer is a decision in the making.
type answer struct {
	kind     exchange.Kind // what the request fails on; KindInternal: on nothing
	rule     *rule         // that allows, or is nearest to it
	scopes   []string
	lifetime time.Duration
}

// whole reports whether a rule allows the request as it is.
func (a answer) whole() bool { return a.rule != nil && a.kind == exchange.KindInternal }

func (r *Revision) decide(q *exchange.Question, emergency *denies) exchange.Decision {
	d := exchange.Decision{Revision: exchange.Revision{Hash: r.hash}}
	if emergency != nil {
		d.Epoch = emergency.epoch
	}
	refuse := func(kind exchange.Kind, advice, explanation string) exchange.Decision {
		d.Refusal, d.Advice, d.Explanation = kind, advice, explanation
		return d
	}
	if q.Tenant != r.tenant || q.Subject.Tenant != r.tenant {
		return refuse(exchange.KindInvalidTarget, adviceTarget, "the subject is of another tenant than this policy")
	}
	if q.Client != "" && !r.sameClient(q.Client, q.ClientHash) {
		return refuse(exchange.KindUnavailable, adviceChanged, "client "+strconv.Quote(q.Client)+" is not what it was when it was authenticated")
	}
	if who, ok := r.proofsHold(q); !ok {
		return refuse(exchange.KindUnavailable, adviceChanged, who+" is not what it was when the token was verified")
	}
	if who, ok := r.originHolds(q); !ok {
		return refuse(exchange.KindInvalidSubject, adviceOld, who+" is not what it was when the token of ours was issued")
	}
	if !r.presented(q) {
		return refuse(exchange.KindInvalidSubject, advicePresenter, "who acts is not among the presenters of the sessions of trust "+strconv.Quote(q.Subject.Trust))
	}
	target, name, one := r.resolve(q)
	if name == "" {
		return refuse(exchange.KindInvalidRequest, adviceNoTarget, "no target was named")
	}
	d.Target = target
	// An unknown target goes the whole way, as a name without facts, so that it
	// takes the time that a refused one takes (S18).
	got := r.pick(q, target, name)
	if deny, why := r.denied(q, name, got); deny != nil {
		d.Rule = deny.name
		return refuse(exchange.KindInvalidTarget, adviceTarget, "deny rule "+strconv.Quote(deny.name)+" "+why)
	}
	if e := emergency.match(q, name, got.rule); e != nil {
		d.Rule = "emergency:" + e.ID.String()
		return refuse(exchange.KindInvalidTarget, adviceTarget, "emergency deny "+e.ID.String()+": "+e.Reason)
	}
	switch {
	case !one:
		return refuse(exchange.KindInvalidTarget, adviceTarget, "audience and resource do not name one and the same target of this policy")
	case got.rule == nil:
		return refuse(exchange.KindInvalidTarget, adviceTarget, "no allow rule matches this subject, these actors and this target")
	}
	d.Rule, d.RuleHash = got.rule.name, got.rule.hash
	switch got.kind {
	case exchange.KindInternal:
	case exchange.KindInvalidRequest:
		return refuse(got.kind, adviceType, "the target does not issue the requested token type")
	case exchange.KindInvalidScope:
		if q.Subject.Bounded {
			return refuse(got.kind, adviceBound, "rule "+strconv.Quote(d.Rule)+" is nearest, and does not allow the scopes, or the token does not bring them")
		}
		return refuse(got.kind, adviceScope, "rule "+strconv.Quote(d.Rule)+" is nearest, and does not allow the scopes")
	case exchange.KindInvalidLifetime:
		return refuse(got.kind, adviceLifetime, "rule "+strconv.Quote(d.Rule)+" is nearest, and does not allow the lifetime")
	case exchange.KindReasonRequired:
		return refuse(got.kind, adviceReason, "rule "+strconv.Quote(d.Rule)+" requires a reason")
	}
	d.Allowed, d.Scopes, d.Lifetime = true, got.scopes, got.lifetime
	d.Explanation = got.rule.explanation
	return d
}

// proofsHold reports whether every token in the request was verified by a trust,
// and every client by a registration, as this revision has it; else whose it is not.
func (r *Revision) proofsHold(q *exchange.Question) (string, bool) {
	switch s := &q.Subject; {
	case s.Own != nil: // nothing in this request proved the subject: see originHolds
	case s.Kind == exchange.TrustClient:
		if s.ID != q.Client || s.TrustHash != q.ClientHash { // itself, and nobody else
			return "client " + strconv.Quote(s.Name), false
		}
	case !r.sameTrust(s.Trust, s.TrustHash):
		return "trust " + strconv.Quote(s.Trust), false
	}
	for i := range q.Actors {
		a := &q.Actors[i]
		switch {
		case !a.Proven:
		case a.Trust == "": // a client that presents a token of ours: itself, and nobody else
			if a.ID != q.Client || a.TrustHash != q.ClientHash {
				return "client " + strconv.Quote(a.Name), false
			}
		case !r.sameTrust(a.Trust, a.TrustHash):
			return "trust " + strconv.Quote(a.Trust), false
		}
	}
	return "", true
}

// originHolds reports whether those for whom a token of ours was issued were proven
// by what this revision has too; else who was not.
//
// The subject's name and attributes are read as if its first token had come, so the
// trust that gave them must give the same today. The actors of its past satisfy no
// rule any more. But they were let act because their trusts vouched for them: with
// a trust that is gone, or stands for another issuer, goes what was had through it.
// An actor that another issuer asserted was never proven here, and hangs on the
// trust of whose token it came in.
func (r *Revision) originHolds(q *exchange.Question) (string, bool) {
	s := &q.Subject
	if s.Own == nil {
		return "", true
	}
	if !r.sameProof(s.Trust, s.ID, s.TrustHash) {
		return strconv.Quote(s.Name), false
	}
	for i := range s.Asserted {
		a := &s.Asserted[i]
		if a.AssertedBy == exchange.SelfTrust && !r.sameProof(a.Trust, a.ID, a.TrustHash) {
			return strconv.Quote(a.Name), false
		}
	}
	return "", true
}

// sameProof reports whether someone was proven by a trust as this revision has it,
// or without one, as a registered client.
func (r *Revision) sameProof(trust, id string, hash [32]byte) bool {
	if trust == "" {
		return r.sameClient(id, hash)
	}
	return r.sameTrust(trust, hash)
}

// resolve finds the target that audiences and resources name together. name is
// empty where nothing was named; one is false, and the target nil, where they name
// no target or several.
func (r *Revision) resolve(q *exchange.Question) (target *exchange.Target, name string, one bool) {
	one = true
	join := func(t *exchange.Target, asked string) {
		switch {
		case name == "":
			target, name = t, asked
			if t != nil {
				name = t.Name
			}
		case t != target:
			one = false
		}
		one = one && t != nil
	}
	for _, a := range q.Audiences {
		join(r.audience(a, q.Resources), a)
	}
	for _, u := range q.Resources {
		join(r.resources[u], u)
	}
	if !one {
		target = nil
	}
	return target, name, one && name != ""
}

// audience is the target that an audience means: by its name, by the URI of its
// resource (RFC 8693 §2.1 lets it be either), or by the authorization server that
// its credentials are for, where the resource says which of that server's targets
// or there is but one.
func (r *Revision) audience(a string, resources []string) *exchange.Target {
	if t := r.targets[a]; t != nil {
		return t
	}
	if t := r.resources[a]; t != nil {
		return t
	}
	behind := r.authorities[a]
	if len(behind) == 1 {
		return behind[0]
	}
	for _, t := range behind {
		if slices.Contains(resources, t.Resource) {
			return t
		}
	}
	return nil
}

// pick finds the first allow that allows the whole request, else the one that came
// nearest. Limits of several rules are never added up.
func (r *Revision) pick(q *exchange.Question, target *exchange.Target, name string) answer {
	s := r.allowIndex.scratch.Get().(*scratch)
	defer r.allowIndex.scratch.Put(s)
	var best answer
	if !r.allowIndex.search(q, name, s) {
		return best
	}
	for i, at := r.allowIndex.next(s.found, 0); i >= 0 && !best.whole(); i, at = r.allowIndex.next(s.found, at) {
		if got, matched := r.allow[i].allows(q, target, name); matched {
			best = best.or(got)
		}
	}
	return best
}

// or is the better answer of two rules, of which a is the earlier.
func (a answer) or(later answer) answer {
	switch {
	case a.whole():
		return a
	case a.rule == nil || later.whole() || progress(later.kind) > progress(a.kind):
		return later
	default:
		return a
	}
}

// progress orders failures by how far the request came.
func progress(k exchange.Kind) int {
	return slices.Index([]exchange.Kind{exchange.KindInvalidRequest, exchange.KindInvalidScope, exchange.KindInvalidLifetime, exchange.KindReasonRequired}, k)
}

// allows says what a rule whose subject, actor and target match makes of the rest;
// false: its condition does not hold.
func (r *rule) allows(q *exchange.Question, target *exchange.Target, name string) (answer, bool) {
	a := answer{rule: r}
	a.resolve(q, target)
	if r.when != nil {
		if ok, err := r.when.holds(a.facts(q, name)); err != nil || !ok {
			return answer{}, false // S14: an error is no match in an allow
		}
	}
	return a, true
}

// facts are what conditions see: what would be granted, and where nothing would,
// what was asked.
func (a answer) facts(q *exchange.Question, name string) *facts {
	f := &facts{question: *q, target: name, scopes: a.scopes, lifetime: a.lifetime}
	if !a.whole() {
		f.scopes, f.lifetime = q.Scopes, q.Lifetime
	}
	return f
}

// resolve finds what the rule would grant, or what it is that it does not allow.
func (a *answer) resolve(q *exchange.Question, target *exchange.Target) {
	var f exchange.Facts
	if target != nil {
		f = target.Facts
		if q.Type != "" && !slices.Contains(f.Types, q.Type) {
			a.kind = exchange.KindInvalidRequest
			return
		}
	}
	var ok bool
	if a.scopes, ok = a.rule.grantScopes(q, f.Scopes); !ok {
		a.kind = exchange.KindInvalidScope
		return
	}
	if a.lifetime, ok = a.rule.grantLifetime(q.Lifetime, f); !ok {
		a.kind = exchange.KindInvalidLifetime
		return
	}
	if a.rule.requireReason && q.Reason == "" {
		a.kind = exchange.KindReasonRequired
	}
}

// grantScopes is rule ∩ target, or what was asked where that is within it, and
// within what the subject's token bounds, if it does. offered is nil for a target
// that knows no scopes: then only what the rule names can be asked.
func (r *rule) grantScopes(q *exchange.Question, offered []string) ([]string, bool) {
	if len(q.Scopes) > 0 {
		for _, s := range q.Scopes {
			if offered != nil && !slices.Contains(offered, s) || offered == nil && len(r.scopes) == 0 ||
				len(r.scopes) > 0 && !anyMatch(r.scopes, s) || !within(&q.Subject, s) {
				return nil, false
			}
		}
		return q.Scopes, true
	}
	granted := offered
	switch {
	case len(r.scopes) == 0:
	case offered == nil:
		granted = r.literalScopes
	default:
		if granted = keep(offered, func(s string) bool { return anyMatch(r.scopes, s) }); len(granted) == 0 {
			return nil, false
		}
	}
	if !q.Subject.Bounded || len(granted) == 0 {
		return granted, true
	}
	granted = keep(granted, func(s string) bool { return within(&q.Subject, s) })
	return granted, len(granted) > 0
}

// keep is a list of those that are good.
func keep(all []string, good func(string) bool) []string {
	var some []string
	for _, s := range all {
		if good(s) {
			some = append(some, s)
		}
	}
	return some
}

// within reports whether the subject's token lets the scope come of it.
func within(s *exchange.Subject, scope string) bool {
	return !s.Bounded || slices.Contains(s.Bound, scope)
}

// grantLifetime is what was asked or the default, within what rule and provider
// give. What is asked beyond the rule is refused; beyond the provider, it is cut.
func (r *rule) grantLifetime(asked time.Duration, f exchange.Facts) (time.Duration, bool) {
	wanted := asked
	if asked == 0 {
		wanted = max(DefaultLifetime, f.MinTTL)
		if r.maxTTL > 0 {
			wanted = min(wanted, r.maxTTL)
		}
	}
	if wanted < 0 || r.maxTTL > 0 && wanted > r.maxTTL {
		return 0, false
	}
	if f.MaxTTL > 0 {
		wanted = min(wanted, f.MaxTTL)
	}
	if wanted < f.MinTTL && !f.MayOutlive {
		return 0, false
	}
	return wanted, true
}

// denied finds the first deny rule that matches, and says how. got is what would
// be granted: a deny of a scope holds for one that was not asked by name, too.
func (r *Revision) denied(q *exchange.Question, name string, got answer) (*rule, string) {
	s := r.denyIndex.scratch.Get().(*scratch)
	defer r.denyIndex.scratch.Put(s)
	if !r.denyIndex.search(q, name, s) {
		return nil, ""
	}
	for i, at := r.denyIndex.next(s.found, 0); i >= 0; i, at = r.denyIndex.next(s.found, at) {
		if ok, why := r.deny[i].denies(q, name, got); ok {
			return &r.deny[i], why
		}
	}
	return nil, ""
}

// denies says whether a deny whose subject, actor and target match holds for the
// rest.
func (r *rule) denies(q *exchange.Question, name string, got answer) (bool, string) {
	if len(r.scopes) > 0 {
		scopes := q.Scopes
		if got.whole() {
			scopes = got.scopes
		}
		if !slices.ContainsFunc(scopes, func(s string) bool { return anyMatch(r.scopes, s) }) {
			return false, ""
		}
	}
	if r.when == nil {
		return true, "matches"
	}
	switch ok, err := r.when.holds(got.facts(q, name)); {
	case err != nil: // S14: an error is a match in a deny
		return true, "counts as matching, since its condition failed: " + err.Error()
	default:
		return ok, "matches"
	}
}
