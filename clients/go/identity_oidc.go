package cambio

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/cambio-sts/cambio/clients/go/internal/quiet"
)

// OIDC is a workload that is a client of an OpenID provider.
type OIDC struct {
	TokenURL string // of the provider; https, save on loopback
	ClientID string
	// ClientSecret gives the secret for each request, so that it can be rotated.
	ClientSecret func() (Secret, error)
	Scopes       []string
	// Audience is sent as `audience`, which many providers want; empty: it is not.
	Audience string
}

// ClientCredentials gets an access token of the workload's own from its OpenID provider
// (RFC 6749 §4.4), and keeps it until a minute before it ends. Many callers at once
// cause one request.
func ClientCredentials(o OIDC) (Identity, error) {
	if _, err := safeURL(o.TokenURL); err != nil {
		return nil, fmt.Errorf("cambio: token URL: %w", err)
	}
	if o.ClientID == "" || o.ClientSecret == nil {
		return nil, errors.New("cambio: client credentials want a client id and a secret")
	}
	return &oidcIdentity{oidc: o, turn: make(chan struct{}, 1)}, nil
}

type oidcIdentity struct {
	oidc OIDC
	turn chan struct{} // who asks the provider; a waiter can leave it

	mu    sync.Mutex
	token SubjectToken
	until time.Time
}

func (i *oidcIdentity) held() (SubjectToken, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.token, time.Now().Before(i.until)
}

// SubjectToken is the held token, or a new one.
func (i *oidcIdentity) SubjectToken(ctx context.Context) (SubjectToken, error) {
	if token, ok := i.held(); ok {
		return token, nil
	}
	select {
	case i.turn <- struct{}{}:
		defer func() { <-i.turn }()
	case <-ctx.Done():
		return SubjectToken{}, ctx.Err()
	}
	if token, ok := i.held(); ok {
		return token, nil
	}
	secret, err := i.oidc.ClientSecret()
	if err != nil {
		return SubjectToken{}, fmt.Errorf("the client's secret: %w", err)
	}
	config := clientcredentials.Config{
		ClientID: i.oidc.ClientID, ClientSecret: secret.Reveal(), TokenURL: i.oidc.TokenURL, Scopes: i.oidc.Scopes,
		EndpointParams: url.Values{},
	}
	if i.oidc.Audience != "" {
		config.EndpointParams.Set("audience", i.oidc.Audience)
	}
	began := time.Now()
	got, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, identityClient))
	if err != nil {
		return SubjectToken{}, quiet.Error(plainOAuthError(err), secret.Reveal(), url.QueryEscape(secret.Reveal()))
	}
	token, err := newSubjectToken(got.AccessToken, TokenTypeAccessToken)
	if err != nil {
		return SubjectToken{}, fmt.Errorf("the provider's access token: %w", err)
	}
	token.Expires = got.Expiry
	i.mu.Lock()
	defer i.mu.Unlock()
	i.token, i.until = token, began
	if life := got.Expiry.Sub(began); !got.Expiry.IsZero() && life > time.Minute {
		i.until = began.Add(life - time.Minute)
	}
	return token, nil
}

// plainOAuthError leaves the response out: its body is the provider's.
func plainOAuthError(err error) error {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			return fmt.Errorf("asking the OpenID provider: %w", wrapped.Err)
		}
		return errors.New("the OpenID provider's answer is no token")
	}
	status := http.StatusBadGateway
	if refused.Response != nil {
		status = refused.Response.StatusCode
	}
	return fmt.Errorf("the OpenID provider answers %d %q: check client id, secret and scopes", status, plain(refused.ErrorCode))
}
