// Package gcp gives access tokens of a Cambio server to Google's clients.
//
//	source := client.TokenSource(cambio.Request{Audience: "vertex"})
//	service, err := storage.NewService(ctx, option.WithTokenSource(gcp.NewTokenSource(source)))
//
// For what takes credentials in place of a token source:
//
//	credentials := &google.Credentials{ProjectID: "my-project", TokenSource: gcp.NewTokenSource(source)}
//
// None of these asks again where a service answers 401. What does is a client that is
// given the transport of the core:
//
//	service, err := storage.NewService(ctx, option.WithHTTPClient(&http.Client{Transport: source.Transport(nil)}))
package gcp

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/oauth2"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

const (
	// sendLeft is how long a token lives at least when it is given out.
	sendLeft = time.Minute
	// again is how long a token that is due for renewal may be reused without asking.
	again = 30 * time.Second
)

// NewTokenSource gives the tokens of a source, which live a minute yet, or half their
// life if that is less. It has a cache already.
//
// Google's clients and x/oauth2 put caches of their own around it, which come back when a
// token's expiry is near. So that they come while the source can renew ahead, Expiry is
// not when the token ends but when to ask again: that is from when the source renews, and
// then half a minute later each time, until the token does end.
func NewTokenSource(source *cambio.TokenSource) oauth2.TokenSource { return tokenSource{source} }

type tokenSource struct{ source *cambio.TokenSource }

// Token is the source's. The interface has no context: the client's timeout bounds it.
func (t tokenSource) Token() (*oauth2.Token, error) {
	credential, err := t.source.AtLeast(context.Background(), sendLeft)
	if err != nil {
		return nil, err
	}
	if credential.Type != "Bearer" || credential.IssuedTokenType != cambio.TokenTypeAccessToken {
		return nil, fmt.Errorf("gcp: the target gives %q and no access token: name a target of provider gcp", credential.IssuedTokenType)
	}
	now := t.source.Now()
	expiry := credential.Refresh
	if soon := now.Add(again); expiry.Before(soon) {
		expiry = soon
	}
	if credential.Expires.Before(expiry) {
		expiry = credential.Expires
	}
	return &oauth2.Token{
		AccessToken: credential.Value.Reveal(), TokenType: credential.Type,
		Expiry: expiry, ExpiresIn: int64(expiry.Sub(now) / time.Second),
	}, nil
}
