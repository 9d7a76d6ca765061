package azure

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// assertionLife is how long an assertion is good for: it is used at once, and Entra
// forgives clocks five minutes.
const assertionLife = 5 * time.Minute

type driver struct {
	settings Settings
	asserter provider.Asserter
	wire     *wire
	host     string // of the authority, without port
	now      func() time.Time
}

func newDriver(s *Settings, d provider.Deps) (*driver, error) {
	u, err := url.Parse(s.authority())
	if err != nil {
		return nil, fmt.Errorf("reading the authority: %w", err)
	}
	return &driver{
		settings: *s, asserter: d.Asserter, now: d.Now, host: u.Hostname(),
		wire: &wire{client: d.HTTP, authority: u.Host, now: d.Now},
	}, nil
}

// Vend asks Entra for a token.
func (d *driver) Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error) {
	if err := d.fits(&g); err != nil {
		return exchange.Credential{}, err
	}
	assertion, err := d.assert(ctx, &g)
	if err != nil {
		return exchange.Credential{}, err
	}
	issued := d.now()
	token, err := d.token(ctx, assertion, g.Passthrough.Value, g.Exchange.String())
	if err != nil {
		return exchange.Credential{}, d.explain(err, &g)
	}
	value := exchange.NewSecret(token.Token)
	if !token.ExpiresOn.After(issued) {
		return exchange.Credential{}, exchange.Fault(exchange.KindUnavailable, "Entra returned a token that is not usable; try again",
			errors.New("the token has expired already"))
	}
	handle := uniqueID(value)
	if handle == "" {
		handle = g.Exchange.String()
	}
	return exchange.Credential{
		Value: value, TokenType: "Bearer", IssuedType: exchange.TokenTypeAccessToken,
		Issued: issued, Expires: token.ExpiresOn, Scopes: g.Scopes, Handle: handle,
	}, nil
}

// fits refuses, before anything is minted, what Entra could not give: tokens cannot
// be taken back.
func (d *driver) fits(g *exchange.Grant) error {
	if len(g.Scopes) != 1 || g.Scopes[0] != d.settings.Scope {
		return exchange.Fault(exchange.KindInvalidScope, "this target gives one scope, "+d.settings.Scope+", and nothing narrower", nil)
	}
	if !d.settings.MayOutlive && g.NotAfter.Sub(g.Now) < d.settings.longest() {
		return exchange.Fault(exchange.KindInvalidLifetime,
			fmt.Sprintf("Entra gives tokens that live up to %s: ask for as much, with a token that lives as long, or have the operator say may_outlive", d.settings.longest()), nil)
	}
	if d.settings.Method == MethodOnBehalfOf && g.Passthrough.IsZero() {
		return exchange.Fault(exchange.KindInvalidRequest,
			"this target acts for the user: bring the user's Entra access token for its application as passthrough_token", nil)
	}
	return nil
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
	})
}

// token makes one credential for one token. Everything that azidentity would
// otherwise look for elsewhere is said: the cloud (else AZURE_AUTHORITY_HOST counts),
// the transport, and that nothing is tried twice, since the vendor's deadline is
// short and throttling has to be seen.
func (d *driver) token(ctx context.Context, assertion, user exchange.Secret, correlation string) (azcore.AccessToken, error) {
	call := &call{wire: d.wire, correlation: correlation}
	options := azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: d.settings.authority()},
		Transport: call,
		Retry:     policy.RetryOptions{MaxRetries: -1},
		Telemetry: policy.TelemetryOptions{ApplicationID: "cambio"},
	}
	once := func(context.Context) (string, error) { return assertion.Reveal(), nil }
	var credential azcore.TokenCredential
	var err error
	if d.settings.Method == MethodOnBehalfOf {
		credential, err = azidentity.NewOnBehalfOfCredentialWithClientAssertions(d.settings.TenantID, d.settings.ClientID, user.Reveal(), once,
			&azidentity.OnBehalfOfCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true})
	} else {
		credential, err = azidentity.NewClientAssertionCredential(d.settings.TenantID, d.settings.ClientID, once,
			&azidentity.ClientAssertionCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true})
	}
	if err != nil {
		return azcore.AccessToken{}, exchange.Fault(exchange.KindMisconfigured, "the target's settings are not taken by Azure: ask its operator",
			errors.New("azidentity takes tenant_id, client_id or authority for malformed"))
	}
	token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{d.settings.Scope}})
	if err != nil {
		return azcore.AccessToken{}, call.verdict(ctx)
	}
	return token, nil
}

// Check asks for a token with an assertion that is none: whoever answers that it is
// bad has been reached, and knows the tenant and the application.
func (d *driver) Check(ctx context.Context) error {
	_, err := d.token(ctx, exchange.NewSecret("e30.e30.check"), exchange.NewSecret("e30.e30.check"), "")
	var r *refusal
	if errors.As(err, &r) && (r.kind() == exchange.KindProviderRefused || aboutAssertion[r.Code]) {
		return nil
	}
	if err == nil {
		return errors.New("the authority gives tokens for anything: it is not Entra")
	}
	return d.explain(err, nil)
}
