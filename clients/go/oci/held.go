package oci

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// session is one that the server holds, and what is known of its end.
type session struct {
	of    *cambio.Credential
	id    string
	token cambio.Secret

	mu      sync.Mutex
	told    time.Time // expire_time of the last answer, by the server's clock
	expires time.Time // the same by this machine's
	late    time.Time // when answers began to say that a renewal is due, and did not show it
}

// sessionID is a UUID: it becomes a part of a path.
var sessionID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// readSession reads the JSON that stands for a session (docs/api.md). Errors hold
// nothing of it.
func readSession(c *cambio.Credential) (*session, error) {
	switch c.IssuedTokenType {
	case cambio.TokenTypeOCISigningSession:
	case cambio.TokenTypeOCIRPST, cambio.TokenTypeOCIUPST:
		return nil, errors.New("oci: the target holds no sessions: give it `signing`, or use NewSession")
	default:
		return nil, fmt.Errorf("oci: the target gives %q and no signing session: name a target of provider oci with `signing`", c.IssuedTokenType)
	}
	var value struct {
		Session string `json:"session"`
		Token   string `json:"token"`
	}
	if json.Unmarshal([]byte(c.Value.Reveal()), &value) != nil || !sessionID.MatchString(value.Session) || value.Token == "" {
		return nil, errors.New("oci: the credential is no JSON object with session and token: is the server older than this package?")
	}
	return &session{of: c, id: value.Session, token: cambio.NewSecret(value.Token), expires: c.Expires}, nil
}

// lasts reports whether the session will sign for a while yet.
func (s *session) lasts(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expires.Sub(now) > sendLeft
}

// learn takes note of an answer that was asked for at a time, and reports whether the
// session has to be replaced: it ought to have been renewed by now and was not. The
// answer's date and times are of one clock, so it does not matter how that one goes.
func (s *session) learn(answer *signature, asked time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	date, err := http.ParseTime(answer.Headers["date"])
	if err != nil || answer.Expires.IsZero() {
		return false
	}
	moved := answer.Expires.After(s.told)
	s.told, s.expires = answer.Expires, asked.Add(answer.Expires.Sub(date))
	if answer.Renews.IsZero() || date.Before(answer.Renews) || moved && !s.late.IsZero() {
		s.late = time.Time{}
		return false
	}
	if s.late.IsZero() {
		s.late = asked
	}
	return asked.Sub(s.late) >= settle
}

// session is one that will sign.
func (s *SigningSession) session(ctx context.Context) (*session, error) {
	held := s.current.Load()
	if held != nil && held.lasts(s.source.Now()) {
		return held, nil
	}
	c, err := s.source.AtLeast(ctx, sendLeft)
	if err != nil {
		return nil, err
	}
	return s.hold(c)
}

// replace gets another session than one that is gone, or is not renewed. However many
// come with the same, there is one exchange (cambio.TokenSource.Renew).
func (s *SigningSession) replace(ctx context.Context, gone *session) (*session, error) {
	c, err := s.source.Renew(ctx, gone.of.Value)
	if err != nil {
		return nil, err
	}
	return s.hold(c)
}

// hold makes a credential's session the current one, unless it is already.
func (s *SigningSession) hold(c *cambio.Credential) (*session, error) {
	for {
		held := s.current.Load()
		if held != nil && held.of == c {
			return held, nil
		}
		next, err := readSession(c)
		if err != nil {
			return nil, err
		}
		if s.current.CompareAndSwap(held, next) {
			return next, nil
		}
	}
}

// signed are the headers that a signature may set (docs/api.md). Another one would be
// sent to Oracle under the caller's name.
var signed = map[string]bool{
	"authorization": true, "date": true, "host": true, "content-type": true, "content-length": true, "x-content-sha256": true,
}

func (a *signature) check() error {
	if !strings.HasPrefix(a.Headers["authorization"], "Signature ") || a.Headers["date"] == "" {
		return errors.New("oci: the server's answer holds no signature: is it newer than this package?")
	}
	for name := range a.Headers {
		if !signed[name] {
			return errors.New("oci: the server's answer sets other headers than a signature has: is it newer than this package?")
		}
	}
	return nil
}
