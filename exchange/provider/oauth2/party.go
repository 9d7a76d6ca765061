package oauth2

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

const clientAssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// assertionLife is how long an assertion lives: for one request, and clocks apart.
const assertionLife = 2 * time.Minute

// party is a server that the house is a client of.
type party struct {
	settings Server
	deps     provider.Deps
	client   *http.Client
	now      func() time.Time
	files    *certificate // of tls_client_auth

	found  atomic.Pointer[endpoints]
	failed atomic.Pointer[error] // of the latest attempt to find it
}

func newParty(s *Server, d provider.Deps) (*party, error) {
	p := &party{settings: *s, deps: d, client: d.HTTP, now: d.Now}
	if s.TokenURL != "" {
		p.found.Store(&endpoints{issuer: s.Issuer, token: s.TokenURL})
	}
	switch s.auth() {
	case AuthBasic, AuthPost:
		if d.Secret == nil {
			return nil, errors.New("an oauth2 target with a client secret needs the house's secrets, and there are none")
		}
	case AuthTLS:
		if d.Client == nil {
			return nil, errors.New("an oauth2 target with a certificate needs a way out that shows it, and there is none")
		}
		p.files = &certificate{certFile: s.CertFile, keyFile: s.KeyFile}
		var err error
		if p.client, err = d.Client(func() (*tls.Certificate, error) { return p.files.load() }); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// endpoints are where to ask, or an error that says why nobody knows yet.
func (p *party) endpoints() (*endpoints, error) {
	if e := p.found.Load(); e != nil {
		return e, nil
	}
	if err := p.failed.Load(); err != nil {
		kind := exchange.KindUnavailable
		if exchange.KindOf(*err) == exchange.KindMisconfigured { // not let out: that does not pass by itself
			kind = exchange.KindMisconfigured
		}
		return nil, exchange.Fault(kind, "the target's authorization server has not been found; try again later, or ask the target's operator",
			fmt.Errorf("%w: %w", provider.ErrNotCalled, *err))
	}
	return nil, exchange.Fault(exchange.KindUnavailable, "the target's authorization server is being looked up; try again in a moment", provider.ErrNotCalled)
}

// audience is whom an assertion is for, unless the operator says otherwise: the server
// by its name, and else by its endpoint (RFC 7523 §3).
func (e *endpoints) audience(said string) string {
	switch {
	case said != "":
		return said
	case e.issuer != "":
		return e.issuer
	}
	return e.token
}

// whose says for which target assertions are.
type whose struct{ tenant, target string }

// post sends a form to one of the server's endpoints, as the client.
func (p *party) post(ctx context.Context, e *endpoints, address string, form url.Values, w whose, sent ...exchange.Secret) (*provider.Answer, error) {
	s := &p.settings
	var user, password string
	switch s.auth() {
	case AuthBasic, AuthPost:
		secret, err := p.secret(address)
		if err != nil {
			return nil, err
		}
		sent = append(sent, secret)
		if s.auth() == AuthBasic {
			user, password = url.QueryEscape(s.ClientID), url.QueryEscape(secret.Reveal()) // RFC 6749 §2.3.1
			sent = append(sent, exchange.NewSecret(base64.StdEncoding.EncodeToString([]byte(user+":"+password))))
		} else {
			form.Set("client_id", s.ClientID)
			form.Set("client_secret", secret.Reveal())
		}
	case AuthPrivateKeyJWT:
		assertion, err := p.clientAssertion(ctx, e, address, w)
		if err != nil {
			return nil, err
		}
		sent = append(sent, assertion)
		if s.ClientID != "" {
			form.Set("client_id", s.ClientID)
		}
		form.Set("client_assertion_type", clientAssertionType)
		form.Set("client_assertion", assertion.Reveal())
	case AuthTLS:
		form.Set("client_id", s.ClientID) // RFC 8705 §2
		if p.files.changed() {
			p.client.CloseIdleConnections() // they show the certificate that was
		}
	case AuthNone:
		if s.ClientID != "" {
			form.Set("client_id", s.ClientID)
		}
	}
	r, err := provider.PostForm(ctx, address, form)
	if err != nil {
		return nil, err
	}
	if user != "" {
		r.SetBasicAuth(user, password)
	}
	return provider.Ask(p.client, r, p.now, sent...)
}

// secret is the client's, for the host that is about to get it (S20).
func (p *party) secret(address string) (exchange.Secret, error) {
	u, err := url.Parse(address)
	if err != nil {
		return exchange.Secret{}, fmt.Errorf("reading an endpoint: %w", err)
	}
	secret, err := p.deps.Secret(p.settings.ClientSecret, u.Host)
	if err != nil {
		return exchange.Secret{}, exchange.Fault(exchange.KindMisconfigured, "the target's client_secret cannot be had for its server: ask its operator",
			fmt.Errorf("client_secret: %w", err))
	}
	return secret, nil
}

// clientAssertion proves the client: by its registered key, or by the federation
// issuer's word for the target. The latter's `sub` ends with the target, and never
// with a subject, so that neither kind of assertion is good as the other.
func (p *party) clientAssertion(ctx context.Context, e *endpoints, address string, w whose) (exchange.Secret, error) {
	now := p.now()
	aud := e.audience(p.settings.ClientAudience)
	if p.settings.KeyFile != "" {
		assertion, err := signedByFile(&p.settings, aud, now, p.deps.Random)
		if err != nil {
			return exchange.Secret{}, exchange.Fault(exchange.KindMisconfigured, "the target's key_file cannot sign: ask its operator", fmt.Errorf("key_file: %w", err))
		}
		return assertion, nil
	}
	if w == (whose{}) { // a check, which is nobody's
		return exchange.NewSecret("e30.e30.check"), nil
	}
	return p.deps.Asserter.Assert(ctx, exchange.Assertion{
		Tenant: w.tenant, Target: w.target, Audience: aud, Endpoint: hostname(address),
		Issued: now.Truncate(time.Second), Expires: now.Add(assertionLife).Truncate(time.Second),
	})
}
