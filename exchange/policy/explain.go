package policy

import "github.com/cambio-sts/cambio/exchange"

// Explanation is a decision with its reasons, for the operator.
type Explanation struct {
	Allowed  bool          `json:"allowed"`
	Rule     string        `json:"rule,omitempty"` // that decided; for a refusal, the deny
	Subject  string        `json:"subject"`
	Trust    string        `json:"trust"`
	Actor    string        `json:"actor,omitempty"`
	Target   string        `json:"target,omitempty"`
	Refusal  string        `json:"refusal,omitempty"` // the error kind when not allowed
	Scopes   []string      `json:"scopes,omitempty"`
	Lifetime int64         `json:"lifetime_s,omitempty"`
	Revision string        `json:"revision"`
	Reasons  []string      `json:"reasons"`
	Rules    []RuleVerdict `json:"rules"` // every rule considered, denies first
}

// RuleVerdict says how one rule looked at a question.
type RuleVerdict struct {
	Rule    string `json:"rule"`
	Effect  string `json:"effect"` // allow or deny
	File    string `json:"file"`
	Line    int    `json:"line"`
	Matched bool   `json:"matched"`
	Failed  string `json:"failed,omitempty"` // the first predicate that failed, in words
}

// Explain answers a question and says why, rule by rule.
func (r *Revision) Explain(q exchange.Question) Explanation { return Explanation{} }

// Describe makes a subject from its canonical name (k8s:<trust>:<namespace>:<service
// account>, oidc:<trust>:<sub>, spiffe:<trust>:<id>) and further attributes, as if
// a token had been verified. It proves nothing and is for Explain and tests only.
func Describe(r *Revision, name string, attributes map[string][]string) (exchange.Subject, error) {
	return exchange.Subject{}, nil
}

// DescribeActor is Describe for an actor proven in the request.
func DescribeActor(r *Revision, name string, attributes map[string][]string) (exchange.Actor, error) {
	return exchange.Actor{}, nil
}
