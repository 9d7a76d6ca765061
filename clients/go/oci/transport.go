package oci

import (
	"context"
	"io"
	"net/http"

	"github.com/cambio-sts/cambio/clients/go/internal/again"
)

// Transport signs each request, and where the answer is 401 renews the token and asks
// once more, if the body can be sent again. It is for net/http and for what is built on
// it; Oracle's clients sign by themselves, see Provider. base nil: http.DefaultTransport.
//
// A request that follows a redirect to another host is not signed.
func (s *Session) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{session: s, base: base}
}

type transport struct {
	session *Session
	base    http.RoundTripper
}

// RoundTrip sends a signed copy; it does not change req (http.RoundTripper).
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if again.Strayed(req) {
		return t.base.RoundTrip(req)
	}
	credential, err := t.session.Current(req.Context())
	if err != nil {
		again.Close(req.Body)
		return nil, err
	}
	return again.Trip(t, req, credential)
}

// Refused is a 401.
func (t *transport) Refused(resp *http.Response) bool {
	return resp.StatusCode == http.StatusUnauthorized
}

// Renew renews the token that was refused.
func (t *transport) Renew(req *http.Request, refused Credential) (Credential, bool) {
	renewed, err := t.session.renew(req.Context(), refused)
	return renewed, err == nil && !renewed.Token.Equal(refused.Token)
}

// Send sends a signed copy of the request.
func (t *transport) Send(req *http.Request, body io.ReadCloser, credential Credential) (*http.Response, error) {
	sent := req.Clone(req.Context())
	sent.Body = body
	if err := signable(sent); err != nil {
		again.Close(body)
		return nil, err
	}
	if err := sign(sent, credential, t.session.source.Now()); err != nil {
		again.Close(sent.Body)
		return nil, err
	}
	return t.base.RoundTrip(sent)
}

// renew gets another token than the one that was rejected. However many come with the
// same, there is one exchange (cambio.TokenSource.Renew).
func (s *Session) renew(ctx context.Context, rejected Credential) (Credential, error) {
	held, _ := s.source.Held()
	if held == nil {
		return s.Current(ctx)
	}
	current, err := s.of(held)
	if err != nil || !current.Token.Equal(rejected.Token) {
		return current, err
	}
	renewed, err := s.source.Renew(ctx, held.Value)
	if err != nil {
		return Credential{}, err
	}
	return s.of(renewed)
}
