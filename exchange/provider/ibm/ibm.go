package ibm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// The grant types of IAM (IBM Cloud API Docs, "IAM Identity Services", Create an IAM
// access token).
const (
	grantCRToken = "urn:ibm:params:oauth:grant-type:cr-token"
	grantAPIKey  = "urn:ibm:params:oauth:grant-type:apikey"
	grantAssume  = "urn:ibm:params:oauth:grant-type:assume"
)

// maxCRToken bounds a compute resource token's file, in bytes.
const maxCRToken = 32 << 10

type driver struct {
	settings Settings
	client   *http.Client
	host     string // of the endpoint, with its port where it names one
	secret   func(provider.SecretRef, string) (exchange.Secret, error)
	now      func() time.Time

	turn chan struct{} // held by whoever looks at own, or asks for it
	own  token         // this house's, by which profiles are assumed
}

// token is one of IAM's.
type token struct {
	value   exchange.Secret
	issued  time.Time
	expires time.Time
}

func newDriver(s *Settings, d provider.Deps) (*driver, error) {
	u, err := url.Parse(s.endpoint())
	if err != nil {
		return nil, fmt.Errorf("reading the endpoint: %w", err)
	}
	return &driver{settings: *s, client: d.HTTP, host: u.Host, secret: d.Secret, now: d.Now, turn: make(chan struct{}, 1)}, nil
}

// Vend takes the trusted profile.
func (d *driver) Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error) {
	switch {
	case len(g.Scopes) > 0:
		return exchange.Credential{}, exchange.Fault(exchange.KindInvalidScope, "this target has no scopes: the trusted profile's access policies fix what it may do", nil)
	case !d.settings.MayOutlive && g.NotAfter.Sub(g.Now) < d.settings.longest():
		return exchange.Credential{}, exchange.Fault(exchange.KindInvalidLifetime,
			fmt.Sprintf("IAM gives tokens that live up to %s: ask for as much, with a token that lives as long, or have the operator say may_outlive", d.settings.longest()), nil)
	}
	t, err := d.take(ctx, &g)
	if err != nil {
		return exchange.Credential{}, err
	}
	handle := provider.HandleOf(t.value, "jti")
	if handle == "" {
		handle = g.Exchange.String()
	}
	return exchange.Credential{
		Value: t.value, TokenType: "Bearer", IssuedType: exchange.TokenTypeAccessToken,
		Issued: t.issued, Expires: t.expires, Handle: handle,
	}, nil
}

func (d *driver) take(ctx context.Context, g *exchange.Grant) (token, error) {
	if d.settings.method() == MethodComputeResource {
		if g.Passthrough.IsZero() {
			return token{}, exchange.Fault(exchange.KindInvalidRequest,
				"this target needs the workload's own token for IBM Cloud (audience iam): bring it as passthrough_token", nil)
		}
		return d.ask(ctx, d.profile(url.Values{"grant_type": {grantCRToken}, "cr_token": {g.Passthrough.Value.Reveal()}}), g.Passthrough.Value)
	}
	own, err := d.self(ctx)
	if err != nil {
		return token{}, err
	}
	t, err := d.ask(ctx, d.profile(url.Values{"grant_type": {grantAssume}, "access_token": {own.Reveal()}}), own)
	var e *exchange.Error
	if errors.As(err, &e) && e.Kind == exchange.KindMisconfigured {
		d.forget(own) // it may have been withdrawn: the next one asks anew
	}
	return t, err
}

// profile adds the trusted profile to a form.
func (d *driver) profile(form url.Values) url.Values {
	s := &d.settings
	for name, value := range map[string]string{
		"profile_id": s.ProfileID, "profile_crn": s.ProfileCRN, "profile_name": s.ProfileName, "account": s.Account,
	} {
		if value != "" {
			form.Set(name, value)
		}
	}
	return form
}

// self is this house's own token, kept for four fifths of its life: nobody's grant
// shapes it.
func (d *driver) self(ctx context.Context) (exchange.Secret, error) {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return exchange.Secret{}, fmt.Errorf("waiting for this house's own token: %w", ctx.Err())
	}
	if t := d.own; !t.value.IsZero() && d.now().Before(t.issued.Add(t.expires.Sub(t.issued)*4/5)) {
		return t.value, nil
	}
	form, sent, err := d.identity()
	if err != nil {
		return exchange.Secret{}, err
	}
	t, err := d.ask(ctx, form, sent)
	if err != nil {
		return exchange.Secret{}, err
	}
	d.own = t
	return t.value, nil
}

func (d *driver) forget(own exchange.Secret) {
	d.turn <- struct{}{}
	defer func() { <-d.turn }()
	if d.own.value.Equal(own) {
		d.own = token{}
	}
}

// identity is the form that buys this house's own token.
func (d *driver) identity() (url.Values, exchange.Secret, error) {
	if d.settings.APIKey != "" {
		key, err := d.secret(d.settings.APIKey, d.host)
		if err != nil {
			return nil, exchange.Secret{}, exchange.Fault(exchange.KindMisconfigured, "the target's api_key cannot be had: ask its operator", fmt.Errorf("api_key: %w", err))
		}
		return url.Values{"grant_type": {grantAPIKey}, "apikey": {key.Reveal()}, "response_type": {"cloud_iam"}}, key, nil
	}
	text, err := readToken(d.settings.CRTokenFile)
	if err != nil {
		return nil, exchange.Secret{}, exchange.Fault(exchange.KindMisconfigured, "the target's cr_token_file cannot be read: ask its operator", fmt.Errorf("cr_token_file: %w", err))
	}
	return url.Values{"grant_type": {grantCRToken}, "cr_token": {text.Reveal()}, "profile_id": {d.settings.CRProfileID}}, text, nil
}

// readToken reads a projected token anew: the kubelet replaces it.
func readToken(name string) (exchange.Secret, error) {
	info, err := os.Stat(name)
	if err != nil {
		return exchange.Secret{}, err
	}
	if info.Size() > maxCRToken {
		return exchange.Secret{}, fmt.Errorf("it has over %d bytes", maxCRToken)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return exchange.Secret{}, err
	}
	if token := strings.TrimSpace(string(text)); token != "" {
		return exchange.NewSecret(token), nil
	}
	return exchange.Secret{}, errors.New("it is empty")
}

func (d *driver) ask(ctx context.Context, form url.Values, sent exchange.Secret) (token, error) {
	r, err := provider.PostForm(ctx, d.settings.endpoint()+"/identity/token", form)
	if err != nil {
		return token{}, err
	}
	issued := d.now() // before it is asked: what is rounded is rounded down
	a, err := provider.Ask(d.client, r, d.now, sent)
	if err != nil {
		return token{}, err
	}
	if a.Status != http.StatusOK {
		return token{}, refusal(a)
	}
	c, err := a.Bearer(issued, "bearer")
	if err != nil {
		return token{}, err
	}
	var also struct {
		Expiration int64 `json:"expiration"` // Unix seconds
	}
	if err := a.Decode(&also); err != nil {
		return token{}, err
	}
	t := token{value: c.Value, issued: issued, expires: c.Expires}
	if said := time.Unix(also.Expiration, 0); also.Expiration > 0 && said.Before(t.expires) {
		t.expires = said
	}
	if !t.expires.After(d.now()) {
		return token{}, a.Unusable(errors.New("its token has expired already"))
	}
	return t, nil
}

// refusal reads IAM's own error, which is not OAuth's.
func refusal(a *provider.Answer) error {
	var said struct {
		Code json.RawMessage `json:"errorCode"`
	}
	_ = a.Decode(&said) // what is no JSON says nothing
	code := strings.Trim(string(said.Code), `"`)
	switch {
	case code == "BXNIM0415E": // "Provided API key could not be found."
		return a.Fault(exchange.KindMisconfigured, "IAM does not know this house's API key: the operator must check api_key")
	case code == "BXNIM0439E", a.Status == http.StatusNotFound: // "The selected trusted profile … cannot be found"
		return a.Fault(exchange.KindMisconfigured, "IAM knows no such trusted profile: the operator must check profile_id, profile_crn or profile_name with account, and endpoint")
	case a.Status == http.StatusUnauthorized, a.Status == http.StatusForbidden:
		return a.Fault(exchange.KindMisconfigured, "the trusted profile does not let this identity take it: its operator must add the cluster's namespace and service account, or this house's service id, to the profile's trust")
	case a.Status == http.StatusBadRequest:
		return a.Fault(exchange.KindProviderRefused, "IAM does not take the token or the profile: bring a fresh token of audience iam from a linked IKS or ROKS cluster, or have the operator check the profile")
	}
	return a.Fault(exchange.KindProviderRefused, "IAM refused")
}

// Check takes this house's own token where it has an identity, and drops it. With
// compute_resource it has none: there is no more to find out than that IAM answers.
func (d *driver) Check(ctx context.Context) error {
	if d.settings.method() == MethodAssume {
		_, err := d.self(ctx)
		return err
	}
	_, err := d.ask(ctx, d.profile(url.Values{"grant_type": {grantCRToken}, "cr_token": {"e30.e30.check"}}), exchange.Secret{})
	var e *exchange.Error
	switch {
	case err == nil:
		return errors.New("the endpoint gives tokens for anything: it is not IAM")
	case errors.As(err, &e) && e.Kind == exchange.KindProviderRefused:
		return nil
	}
	return err
}
