package cambio

import (
	"fmt"
	"strings"
	"time"
)

// Codes that this package adds to those of RFC 6749 §5.2 and of docs/api.md.
const (
	// CodeIdentity: the caller's own token could not be had.
	CodeIdentity = "identity_unavailable"
	// CodeUnreachable: no answer of the server came.
	CodeUnreachable = "unreachable"
	// CodeBadAnswer: what answered does not speak as a Cambio server does.
	CodeBadAnswer = "bad_answer"
)

// Error is why there is no credential. It holds no token.
type Error struct {
	// Code is the server's error, such as "invalid_target", or one of this package.
	Code string
	// Description says what to change. It may be empty.
	Description string
	// Status is the HTTP status; 0 if no answer came.
	Status int
	// ExchangeID finds the attempt in the server's ledger and log; empty if none began.
	ExchangeID string
	// Retryable says that the same request may succeed later.
	Retryable bool
	// RetryAfter is how long the server asks to wait; 0 if it does not say.
	RetryAfter time.Duration

	cause error
}

// Error is one line: the code, what to change, and the id to ask about.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("cambio: " + e.Code)
	if e.Description != "" {
		b.WriteString(": " + e.Description)
	}
	if e.cause != nil {
		fmt.Fprintf(&b, ": %v", e.cause)
	}
	if e.ExchangeID != "" {
		fmt.Fprintf(&b, " (exchange %s)", e.ExchangeID)
	}
	return b.String()
}

// Unwrap is what lies beneath, such as a failure of the network.
func (e *Error) Unwrap() error { return e.cause }
