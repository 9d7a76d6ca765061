package policy

import "github.com/cambio-sts/cambio/exchange"

// StoppedBy lists the emergency denies that hold for a question, as Decide would
// find the first of them (S31). Explain knows of none: they are a server's, and no
// part of a revision.
func (r *Revision) StoppedBy(q exchange.Question, list []exchange.Deny) []exchange.Deny {
	var picked *rule
	if d := r.decide(&q, nil); d.Allowed {
		picked = &rule{name: d.Rule}
	}
	_, target, _ := r.resolve(&q)
	var stopped []exchange.Deny
	for i := range list {
		if d := &list[i]; d.Tenant == q.Tenant && active(d, q.Now) && holds(d, &q, target, picked) {
			stopped = append(stopped, *d)
		}
	}
	return stopped
}
