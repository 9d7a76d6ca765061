package exchange

import "time"

// Target is a named place that credentials are for. Policy makes it from its
// files; the provider's own settings stay opaque here.
type Target struct {
	Tenant   string
	Name     string
	Provider string
	Facts
	Settings any // the provider's decoded configuration

	// Returns says that a registered client is the server of this target's resource,
	// so that tokens of ours for it may come back (S7).
	Returns bool

	// Hash is the SHA-256 of the canonical form of the target and its settings.
	Hash [32]byte
}

// Facts are what the core must know of a target's settings; the provider states
// them.
type Facts struct {
	Resource   string        // URI by which `resource` selects the target; empty: none
	Authority  string        // issuer of the authorization server that its credentials are for; callers may say it as audience; empty: none
	Scopes     []string      // everything the target offers; nil: it knows no scopes
	Method     string        // how the provider is asked, a word for metrics; empty: it has one way
	Own        bool          // its credentials are access tokens of this issuer
	MayOutlive bool          // S5
	Once       bool          // a credential is good for one use: each exchange gets its own
	Shared     bool          // S23; a fault at load where the credential names its subject
	MinTTL     time.Duration // shortest lifetime the provider gives; zero: any
	MaxTTL     time.Duration // longest; zero: any
	Types      []TokenType   // what it can issue; the first is the default
}
