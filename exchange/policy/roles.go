package policy

import (
	"slices"

	"github.com/cambio-sts/cambio/exchange"
)

// knownRoles are the roles that the API asks for. auditor reads the ledger;
// operator acts: denies and revocations.
var knownRoles = []string{"auditor", "operator"}

// Roles lists the roles of a verified caller, sorted. A caller that someone else
// acts for has none: roles are for the person, not for whoever holds a delegated
// token.
func (r *Revision) Roles(s exchange.Subject) []string {
	if s.Tenant != r.tenant || !r.sameTrust(s.Trust, s.TrustHash) || len(s.Asserted) > 0 {
		return nil
	}
	var roles []string
	for name, clauses := range r.roles {
		if slices.ContainsFunc(clauses, func(c clause) bool { return c.match(subjectIdentity(&s), nil) == nil }) {
			roles = append(roles, name)
		}
	}
	slices.Sort(roles)
	return roles
}
