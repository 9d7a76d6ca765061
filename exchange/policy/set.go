package policy

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// SetOptions is what a Set is made of.
type SetOptions struct {
	State  State
	Tenant string // empty: "default"
	Now    func() time.Time
	Random io.Reader
	// OnActivate hands a revision's trusts to the verifier before the revision
	// decides anything. An error leaves the old revision in force. Optional.
	OnActivate func(*Revision) error
	// OnError is told when the database could not be read. Optional.
	OnError func(error)
	// Every is how often the database is asked. Zero: one second.
	Every time.Duration
}

// Set holds the revision in force and the emergency denies. It implements
// exchange.Policy.
type Set struct{ o SetOptions }

// NewSet makes a Set without a revision: Current fails until Activate succeeds.
func NewSet(o SetOptions) *Set { return &Set{o: o} }

// Activate puts a revision in force.
func (s *Set) Activate(ctx context.Context, r *Revision) error { return errors.New("not built yet") }

// Current implements exchange.Policy.
func (s *Set) Current() (exchange.Decider, error) { return nil, errors.New("not built yet") }

// Refresh implements exchange.Policy.
func (s *Set) Refresh(ctx context.Context) error { return errors.New("not built yet") }

// Run asks the database until ctx ends.
func (s *Set) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Status is nil when the set can decide; else it says why not, for /readyz.
func (s *Set) Status() error { return errors.New("not built yet") }

// Revision is the revision in force; nil before the first.
func (s *Set) Revision() *Revision { return nil }
