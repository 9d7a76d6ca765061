package oauth2

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// ownGrant is this issuer's word to the server, whoever acts for the subject included.
func (d *driver) ownGrant(ctx context.Context, server *endpoints, g *exchange.Grant, _ whose) (exchange.Secret, error) {
	now := d.now()
	id, err := exchange.NewID(now, d.random)
	if err != nil {
		return exchange.Secret{}, err
	}
	expires, err := shortly(g, now)
	if err != nil {
		return exchange.Secret{}, err
	}
	return d.granter.MintIDJAG(ctx, exchange.IDJAG{
		AccessToken: exchange.AccessToken{
			ID: id, Subject: g.Subject.Name, Audience: server.issuer, ClientID: d.settings.ClientID,
			Scopes: append(d.settings.always(), g.Scopes...), Issued: now.Truncate(time.Second), Expires: expires,
			Actors: g.Actors, MayAct: g.Subject.MayAct,
		},
		Resource: d.settings.Resource,
	})
}

// brokeredGrant has the identity provider make a grant for the server (ID-JAG §4.3).
func (d *driver) brokeredGrant(ctx context.Context, server *endpoints, g *exchange.Grant, w whose) (exchange.Secret, error) {
	idp, err := d.idp.endpoints()
	if err != nil {
		return exchange.Secret{}, err
	}
	subject, err := d.proof(ctx, idp, g)
	if err != nil {
		return exchange.Secret{}, err
	}
	form := url.Values{
		"grant_type": {typeExchange}, "requested_token_type": {string(exchange.TokenTypeIDJAG)},
		"subject_token": {subject.Reveal()}, "subject_token_type": {string(d.settings.proofType())},
	}
	d.address(form, g)
	form.Set("audience", server.issuer)
	a, err := d.idp.post(ctx, idp, idp.token, form, w, subject)
	if err != nil {
		return exchange.Secret{}, misread(err)
	}
	if a.Status != http.StatusOK {
		return exchange.Secret{}, refusal(a, &d.idp.settings, true)
	}
	var t tokenAnswer
	if err := a.Decode(&t); err != nil {
		return exchange.Secret{}, err
	}
	if t.IssuedType != string(exchange.TokenTypeIDJAG) || !strings.EqualFold(t.TokenType, "N_A") || !printable(t.AccessToken) {
		return exchange.Secret{}, a.Unusable(errors.New("it has no identity assertion grant"))
	}
	return exchange.NewSecret(t.AccessToken), nil
}
