package issuer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
)

// grantType is the `typ` of an identity assertion grant
// (draft-ietf-oauth-identity-assertion-authz-grant §3.1).
const grantType = "oauth-id-jag+jwt"

// grantClaims are the claims of §3.1 of that draft. `iss` and `sub` come first, as
// in access tokens, so that a grant that comes back is known for one of ours.
type grantClaims struct {
	Issuer   string     `json:"iss"`
	Subject  string     `json:"sub"`
	Audience string     `json:"aud"`
	ClientID string     `json:"client_id"`
	ID       string     `json:"jti"`
	Expires  int64      `json:"exp"`
	Issued   int64      `json:"iat"`
	Resource string     `json:"resource,omitempty"`
	Scope    string     `json:"scope,omitempty"`
	Actor    *actorPart `json:"act,omitempty"`
	MayAct   *actorPart `json:"may_act,omitempty"`
}

// MintIDJAG signs an identity assertion grant with the access-token keys: whoever
// takes it finds them by our metadata, and those of the federation issuer sign what
// a cloud takes and no caller sees (S1). `typ` and audience tell it from an access
// token: the audience is an authorization server, never ourselves and never a cloud.
func (i *Issuer) MintIDJAG(_ context.Context, g exchange.IDJAG) (exchange.Secret, error) {
	now := i.now()
	if err := i.checkGrant(&g); err != nil {
		return exchange.Secret{}, err
	}
	if err := checkToken(&g.AccessToken); err != nil {
		return exchange.Secret{}, fmt.Errorf("minting an identity assertion grant: %w", err)
	}
	if err := checkLife(g.Issued, g.Expires, now, exchange.MaxIDJAGLifetime); err != nil {
		return exchange.Secret{}, fmt.Errorf("minting an identity assertion grant: %w", err)
	}
	payload, err := encode(grantClaims{
		Issuer: i.URL(), Subject: g.Subject, Audience: g.Audience, ClientID: g.ClientID, ID: g.ID.String(),
		Expires: g.Expires.Unix(), Issued: g.Issued.Unix(), Resource: g.Resource, Scope: strings.Join(g.Scopes, " "),
		Actor: i.actorClaim(g.Actors), MayAct: mayActClaim(g.MayAct),
	})
	if err != nil {
		return exchange.Secret{}, fmt.Errorf("minting an identity assertion grant: %w", err)
	}
	key, err := i.signer(&i.access, now)
	if err != nil {
		return exchange.Secret{}, err
	}
	return key.signGrant(payload)
}

// checkGrant keeps a grant away from everybody who could take it for something
// else.
func (i *Issuer) checkGrant(g *exchange.IDJAG) error {
	const advice = "the target's authorization server cannot be: ask its operator"
	switch {
	case slices.Contains(i.Names(), g.Audience):
		return exchange.Fault(exchange.KindMisconfigured, advice,
			errors.New("the audience of its identity assertion grants is this issuer, whose resources need none: name the authorization server of the resource"))
	case g.Audience == g.Resource: // a resource that looked at `aud` alone would take it for an access token
		return exchange.Fault(exchange.KindMisconfigured, advice,
			fmt.Errorf("the audience of its identity assertion grants is its own resource %q: name the resource's authorization server", g.Resource))
	case vendorOf(g.Audience) != nil: // S1
		return exchange.Fault(exchange.KindMisconfigured, advice,
			fmt.Errorf("the audience %q of its identity assertion grants is a cloud's own", g.Audience))
	}
	return nil
}
