package oauth

import (
	"context"
	"net/http"
	"net/url"

	"github.com/ory/fosite"

	"github.com/cambio-sts/cambio/exchange"
)

// authenticateClient is fosite's client authentication, all of it: the default
// one answers an expired assertion with a 500, burns `jti` before it looks at
// `aud`, and spends bcrypt on anything.
//
// No client is registered, so whatever is presented is wrong, and a wrong
// credential is a refusal, never an anonymous success (S17). An Authorization
// header counts even when it is empty.
func authenticateClient(ctx context.Context, r *http.Request, _ url.Values) (fosite.Client, error) {
	requester, ok := ctx.Value(fosite.AccessRequestContextKey).(fosite.AccessRequester)
	if ok && !sessionOf(requester).presentsClient(r) {
		return nil, errNoClient
	}
	return nil, errWrongClient
}

var (
	// errNoClient: nothing was presented. fosite passes over it where the grant may
	// go on without a client.
	errNoClient    = exchange.Fault(exchange.KindInvalidClient, "client authentication is needed", nil)
	errWrongClient = exchange.Fault(exchange.KindInvalidClient,
		"client authentication failed: leave out the Authorization header and the client_ parameters where the subject token is enough", nil)
)

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
