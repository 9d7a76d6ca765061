package exchange

import "time"

// TrustKind says which rules a trust's tokens follow.
type TrustKind string

// The kinds of trust.
const (
	TrustKubernetes TrustKind = "kubernetes" // service-account tokens of a cluster
	TrustOIDC       TrustKind = "oidc"       // ID and access tokens of an OpenID provider
	TrustSPIFFE     TrustKind = "spiffe"     // JWT-SVIDs of a trust domain
	TrustSession    TrustKind = "session"    // session cookies of an application (S37)
)

// Trust is an issuer whose tokens are accepted, with the keys that verify them
// and the way its claims become a subject. It is plain data: policy decodes and
// validates it, subject verifies by it. Zero values mean the defaults named here.
type Trust struct {
	Tenant string
	Name   string
	Kind   TrustKind
	Issuer string // exact `iss`; empty for spiffe, whose tokens are picked by TrustDomain (S6), and for sessions that are no JWT

	TrustDomain string // spiffe only, without the scheme
	Keys        KeySource

	Audiences  []string      // one of these must be in `aud`; never empty where there is an issuer, never a cloud's own (S8)
	Algorithms []string      // JOSE names; default RS256, ES256, PS256, EdDSA
	Types      []string      // accepted `typ` headers, lower case; empty: absent, "jwt" or "at+jwt"
	Leeway     time.Duration // on `nbf` and `iat`; default 30 s; `exp` has none
	MaxAge     time.Duration // greatest now - iat; zero: unbounded
	SingleUse  bool          // each (trust, jti) buys one exchange (S13)

	// IDJAG: it is also an authorization server whose identity assertion grants are
	// taken for tokens (S12); oidc only.
	IDJAG bool

	Clientless    bool     // exchange without a registered client (S16)
	ClientlessAZP []string // with Clientless: authorized parties whose tokens may come

	Claims map[string]string // attribute → JSON path (RFC 9535) into the claims
	Record []string          // attributes kept in the ledger besides the subject

	Review  *Review       // kubernetes only; nil: never
	Session *SessionTrust // session only, and always there

	// Hash is the SHA-256 of the canonical form of everything above, made by
	// policy. A subject carries the hash that verified it, so that a decision
	// under another revision can tell (S11).
	Hash [32]byte
}

// KeySource says where a trust's verification keys come from. With no URL, File or
// Document they come by OpenID Connect Discovery 1.0 §4 from the issuer.
type KeySource struct {
	URL  string // a JWK Set (RFC 7517), or a SPIFFE bundle
	File string // the same in a file, re-read on change
	// Document is the URL of a client-id metadata document, which names them; it is
	// the client's name.
	Document string
	CAFile   string        // PEM roots for the discovery and key URLs; empty: the system's
	Stale    time.Duration // how long keys serve while the issuer is down; default 1 h
}

// ReviewMode says when a Kubernetes TokenReview is asked.
type ReviewMode string

// The modes of review.
const (
	ReviewNever  ReviewMode = "never"
	ReviewCached ReviewMode = "cached" // an answer is good for Review.TTL
	ReviewAlways ReviewMode = "always" // each use asks; the verified-token cache is bypassed
)

// Review is how a cluster is asked whether a token still stands, after its
// signature has verified (S11).
type Review struct {
	Mode      ReviewMode
	Server    string        // https://host:port; empty: in-cluster
	CAFile    string        // empty: in-cluster
	TokenFile string        // bearer for the API server, re-read each time; empty: in-cluster
	TTL       time.Duration // of a cached answer; default 30 s
}
