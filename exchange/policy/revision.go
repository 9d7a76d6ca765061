package policy

import (
	"slices"

	"github.com/cambio-sts/cambio/exchange"
)

// Revision is one compiled policy. It never changes and is safe for concurrent use.
type Revision struct {
	tenant    string
	hash      string
	trusts    []exchange.Trust
	trustHash map[string][32]byte
	yields    map[string]map[string]bool // trust → attributes that its subjects can have
	clients   map[string]*client
	targets   map[string]*exchange.Target
	resources map[string]*exchange.Target
	allow     []rule
	deny      []rule
	roles     map[string][]clause

	presenters map[string][]clause // session trust → who may present its sessions

	authorities map[string][]*exchange.Target // by Facts.Authority

	allowIndex *index
	denyIndex  *index
}

// Hash names the revision: lower-case hexadecimal SHA-256 of its files.
func (r *Revision) Hash() string { return r.hash }

// Tenant is whose policy it is.
func (r *Revision) Tenant() string { return r.tenant }

// Trusts lists the trusts by name. The caller must not change them.
func (r *Revision) Trusts() []exchange.Trust { return r.trusts }

// Target is the target of a name; nil: there is none. The caller must not change
// it.
func (r *Revision) Target(name string) *exchange.Target { return r.targets[name] }

// sameTrust reports whether a token was verified by the trust as this revision has
// it.
func (r *Revision) sameTrust(name string, hash [32]byte) bool {
	known, ok := r.trustHash[name]
	return ok && known == hash
}

// Serves implements exchange.Servers.
func (r *Revision) Serves(client, resource string) bool {
	c := r.clients[client]
	return c != nil && slices.Contains(c.Serves, resource)
}

// index prepares Decide.
func (r *Revision) index() {
	r.allowIndex = newIndex(r.allow, nil)
	r.denyIndex = newIndex(r.deny, r.yields)
}
