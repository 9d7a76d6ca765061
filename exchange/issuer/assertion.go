package issuer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
)

// maxSubject is what the narrowest cloud takes as a subject, in bytes (Google's
// google.subject).
const maxSubject = 127

// reserved are the claims that the issuer itself writes, and those of RFC 7519
// §4.1, RFC 7800 §3.1 and RFC 8693 §4 that a verifier might act on.
var reserved = []string{
	"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "cnf", "act", "may_act", "client_id", "scope", "azp",
}

// Assert signs an assertion for one target's token endpoint, with a fresh `jti`.
func (i *Issuer) Assert(_ context.Context, a exchange.Assertion) (exchange.Secret, error) {
	now := i.now()
	subject, err := assertionSubject(a)
	if err != nil {
		return exchange.Secret{}, err
	}
	if err := i.checkAudience(a.Audience, a.Endpoint); err != nil {
		return exchange.Secret{}, err
	}
	if err := checkLife(a.Issued, a.Expires, now, exchange.MaxAssertionLifetime); err != nil {
		return exchange.Secret{}, fmt.Errorf("minting an assertion: %w", err)
	}
	for name := range a.Claims {
		// Some clouds fold case, so that `Sub` would stand in for `sub`.
		if slices.ContainsFunc(reserved, func(r string) bool { return strings.EqualFold(r, name) }) {
			return exchange.Secret{}, fmt.Errorf("minting an assertion: the claim %q is the issuer's own", name)
		}
	}
	id, err := exchange.NewID(now, i.random)
	if err != nil {
		return exchange.Secret{}, err
	}
	claims := make(map[string]any, len(a.Claims)+6)
	maps.Copy(claims, a.Claims)
	claims["iss"], claims["sub"], claims["aud"] = i.FederationURL(), subject, a.Audience
	claims["iat"], claims["exp"], claims["jti"] = a.Issued.Unix(), a.Expires.Unix(), id.String()
	payload, err := encode(claims)
	if err != nil {
		return exchange.Secret{}, fmt.Errorf("minting an assertion: %w", err)
	}
	key, err := i.signer(&i.federation, now)
	if err != nil {
		return exchange.Secret{}, err
	}
	return key.sign(payload)
}

// assertionSubject is <tenant>:<target>[:<value>…], each part escaped: the only
// gate that many clouds have, so no template reaches its beginning (S2).
func assertionSubject(a exchange.Assertion) (string, error) {
	if a.Tenant == "" || a.Target == "" {
		return "", errors.New("minting an assertion: it names no tenant and target")
	}
	subject := exchange.CanonicalName("", append([]string{a.Tenant, a.Target}, a.Values...)...)[1:]
	if len(subject) > maxSubject {
		return "", exchange.Fault(exchange.KindMisconfigured,
			"the target's subject would be too long for its provider: ask its operator",
			fmt.Errorf("the assertion's sub has %d bytes, over %d: shorten the target's name, or what follows it", len(subject), maxSubject))
	}
	return subject, nil
}
