package signing

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Store is where sessions are kept.
type Store interface {
	// HoldSession adds a session; nil means: durable.
	HoldSession(ctx context.Context, s exchange.Session) error
	// Session returns one that has not expired, or an *exchange.Error of
	// KindNotFound.
	Session(ctx context.Context, tenant string, id exchange.ID) (exchange.Session, error)
	// ReplaceSession puts what is sealed in s, and its expiry, in the place of what the
	// session has, if that is still old and has not expired. False: it is not.
	ReplaceSession(ctx context.Context, s exchange.Session, old []byte) (bool, error)
	// EndSession forgets one. One that is gone already is success.
	EndSession(ctx context.Context, tenant string, id exchange.ID) error
	// PruneSessions forgets expired ones, at most limit, and says how many.
	PruneSessions(ctx context.Context, limit int) (int, error)
}

// Options are what a Desk works with. All are needed, save where it is said.
type Options struct {
	Store Store
	// Standing returns the lease of a credential that stands at this moment: neither
	// revoked, nor expired, nor covered by an emergency deny that any replica has
	// added (S31). Another is an *exchange.Error of KindNotFound.
	Standing func(ctx context.Context, tenant string, id exchange.ID) (exchange.Lease, error)
	// Sign has the target's driver sign.
	Sign func(ctx context.Context, tenant, target string, snapshot exchange.Secret, r exchange.SignRequest) (map[string]string, error)
	// Renew makes a session live on, decided anew for its subject; nil: none is. It
	// must end soon after ctx does.
	Renew func(ctx context.Context, r Renewal) error
	// Note makes an event durable.
	Note   func(ctx context.Context, e exchange.Event) error
	Sealer *exchange.Sealer
	Now    func() time.Time
	Random io.Reader // safe for concurrent use
	// Signed is told of each signature, and of each refusal. It must not block.
	// Optional.
	Signed func(target string, kind exchange.Kind, ok bool)
	// Renewed is told of each renewal ahead of time, and of each that failed. It must
	// not block. Optional.
	Renewed func(target string, session exchange.ID, err error)
	// Report is told what could not be recorded, or forgotten. Optional.
	Report func(error)
}

// Desk holds sessions and signs under them. It is safe for concurrent use.
type Desk struct {
	o     Options
	tally tally
	ahead *ahead
}

// New makes a Desk.
func New(o Options) *Desk {
	if o.Signed == nil {
		o.Signed = func(string, exchange.Kind, bool) {}
	}
	if o.Renewed == nil {
		o.Renewed = func(string, exchange.ID, error) {}
	}
	if o.Report == nil {
		o.Report = func(error) {}
	}
	return &Desk{o: o, tally: tally{counts: map[exchange.ID]*count{}}, ahead: newAhead()}
}

// Ask is one request for a signature.
type Ask struct {
	Session exchange.ID
	Token   exchange.Secret // the session's
	// Caller is who asks, by a fresh token of their own: the session's subject, or the
	// actor that it was made for.
	Caller  exchange.Subject
	Request exchange.SignRequest
	// By and ClientIP say from where it is asked.
	By       exchange.Record
	ClientIP netip.Addr
}

// Signature is what to send with the request, and until when the session signs.
type Signature struct {
	Headers map[string]string // by lower-case name
	Expires time.Time
	Renew   time.Time // when to exchange again, if Expires has not moved until then
}

// errUnknown is the answer to whoever is not proven to own a session that stands:
// there might be none.
func errUnknown(why error) error {
	return exchange.Fault(exchange.KindNotFound, "there is no such session for you and this token: exchange again for a new one", why)
}

// Sign signs one request. Every time it asks the database whether the lease stands,
// since nothing is written here that could be refused for an emergency deny (S31). A
// session that is about to end is renewed meanwhile, as Run goes on.
func (d *Desk) Sign(ctx context.Context, a Ask) (Signature, error) {
	lease, signature, err := d.sign(ctx, a)
	d.o.Signed(lease.Target, exchange.KindOf(err), err == nil)
	if err != nil {
		return Signature{}, err
	}
	return signature, nil
}

func (d *Desk) sign(ctx context.Context, a Ask) (exchange.Lease, Signature, error) {
	none := func(err error) (exchange.Lease, Signature, error) { return exchange.Lease{}, Signature{}, err }
	s, err := d.o.Store.Session(ctx, a.Caller.Tenant, a.Session)
	if err != nil {
		return none(unknownOr(err))
	}
	h, err := d.open(&s)
	if err != nil {
		return none(err)
	}
	hash := sha256.Sum256([]byte(a.Token.Reveal()))
	if subtle.ConstantTimeCompare(hash[:], h.TokenHash[:]) != 1 {
		return none(errUnknown(errors.New("the session's token is another one")))
	}
	lease, err := d.o.Standing(ctx, a.Caller.Tenant, a.Session)
	if err != nil {
		return none(unknownOr(err))
	}
	switch {
	case lease.Subject != h.Subject || lease.Target != h.Target:
		return none(errUnknown(errors.New("the session's lease is not the one that it was made with")))
	case a.Caller.Name == "" || a.Caller.Name != h.Subject && a.Caller.Name != lease.Actor:
		return none(errUnknown(fmt.Errorf("%s is neither the session's subject nor its actor", a.Caller.Name)))
	}
	headers, err := d.o.Sign(ctx, a.Caller.Tenant, h.Target, exchange.NewSecret(h.Snapshot), a.Request)
	if err != nil {
		return lease, Signature{}, err
	}
	if full := d.tally.add(&lease, d.o.Now()); full {
		d.flush(ctx)
	}
	d.renewAhead(a, &lease, h.Made, s.Expires)
	return lease, Signature{Headers: headers, Expires: s.Expires, Renew: renewAt(&lease, h.Made, s.Expires)}, nil
}

// unknownOr gives whatever is not found the one answer.
func unknownOr(err error) error {
	switch exchange.KindOf(err) {
	case exchange.KindNotFound:
		return errUnknown(err)
	case exchange.KindInternal:
		return exchange.Fault(exchange.KindUnavailable, "it could not be looked up whether the session stands; try again", err)
	}
	return err
}
