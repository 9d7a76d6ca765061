package cambio

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/origin"
)

// sendLeft is how long a token lives at least when it is sent: a request takes time,
// and clocks differ.
const sendLeft = time.Minute

// Transport puts the source's bearer token on each request, and where the answer is 401
// renews it and asks once more, if the body can be sent again. The token goes over https
// or to this machine, and follows no redirect to another origin. base nil:
// http.DefaultTransport.
func (s *TokenSource) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{source: s, base: base}
}

type transport struct {
	source *TokenSource
	base   http.RoundTripper
}

// RoundTrip sends the request with a token; it does not change req (http.RoundTripper).
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if strayed(req) {
		return t.base.RoundTrip(req)
	}
	if !origin.Safe(req.URL) {
		closeBody(req)
		return nil, errors.New("cambio: tokens go over https, or to this machine: use an https URL")
	}
	credential, err := t.source.AtLeast(req.Context(), sendLeft)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := t.send(req, req.Body, credential)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	body := req.Body
	if body != nil && body != http.NoBody {
		if req.GetBody == nil {
			return resp, nil
		}
		if body, err = req.GetBody(); err != nil {
			return resp, nil
		}
	}
	renewed, err := t.source.Renew(req.Context(), credential.Value)
	if err != nil || renewed.Value.Equal(credential.Value) {
		if body != nil {
			_ = body.Close()
		}
		return resp, nil // the caller's answer is the 401
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection serves again
	_ = resp.Body.Close()
	return t.send(req, body, renewed)
}

func (t *transport) send(req *http.Request, body io.ReadCloser, credential *Credential) (*http.Response, error) {
	if credential.Type == "N_A" {
		if body != nil {
			_ = body.Close()
		}
		return nil, fmt.Errorf("cambio: a credential of type %s is no bearer token", credential.IssuedTokenType)
	}
	sent := req.Clone(req.Context())
	sent.Body = body
	sent.Header.Set("Authorization", "Bearer "+credential.Value.Reveal())
	return t.base.RoundTrip(sent)
}

// strayed reports whether a redirect led to another origin than the first request's.
func strayed(req *http.Request) bool {
	first := req
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	return originOf(first.URL) != originOf(req.URL)
}

func originOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
