package oauth

import (
	"context"
	"net/http"
	"net/url"

	"github.com/ory/fosite"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/server"
)

// authenticator is fosite's client authentication, all of it: the default one
// answers an expired assertion with a 500, burns `jti` before it looks at `aud`,
// and spends bcrypt on anything.
type authenticator struct{ clients server.Clients }

// authenticate proves the client that a request presents. A wrong credential is a
// refusal, never an anonymous success (S17).
func (a *authenticator) authenticate(ctx context.Context, r *http.Request, _ url.Values) (fosite.Client, error) {
	requester, ok := ctx.Value(fosite.AccessRequestContextKey).(fosite.AccessRequester)
	if !ok {
		return nil, errNoClient
	}
	s := sessionOf(requester)
	if s == nil {
		return nil, errNoClient
	}
	presented := s.form.presented(r)
	if !presented.Any() {
		return nil, errNoClient
	}
	var err error
	if s.client, err = presented.Prove(ctx, a.clients, s.now); err != nil {
		return nil, err
	}
	return &fosite.DefaultClient{ID: s.client.Client.Name}, nil
}

// errNoClient: nothing was presented. fosite passes over it where the grant may go
// on without a client.
var errNoClient = exchange.Fault(exchange.KindInvalidClient, "client authentication is needed", nil)

// presented is what the request brings to authenticate its client.
func (f *form) presented(r *http.Request) server.Presented {
	return server.Presented{
		Authorization: r.Header["Authorization"], ID: f.get(clientID), Secret: f.get(clientSecret),
		Assertion: f.get(clientAssertion), AssertionType: f.get(clientAssertionType),
	}
}
