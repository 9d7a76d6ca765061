package exchange

import (
	"context"
	"time"
)

// Verifier proves a token and says who it speaks for.
type Verifier interface {
	// Verify returns the subject, or an *Error of KindInvalidSubject with advice
	// that is safe for a caller whom nothing has identified yet, or of
	// KindUnavailable when keys or a review could not be had.
	Verify(ctx context.Context, t Token, now time.Time) (Subject, error)
}

// OwnTokens verifies access tokens of ours that come back as subject tokens: the
// built-in trust `self` (S7). What else of ours comes back is refused by the
// Verifier, like any token of an issuer that nobody trusts.
type OwnTokens interface {
	// Ours reports whether a token names our issuer. It is believed in nothing else.
	Ours(t Token) bool
	// Verify returns the subject that the token was issued for, Subject.Own with it,
	// where the token and all it descends from stand unrevoked; the Actors of its
	// Origin are then those that are Asserted. Errors are as those of Verifier; the
	// advice of KindInvalidSubject is not passed on.
	Verify(ctx context.Context, t Token, now time.Time) (Subject, error)
}

// PassthroughVerifier proves tokens that are meant for a provider.
type PassthroughVerifier interface {
	// VerifyPassthrough returns nil where the token, whatever its audience, is of the
	// very subject (S8); else an *Error of KindInvalidRequest, or of KindUnavailable
	// when keys could not be had.
	VerifyPassthrough(ctx context.Context, t Token, of Subject, now time.Time) error
}

// Policy holds the newest good revision and the emergency denies.
type Policy interface {
	// Current pins one revision and one deny epoch. It fails, with KindUnavailable,
	// on a replica that is behind the newest revision (S21).
	Current() (Decider, error)
	// Refresh reads the emergency denies anew; called when the ledger says stale.
	Refresh(ctx context.Context) error
}

// Decider is one pinned revision.
type Decider interface {
	// Decide is a pure function of the revision, the denies and the question.
	Decide(q Question) Decision
}

// CredentialDenier is a Decider that knows denies of single credentials, which no
// new decision is about.
type CredentialDenier interface {
	// DeniesCredentials is nil where no deny in force names a credential. Else it
	// tells, of a credential's fingerprint, whether a deny names it that holds for
	// the question as it was decided.
	DeniesCredentials(q Question, d Decision) func(fingerprint string) bool
}

// Governor limits how often a subject comes, and sheds load for a target in
// trouble.
type Governor interface {
	// Admit returns release, to be called once with what became of the exchange,
	// or an *Error of KindThrottled or KindUnavailable. For a refusal (d not
	// Allowed) an error means: do not even write the row (S32).
	Admit(ctx context.Context, q Question, d Decision) (release func(error), err error)
}

// Vendor turns a grant into a credential.
type Vendor interface {
	// Reserve finds how the grant will be served and mints nothing. It waits while
	// another exchange of this replica mints for the same resolved grant.
	Reserve(ctx context.Context, g Grant) (Slot, error)
}

// Mode says how many durable writes a slot needs.
type Mode uint8

// The modes of a slot.
const (
	ModeHit      Mode = iota // a credential at hand: Vend, Settle
	ModeLocal                // one of our own making: Vend, Settle
	ModeUpstream             // minted outside: Intend, Vend, Settle
)

// Slot is one reserved vending.
type Slot interface {
	Mode() Mode
	// Vend gives the credential. For ModeUpstream this is the outside call.
	Vend(ctx context.Context) (Credential, error)
	// Release ends the slot, exactly once, whatever happened. settled: the outcome
	// is durable, so the credential may be reused. Otherwise it is dropped, and
	// revoked where it was minted here and the driver can. The error says that a
	// revocation failed.
	Release(ctx context.Context, c Credential, settled bool) error
}

// Ledger makes events durable. A nil error means: on disk. After ErrSettled,
// ErrStale, ErrUsed, a *FallenError or any other error the credential is withheld.
// The same Event.ID again, with the same content, is success.
type Ledger interface {
	Intend(ctx context.Context, i Intent) error
	Settle(ctx context.Context, o Outcome) error
	// Note records administration, queries and signatures.
	Note(ctx context.Context, e Event) error
}

// Observer is told what became of each exchange, for metrics and logs. It must
// not block.
type Observer interface {
	Observe(ctx context.Context, r Report)
}

// Report is one finished exchange as an Observer sees it. It holds no secret.
type Report struct {
	Exchange  ID
	Door      string
	Verified  bool // false: nothing was verified, so nothing was recorded (S32)
	Recorded  bool
	Subject   string
	Target    string
	Provider  string
	Outcome   EventType // zero where nothing was recorded
	Err       error     // nil: issued
	Unrevoked error     // minted in vain, and could not be taken back
	Durations Durations
	Total     time.Duration
}
