package exchange

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Attributes are what policy sees of a subject or an actor: name → values.
// Names are lower case: namespace, service_account, pod, node, uid, sub, groups,
// email, azp, and what a trust maps besides.
type Attributes map[string][]string

// Subject is a verified identity. Name is its canonical form, always qualified by
// the trust (S3): k8s:<trust>:<namespace>:<service account>,
// oidc:<trust>:<sub>, spiffe:<trust>:<id>, session:<trust>:<sub>.
type Subject struct {
	Name       string
	Tenant     string
	Trust      string
	TrustHash  [32]byte // of the trust that verified it
	Kind       TrustKind
	Issuer     string // `iss` as verified
	ID         string // `sub` as verified
	Attributes Attributes
	Record     Attributes // the part that the ledger keeps

	Issued   time.Time
	Expires  time.Time // `exp`, always set: a token without it is refused
	JTI      string
	KeyID    string
	Audience []string

	// Fingerprint is the full SHA-256 of the token as presented.
	Fingerprint [32]byte

	// Clientless says whether this token may be exchanged without a registered
	// client (S16).
	Clientless Clientless

	// Asserted is the `act` chain that the issuer put into the token, outermost
	// first; in a token of ours, those who acted before. It is kept and shown, denies
	// look at it, and it satisfies no rule (S15).
	Asserted []Actor
	// MayAct, when set, names the only actor that may act (RFC 8693 §4.4).
	MayAct *MayAct

	// Bounded says that nothing beyond the scopes in Bound may come of the token:
	// those of a token of ours, or of an identity assertion grant. What another
	// issuer put into its `scope` is about that issuer's resources and bounds nothing.
	Bounded bool
	Bound   []string

	// Once, when set, burns with the first durable write of the exchange (S13).
	Once *Once

	// Own, when set, says that the token was one of ours (S7).
	Own *Own
	// Assertion, when set, says that the token was an identity assertion grant,
	// which speaks for the subject through one client at one resource (S12).
	Assertion *IdentityAssertion
}

// Own is what an access token of ours brings along when it comes back as a subject
// token (S7).
type Own struct {
	Audience string   // the resource it was issued for: only the client that is its server may bring it
	ClientID string   // whom it was issued to
	Scopes   []string // bound what comes of it
	// Lineage are the leases of the tokens that it descends from, the oldest first
	// and its own last.
	Lineage []ID
}

// IdentityAssertion is what an ID-JAG says besides its subject
// (draft-ietf-oauth-identity-assertion-authz-grant §3).
type IdentityAssertion struct {
	ClientID string // the one client that may redeem it
	Resource string // URI of the one target that it is for; empty: it names none
}

// Clientless is what a verified token may do without a registered client (S16).
type Clientless uint8

// The values of Clientless.
const (
	ClientlessNo        Clientless = iota
	ClientlessWithActor            // only with an actor proven in the same request
	ClientlessYes
)

// Actor is who acts for a subject (RFC 8693 §4.1).
type Actor struct {
	Name       string // canonical when proven, else as the issuer asserted it
	Trust      string // empty when only asserted
	Attributes Attributes
	Issuer     string
	ID         string
	Proven     bool   // by a token or a client's proof in this request
	AssertedBy string // the trust whose issuer asserted it, or SelfTrust, when not proven
	Expires    time.Time
	TrustHash  [32]byte
}

// MayAct is the `may_act` claim; an absent `iss` means the token's own issuer
// (S15).
type MayAct struct {
	Issuer string
	ID     string
}

// Names reports whether the claim names this actor.
func (m MayAct) Names(a Actor) bool {
	return a.Proven && m.ID == a.ID && m.Issuer == a.Issuer
}

// Once is a thing that happens once: it burns in the database with the intent, or
// with the outcome where there is no intent.
type Once struct {
	Realm   string   // "jti:<trust>", and so on
	Hash    [32]byte // SHA-256 of the value
	Expires time.Time
}

// CanonicalName joins a prefix and components with colons, with each component
// escaped, so that no component can reach into its neighbour (S3).
func CanonicalName(prefix string, components ...string) string {
	var b strings.Builder
	b.WriteString(prefix)
	for _, c := range components {
		b.WriteByte(':')
		escapeComponent(&b, c)
	}
	return b.String()
}

// escapeComponent percent-encodes `%`, `:`, control characters (DEL and the C1
// range among them) and the replacement character, byte by byte; bytes that are
// not UTF-8 too, each as itself, so that no two components look the same.
func escapeComponent(b *strings.Builder, s string) {
	const digits = "0123456789ABCDEF"
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r == '%' || r == ':' || r < 0x20 || (r >= 0x7f && r <= 0x9f) || r == utf8.RuneError {
			for i := range size {
				b.WriteByte('%')
				b.WriteByte(digits[s[i]>>4])
				b.WriteByte(digits[s[i]&15])
			}
		} else {
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
}
