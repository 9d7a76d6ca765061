package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/listen"
	"github.com/cambio-sts/cambio/clients/go/internal/quiet"
)

// sender puts the credential on a request that was made ready, and sends it; once more
// if the upstream no longer takes the credential and the body is held.
type sender struct {
	route   *route
	base    http.RoundTripper
	from    *issuer
	cookies []cookie
	answer  http.ResponseWriter
	kept    int64 // bytes of memory that are reserved for the body
	unread  bool  // the body was to be held, and did not come whole
}

// uploadSilence is how long a caller is waited for who sends nothing of a body that has
// its place in memory already: others wait for that.
const uploadSilence = 30 * time.Second

// maxHeld bounds the bodies that one proxy holds at a time, in bytes; the next one waits.
// It is not less than a route's limits.buffer.
const maxHeld = 128 << 20

// RoundTrip sends (http.RoundTripper). Headers are set on a copy.
func (s *sender) RoundTrip(req *http.Request) (*http.Response, error) {
	body, held, err := s.hold(req)
	if err != nil {
		return nil, err
	}
	c, err := s.from.source.Best(req.Context(), sendLeft)
	if err != nil {
		return nil, err
	}
	resp, err := s.send(req, body, held, c)
	if err != nil || !s.route.rejected(resp) || !held {
		return resp, err
	}
	renewed, err := s.from.source.Renew(req.Context(), c.Value)
	s.route.meter.renewed(err == nil && !renewed.Value.Equal(c.Value))
	if err != nil || renewed.Value.Equal(c.Value) {
		return resp, nil // the caller's answer is the upstream's
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection serves again
	_ = resp.Body.Close()
	return s.send(req, body, held, renewed)
}

func (s *sender) send(req *http.Request, body []byte, held bool, c *cambio.Credential) (*http.Response, error) {
	sent := req.Clone(req.Context())
	if held {
		sent.Body, sent.GetBody, sent.ContentLength = nil, nil, int64(len(body))
		if len(body) > 0 {
			sent.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
			sent.Body, _ = sent.GetBody()
		}
		sent.TransferEncoding = nil
	} else {
		sent.Trailer = req.Trailer // the map that is filled at the body's end
	}
	if err := s.from.put(req.Context(), sent, body, c); err != nil {
		return nil, err
	}
	resp, err := s.base.RoundTrip(sent)
	if err != nil {
		return nil, quiet.Error(err, s.secrets(sent, c)...)
	}
	return resp, nil
}

// secrets are what an upstream could quote in an answer that is none, for the log to
// leave out.
func (s *sender) secrets(sent *http.Request, c *cambio.Credential) []string {
	secrets := []string{c.Value.Reveal(), sent.Header.Get("X-Amz-Security-Token"), sent.Header.Get("Cookie")}
	for _, cookie := range s.cookies {
		secrets = append(secrets, cookie.value.Reveal())
	}
	_, value, _ := strings.Cut(sent.Header.Get("Authorization"), " ")
	return append(secrets, value)
}

// hold reads a body into memory if it has to be signed, or is short and its length
// known. One that comes in pieces streams: who sends so may wait for answers between.
func (s *sender) hold(req *http.Request) (body []byte, held bool, err error) {
	t := s.route
	if req.Body == nil || req.Body == http.NoBody || req.ContentLength == 0 {
		return nil, true, nil
	}
	if !t.auth.signs() && (req.ContentLength < 0 || req.ContentLength > t.limits.Buffer) {
		return nil, false, nil
	}
	if req.ContentLength > t.limits.Buffer {
		return nil, false, errTooLong
	}
	size := t.limits.Buffer
	if req.ContentLength > 0 {
		size = req.ContentLength
	}
	if err := t.memory.Acquire(req.Context(), size); err != nil {
		return nil, false, err
	}
	s.kept = size
	var b bytes.Buffer
	if req.ContentLength > 0 {
		b.Grow(int(req.ContentLength) + bytes.MinRead)
	}
	s.unread = true
	n, err := b.ReadFrom(listen.Paced(s.answer, io.LimitReader(req.Body, t.limits.Buffer+1), uploadSilence))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, false, refuse(http.StatusRequestTimeout, "body_timeout", "the body has to be held, and nothing of it came for %s", uploadSilence)
	case err != nil:
		return nil, false, &uploadError{err}
	case n > t.limits.Buffer:
		return nil, false, errTooLong
	}
	s.unread = false
	return b.Bytes(), true, nil
}

// uploadError is the caller's failure to send what it announced.
type uploadError struct{ error }

func (e *uploadError) Unwrap() error { return e.error }

// release gives the memory back when the request has ended.
func (s *sender) release() {
	if s.kept > 0 {
		s.route.memory.Release(s.kept)
	}
}

// left reports whether a request ended because its caller left.
func left(ctx context.Context, err error) bool {
	var own *refusal
	var upload *uploadError
	var long *http.MaxBytesError
	if errors.As(err, &own) {
		return false // what was to be said was said, as it is of a body that does not come
	}
	if errors.As(err, &upload) && !errors.As(err, &long) {
		return true
	}
	return ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled)
}
