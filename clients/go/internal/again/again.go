// Package again sends a request once more, with another credential, where the first one
// was refused.
package again

import (
	"io"
	"net/http"
)

// Exchanger puts credentials on requests.
type Exchanger[C any] interface {
	// Send sends a copy of the request with a body and a credential. It closes the body.
	Send(req *http.Request, body io.ReadCloser, credential C) (*http.Response, error)
	// Refused reports whether an answer is for the credential's sake.
	Refused(resp *http.Response) bool
	// Renew gets another credential than the one that was refused; false: there is none.
	Renew(req *http.Request, refused C) (C, bool)
}

// Trip sends the request with a credential, and once more with another where that one was
// refused and the body can be sent again. Otherwise the refusal is the answer.
func Trip[C any](x Exchanger[C], req *http.Request, credential C) (*http.Response, error) {
	resp, err := x.Send(req, req.Body, credential)
	if err != nil || !x.Refused(resp) {
		return resp, err
	}
	body, ok := bodyOf(req)
	if !ok {
		return resp, nil
	}
	renewed, ok := x.Renew(req, credential)
	if !ok {
		Close(body)
		return resp, nil
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection serves again
	_ = resp.Body.Close()
	return x.Send(req, body, renewed)
}

// bodyOf is a request's body for a second time.
func bodyOf(req *http.Request) (io.ReadCloser, bool) {
	if req.Body == nil || req.Body == http.NoBody {
		return req.Body, true
	}
	if req.GetBody == nil {
		return nil, false
	}
	body, err := req.GetBody()
	return body, err == nil
}

// Strayed reports whether a redirect led to another origin than the first request's.
func Strayed(req *http.Request) bool {
	first := req
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	return first.URL.Scheme != req.URL.Scheme || first.URL.Host != req.URL.Host
}

// Close closes a body, if there is one: a round trip does, whatever comes of it.
func Close(body io.Closer) {
	if body != nil {
		_ = body.Close()
	}
}
