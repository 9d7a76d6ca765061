package subject

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cambio-sts/cambio/exchange"
)

// oidc reads an ID token or a JWT access token of an OpenID provider. Its `sub` is
// unique within the issuer only (OpenID Connect Core 1.0 §8), which is why the
// name carries the trust.
func (t *trust) oidc(c claims, s *exchange.Subject) error {
	s.Name = exchange.CanonicalName("oidc", t.Name, c.subject)
	s.Attributes = exchange.Attributes{"sub": {c.subject}}
	if c.party != "" {
		s.Attributes["azp"] = []string{c.party}
	}
	if _, mapped := t.Claims["groups"]; !mapped {
		claim := c.all["groups"]
		groups, err := appendValues(nil, claim)
		if err != nil {
			return exchange.Fault(exchange.KindInvalidSubject, `the token's "groups" must be an array of strings`, err)
		}
		if claim != nil { // of no group is not the same as not said: a missing claim matches a deny (S14)
			s.Attributes["groups"] = groups
		}
	}
	if _, mapped := t.Claims["email"]; !mapped {
		email, err := verifiedEmail(c.all)
		if err != nil {
			return err
		}
		if email != "" {
			s.Attributes["email"] = []string{email}
		}
	}
	s.Clientless = t.clientless(c)
	return nil
}

// verifiedEmail is the address, unless the issuer says that it did not verify it
// (OpenID Connect Core 1.0 §5.1). Some issuers write that as a string.
func verifiedEmail(all map[string]any) (string, error) {
	switch all["email_verified"] {
	case nil, true, "true":
		if all["email"] == "" { // some issuers write that for people without one
			return "", nil
		}
		return text(all, "email")
	case false, "false":
		return "", nil
	}
	return "", malformed(errors.New(`"email_verified" must be true or false`))
}

// clientless is S16 for people's tokens: any service to which a person's token
// was also addressed holds a copy of it, so the copy alone is not enough.
func (t *trust) clientless(c claims) exchange.Clientless {
	switch {
	case !t.Clientless:
		return exchange.ClientlessNo
	case len(t.ClientlessAZP) > 0:
		if c.party != "" && slices.Contains(t.ClientlessAZP, c.party) {
			return exchange.ClientlessYes
		}
		return exchange.ClientlessNo
	case len(c.audience) == 1:
		return exchange.ClientlessYes
	}
	return exchange.ClientlessWithActor
}

// checkLabel holds subject_token_type against what is known before the token is
// opened. An access token and a JWT are taken alike, and no label is as good as
// either.
func checkLabel(label exchange.TokenType) error {
	switch label {
	case "", exchange.TokenTypeJWT, exchange.TokenTypeAccessToken, exchange.TokenTypeIDToken, exchange.TokenTypeIDJAG:
		return nil
	}
	return refused(fmt.Sprintf("this token type is not accepted: send %s, %s or %s",
		exchange.TokenTypeJWT, exchange.TokenTypeAccessToken, exchange.TokenTypeIDToken))
}

// looksLikeIDToken tells an ID token (OpenID Connect Core 1.0 §2) from an access
// token, which nothing but convention marks: RFC 9068 gives access tokens a typ
// and a client_id, OAuth gives them scopes, Keycloak writes a `typ` claim.
func (t *trust) looksLikeIDToken(p presented, c claims) bool {
	if t.Kind != exchange.TrustOIDC || p.typ != "" && p.typ != "jwt" || c.issued.IsZero() {
		return false
	}
	for _, mark := range []string{"scope", "scp", "client_id"} {
		if _, present := c.all[mark]; present {
			return false
		}
	}
	typ, marked := c.all["typ"]
	return !marked || typ == "ID"
}

var errNotIDToken = refused("the token is labelled as an ID token and is none: label it as " + string(exchange.TokenTypeJWT))
