package subject

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

const (
	tokensKept   = 8192    // verified tokens remembered
	maxKeptToken = 8 << 10 // bytes; longer ones are verified each time
	runEvery     = 15 * time.Second
)

// Options is what the house lends a Verifier.
type Options struct {
	// Client makes the HTTP client for issuers and API servers: bounded in time,
	// no redirects, restricted by host (S24). caFile is a PEM file of roots; empty
	// means the system's. It is called again after a failure, so that roots
	// replaced on disk are found.
	Client func(caFile string) (*http.Client, error)
	// OwnIssuers are the issuers that are Cambio itself; no trust may name one (S7).
	OwnIssuers []string
	// Issuer is our own, the sole audience of identity assertion grants (S12); empty:
	// none is taken.
	Issuer string
	// ForClients makes a Verifier of clients' assertions (RFC 7523 §3), whose own
	// typ no subject may have.
	ForClients bool
	// Now is the clock of caches and fetches. The moment at which a token is
	// judged comes with each Verify.
	Now func() time.Time
	// Secret gives what introspection of sessions needs; nil: nothing can be had.
	Secret SecretFor
	// Meter counts; nil counts nothing.
	Meter Meter
}

// Verifier proves tokens by the trusts it was loaded with. It is safe for
// concurrent use.
type Verifier struct {
	client     func(caFile string) (*http.Client, error)
	ownIssuers []string
	issuer     string
	forClients bool
	secret     SecretFor
	now        func() time.Time
	meter      Meter

	loading  sync.Mutex
	table    atomic.Pointer[table]
	wake     chan struct{}
	verified *memory[*verified]
	// sessions are apart, so that no token leads to one under another label.
	sessions *memory[*verified]
}

// verified is a token that has passed every check but the review's, and what must
// hold again at the next use (S11).
type verified struct {
	subject   exchange.Subject
	trust     *trust // by identity: a trust that changed in anything is another one
	key       *key
	notBefore time.Time
	idToken   bool
	grant     bool // an identity assertion grant, which is good under that label only
}

// New makes a Verifier without trusts: it refuses every token until Load.
func New(o Options) *Verifier {
	v := &Verifier{
		client: o.Client, ownIssuers: o.OwnIssuers, issuer: o.Issuer, forClients: o.ForClients, secret: o.Secret, now: o.Now, meter: o.Meter,
		wake: make(chan struct{}, 1), verified: newMemory[*verified](tokensKept),
		sessions: newMemory[*verified](tokensKept),
	}
	if v.meter == nil {
		v.meter = silent{}
	}
	v.table.Store(&table{})
	return v
}

// Load replaces all trusts at once, or none: then it returns every fault that
// Check finds, or the first in making ready (a file of roots that cannot be
// read). It fetches no keys; the first token of a trust does, or Run.
func (v *Verifier) Load(trusts []exchange.Trust) error {
	if faults := v.Check(trusts); len(faults) > 0 {
		return errors.Join(faults...)
	}
	v.loading.Lock()
	defer v.loading.Unlock()
	compiled, err := v.compile(trusts, v.table.Load())
	if err != nil {
		return err
	}
	v.table.Store(compiled)
	select {
	case v.wake <- struct{}{}:
	default:
	}
	return nil
}

// Run fetches keys before callers need them, until ctx ends.
func (v *Verifier) Run(ctx context.Context) {
	tick := time.NewTicker(runEvery)
	defer tick.Stop()
	for {
		for _, t := range v.table.Load().byName {
			if t.source != nil && t.source.due() {
				t.source.attempt()
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-v.wake:
		}
	}
}

// Refresh fetches the keys of every trust and waits. The pace of fetches holds
// here too: a trust asked a moment ago is not asked again. It returns what
// failed.
func (v *Verifier) Refresh(ctx context.Context) error {
	var flights []*flight
	loaded := v.table.Load()
	for _, t := range loaded.byName {
		if t.source == nil {
			continue
		}
		if f := t.source.attempt(); f != nil {
			flights = append(flights, f)
		}
	}
	for _, f := range flights {
		if err := f.wait(ctx); err != nil {
			return err
		}
	}
	var faults []error
	for _, t := range loaded.byName {
		if t.source != nil && t.source.isDown() {
			faults = append(faults, t.source.unavailable())
		}
	}
	return errors.Join(faults...)
}

// Verify implements exchange.Verifier. The maps and slices of the subject are
// shared with other callers: they are to be read only.
func (v *Verifier) Verify(ctx context.Context, t exchange.Token, now time.Time) (exchange.Subject, error) {
	if name, session := t.Type.Session(); session {
		return v.verifySession(ctx, t, name, now)
	}
	if err := checkLabel(t.Type); err != nil {
		return exchange.Subject{}, err
	}
	raw := t.Value.Reveal()
	if err := checkForm(raw); err != nil {
		return exchange.Subject{}, err
	}
	fingerprint := fingerprintOf(raw)
	found, hit := v.verified.get(fingerprint)
	if hit && !v.stands(ctx, found, now) {
		v.verified.drop(fingerprint)
		hit = false
	}
	v.meter.Looked(hit)
	if !hit {
		var err error
		if found, err = v.prove(ctx, raw, fingerprint, now, t.Type == exchange.TokenTypeIDJAG); err != nil {
			return exchange.Subject{}, err
		}
		if len(raw) <= maxKeptToken && !found.trust.alwaysReviewed() {
			v.verified.put(fingerprint, found)
		}
	}
	switch {
	case found.grant && t.Type != exchange.TokenTypeIDJAG:
		return exchange.Subject{}, errGrant
	case !found.grant && t.Type == exchange.TokenTypeIDJAG:
		return exchange.Subject{}, errNotGrant
	case t.Type == exchange.TokenTypeIDToken && !found.idToken:
		return exchange.Subject{}, errNotIDToken
	}
	if review := found.trust.review; review != nil {
		if err := review.check(ctx, raw, &found.subject); err != nil {
			return exchange.Subject{}, err
		}
	}
	return found.subject, nil
}

// stands rechecks a remembered token: its trust is the same, its key is still
// published, its time has not run out. What fails here is verified from the
// start, which says why.
func (v *Verifier) stands(ctx context.Context, f *verified, now time.Time) bool {
	loaded := v.table.Load()
	return loaded.byName[trustName{f.trust.Tenant, f.trust.Name}] == f.trust &&
		f.trust.checkTimes(now, f.subject.Expires, f.notBefore, f.subject.Issued) == nil &&
		loaded.groupOf(f.trust).stands(ctx, f.trust, f.key)
}

// prove verifies from the start: a token, or where the label says so, an identity
// assertion grant.
func (v *Verifier) prove(ctx context.Context, raw string, fingerprint [32]byte, now time.Time, grant bool) (*verified, error) {
	p, c, t, k, err := v.signed(ctx, raw, now)
	if err != nil {
		return nil, err
	}
	if grant {
		err = t.checkGrant(p, c, now, v.issuer)
	} else {
		err = t.check(p, c, now)
	}
	if err != nil {
		return nil, err
	}
	s, err := t.build(c, k, fingerprint)
	if err == nil && grant {
		err = t.readGrant(c, &s)
	}
	if err != nil {
		return nil, err
	}
	return &verified{
		subject: s, trust: t, key: k, notBefore: c.notBefore, idToken: t.looksLikeIDToken(p, c), grant: grant,
	}, nil
}

// signed decodes a token and finds the trust whose key signed it.
func (v *Verifier) signed(ctx context.Context, raw string, now time.Time) (p presented, c claims, t *trust, k *key, err error) {
	if p, err = decode(raw); err != nil {
		return p, c, nil, nil, err
	}
	if c, err = readClaims(p.claims); err != nil {
		return p, c, nil, nil, err
	}
	if !now.Before(c.expires) { // no trust forgives it, so no key is needed to say so
		return p, c, nil, nil, errExpired
	}
	g := v.table.Load().pick(c)
	if g == nil {
		return p, c, nil, nil, refused("no trust accepts the issuer of this token")
	}
	t, k, err = g.verify(ctx, &p)
	return p, c, t, k, err
}

// pick finds the trusts that could answer for the token, by claims that nobody
// has verified yet: a lie leads to keys that did not sign it.
func (t *table) pick(c claims) *group {
	if rest, ok := strings.CutPrefix(c.subject, spiffeScheme); ok {
		domain, _, _ := strings.Cut(rest, "/")
		if g := t.byDomain[domain]; g != nil {
			return g
		}
	}
	return t.byIssuer[c.issuer]
}

func (t *table) groupOf(of *trust) *group {
	if of.alone != nil {
		return of.alone
	}
	if of.Kind == exchange.TrustSPIFFE {
		return t.byDomain[of.TrustDomain]
	}
	return t.byIssuer[of.Issuer]
}

func (t *trust) alwaysReviewed() bool {
	return t.review != nil && t.review.mode == exchange.ReviewAlways
}
