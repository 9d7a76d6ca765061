package provider

import (
	"errors"
	"fmt"

	"github.com/cambio-sts/cambio/exchange"
)

// unsent is an error of Deps.HTTP, where the house did not let a request out (S24).
type unsent interface{ NotSent() bool }

// Barred is the error of a request that the house itself did not let out; nil: it is
// of another kind. The cause says which setting would let it out, and that nobody was
// called: asking again brings the same, and nothing of it is the provider's.
func Barred(err error) *exchange.Error {
	var u unsent
	if !errors.As(err, &u) || !u.NotSent() {
		return nil
	}
	return exchange.Fault(exchange.KindMisconfigured, "Cambio is not let out to the target's provider: its operator must check outbound.allow, and where the target says to ask",
		fmt.Errorf("%w: %w", ErrNotCalled, withoutURL(err)))
}
