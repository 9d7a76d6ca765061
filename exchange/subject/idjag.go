package subject

import (
	"crypto/sha256"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// grantType is the `typ` of an identity assertion authorization grant, ID-JAG for
// short (draft-ietf-oauth-identity-assertion-authz-grant §3.1).
const grantType = "oauth-id-jag+jwt"

// checkGrant is what an identity assertion grant must pass in the place of check
// once its signature has verified (S12). Its audience is our issuer, to the byte and
// alone: the trust's own audiences are for tokens.
func (t *trust) checkGrant(p presented, c claims, now time.Time, issuer string) error {
	switch {
	case !t.IDJAG:
		return refused("identity assertion grants (ID-JAG) of this issuer are not accepted: send the subject's own token")
	case p.typ != grantType:
		return errNotGrant
	}
	if err := t.checkTimes(now, c.expires, c.notBefore, c.issued); err != nil {
		return err
	}
	switch {
	case c.bound:
		return errBound
	case issuer == "" || len(c.audience) != 1 || c.audience[0] != issuer:
		return refused("an identity assertion grant must have this service's issuer as its aud, and nothing else")
	case c.jti == "":
		return refused(`an identity assertion grant must have a "jti", by which it can be told from one that was used`)
	case c.issued.IsZero():
		return refused(`an identity assertion grant must have an "iat"`)
	}
	return nil
}

// readGrant adds to the subject what the grant says besides: through which client,
// where, and how much. It is always single-use.
func (t *trust) readGrant(c claims, s *exchange.Subject) error {
	client, err := text(c.all, "client_id")
	if err != nil {
		return err
	}
	if client == "" {
		return refused(`an identity assertion grant must name its client by "client_id"`)
	}
	a := &exchange.IdentityAssertion{ClientID: client}
	members := c.all
	if list, ok := c.all["resource"].([]any); ok {
		if len(list) != 1 {
			return refused("an identity assertion grant must be for one resource")
		}
		members = map[string]any{"resource": list[0]}
	}
	if a.Resource, err = text(members, "resource"); err != nil {
		return err
	}
	if value, present := c.all["scope"]; present {
		scopes, ok := value.(string)
		if !ok {
			return refused(`"scope" must be a string of scopes with spaces between`)
		}
		s.Bound, s.Bounded = strings.Fields(scopes), true
	}
	s.Assertion, s.Clientless = a, exchange.ClientlessNo
	s.Once = t.once(c)
	return nil
}

// once burns the token's `jti`.
func (t *trust) once(c claims) *exchange.Once {
	return &exchange.Once{Realm: "jti:" + t.Tenant + ":" + t.Name, Hash: sha256.Sum256([]byte(c.jti)), Expires: c.expires}
}

var (
	// S10: without the proof it is a stolen token for all we know.
	errBound    = refused("the token is bound to a key or a certificate (cnf), which this endpoint cannot check: send one that is not bound")
	errNotGrant = refused("the token is labelled as an identity assertion grant and is none: its typ must be " + grantType)
	errGrant    = refused("the token is an identity assertion grant (ID-JAG), which is good as the assertion of the grant type jwt-bearer only")
)
