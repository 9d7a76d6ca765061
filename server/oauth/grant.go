package oauth

import (
	"context"
	"net/http"
	"time"

	"github.com/ory/fosite"

	"github.com/cambio-sts/cambio/exchange"
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

// tokenExchange is the grant of RFC 8693, as fosite's dispatch wants it.
type tokenExchange struct{ exchanger Exchanger }

// CanHandleTokenEndpointRequest takes the one grant.
func (*tokenExchange) CanHandleTokenEndpointRequest(_ context.Context, r fosite.AccessRequester) bool {
	return r.GetGrantTypes().ExactOne(server.GrantTokenExchange)
}

// CanSkipClientAuth lets a request through that presents nothing; whether its
// subject token is enough by itself is the trust's to say (S16). One that
// presents something stands or falls by it (S17): fosite would drop a wrong
// secret and go on without a client.
func (*tokenExchange) CanSkipClientAuth(_ context.Context, r fosite.AccessRequester) bool {
	s := sessionOf(r)
	return s != nil && !s.presentsClient(s.http)
}

// HandleTokenEndpointRequest reads the parameters.
func (t *tokenExchange) HandleTokenEndpointRequest(ctx context.Context, r fosite.AccessRequester) error {
	if !t.CanHandleTokenEndpointRequest(ctx, r) {
		return fosite.ErrUnknownRequest
	}
	s := sessionOf(r)
	var err error
	if s.request, err = exchangeRequest(s.form, s.http, s.now); err != nil {
		return err
	}
	r.SetRequestedScopes(s.request.Scopes)
	r.SetRequestedAudience(s.request.Audiences)
	return nil
}

// PopulateTokenEndpointResponse performs the exchange. fosite asks every handler
// for every grant, so it looks at the grant type again. The credential stays in
// the session: fosite gets a stand-in, for it insists on some text.
func (t *tokenExchange) PopulateTokenEndpointResponse(ctx context.Context, r fosite.AccessRequester, out fosite.AccessResponder) error {
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
