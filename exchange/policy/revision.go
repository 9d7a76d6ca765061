package policy

import "github.com/cambio-sts/cambio/exchange"

// Revision is one compiled policy. It never changes and is safe for concurrent use.
type Revision struct {
	tenant string
	hash   string
	trusts []exchange.Trust
}

// Hash names the revision: lower-case hexadecimal SHA-256 of its files.
func (r *Revision) Hash() string { return r.hash }

// Tenant is whose policy it is.
func (r *Revision) Tenant() string { return r.tenant }

// Trusts lists the trusts by name. The caller must not change them.
func (r *Revision) Trusts() []exchange.Trust { return r.trusts }

// Roles lists the roles of a verified caller, sorted.
func (r *Revision) Roles(s exchange.Subject) []string { return nil }

// Decide answers a question without regard to emergency denies.
func (r *Revision) Decide(q exchange.Question) exchange.Decision { return exchange.Decision{} }
