package exchange

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// redacted is all that a Secret ever prints.
const redacted = "REDACTED"

// Secret holds a token, a key or a password and cannot print it (S39). The value
// stands behind a pointer, so that even a formatter that reaches an unexported
// field prints an address and no secret. Copies share the value.
type Secret struct{ value *string }

// NewSecret takes the value out of circulation. The empty string gives the zero
// Secret.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: &value}
}

// Reveal returns the value. Only what must send it on calls this: the writer of a
// response, an outbound request, a cryptographic primitive.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether there is no value.
func (s Secret) IsZero() bool { return s.value == nil }

// Equal compares in constant time for values of equal length.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// Format prints REDACTED under every verb and flag.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String is REDACTED.
func (Secret) String() string { return redacted }

// GoString is REDACTED.
func (Secret) GoString() string { return redacted }

// LogValue is REDACTED.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText is REDACTED: what must be sent is written from Reveal, by hand.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON is "REDACTED", for the same reason.
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
