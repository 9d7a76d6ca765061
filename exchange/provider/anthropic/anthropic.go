package anthropic

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

// beta is what the token endpoint wants to be asked with (Claude API, "WIF
// reference").
const beta = "oauth-2025-04-20,oidc-federation-2026-04-01"

const grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer"

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
	if len(g.Scopes) > 0 {
		return exchange.Credential{}, exchange.Fault(exchange.KindInvalidScope, "this target has no scopes: its federation rule fixes them", nil)
	}
	life := min(g.Lifetime, g.NotAfter.Sub(d.now()), maxLife)
	if life < minLife {
		return exchange.Credential{}, exchange.Fault(exchange.KindInvalidLifetime,
			fmt.Sprintf("the Claude API gives tokens of %s at least: ask for as much, with a token that lives as long", minLife), nil)
	}
	assertion, err := d.assert(ctx, &g, life)
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
	c, err := a.Bearer(issued, "bearer")
	if err != nil {
		return exchange.Credential{}, err
	}
	c.Handle = a.ID("Request-Id", g.Exchange) // the Console and Anthropic's support find it by that
	return c, nil
}

// assert signs an assertion that lives half as long as the token may: the token then
// cannot live longer, whatever the rule says. Whole seconds, rounded down.
func (d *driver) assert(ctx context.Context, g *exchange.Grant, life time.Duration) (exchange.Secret, error) {
	values, err := provider.SubjectValues(d.settings.Subject, &g.Subject)
	if err != nil {
		return exchange.Secret{}, err
	}
	now := d.now()
	return d.asserter.Assert(ctx, exchange.Assertion{
		Tenant: g.Tenant, Target: g.Target.Name, Values: values, Audience: d.settings.audience(), Endpoint: d.host,
		Issued: now.Truncate(time.Second), Expires: now.Add(life / 2).Truncate(time.Second),
		// The Console's log of authentication events shows the claims.
		Claims: map[string]any{"cambio_exchange": g.Exchange.String(), "cambio_subject": g.Subject.Name},
	})
}

// ask shows an assertion to the token endpoint.
func (d *driver) ask(ctx context.Context, assertion exchange.Secret) (*provider.Answer, error) {
	request := map[string]string{
		"grant_type": grantType, "assertion": assertion.Reveal(),
		"federation_rule_id": d.settings.FederationRuleID, "organization_id": d.settings.OrganizationID,
	}
	for name, value := range map[string]string{"service_account_id": d.settings.ServiceAccountID, "workspace_id": d.settings.WorkspaceID} {
		if value != "" {
			request[name] = value
		}
	}
	r, err := provider.PostJSON(ctx, d.settings.endpoint()+"/v1/oauth/token", request)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Anthropic-Beta", beta)
	return provider.Ask(d.client, r, d.now, assertion)
}

// refusal tells a rule that does not match from a request that no rule could.
func refusal(a *provider.Answer) *exchange.Error {
	code, _ := a.OAuthError()
	switch {
	case code == "invalid_grant", a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		return a.Fault(exchange.KindMisconfigured,
			"the Claude API's federation rule does not match what Cambio asserts: its operator must compare the rule's issuer, audience, subject_prefix and workspaces with the target's federation_rule_id, audience, subject and workspace_id")
	case a.Status == http.StatusNotFound:
		return a.Fault(exchange.KindMisconfigured, "the Claude API knows no such federation rule or organization: the operator must check federation_rule_id, organization_id and endpoint")
	case code == "invalid_request", a.Status == http.StatusBadRequest:
		return a.Fault(exchange.KindMisconfigured, "the Claude API does not take the request: the operator must check federation_rule_id, organization_id, service_account_id and workspace_id")
	}
	return a.Fault(exchange.KindProviderRefused, "the Claude API refused")
}

// Check sends an assertion that is none. Who refuses it as such has been reached, and
// knows the rule.
func (d *driver) Check(ctx context.Context) error {
	a, err := d.ask(ctx, exchange.NewSecret("e30.e30.check"))
	if err != nil {
		return err
	}
	if a.Status == http.StatusOK {
		return errors.New("the endpoint gives tokens for anything: it is not the Claude API")
	}
	if refused := refusal(a); refused.Kind != exchange.KindMisconfigured || a.Status == http.StatusNotFound {
		return refused
	}
	return nil
}
