package openai

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// assertionLife is how long an assertion is good for: it is used at once.
const assertionLife = 5 * time.Minute

type driver struct {
	settings Settings
	asserter provider.Asserter
	client   *http.Client
	host     string // of the endpoint, without port
	now      func() time.Time
}

func newDriver(s *Settings, d provider.Deps) (*driver, error) {
	u, err := url.Parse(s.endpoint())
	if err != nil {
		return nil, fmt.Errorf("reading the endpoint: %w", err)
	}
	return &driver{settings: *s, asserter: d.Asserter, client: d.HTTP, host: u.Hostname(), now: d.Now}, nil
}

// Vend exchanges an assertion for an access token.
func (d *driver) Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error) {
	switch {
	case len(g.Scopes) > 0:
		return exchange.Credential{}, exchange.Fault(exchange.KindInvalidScope, "this target has no scopes: its federation rule fixes them", nil)
	case !d.settings.MayOutlive && g.NotAfter.Sub(g.Now) < d.settings.longest():
		return exchange.Credential{}, exchange.Fault(exchange.KindInvalidLifetime,
			fmt.Sprintf("OpenAI gives tokens that live up to %s: ask for as much, with a token that lives as long, or have the operator say may_outlive", d.settings.longest()), nil)
	}
	assertion, err := d.assert(ctx, &g)
	if err != nil {
		return exchange.Credential{}, err
	}
	issued := d.now() // before it is asked: what is rounded is rounded down
	a, err := d.ask(ctx, assertion)
	if err != nil {
		return exchange.Credential{}, err
	}
	if a.Status != http.StatusOK {
		return exchange.Credential{}, refusal(a)
	}
	c, err := a.Bearer(issued, "bearer", "")
	if err != nil {
		return exchange.Credential{}, err
	}
	c.Handle = a.ID("X-Request-Id", g.Exchange) // OpenAI's audit log and support find it by that
	return c, nil
}

func (d *driver) assert(ctx context.Context, g *exchange.Grant) (exchange.Secret, error) {
	values, err := provider.SubjectValues(d.settings.Subject, &g.Subject)
	if err != nil {
		return exchange.Secret{}, err
	}
	now := d.now().Truncate(time.Second)
	return d.asserter.Assert(ctx, exchange.Assertion{
		Tenant: g.Tenant, Target: g.Target.Name, Values: values, Audience: d.settings.audience(), Endpoint: d.host,
		Issued: now, Expires: now.Add(assertionLife),
		Claims: map[string]any{"cambio_exchange": g.Exchange.String(), "cambio_subject": g.Subject.Name},
	})
}

// ask shows an assertion to the token endpoint.
func (d *driver) ask(ctx context.Context, assertion exchange.Secret) (*provider.Answer, error) {
	r, err := provider.PostJSON(ctx, d.settings.endpoint()+"/oauth/token", map[string]string{
		"grant_type": exchange.GrantTokenExchange, "subject_token": assertion.Reveal(), "subject_token_type": string(d.settings.label()),
		"identity_provider_id": d.settings.IdentityProviderID, "service_account_id": d.settings.ServiceAccountID,
	})
	if err != nil {
		return nil, err
	}
	return provider.Ask(d.client, r, d.now, assertion)
}

// refusal tells a provider that does not match from a request that none could.
func refusal(a *provider.Answer) *exchange.Error {
	code, _ := a.OAuthError()
	switch {
	case code == "invalid_grant", code == "invalid_target", a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		return a.Fault(exchange.KindMisconfigured,
			"OpenAI's workload identity provider does not match what Cambio asserts: its operator must compare its issuer, audience and attribute mapping with the target's identity_provider_id, audience, subject and service_account_id")
	case a.Status == http.StatusNotFound:
		return a.Fault(exchange.KindMisconfigured, "OpenAI knows no such identity provider or service account: the operator must check identity_provider_id, service_account_id and endpoint")
	case code == "invalid_request", a.Status == http.StatusBadRequest:
		return a.Fault(exchange.KindMisconfigured, "OpenAI does not take the request: the operator must check identity_provider_id, service_account_id and token_type")
	}
	return a.Fault(exchange.KindProviderRefused, "OpenAI refused")
}

// Check sends an assertion that is none. Who refuses it as such has been reached, and
// knows the identity provider.
func (d *driver) Check(ctx context.Context) error {
	a, err := d.ask(ctx, exchange.NewSecret("e30.e30.check"))
	if err != nil {
		return err
	}
	if a.Status == http.StatusOK {
		return errors.New("the endpoint gives tokens for anything: it is not OpenAI")
	}
	if refused := refusal(a); refused.Kind != exchange.KindMisconfigured || a.Status == http.StatusNotFound {
		return refused
	}
	return nil
}
