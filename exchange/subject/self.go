package subject

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// accessType is the `typ` of our access tokens (RFC 9068 §2.1).
const accessType = "at+jwt"

// SelfOptions is what a Self needs.
type SelfOptions struct {
	Tenant string // whose tokens they are
	Issuer string // ours, to the letter
	// Keys are those of our access tokens, and of nothing else, as a JWK Set.
	Keys func() []byte
	// Standing returns the lease of a token that stands: not revoked, nor what it
	// descends from, nor covered by an emergency deny. What does not stand is an
	// *exchange.Error of KindNotFound.
	Standing func(ctx context.Context, tenant string, id exchange.ID) (exchange.Lease, error)
	// Open opens Lease.Origin.
	Open func(id exchange.ID, sealed []byte) (exchange.Origin, error)
}

// Self verifies access tokens of ours, and implements exchange.OwnTokens: the
// built-in trust `self` (S7). It is safe for concurrent use.
type Self struct {
	o      SelfOptions
	prefix string // of the claims of whatever our issuer signs, as base64url
	keys   atomic.Pointer[ownKeys]
}

// ownKeys is our key set as it was last parsed.
type ownKeys struct {
	document []byte
	set      *keySet
}

// NewSelf makes a Self.
func NewSelf(o SelfOptions) *Self {
	issuer, err := json.Marshal(o.Issuer)
	if err != nil { // a string always marshals
		panic("subject: encoding an issuer: " + err.Error())
	}
	// Our issuer writes `iss` first, then `sub`. As much of that as fills whole
	// groups of base64, the end of the name among it, begins every token of ours.
	plain := `{"iss":` + string(issuer) + `,"sub":`
	return &Self{o: o, prefix: base64.RawURLEncoding.EncodeToString([]byte(plain[:len(plain)/3*3]))}
}

// Ours implements exchange.OwnTokens. It runs before every exchange, so it compares
// the encoded claims with what our issuer writes, and decodes nothing. What names
// our issuer in other words was not signed by it; the Verifier refuses that, for no
// trust has our name.
func (s *Self) Ours(t exchange.Token) bool {
	_, claims, _ := strings.Cut(t.Value.Reveal(), ".")
	return strings.HasPrefix(claims, s.prefix)
}

// Read returns what a token of ours says, where it is one: signed by our present
// access keys, an access token by its `typ`, within its time. Whether it still
// stands it does not ask. The error is an *exchange.Error of KindInvalidSubject,
// save where our own keys cannot be read.
func (s *Self) Read(raw exchange.Secret, now time.Time) (exchange.AccessToken, error) {
	c, _, err := s.read(raw.Reveal(), now)
	if err != nil {
		return exchange.AccessToken{}, err
	}
	return c.accessToken()
}

// read verifies everything that can be verified without asking anybody.
func (s *Self) read(raw string, now time.Time) (c claims, keyID string, err error) {
	if err := checkForm(raw); err != nil {
		return c, "", err
	}
	p, err := decode(raw)
	if err != nil {
		return c, "", err
	}
	if c, err = readClaims(p.claims); err != nil {
		return c, "", err
	}
	switch {
	case p.typ != accessType:
		return c, "", refused("the token is not an access token of ours by its typ")
	case c.issuer != s.o.Issuer:
		return c, "", refused("the token is not of our issuer")
	case !now.Before(c.expires):
		return c, "", errExpired
	case c.notBefore.After(now), c.issued.After(now.Add(defaultLeeway)): // another replica's clock
		return c, "", refused("the token is not valid yet")
	case c.bound:
		return c, "", errBound
	case len(c.audience) != 1:
		return c, "", refused("the token is not for one audience")
	}
	set, err := s.keySet()
	if err != nil {
		return c, "", err
	}
	// Every key of ours has a name, and every token of ours says it.
	if p.keyID == "" {
		return c, "", errSignature
	}
	for _, k := range set.candidates(&p) {
		switch ok, err := k.verifies(&p); {
		case err != nil:
			return c, "", err
		case ok:
			return c, k.id, c.readActors(exchange.SelfTrust)
		}
	}
	return c, "", errSignature
}

// keySet is our keys, parsed once for each change of them.
func (s *Self) keySet() (*keySet, error) {
	document := s.o.Keys()
	if held := s.keys.Load(); held != nil && bytes.Equal(held.document, document) {
		return held.set, nil
	}
	set, err := parseKeySet(document, exchange.TrustOIDC)
	if err != nil {
		return nil, exchange.Fault(exchange.KindInternal, "", fmt.Errorf("our own keys: %w", err))
	}
	s.keys.Store(&ownKeys{document: document, set: set})
	return set, nil
}

// accessToken is the claims as what was minted.
func (c *claims) accessToken() (exchange.AccessToken, error) {
	id, err := exchange.ParseID(c.jti)
	if err != nil {
		return exchange.AccessToken{}, refused("the token's jti is none of ours")
	}
	client, err := text(c.all, "client_id")
	if err != nil {
		return exchange.AccessToken{}, err
	}
	scope, _ := c.all["scope"].(string)
	return exchange.AccessToken{
		ID: id, Subject: c.subject, Audience: c.audience[0], ClientID: client, Scopes: strings.Fields(scope),
		Issued: c.issued, Expires: c.expires, Actors: c.actors, MayAct: c.mayAct,
	}, nil
}

// fallen is one answer for all that may have become of a token of ours.
func fallen(why error) error {
	return exchange.Fault(exchange.KindInvalidSubject, "the token is unknown, or has expired, or was revoked", why)
}

// Verify implements exchange.OwnTokens.
func (s *Self) Verify(ctx context.Context, t exchange.Token, now time.Time) (exchange.Subject, error) {
	raw := t.Value.Reveal()
	c, keyID, err := s.read(raw, now)
	if err != nil {
		return exchange.Subject{}, err
	}
	token, err := c.accessToken()
	if err != nil {
		return exchange.Subject{}, err
	}
	lease, err := s.o.Standing(ctx, s.o.Tenant, token.ID)
	switch {
	case exchange.KindOf(err) == exchange.KindNotFound:
		return exchange.Subject{}, fallen(err)
	case err != nil:
		return exchange.Subject{}, err
	case lease.Subject != token.Subject:
		return exchange.Subject{}, fallen(errors.New("its lease is of another subject"))
	case len(lease.Origin) == 0:
		return exchange.Subject{}, refused("tokens for this resource do not come back here")
	}
	origin, err := s.o.Open(token.ID, lease.Origin)
	if err != nil {
		return exchange.Subject{}, exchange.Fault(exchange.KindInternal, "", fmt.Errorf("the origin of lease %s: %w", token.ID, err))
	}
	return exchange.Subject{
		Name: token.Subject, Tenant: s.o.Tenant, Trust: origin.Trust, TrustHash: origin.TrustHash, Kind: origin.Kind,
		Issuer: origin.Issuer, ID: origin.ID, Attributes: origin.Attributes, Record: origin.Record, MayAct: origin.MayAct,
		Asserted: history(origin.Actors),
		Issued:   token.Issued, Expires: token.Expires, JTI: c.jti, KeyID: keyID, Audience: c.audience, Fingerprint: fingerprintOf(raw),
		Own: &exchange.Own{
			Audience: token.Audience, ClientID: token.ClientID, Scopes: token.Scopes,
			Lineage: append(append([]exchange.ID(nil), lease.Lineage...), token.ID),
		},
	}, nil
}

// history is a chain as it is told later: who was proven then is proven no more, and
// asserted by ourselves. The rest stays as others asserted it.
func history(chain []exchange.Actor) []exchange.Actor {
	for i := range chain {
		if a := &chain[i]; a.Proven {
			a.Proven, a.AssertedBy = false, exchange.SelfTrust
		}
	}
	return chain
}
