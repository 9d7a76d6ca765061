package oauth2

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// revocation is the endpoint of RFC 7009; empty: there is none.
func (d *driver) revocation(server *endpoints) string {
	if d.settings.RevocationURL != "" {
		return d.settings.RevocationURL
	}
	return server.revocation
}

// Revoke ends a token at its server (RFC 7009 §2.1), which answers 200 for one that is
// gone, too.
func (d *driver) Revoke(ctx context.Context, target *exchange.Target, token exchange.Secret) error {
	return d.end(ctx, whose{target.Tenant, target.Name}, token)
}

func (d *driver) end(ctx context.Context, w whose, token exchange.Secret) error {
	server, err := d.server.endpoints()
	if err != nil {
		return err
	}
	address := d.revocation(server)
	if address == "" {
		return provider.ErrNotRevocable
	}
	a, err := d.server.post(ctx, server, address, url.Values{"token": {token.Reveal()}, "token_type_hint": {"access_token"}}, w, token)
	switch {
	case errors.Is(err, provider.ErrNotJSON):
		return nil // the client ignores what a good answer holds (RFC 7009 §2.2)
	case errors.Is(err, provider.ErrPage):
		return exchange.Fault(exchange.KindMisconfigured, "the target's revocation endpoint answers with a page: its operator must check revocation_url", err)
	case err != nil:
		return err
	}
	switch code, _ := a.OAuthError(); {
	case a.Status == http.StatusOK, a.Status == http.StatusNoContent:
		return nil
	case code == "unsupported_token_type":
		return fmt.Errorf("its server does not revoke access tokens: %w", provider.ErrNotRevocable)
	case code != "":
		return refusal(a, &d.settings.Server, false)
	}
	return a.Fault(exchange.KindMisconfigured, "the target's revocation endpoint answers as none does: its operator must check revocation_url")
}

// Check finds out whether the server takes this house as its client, and hands nothing
// out. Where the house speaks for others it sends an assertion that is none: who
// refuses that has been reached.
func (d *driver) Check(ctx context.Context) error {
	if d.settings.MustLoad() {
		if err := d.Load(ctx); err != nil {
			return err
		}
	}
	p, bad := d.server, exchange.NewSecret("e30.e30.check")
	if d.idp != nil {
		p = d.idp
	}
	e, err := p.endpoints()
	if err != nil {
		return err
	}
	form := url.Values{}
	for name, value := range d.settings.Parameters {
		form.Set(name, value)
	}
	d.address(form, new(exchange.Grant))
	switch {
	case d.settings.grant() == GrantClientCredentials:
		form.Set("grant_type", "client_credentials")
	case d.settings.grant() == GrantJWTBearer, d.settings.grants():
		form.Set("grant_type", typeBearer)
		form.Set("assertion", bad.Reveal())
	default:
		form.Set("grant_type", typeExchange)
		form.Set("subject_token", bad.Reveal())
		form.Set("subject_token_type", string(d.settings.proofType()))
	}
	a, err := p.post(ctx, e, e.token, form, whose{})
	if err != nil {
		return misread(err)
	}
	if a.Status == http.StatusOK {
		if d.settings.grant() != GrantClientCredentials {
			return errors.New("the endpoint gives tokens for anything: it is no authorization server")
		}
		return d.drop(ctx, a)
	}
	federated := p.settings.auth() == AuthPrivateKeyJWT && p.settings.KeyFile == ""
	code, _ := a.OAuthError()
	switch refused := refusal(a, &p.settings, true); {
	case federated && code == "invalid_client", refused.Kind == exchange.KindProviderRefused && d.settings.grant() != GrantClientCredentials:
		return nil
	default:
		return refused
	}
}

// drop takes back what a check was given, where that can be done.
func (d *driver) drop(ctx context.Context, a *provider.Answer) error {
	var t tokenAnswer
	if err := a.Decode(&t); err != nil {
		return err
	}
	if !strings.EqualFold(t.TokenType, "bearer") {
		return errors.New("the server gives tokens that are no bearer tokens")
	}
	err := d.end(ctx, whose{}, exchange.NewSecret(t.AccessToken))
	if errors.Is(err, provider.ErrNotRevocable) {
		return nil
	}
	return err
}
