package cambio

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/again"
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
	if again.Strayed(req) {
		return t.base.RoundTrip(req)
	}
	if !origin.Safe(req.URL) {
		again.Close(req.Body)
		return nil, errors.New("cambio: tokens go over https, or to this machine: use an https URL")
	}
	credential, err := t.source.AtLeast(req.Context(), sendLeft)
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
func (t *transport) Renew(req *http.Request, refused *Credential) (*Credential, bool) {
	renewed, err := t.source.Renew(req.Context(), refused.Value)
	return renewed, err == nil && !renewed.Value.Equal(refused.Value)
}

// Send sends a copy of the request with the token.
func (t *transport) Send(req *http.Request, body io.ReadCloser, credential *Credential) (*http.Response, error) {
	if credential.Type == "N_A" {
		again.Close(body)
		return nil, fmt.Errorf("cambio: a credential of type %s is no bearer token", credential.IssuedTokenType)
	}
	sent := req.Clone(req.Context())
	sent.Body = body
	sent.Header.Set("Authorization", "Bearer "+credential.Value.Reveal())
	return t.base.RoundTrip(sent)
}
