package exchange

import (
	"errors"
	"time"
)

// Kind is the class of a failure. The set is closed: server/errors.go gives each
// its OAuth error, HTTP status and gRPC code, and a test walks every one.
type Kind uint8

// The kinds of failure. KindInternal is zero, so that what nobody classified is
// internal and its text stays inside.
const (
	KindInternal         Kind = iota
	KindInvalidRequest        // malformed, or a parameter that does not fit
	KindInvalidSubject        // the subject token is bad or refused
	KindInvalidActor          // the actor token is bad or refused
	KindInvalidClient         // client authentication failed or is missing
	KindUnsupportedGrant      // an unknown grant type
	KindInvalidTarget         // unknown or refused: the same
	KindInvalidScope          // wider than allowed
	KindInvalidLifetime       // longer than allowed, or shorter than the provider gives
	KindReasonRequired        // the rule wants a reason
	KindReplayed              // a single-use token came again
	KindThrottled             // come back after RetryAfter
	KindUnavailable           // we, or what we need, are down; try again
	KindTooLarge              // more bytes than we read
	KindMisconfigured         // the operator must change the named setting
	KindProviderRefused       // the provider said no
	KindUnauthenticated       // an API caller without a good bearer token
	KindPermissionDenied      // an API caller without the role
	KindNotFound              // no such thing, or not yours
	KindUnsupportedMedia      // a body of another content type
	KindMethodNotAllowed
	KindUnauthorizedClient // a client that may not use this grant
	kindCount
)

var kindNames = [kindCount]string{
	"internal", "invalid_request", "invalid_subject", "invalid_actor", "invalid_client", "unsupported_grant",
	"invalid_target", "invalid_scope", "invalid_lifetime", "reason_required", "replayed", "throttled", "unavailable",
	"too_large", "misconfigured", "provider_refused", "unauthenticated", "permission_denied", "not_found",
	"unsupported_media", "method_not_allowed", "unauthorized_client",
}

// String is the name used in records and metrics.
func (k Kind) String() string {
	if k >= kindCount {
		return kindNames[KindInternal]
	}
	return kindNames[k]
}

// Kinds lists every kind, for tables and for the tests that walk them.
func Kinds() []Kind {
	all := make([]Kind, kindCount)
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// Error is a failure with two texts: Advice for the caller, which says what to
// change and nothing of policy; Err for the log, which says why.
type Error struct {
	Kind       Kind
	Advice     string
	RetryAfter time.Duration // for KindThrottled and KindUnavailable; zero: unsaid
	Exchange   ID            // zero where none was begun
	Err        error
}

// Error is the text for the log.
func (e *Error) Error() string {
	text := e.Kind.String()
	if e.Advice != "" {
		text += ": " + e.Advice
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Fault makes an Error. cause may be nil.
func Fault(kind Kind, advice string, cause error) *Error {
	return &Error{Kind: kind, Advice: advice, Err: cause}
}

// KindOf is the kind of the outermost Error in err's chain, else KindInternal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindInternal
}

// FallenError is a Ledger's answer to what relies on a lease that is revoked, has
// expired or is gone: nothing was written.
type FallenError struct{ Lease ID }

// Error names the lease, for the log.
func (e *FallenError) Error() string {
	return "the lease " + e.Lease.String() + " does not stand any more"
}

// What a Ledger answers besides success, failure and a FallenError. All of them
// mean: withhold.
var (
	// ErrSettled: the exchange has another terminal outcome already (S27).
	ErrSettled = errors.New("the exchange has been settled otherwise")
	// ErrStale: a deny came in after the decision; decide again (S31).
	ErrStale = errors.New("decided under an older deny epoch")
	// ErrUsed: the single-use value was burnt by another exchange (S13).
	ErrUsed = errors.New("the single-use value has been used")
)

// ErrHandedOut is a provider's answer to the revocation of what it does not make for
// each who asks: nobody gets it here any more, and that is all there is to be done.
var ErrHandedOut = errors.New("whoever has it can use it until it is changed where it is kept")
