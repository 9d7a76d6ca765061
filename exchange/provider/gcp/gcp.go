package gcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

const (
	// assertionLife is how long an assertion is good for: it is used at once.
	assertionLife = 5 * time.Minute
	// margin is what a lifetime is short of its caps: Google counts it from when the
	// call arrives, by its own clock, and S5 counts to the moment.
	margin = 10 * time.Second
)

type driver struct {
	settings Settings
	asserter provider.Asserter
	wire     wire
	stsHost  string // without port
	now      func() time.Time
}

func newDriver(s *Settings, d provider.Deps) (*driver, error) {
	u, err := url.Parse(or(s.STSURL, stsURL))
	if err != nil {
		return nil, fmt.Errorf("reading sts_url: %w", err)
	}
	return &driver{settings: *s, asserter: d.Asserter, stsHost: u.Hostname(), now: d.Now, wire: wire{client: d.HTTP, now: d.Now}}, nil
}

// issued is a token as Google gave it.
type issued struct {
	value   exchange.Secret
	expires time.Time
}

// Vend asks Google for a token: two calls where a service account is impersonated,
// three where the token is then bounded.
func (d *driver) Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error) {
	if err := d.fits(&g); err != nil {
		return exchange.Credential{}, err
	}
	began := d.now()
	t, err := d.federate(ctx, &g)
	if err != nil {
		return exchange.Credential{}, explain(err)
	}
	c := exchange.Credential{
		TokenType: "Bearer", IssuedType: exchange.TokenTypeAccessToken, Issued: began, Scopes: g.Scopes,
		// What the requests to Google give as their reason; Google names no token.
		Handle: g.Exchange.String(),
	}
	switch {
	case d.settings.Token == TokenID:
		// Not an OAuth access token (RFC 8693 §2.2.1).
		c.TokenType, c.IssuedType, c.Scopes = "N_A", exchange.TokenTypeIDToken, []string{}
		t, err = d.identify(ctx, &g, t)
	case d.settings.ServiceAccount != "":
		if t, err = d.impersonate(ctx, &g, t); err == nil && len(d.settings.AccessBoundary) > 0 {
			t, err = d.bound(ctx, &g, t)
		}
	}
	if err != nil {
		return exchange.Credential{}, explain(err)
	}
	if !t.expires.After(d.now()) {
		return exchange.Credential{}, explain(errors.New("the token has expired already"))
	}
	c.Value, c.Expires = t.value, t.expires
	return c, nil
}

// fits refuses, before anything is minted, what Google could not give: its tokens
// cannot be taken back.
func (d *driver) fits(g *exchange.Grant) error {
	facts := d.settings.Facts()
	if facts.Scopes != nil && len(g.Scopes) == 0 {
		return exchange.Fault(exchange.KindInvalidScope, "a token of this target has a scope: ask for one that you may have", nil)
	}
	if facts.MinTTL > 0 && !d.settings.MayOutlive && g.NotAfter.Sub(g.Now) < facts.MinTTL {
		return exchange.Fault(exchange.KindInvalidLifetime,
			"Google gives such tokens an hour: ask for as much, with a token that lives as long, or have the operator say may_outlive", nil)
	}
	return nil
}

// sts is the form of a token exchange with Google (Security Token Service API,
// "Method: token").
func (d *driver) sts(ctx context.Context, g *exchange.Grant, form url.Values) (issued, error) {
	form.Set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
	form.Set("requested_token_type", string(exchange.TokenTypeAccessToken))
	began := d.now()
	var answer struct {
		Token   string `json:"access_token"`
		Expires *int64 `json:"expires_in"`
	}
	if err := d.wire.form(ctx, or(d.settings.STSURL, stsURL)+"/v1/token", form, reason(g), &answer); err != nil {
		return issued{}, err
	}
	t := issued{value: exchange.NewSecret(answer.Token)}
	if t.value.IsZero() {
		return issued{}, errors.New("the answer holds no access_token")
	}
	if answer.Expires != nil {
		if *answer.Expires <= 0 || *answer.Expires > int64(extendedLife/time.Second) {
			return issued{}, fmt.Errorf("the answer's expires_in, %d, cannot be", *answer.Expires)
		}
		t.expires = began.Add(time.Duration(*answer.Expires) * time.Second)
	}
	return t, nil
}

// federate exchanges an assertion, with another one for who acts.
func (d *driver) federate(ctx context.Context, g *exchange.Grant) (issued, error) {
	values, err := provider.SubjectValues(d.settings.Subject, &g.Subject)
	if err != nil {
		return issued{}, err
	}
	assertion, err := d.assert(ctx, g, d.settings.assertionAudience(), values)
	if err != nil {
		return issued{}, err
	}
	scopes := g.Scopes
	if d.settings.ServiceAccount != "" {
		scopes = []string{cloudPlatform} // for the impersonation only: it is not handed out
	}
	form := url.Values{
		"audience": {"//iam.googleapis.com/" + d.settings.Provider}, "scope": {strings.Join(scopes, " ")},
		"subject_token": {assertion.Reveal()}, "subject_token_type": {string(exchange.TokenTypeJWT)},
	}
	if d.settings.UserProject != "" {
		form.Set("options", encode(map[string]string{"userProject": d.settings.UserProject}))
	}
	if actor, ok := proven(g); ok && d.settings.ActorProvider != "" {
		acting, err := d.assert(ctx, g, "https://iam.googleapis.com/"+d.settings.ActorProvider, []string{actor.Name})
		if err != nil {
			return issued{}, err
		}
		form.Set("actor_token", acting.Reveal())
		form.Set("actor_token_type", string(exchange.TokenTypeJWT))
	}
	t, err := d.sts(ctx, g, form)
	if err == nil && t.expires.IsZero() {
		return issued{}, errors.New("the answer holds no expires_in")
	}
	return t, err
}

func proven(g *exchange.Grant) (exchange.Actor, bool) {
	for _, a := range g.Actors {
		if a.Proven {
			return a, true
		}
	}
	return exchange.Actor{}, false
}

func (d *driver) assert(ctx context.Context, g *exchange.Grant, audience string, values []string) (exchange.Secret, error) {
	now := d.now().Truncate(time.Second)
	return d.asserter.Assert(ctx, exchange.Assertion{
		Tenant: g.Tenant, Target: g.Target.Name, Values: values, Audience: audience, Endpoint: d.stsHost,
		Issued: now, Expires: now.Add(assertionLife),
		// For a pool's attribute mapping and condition: who it is for, and the line in
		// the ledger.
		Claims: map[string]any{"cambio": map[string]string{
			"exchange": g.Exchange.String(), "subject": g.Subject.Name, "rule": g.Rule,
		}},
	})
}

func (d *driver) account(method string) string {
	return or(d.settings.IAMURL, iamURL) + "/v1/projects/-/serviceAccounts/" + url.PathEscape(d.settings.ServiceAccount) + ":" + method
}

func (d *driver) delegates() []string {
	var names []string
	for _, email := range d.settings.Delegates {
		names = append(names, "projects/-/serviceAccounts/"+email)
	}
	return names
}

// impersonate asks for a token of the service account (IAM Service Account
// Credentials API, generateAccessToken).
func (d *driver) impersonate(ctx context.Context, g *exchange.Grant, with issued) (issued, error) {
	life := g.NotAfter.Sub(d.now())
	if g.Lifetime > 0 {
		life = min(life, g.Lifetime)
	}
	life = (min(life, d.settings.Facts().MaxTTL) - margin).Truncate(time.Second)
	if life <= 0 {
		return issued{}, exchange.Fault(exchange.KindInvalidLifetime, "the token you brought is about to expire: bring a fresh one", nil)
	}
	request := struct {
		Scope     []string `json:"scope"`
		Lifetime  string   `json:"lifetime"`
		Delegates []string `json:"delegates,omitempty"`
	}{g.Scopes, fmt.Sprintf("%ds", int64(life/time.Second)), d.delegates()}
	var answer struct {
		Token   string    `json:"accessToken"`
		Expires time.Time `json:"expireTime"`
	}
	if err := d.wire.json(ctx, d.account("generateAccessToken"), with.value, request, reason(g), &answer); err != nil {
		return issued{}, err
	}
	if answer.Token == "" || answer.Expires.IsZero() {
		return issued{}, errors.New("the answer holds no accessToken, or no expireTime")
	}
	return issued{exchange.NewSecret(answer.Token), answer.Expires}, nil
}

// identify asks for an ID token of the service account (generateIdToken).
func (d *driver) identify(ctx context.Context, g *exchange.Grant, with issued) (issued, error) {
	request := struct {
		Audience     string   `json:"audience"`
		IncludeEmail bool     `json:"includeEmail"`
		Delegates    []string `json:"delegates,omitempty"`
	}{d.settings.Audience, d.settings.IncludeEmail, d.delegates()}
	var answer struct {
		Token string `json:"token"`
	}
	if err := d.wire.json(ctx, d.account("generateIdToken"), with.value, request, reason(g), &answer); err != nil {
		return issued{}, err
	}
	value := exchange.NewSecret(answer.Token)
	expires, err := expiryOf(value)
	return issued{value, expires}, err
}

// bound narrows a token to a Credential Access Boundary. It lives as long as before.
func (d *driver) bound(ctx context.Context, g *exchange.Grant, t issued) (issued, error) {
	bounded, err := d.sts(ctx, g, url.Values{
		"subject_token": {t.value.Reveal()}, "subject_token_type": {string(exchange.TokenTypeAccessToken)},
		"options": {d.settings.boundary()},
	})
	if err != nil {
		return issued{}, err
	}
	if bounded.expires.IsZero() || t.expires.Before(bounded.expires) {
		bounded.expires = t.expires
	}
	return bounded, nil
}

// boundary is the access boundary as the `options` of an exchange.
func (s *Settings) boundary() string {
	return encode(map[string]any{"accessBoundary": map[string]any{"accessBoundaryRules": s.AccessBoundary}})
}

func encode(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic("gcp: settings that are no JSON") // strings and lists of them
	}
	return string(text)
}

// reason is what the audit logs of Google show beside a call.
func reason(g *exchange.Grant) string {
	if g == nil {
		return "cambio check"
	}
	return "cambio exchange " + g.Exchange.String()
}

// Check asks for a token with an assertion that is none: whoever answers that it is
// bad has been reached, and knows the pool and its provider.
func (d *driver) Check(ctx context.Context) error {
	_, err := d.sts(ctx, nil, url.Values{
		"audience": {"//iam.googleapis.com/" + d.settings.Provider}, "scope": {cloudPlatform},
		"subject_token": {"e30.e30.check"}, "subject_token_type": {string(exchange.TokenTypeJWT)},
	})
	var r *refusal
	switch {
	case err == nil:
		return errors.New("the Security Token Service gives tokens for anything: it is not Google's")
	case errors.As(err, &r) && (r.word == "invalid_grant" || r.word == "unauthorized_client"):
		return nil
	}
	return explain(err)
}
