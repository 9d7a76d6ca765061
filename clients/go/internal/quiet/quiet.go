// Package quiet keeps secrets out of the words of errors. An error of the network may
// quote what came by it, and a server that is broken, or means ill, answers with what it
// was sent: "malformed HTTP response", and there the token stands.
package quiet

import (
	"errors"
	"strings"
)

// Text is a text without the secrets; empty ones are none.
func Text(text string, secrets ...string) string {
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "REDACTED")
		}
	}
	return text
}

// Error is an error that says the same without the secrets. It is the same to errors.Is
// and errors.As.
func Error(err error, secrets ...string) error {
	if err == nil {
		return nil
	}
	said := err.Error()
	if text := Text(said, secrets...); text != said {
		return &masked{text, err}
	}
	return err
}

type masked struct {
	text string
	err  error
}

// Error is what may be said.
func (m *masked) Error() string { return m.text }

// Is and As ask the error beneath, which nobody gets to print.
func (m *masked) Is(target error) bool { return errors.Is(m.err, target) }

// As does so for errors.As.
func (m *masked) As(target any) bool { return errors.As(m.err, target) }
