package policy

import (
	"fmt"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Explanation is a decision with its reasons, for the operator. It says what policy
// says: it is not for callers.
type Explanation struct {
	Allowed  bool          `json:"allowed"`
	Rule     string        `json:"rule,omitempty"` // that decided; for a refusal, the deny or the nearest allow
	Subject  string        `json:"subject"`
	Trust    string        `json:"trust"`
	Actor    string        `json:"actor,omitempty"`
	Asserted []string      `json:"asserted,omitempty"` // actors that nobody proved, outermost first
	Target   string        `json:"target,omitempty"`
	Refusal  string        `json:"refusal,omitempty"` // the error kind when not allowed
	Scopes   []string      `json:"scopes,omitempty"`
	Lifetime int64         `json:"lifetime_s,omitempty"`
	Revision string        `json:"revision"`
	Reasons  []string      `json:"reasons"`
	Rules    []RuleVerdict `json:"rules"` // every rule considered, denies first, each in order
}

// RuleVerdict says how one rule looked at a question.
type RuleVerdict struct {
	Rule    string `json:"rule"`
	Effect  string `json:"effect"` // allow or deny
	File    string `json:"file"`
	Line    int    `json:"line"`
	Matched bool   `json:"matched"`          // an allow: of the whole request
	Failed  string `json:"failed,omitempty"` // the first predicate that failed, in words

	progress int // how far it came
}

// Explain answers a question as Decide does, and says why, rule by rule.
func (r *Revision) Explain(q exchange.Question) Explanation {
	d := r.decide(&q, nil)
	e := Explanation{
		Allowed: d.Allowed, Rule: d.Rule, Subject: q.Subject.Name, Trust: q.Subject.Trust,
		Scopes: d.Scopes, Lifetime: int64(d.Lifetime / time.Second), Revision: r.hash,
		Reasons: []string{d.Explanation}, Rules: []RuleVerdict{},
	}
	if a := provenActor(&q); a != nil {
		e.Actor = a.Name
	}
	for i := range q.Subject.Asserted {
		e.Asserted = append(e.Asserted, q.Subject.Asserted[i].Name)
	}
	if !d.Allowed {
		e.Refusal = d.Refusal.String()
	}
	target, name, one := r.resolve(&q)
	e.Target = name
	if name == "" {
		return e
	}
	if !one {
		e.Reasons = append(e.Reasons, r.unresolved(&q)...)
	}
	var best answer
	var allows []RuleVerdict
	nearest := -1
	for i := range r.allow {
		v, got, matched := r.allow[i].considerAllow(&q, target, name)
		if matched {
			best = best.or(got)
		}
		allows = append(allows, v)
		if nearest < 0 || v.progress > allows[nearest].progress {
			nearest = i
		}
	}
	for i := range r.deny {
		e.Rules = append(e.Rules, r.considerDeny(&r.deny[i], &q, name, best))
	}
	e.Rules = append(e.Rules, allows...)
	if !d.Allowed && nearest >= 0 && !allows[nearest].Matched {
		v := allows[nearest]
		e.Reasons = append(e.Reasons, fmt.Sprintf("the nearest allow is %q (%s:%d), and fails on %s", v.Rule, v.File, v.Line, v.Failed))
	}
	return e
}

// unresolved says which of the names is no target.
func (r *Revision) unresolved(q *exchange.Question) []string {
	var why []string
	for _, a := range q.Audiences {
		if r.audience(a, q.Resources) == nil {
			why = append(why, fmt.Sprintf("there is no target %q: %s", a, didYouMean(a, keys(r.targets))))
		}
	}
	for _, u := range q.Resources {
		if r.resources[u] == nil {
			why = append(why, fmt.Sprintf("no target has the resource %q: %s", u, didYouMean(u, keys(r.resources))))
		}
	}
	if len(why) == 0 {
		why = []string{"several targets were named: an exchange is for one"}
	}
	return why
}

// The steps of a rule, in the order of predicates, for finding the nearest one.
const (
	stepSubject = iota
	stepActor
	stepClient
	stepTarget
	stepWhen
	stepLimits
	stepWhole
)

// considerAllow looks at one allow by itself, without the index. matched says
// whether all but the limits fits, and the answer then what it makes of those.
func (r *rule) considerAllow(q *exchange.Question, target *exchange.Target, name string) (v RuleVerdict, a answer, matched bool) {
	v = r.verdict()
	if failed, step := r.who(q, nil); failed != "" {
		v.Failed, v.progress = failed, step
		return v, a, false
	}
	if len(r.targets) > 0 && !anyMatch(r.targets, name) {
		v.Failed, v.progress = predicate{"targets", r.targets}.String(), stepTarget
		return v, a, false
	}
	a = answer{rule: r}
	a.resolve(q, target)
	if r.when != nil {
		if failed := r.when.explain(a.facts(q, name)); failed != "" {
			v.Failed, v.progress = failed, stepWhen
			return v, a, false
		}
	}
	v.progress = stepLimits
	switch a.kind {
	case exchange.KindInternal:
		v.Matched, v.progress = true, stepWhole
	case exchange.KindInvalidRequest:
		v.Failed = "requested_token_type: the target does not issue it"
	case exchange.KindInvalidScope:
		v.Failed = "scope: wider than rule and target allow"
		if len(r.scopes) > 0 {
			v.Failed += " (" + predicate{"scopes", r.scopes}.String() + ")"
		}
	case exchange.KindInvalidLifetime:
		v.Failed = "requested_lifetime: not what rule and provider allow"
		if r.maxTTL > 0 {
			v.Failed += " (max_ttl: " + r.maxTTL.String() + ")"
		}
	case exchange.KindReasonRequired:
		v.Failed = "require_reason: the request has no reason"
	}
	return v, a, true
}

// considerDeny looks at one deny by itself, without the index.
func (r *Revision) considerDeny(rl *rule, q *exchange.Question, name string, got answer) RuleVerdict {
	v := rl.verdict()
	lacks := func(trust string) func(string) bool {
		return func(attribute string) bool { return r.yields[trust][attribute] }
	}
	if failed, _ := rl.who(q, lacks); failed != "" {
		v.Failed = failed
		return v
	}
	if len(rl.targets) > 0 && !anyMatch(rl.targets, name) {
		v.Failed = predicate{"targets", rl.targets}.String()
		return v
	}
	ok, _ := rl.denies(q, name, got)
	switch v.Matched = ok; {
	case ok:
	case rl.when != nil:
		v.Failed = "when or scopes: not so in this request"
	default:
		v.Failed = predicate{"scopes", rl.scopes}.String()
	}
	return v
}

func (r *rule) verdict() RuleVerdict {
	return RuleVerdict{Rule: r.name, Effect: r.effect(), File: r.file, Line: r.line}
}

// who says which predicate about subject, actors and client fails, and at which
// step; empty: none. lacks, of a deny, says of a trust's attributes whether one that
// is not there counts as a match (S14); nil: none does.
func (r *rule) who(q *exchange.Question, lacks func(trust string) func(attribute string) bool) (string, int) {
	if lacks == nil {
		lacks = func(string) func(string) bool { return nil }
	}
	if failed := firstFailed("subjects", r.subjects, subjectIdentity(&q.Subject), lacks(q.Subject.Trust)); failed != "" {
		return failed, stepSubject
	}
	actors := r.actorsAllow
	if r.deny {
		actors = r.actorsDeny
	}
	if failed := actors(q, lacks); failed != "" {
		return failed, stepActor
	}
	if len(r.clients) > 0 && (q.Client == "" || !anyMatch(r.clients, q.Client)) {
		failed := predicate{"clients", r.clients}.String()
		if q.Client == "" {
			return failed + ": the request is of no registered client", stepClient
		}
		return failed + ", which is " + q.Client + " here", stepClient
	}
	return "", 0
}

// actorsAllow says why an allow does not hold for who acts: it looks at the actor
// that was proven, and at no other (S15).
func (r *rule) actorsAllow(q *exchange.Question, _ func(string) func(string) bool) string {
	actor := provenActor(q)
	switch {
	case len(r.actors) == 0 && (actor != nil || len(q.Subject.Asserted) > 0):
		return "actors: the rule is for requests without an actor"
	case len(r.actors) == 0:
		return ""
	case actor == nil:
		return "actors: the request proves no actor"
	}
	return firstFailed("actors", r.actors, actorIdentity(actor), nil)
}

// actorsDeny says why a deny does not hold for who acts: it looks at the whole chain.
func (r *rule) actorsDeny(q *exchange.Question, lacks func(string) func(string) bool) string {
	if len(r.actors) == 0 {
		return ""
	}
	failed := "actors: nobody acts in the request"
	for _, part := range [2][]exchange.Actor{q.Actors, q.Subject.Asserted} {
		for i := range part {
			if failed = firstFailed("actors", r.actors, actorIdentity(&part[i]), lacks(part[i].Trust)); failed == "" {
				return ""
			}
		}
	}
	return failed
}

// firstFailed is the failed predicate of the last alternative that failed; empty
// where one matches, or where there are none.
func firstFailed(what string, clauses []clause, who identity, missing func(string) bool) string {
	var failed []string
	for _, c := range clauses {
		p := c.match(who, missing)
		if p == nil {
			return ""
		}
		single, many, _ := who.values(p.attribute)
		if single != "" {
			many = []string{single}
		}
		failed = append(failed, fmt.Sprintf("%s, which is %s here", p, shown(many)))
	}
	if len(failed) == 0 {
		return ""
	}
	return what + ": " + strings.Join(failed, "; ")
}

func shown(values []string) string {
	const few = 5
	switch {
	case len(values) == 0:
		return "absent"
	case len(values) > few:
		return fmt.Sprintf("%q and %d more", values[:few], len(values)-few)
	default:
		return fmt.Sprintf("%q", values)
	}
}

// explain is empty where the condition holds, else says how it does not.
func (c *condition) explain(f *facts) string {
	switch ok, err := c.holds(f); {
	case err != nil:
		return "when: " + c.text + ": " + err.Error()
	case !ok:
		return "when: " + c.text + ": is false here"
	default:
		return ""
	}
}
