package oci

import (
	"context"
	"io"
	"net/http"
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
	if strayed(req) {
		return t.base.RoundTrip(req)
	}
	credential, err := t.session.Current(req.Context())
	if err != nil {
		closeBody(req.Body)
		return nil, err
	}
	resp, err := t.send(req, req.Body, credential)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	body, ok := again(req)
	if !ok {
		return resp, nil
	}
	renewed, err := t.session.renew(req.Context(), credential)
	if err != nil || renewed.Token.Equal(credential.Token) {
		closeBody(body)
		return resp, nil // the caller's answer is the 401
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection serves again
	_ = resp.Body.Close()
	return t.send(req, body, renewed)
}

func (t *transport) send(req *http.Request, body io.ReadCloser, credential Credential) (*http.Response, error) {
	sent := req.Clone(req.Context())
	sent.Body = body
	if err := signable(sent); err != nil {
		closeBody(body)
		return nil, err
	}
	if err := sign(sent, credential, t.session.source.Now()); err != nil {
		closeBody(sent.Body)
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

// strayed reports whether a redirect led to another origin than the first request's.
func strayed(req *http.Request) bool {
	first := req
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	return first.URL.Scheme != req.URL.Scheme || first.URL.Host != req.URL.Host
}

// again is a request's body for a second time.
func again(req *http.Request) (io.ReadCloser, bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return req.Body, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	return body, err == nil
}

func closeBody(body io.Closer) {
	if body != nil {
		_ = body.Close()
	}
}
