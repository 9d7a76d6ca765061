package oauth2

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// The grant types of RFC 8693 §2.1 and RFC 7523 §2.1.
const (
	typeExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeBearer   = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

type driver struct {
	settings Settings
	server   *party
	idp      *party // of GrantIDJAG
	asserter provider.Asserter
	granter  provider.Granter
	now      func() time.Time
	random   io.Reader
}

func newDriver(s *Settings, d provider.Deps) (*driver, error) {
	v := &driver{settings: *s, asserter: d.Asserter, granter: d.Granter, now: d.Now, random: d.Random}
	var err error
	if v.server, err = newParty(&s.Server, d); err != nil {
		return nil, err
	}
	if s.IDP != nil {
		v.idp, err = newParty(s.IDP, d)
	}
	return v, err
}

// Vend gets a token.
func (d *driver) Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error) {
	s := &d.settings
	if !s.MayOutlive && g.NotAfter.Sub(g.Now) < s.longest() {
		return exchange.Credential{}, exchange.Fault(exchange.KindInvalidLifetime,
			fmt.Sprintf("the target's server gives tokens that live up to %s: ask for as much, with a token that lives as long, or have the operator say may_outlive", s.longest()), nil)
	}
	server, err := d.server.endpoints()
	if err != nil {
		return exchange.Credential{}, err
	}
	w := whose{g.Tenant, g.Target.Name}
	form, sent, err := d.form(ctx, server, &g, w)
	if err != nil {
		return exchange.Credential{}, err
	}
	issued := d.now() // before it is asked: what is rounded is rounded down
	a, err := d.server.post(ctx, server, server.token, form, w, sent...)
	if err != nil {
		return exchange.Credential{}, misread(err)
	}
	if a.Status != http.StatusOK {
		return exchange.Credential{}, refusal(a, &s.Server, s.grant() == GrantTokenExchange)
	}
	c, err := d.credential(a, &g, issued)
	if err != nil {
		return c, err
	}
	if d.revocation(server) != "" {
		c.RevokeWith = c.Value
	}
	return c, nil
}

// form asks for the token, with whatever speaks for the subject; sent are the secrets
// in it.
func (d *driver) form(ctx context.Context, server *endpoints, g *exchange.Grant, w whose) (url.Values, []exchange.Secret, error) {
	s := &d.settings
	form := url.Values{}
	for name, value := range maps.All(s.Parameters) {
		form.Set(name, value)
	}
	d.address(form, g)
	switch s.grant() {
	case GrantTokenExchange:
		return d.exchangeForm(ctx, server, form, g)
	case GrantJWTBearer:
		proof, err := d.proof(ctx, server, g)
		if err != nil {
			return nil, nil, err
		}
		form.Set("grant_type", typeBearer)
		form.Set("assertion", proof.Reveal())
		return form, []exchange.Secret{proof}, nil
	case GrantIDJAG:
		identity := d.brokeredGrant
		if s.grants() {
			identity = d.ownGrant
		}
		grant, err := identity(ctx, server, g, w)
		if err != nil {
			return nil, nil, err
		}
		form.Set("grant_type", typeBearer)
		form.Set("assertion", grant.Reveal())
		return form, []exchange.Secret{grant}, nil
	}
	form.Set("grant_type", "client_credentials")
	return form, nil, nil
}

// address says what the token is for.
func (d *driver) address(form url.Values, g *exchange.Grant) {
	s := &d.settings
	if scopes := append(s.always(), g.Scopes...); len(scopes) > 0 {
		form.Set("scope", strings.Join(scopes, " "))
	}
	if s.Resource != "" && !s.OmitResource {
		form.Set("resource", s.Resource)
	}
	if s.Audience != "" {
		form.Set("audience", s.Audience)
	}
}

// exchangeForm is that of RFC 8693 §2.1. Whoever acts for the subject is named by a
// token of its own.
func (d *driver) exchangeForm(ctx context.Context, server *endpoints, form url.Values, g *exchange.Grant) (url.Values, []exchange.Secret, error) {
	subject, err := d.speaksFor(ctx, server, g)
	if err != nil {
		return nil, nil, err
	}
	form.Set("grant_type", typeExchange)
	form.Set("subject_token", subject.Reveal())
	form.Set("subject_token_type", string(d.settings.proofType()))
	form.Set("requested_token_type", string(exchange.TokenTypeAccessToken))
	sent := []exchange.Secret{subject}
	if len(g.Actors) > 0 {
		outermost := &g.Actors[0]
		if !outermost.Proven {
			return nil, nil, exchange.Fault(exchange.KindInvalidActor, "somebody acts for the subject, whom this target's server cannot be told of: bring the actor's own token as actor_token", nil)
		}
		actor, err := d.assert(ctx, server, g, &exchange.Subject{Name: outermost.Name, Attributes: outermost.Attributes})
		if err != nil {
			return nil, nil, err
		}
		form.Set("actor_token", actor.Reveal())
		form.Set("actor_token_type", string(exchange.TokenTypeJWT))
		sent = append(sent, actor)
	}
	return form, sent, nil
}

// proof is what speaks for the subject where nothing can say that somebody acts for
// it: dropped in silence, the actor would have become the subject (S15).
func (d *driver) proof(ctx context.Context, server *endpoints, g *exchange.Grant) (exchange.Secret, error) {
	if len(g.Actors) > 0 {
		return exchange.Secret{}, exchange.Fault(exchange.KindInvalidActor, "this target's server cannot be told who acts for the subject: let the subject ask for itself", nil)
	}
	return d.speaksFor(ctx, server, g)
}

// speaksFor is the token of the subject.
func (d *driver) speaksFor(ctx context.Context, server *endpoints, g *exchange.Grant) (exchange.Secret, error) {
	if d.settings.proof() == ProofAssertion {
		return d.assert(ctx, server, g, &g.Subject)
	}
	if g.Passthrough.IsZero() {
		return exchange.Secret{}, exchange.Fault(exchange.KindInvalidRequest,
			"this target needs a token of the subject that its authorization server takes: bring it as passthrough_token", nil)
	}
	return g.Passthrough.Value, nil
}

// assert signs an assertion for a subject or an actor.
func (d *driver) assert(ctx context.Context, server *endpoints, g *exchange.Grant, of *exchange.Subject) (exchange.Secret, error) {
	values, err := provider.SubjectValues(d.settings.subject(), of)
	if err != nil {
		return exchange.Secret{}, err
	}
	now := d.now()
	expires, err := shortly(g, now)
	if err != nil {
		return exchange.Secret{}, err
	}
	return d.asserter.Assert(ctx, exchange.Assertion{
		Tenant: g.Tenant, Target: g.Target.Name, Values: values, Audience: server.audience(d.settings.AssertionAudience),
		Endpoint: hostname(server.token), Issued: now.Truncate(time.Second), Expires: expires,
		Claims: map[string]any{"cambio_exchange": g.Exchange.String()},
	})
}

// shortly is when a word for a subject ends: soon, and not after the subject's own.
func shortly(g *exchange.Grant, now time.Time) (time.Time, error) {
	expires := now.Add(assertionLife)
	if g.NotAfter.Before(expires) {
		expires = g.NotAfter
	}
	if expires = expires.Truncate(time.Second); !expires.After(now) {
		return time.Time{}, exchange.Fault(exchange.KindInvalidLifetime, "the token you brought is about to expire: bring a fresh one", nil)
	}
	return expires, nil
}

// missing are the scopes that are wanted and not had.
func missing(wanted, has []string) []string {
	return slices.DeleteFunc(slices.Clone(wanted), func(s string) bool { return slices.Contains(has, s) })
}
