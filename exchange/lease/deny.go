package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cambio-sts/cambio/exchange"
)

// Denies is where emergency denies are kept. The store implements it.
type Denies interface {
	// AddDeny makes a deny binding, with its event, and returns the epoch that it
	// began (S31). The same id again changes nothing.
	AddDeny(ctx context.Context, d exchange.Deny, event exchange.Event) (epoch int64, err error)
	// RemoveDeny ends a deny, with its event; false: no such active deny.
	RemoveDeny(ctx context.Context, tenant string, id exchange.ID, event exchange.Event) (bool, error)
	// Deny returns one deny, ended or not, or an *exchange.Error of KindNotFound.
	Deny(ctx context.Context, tenant string, id exchange.ID) (exchange.Deny, error)
	// ListDenies returns at most limit denies with an epoch less than below, newest
	// first; ended: the removed and the expired among them.
	ListDenies(ctx context.Context, tenant string, below int64, ended bool, limit int) ([]exchange.Deny, error)
}

// DeskOptions are what a Desk works with. All are needed, save where it is said.
type DeskOptions struct {
	Denies Denies
	Book   Book
	// Revoke takes a credential back at its provider. Its error says why not, for
	// the operator.
	Revoke func(ctx context.Context, tenant, target string, with exchange.Secret) error
	Sealer *exchange.Sealer
	Now    func() time.Time
	Random io.Reader // safe for concurrent use
	// Changed is told that the denies have changed, so that this replica need not
	// wait to find out. Optional.
	Changed func(ctx context.Context)

	// Policy decides renewals, and Standing says whether a lease still stands;
	// Register has such a method. Both are needed where Renew is there.
	Policy   exchange.Policy
	Standing func(ctx context.Context, tenant string, id exchange.ID) (Outstanding, error)
	// Renew asks a provider that a credential live until then, and returns until when
	// it does; CanRenew tells whether a target's provider has a way to. Optional:
	// nothing is renewed.
	Renew    func(ctx context.Context, tenant, target string, with exchange.Secret, until time.Time) (time.Time, error)
	CanRenew func(tenant, target string) bool
	// Governor says how many refused renewals of a subject are recorded (S32). Nil: all.
	Governor exchange.Governor
}

// Desk is where credentials that are out are stopped and renewed.
type Desk struct{ o DeskOptions }

// NewDesk makes a Desk.
func NewDesk(o DeskOptions) *Desk {
	if o.Changed == nil {
		o.Changed = func(context.Context) {}
	}
	return &Desk{o: o}
}

// The bounds on what an operator writes, in bytes.
const (
	maxReason = 512
	maxValue  = 1024
)

// clockSlack is how far from now the id of a deny may have been made. Events stand
// in the ledger by their ids' months.
const clockSlack = 24 * time.Hour

// members are what a deny can name here.
var members = []string{"actor", "credential", "lineage", "rule", "subject", "target", "trust"}

// Add puts a deny in force: when it returns, nothing that the deny covers can be
// issued any more (S31). event says who adds it; the rest of it is filled in here.
// The same deny again returns what is there. Its errors of KindInvalidRequest say
// what to change.
func (k *Desk) Add(ctx context.Context, d exchange.Deny, event exchange.Event) (exchange.Deny, error) {
	now := k.o.Now()
	d.Created = now.UTC().Truncate(time.Microsecond)
	d.Expires = d.Expires.UTC().Truncate(time.Microsecond)
	if d.ID.IsZero() {
		var err error
		if d.ID, err = exchange.NewID(now, k.o.Random); err != nil {
			return exchange.Deny{}, err
		}
	}
	if advice := check(d, now); advice != "" {
		return exchange.Deny{}, exchange.Fault(exchange.KindInvalidRequest, advice, nil)
	}
	if err := k.fill(&event, exchange.EventDenyAdded, d, now); err != nil {
		return exchange.Deny{}, err
	}
	if _, err := k.o.Denies.AddDeny(ctx, d, event); err != nil {
		return exchange.Deny{}, exchange.Fault(exchange.KindUnavailable, "whether the deny is in force is not known; send the same request again", err)
	}
	k.o.Changed(ctx)
	stands, err := k.o.Denies.Deny(ctx, d.Tenant, d.ID)
	if err != nil {
		return exchange.Deny{}, exchange.Fault(exchange.KindUnavailable, "the deny is in force, and could not be read again; send the same request again", err)
	}
	switch {
	case !maps.Equal(stands.Match, d.Match) || stands.Reason != d.Reason || !stands.Expires.Equal(d.Expires):
		return exchange.Deny{}, exchange.Fault(exchange.KindInvalidRequest, "request_id belongs to another deny: leave it out, or make a new one", nil)
	case !stands.Removed.IsZero():
		return exchange.Deny{}, exchange.Fault(exchange.KindInvalidRequest, "the deny of this request_id has been removed: make a new request_id", nil)
	}
	return stands, nil
}

// check is what to change in a deny; empty: nothing.
func check(d exchange.Deny, now time.Time) string {
	if len(d.Match) == 0 {
		return "match is empty, which would stop everything: name at least one of " + strings.Join(members, ", ")
	}
	for _, name := range slices.Sorted(maps.Keys(d.Match)) {
		value := d.Match[name]
		switch {
		case !slices.Contains(members, name):
			return "match has an unknown member: it takes " + strings.Join(members, ", ")
		case value == "":
			return "match." + name + " is empty: give its exact value"
		case len(value) > maxValue || !printable(value):
			return fmt.Sprintf("match.%s is not one line of at most %d bytes", name, maxValue)
		}
		if _, err := exchange.ParseID(value); name == "lineage" && err != nil {
			return "match.lineage is the id of a lease: " + err.Error()
		}
	}
	switch {
	case strings.TrimSpace(d.Reason) == "":
		return "reason is missing: say why, for those who read the ledger"
	case len(d.Reason) > maxReason || !printable(d.Reason):
		return fmt.Sprintf("reason is not one line of at most %d bytes", maxReason)
	case !d.Expires.IsZero() && !d.Expires.After(now):
		return "expire_time has passed: give a moment to come, or leave it out"
	case d.ID.Time().Sub(now).Abs() > clockSlack:
		return "request_id was not made today: make a new UUID of version 7, or leave it out"
	}
	return ""
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// Remove ends a deny. An unknown or ended one is an *exchange.Error of KindNotFound.
func (k *Desk) Remove(ctx context.Context, tenant string, id exchange.ID, event exchange.Event) error {
	d, err := k.o.Denies.Deny(ctx, tenant, id)
	if err != nil {
		return unreadable(err)
	}
	if err := k.fill(&event, exchange.EventDenyRemoved, d, k.o.Now()); err != nil {
		return err
	}
	removed, err := k.o.Denies.RemoveDeny(ctx, tenant, id, event)
	switch {
	case err != nil:
		return exchange.Fault(exchange.KindUnavailable, "whether the deny was removed is not known; try again", err)
	case !removed:
		return exchange.Fault(exchange.KindNotFound, "the deny has ended already", nil)
	}
	k.o.Changed(ctx)
	return nil
}

// List returns a page of denies, newest first; below is the epoch of the last deny
// of the page before, or zero.
func (k *Desk) List(ctx context.Context, tenant string, below int64, ended bool, limit int) ([]exchange.Deny, error) {
	if below == 0 {
		below = 1<<63 - 1
	}
	list, err := k.o.Denies.ListDenies(ctx, tenant, below, ended, limit)
	if err != nil {
		return nil, unreadable(err)
	}
	return list, nil
}

// fill completes an event about a deny. It stands in the ledger under the deny's
// id, so that what was done with it is one history.
func (k *Desk) fill(e *exchange.Event, of exchange.EventType, d exchange.Deny, now time.Time) error {
	match, err := json.Marshal(d.Match) // members in order
	if err != nil {
		return fmt.Errorf("encoding a deny: %w", err)
	}
	if e.ID, err = exchange.NewID(now, k.o.Random); err != nil {
		return err
	}
	e.Exchange, e.Tenant, e.Type, e.At = d.ID, d.Tenant, of, now
	e.Record.Exchange, e.Record.Tenant, e.Record.Type, e.Record.At = d.ID.String(), d.Tenant, of.String(), exchange.FormatTime(now)
	e.Record.Reason, e.Record.Explanation = d.Reason, string(match)
	if !d.Expires.IsZero() {
		e.Record.Expires = exchange.FormatTime(d.Expires)
	}
	return nil
}

// unreadable is for what the store did not classify.
func unreadable(err error) error {
	var known *exchange.Error
	if errors.As(err, &known) {
		return err
	}
	return exchange.Fault(exchange.KindUnavailable, "the database could not be read; try again", err)
}

// covers reports whether a deny holds for a credential that was issued, or an
// exchange under way, with this record. A decision knows more of actors than a
// record keeps; the trust of one is in its canonical name.
func covers(match map[string]string, r *exchange.Record) bool {
	for name, value := range match {
		holds := false
		switch name {
		case "subject":
			holds = r.Subject == value
		case "target":
			holds = r.Target == value
		case "rule":
			holds = r.Rule == value
		case "credential":
			holds = r.Credential == value
		case "lineage": // the lease itself, and what descends from it
			holds = r.Lease == value || slices.Contains(r.Lineage, value)
		case "actor":
			holds = slices.Contains(r.Actors, value) ||
				slices.ContainsFunc(r.Asserted, func(a string) bool { return strings.HasSuffix(a, " says "+value) })
		case "trust":
			holds = r.Trust == value || trustOf(r.Subject) == value ||
				slices.ContainsFunc(r.Actors, func(a string) bool { return trustOf(a) == value }) ||
				slices.ContainsFunc(r.Asserted, func(a string) bool { // who was proven here in an earlier exchange
					name, ours := strings.CutPrefix(a, exchange.SelfTrust+" says ")
					return ours && trustOf(name) == value
				})
		}
		if !holds {
			return false
		}
	}
	return true
}

// trustOf is the trust in a canonical name; empty where there is none.
func trustOf(name string) string {
	_, rest, _ := strings.Cut(name, ":")
	trust, _, _ := strings.Cut(rest, ":")
	plain, err := url.PathUnescape(trust)
	if err != nil {
		return ""
	}
	return plain
}
