package oauth

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/ory/fosite"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/client"
	"github.com/cambio-sts/cambio/server"
)

// session carries one request through fosite, which hands its own handlers no
// more than this. The tokens are in it as exchange.Secret or not at all: fosite's
// form holds the grant type alone.
type session struct {
	fosite.DefaultSession
	http    *http.Request
	form    *form
	now     time.Time
	client  client.Proven              // zero: none
	burn    func(*client.Proven) error // uses up a proof by itself; nil: it burns with the exchange only
	request exchange.Request
	began   bool // the exchanger was asked: what failed after that has been counted there
	receipt exchange.Receipt
}

// Clone gives the session itself: it lives as long as one request, and no copy of
// it is ever kept.
func (s *session) Clone() fosite.Session { return s }

func sessionOf(r fosite.AccessRequester) *session {
	s, _ := r.GetSession().(*session)
	return s
}

// grants are the grant types of this door, the one that it is for first.
var grants = []string{server.GrantTokenExchange, exchange.GrantClientCredentials, exchange.GrantJWTBearer}

// exchangeGrant is every grant of this door, as fosite's dispatch wants it: they
// differ in where the subject comes from, and in nothing after that.
type exchangeGrant struct{ exchanger Exchanger }

// CanHandleTokenEndpointRequest takes the grants of this door.
func (*exchangeGrant) CanHandleTokenEndpointRequest(_ context.Context, r fosite.AccessRequester) bool {
	return slices.ContainsFunc(grants, r.GetGrantTypes().ExactOne)
}

// CanSkipClientAuth lets a request through that presents nothing; whether its
// subject token is enough by itself is the trust's to say (S16). One that
// presents something stands or falls by it (S17): fosite would drop a wrong
// secret and go on without a client.
func (*exchangeGrant) CanSkipClientAuth(_ context.Context, r fosite.AccessRequester) bool {
	s := sessionOf(r)
	if s == nil {
		return false
	}
	presented := s.form.presented(s.http)
	return !presented.Any() && !r.GetGrantTypes().ExactOne(exchange.GrantClientCredentials)
}

// HandleTokenEndpointRequest reads the parameters.
func (t *exchangeGrant) HandleTokenEndpointRequest(ctx context.Context, r fosite.AccessRequester) error {
	if !t.CanHandleTokenEndpointRequest(ctx, r) {
		return fosite.ErrUnknownRequest
	}
	s := sessionOf(r)
	var err error
	if s.request, err = exchangeRequest(s.form, s.http, s.now); err != nil {
		return err
	}
	if err := server.UseClient(&s.client, &s.request); err != nil {
		return err
	}
	if s.request.ClientOnce != nil && s.request.SubjectToken.Type == exchange.TokenTypeIDJAG && s.burn != nil {
		// Such a grant is single-use itself, and an exchange burns one thing.
		if err := s.burn(&s.client); err != nil {
			return err
		}
		s.request.ClientOnce = nil
	}
	r.SetRequestedScopes(s.request.Scopes)
	r.SetRequestedAudience(s.request.Audiences)
	return nil
}

// PopulateTokenEndpointResponse performs the exchange. fosite asks every handler
// for every grant, so it looks at the grant type again. The credential stays in
// the session: fosite gets a stand-in, for it insists on some text.
func (t *exchangeGrant) PopulateTokenEndpointResponse(ctx context.Context, r fosite.AccessRequester, out fosite.AccessResponder) error {
	if !t.CanHandleTokenEndpointRequest(ctx, r) {
		return fosite.ErrUnknownRequest
	}
	s := sessionOf(r)
	s.began = true
	var err error
	if s.receipt, err = t.exchanger.Exchange(ctx, s.request); err != nil {
		return err
	}
	out.SetAccessToken(s.receipt.Credential.Value.String())
	out.SetTokenType(s.receipt.Credential.TokenType)
	return nil
}
