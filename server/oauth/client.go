package oauth

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ory/fosite"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/client"
	"github.com/cambio-sts/cambio/server"
)

// Proven is a client that has proven itself.
type Proven = client.Proven

// Clients proves registered clients. An error is an *exchange.Error, of
// KindInvalidClient for whatever is wrong with what was presented.
type Clients interface {
	Secret(ctx context.Context, id string, secret exchange.Secret, now time.Time) (Proven, error)
	// Assertion takes what came as client_assertion; id is client_id, if it came.
	Assertion(ctx context.Context, id string, assertion exchange.Secret, now time.Time) (Proven, error)
}

// assertionJWT is the one type of client_assertion (RFC 7523 §2.2).
const assertionJWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// authenticator is fosite's client authentication, all of it: the default one
// answers an expired assertion with a 500, burns `jti` before it looks at `aud`,
// and spends bcrypt on anything.
type authenticator struct{ clients Clients }

// authenticate proves the client that a request presents. A wrong credential is a
// refusal, never an anonymous success (S17). An Authorization header counts even
// when it is empty.
func (a *authenticator) authenticate(ctx context.Context, r *http.Request, _ url.Values) (fosite.Client, error) {
	requester, ok := ctx.Value(fosite.AccessRequestContextKey).(fosite.AccessRequester)
	if !ok {
		return nil, errWrongClient
	}
	s := sessionOf(requester)
	if s == nil {
		return nil, errWrongClient
	}
	if !s.presentsClient(r) {
		return nil, errNoClient
	}
	shown, err := s.shown(r)
	if err != nil {
		return nil, err
	}
	if a.clients == nil {
		return nil, errWrongClient
	}
	if shown.assertion.IsZero() {
		s.client, err = a.clients.Secret(ctx, shown.id, shown.secret, s.now)
	} else {
		s.client, err = a.clients.Assertion(ctx, shown.id, shown.assertion, s.now)
	}
	if err != nil {
		return nil, err
	}
	return &fosite.DefaultClient{ID: s.client.Client.Name}, nil
}

var (
	// errNoClient: nothing was presented. fosite passes over it where the grant may
	// go on without a client.
	errNoClient    = exchange.Fault(exchange.KindInvalidClient, "client authentication is needed", nil)
	errWrongClient = exchange.Fault(exchange.KindInvalidClient,
		"client authentication failed: leave out the Authorization header and the client_ parameters where the subject token is enough", nil)
)

// shown is one credential of a client, as it was presented.
type shown struct {
	id        string
	secret    exchange.Secret
	assertion exchange.Secret
}

// shown reads what a request presents: one method, whole (RFC 6749 §2.3).
func (s *session) shown(r *http.Request) (shown, error) {
	headers, header := r.Header["Authorization"]
	secret, proof := s.form.get(clientSecret), s.form.get(clientAssertion)
	methods := 0
	for _, used := range []bool{header, secret != "", proof != "" || s.form.get(clientAssertionType) != ""} {
		if used {
			methods++
		}
	}
	c := shown{id: s.form.get(clientID)}
	switch {
	case methods > 1:
		return c, server.Invalid("the client is authenticated in several ways: use one (RFC 6749 section 2.3)")
	case header:
		if len(headers) != 1 {
			return c, errWrongClient
		}
		id, secret, ok := parseBasic(headers[0])
		if !ok || c.id != "" && c.id != id {
			return c, errWrongClient
		}
		return shown{id: id, secret: exchange.NewSecret(secret)}, nil
	case secret != "" && c.id != "":
		c.secret = exchange.NewSecret(secret)
		return c, nil
	case proof != "" && s.form.get(clientAssertionType) == assertionJWT:
		c.assertion = exchange.NewSecret(proof)
		return c, nil
	}
	return c, errWrongClient
}

// maxBasic bounds the Authorization header, in bytes.
const maxBasic = 2048

// parseBasic reads client_secret_basic (RFC 6749 §2.3.1): id and secret are
// form-encoded each, joined with a colon, and the whole is base64.
func parseBasic(header string) (id, secret string, ok bool) {
	scheme, text, found := strings.Cut(header, " ")
	if !found || !strings.EqualFold(scheme, "Basic") || len(text) > maxBasic || strings.ContainsAny(text, "\r\n") {
		return "", "", false
	}
	plain, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || !utf8.Valid(plain) {
		return "", "", false
	}
	id, secret, found = strings.Cut(string(plain), ":")
	if !found {
		return "", "", false
	}
	id, okID := decode(id)
	secret, okSecret := decode(secret)
	return id, secret, okID && okSecret && id != "" && secret != ""
}

// presentsClient reports whether any trace of client authentication, or of a
// client's name, came along.
func (s *session) presentsClient(r *http.Request) bool {
	if s == nil {
		return true
	}
	_, header := r.Header["Authorization"]
	return header || s.form.get(clientID) != "" || s.form.get(clientSecret) != "" ||
		s.form.get(clientAssertion) != "" || s.form.get(clientAssertionType) != ""
}
