package vault

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

// core is what both kinds of target have.
type core struct {
	settings Settings
	wire     *wire
	asserter provider.Asserter
	secret   func(provider.SecretRef, string) (exchange.Secret, error)
	now      func() time.Time
}

func newCore(s *Settings, d provider.Deps) (*core, error) {
	base, err := parseAddress(s.Address)
	if err != nil {
		return nil, err
	}
	return &core{
		settings: *s, asserter: d.Asserter, secret: d.Secret, now: d.Now,
		wire: &wire{base: base, namespace: s.Namespace, client: d.HTTP, now: d.Now},
	}, nil
}

// login is a Vault token of our own. It never leaves the house.
type login struct {
	token     exchange.Secret
	ends      time.Time // zero: never
	renewable bool
}

// login proves to Vault who this exchange is for.
func (c *core) login(ctx context.Context, g *exchange.Grant) (login, error) {
	body, sent, err := c.proof(ctx, g)
	if err != nil {
		return login{}, err
	}
	begun := c.now()
	a, err := c.wire.ask(ctx, call{method: http.MethodPost, path: "auth/" + c.settings.Auth.mount() + "/login", body: body, sent: sent})
	if err != nil {
		return login{}, err
	}
	if a.Status != http.StatusOK {
		return login{}, c.loginRefused(a)
	}
	return read(a, begun)
}

// read takes the token out of an answer to a login, or to a renewal of one.
func read(a *provider.Answer, begun time.Time) (login, error) {
	var said answer
	if err := a.Decode(&said); err != nil {
		return login{}, err
	}
	switch {
	case said.Auth != nil && said.Auth.MFARequirement != nil:
		return login{}, misconfigured(a, "Vault asks for a second factor at this login, and there is nobody to give one: the operator must exempt the role")
	case said.Auth == nil || said.Auth.ClientToken == "":
		return login{}, a.Unusable(errors.New("it has no token"))
	}
	lives, err := life(a, said.Auth.LeaseDuration)
	if err != nil {
		return login{}, err
	}
	l := login{token: exchange.NewSecret(said.Auth.ClientToken), renewable: said.Auth.Renewable}
	if lives > 0 {
		l.ends = begun.Add(lives)
	}
	return l, nil
}

// proof is the body of a login, and what in it is secret.
func (c *core) proof(ctx context.Context, g *exchange.Grant) (map[string]any, []exchange.Secret, error) {
	auth := &c.settings.Auth
	switch auth.method() {
	case MethodKubernetes:
		if g.Passthrough.IsZero() {
			return nil, nil, exchange.Fault(exchange.KindInvalidRequest,
				"this target needs the workload's own service-account token for Vault: bring it as passthrough_token", nil)
		}
		own := g.Passthrough.Value
		return map[string]any{"role": auth.Role, "jwt": own.Reveal()}, []exchange.Secret{own}, nil
	case MethodAppRole:
		secret, err := c.secret(auth.SecretID, c.wire.base.Host)
		if err != nil {
			return nil, nil, exchange.Fault(exchange.KindMisconfigured, "the target's auth.secret_id cannot be had: ask its operator", fmt.Errorf("auth.secret_id: %w", err))
		}
		return map[string]any{"role_id": auth.RoleID, "secret_id": secret.Reveal()}, []exchange.Secret{secret}, nil
	}
	values, err := provider.SubjectValues(auth.subject(), &g.Subject)
	if err != nil {
		return nil, nil, err
	}
	return c.assert(ctx, g.Tenant, g.Target.Name, values)
}

// assert is the proof by an assertion.
func (c *core) assert(ctx context.Context, tenant, target string, values []string) (map[string]any, []exchange.Secret, error) {
	issued := c.now().Truncate(time.Second)
	assertion, err := c.asserter.Assert(ctx, exchange.Assertion{
		Tenant: tenant, Target: target, Values: values, Audience: c.settings.Auth.Audience, Endpoint: c.wire.base.Hostname(),
		Issued: issued, Expires: issued.Add(assertionLife),
	})
	if err != nil {
		return nil, nil, fmt.Errorf("asserting the subject to Vault: %w", err)
	}
	return map[string]any{"role": c.settings.Auth.Role, "jwt": assertion.Reveal()}, []exchange.Secret{assertion}, nil
}

// prolong sets the life of a login from now on, longer or shorter, as far as its role
// allows. What the role does not let change stays as it is.
func (c *core) prolong(ctx context.Context, l login, lives time.Duration) (login, error) {
	if !l.renewable {
		return l, nil
	}
	begun := c.now()
	a, err := c.wire.ask(ctx, call{
		method: http.MethodPost, path: "auth/token/renew-self", token: l.token, body: map[string]any{"increment": seconds(lives)},
	})
	if err != nil {
		return l, err
	}
	if a.Status != http.StatusOK {
		return l, c.selfRefused(a, "renew")
	}
	renewed, err := read(a, begun)
	if err != nil {
		return l, err
	}
	l.ends = renewed.ends
	return l, nil
}

// logout ends a login and every lease that hangs on it. One that is gone is success.
func (c *core) logout(ctx context.Context, token exchange.Secret) error {
	a, err := c.wire.ask(ctx, call{method: http.MethodPost, path: "auth/token/revoke-self", token: token})
	switch {
	case err != nil:
		return err
	case a.Status < 300, dead(a):
		return nil
	}
	return c.selfRefused(a, "revoke")
}

// logoutTimeout bounds the logout after a read, whose answer is at hand already.
const logoutTimeout = 2 * time.Second

// dismiss ends a login that nothing hangs on. Nobody else knows its token, and it dies
// by itself within its role's token_ttl: what was read is not withheld for it.
func (c *core) dismiss(ctx context.Context, l login) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), logoutTimeout)
	defer cancel()
	_ = c.logout(ctx, l.token)
}

// query are parameters of a path that is read.
func query(parameters map[string]any) url.Values {
	values := url.Values{}
	for name, value := range parameters {
		values.Set(name, fmt.Sprint(value))
	}
	return values
}
