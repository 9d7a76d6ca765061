package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cambio-sts/cambio/exchange"
)

// Bounds on what a driver may return, in bytes.
const (
	maxCredential = 64 << 10
	maxHandle     = 256
)

// mint calls the driver under a deadline and holds what it returns to the
// contract. With an error the credential may be there all the same: it exists
// outside and has to be taken back.
func (v *Vendor) mint(ctx context.Context, d Driver, g *exchange.Grant) (exchange.Credential, error) {
	if _, local := d.(LocalDriver); !local { // what asks nobody outside has the exchange's own deadline
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, v.timeout)
		defer cancel()
	}
	c, err := d.Vend(ctx, *g)
	if err != nil {
		return c, classify(g.Target, err)
	}
	now := v.deps.Now()
	if c.Issued.IsZero() {
		c.Issued = now
	}
	if c.Scopes == nil {
		c.Scopes = g.Scopes
	}
	c.Scopes = slices.Clone(c.Scopes) // the driver's own slice may change under the cache
	if c.Lease.IsZero() {             // a token of ours brings its own: its `jti` names its lease
		if c.Lease, err = exchange.NewID(now, v.deps.Random); err != nil {
			return c, err
		}
	}
	c.Minted = true
	if fault := inspect(&c, g); fault != "" {
		return c, fmt.Errorf("the %s driver for target %q broke its contract: %s", g.Target.Provider, g.Target.Name, fault)
	}
	if !c.Expires.After(now) {
		return c, exchange.Fault(exchange.KindUnavailable, "the provider returned a credential that is not usable; try again",
			fmt.Errorf("target %q returned a credential that has expired already", g.Target.Name))
	}
	return c, nil
}

// inspect says what is wrong with a credential, without a word of its value.
func inspect(c *exchange.Credential, g *exchange.Grant) string {
	switch {
	case c.Value.IsZero():
		return "no value"
	case len(c.Value.Reveal()) > maxCredential, len(c.RevokeWith.Reveal()) > maxCredential:
		return fmt.Sprintf("a value over %d bytes", maxCredential)
	case c.TokenType != "Bearer" && c.TokenType != "N_A":
		return "a token type that is neither Bearer nor N_A"
	case c.IssuedType == "":
		return "no issued token type"
	case c.Expires.IsZero():
		return "no expiry"
	case !c.Expires.After(c.Issued):
		return "an expiry that is not after its issue"
	case len(c.Handle) > maxHandle:
		return fmt.Sprintf("a handle over %d bytes", maxHandle)
	}
	for _, s := range c.Scopes {
		if !slices.Contains(g.Scopes, s) {
			return "a scope that was not granted"
		}
	}
	return ""
}

// classify wraps a driver's error once. What the driver did not classify stays
// internal, save a deadline, which says what it is.
func classify(t *exchange.Target, err error) error {
	var e *exchange.Error
	if errors.As(err, &e) {
		wrapped := *e
		wrapped.Err = fmt.Errorf("vending for target %q: %w", t.Name, cause(err, e))
		return &wrapped
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return exchange.Fault(exchange.KindUnavailable, "the provider did not answer in time; try again",
			fmt.Errorf("vending for target %q: %w", t.Name, err))
	}
	return exchange.Fault(exchange.KindInternal, "", fmt.Errorf("vending for target %q: %w", t.Name, err))
}

// cause is what to tell of an error beside the kind and advice of e within it.
func cause(err error, e *exchange.Error) error {
	if err != error(e) {
		return err
	}
	if e.Err != nil {
		return e.Err
	}
	return errors.New(e.Kind.String())
}
