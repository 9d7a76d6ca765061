package oauth

import (
	"context"
	"crypto/sha512"
	"errors"
	"net/url"
	"time"

	josev3 "github.com/go-jose/go-jose/v3" // the type in fosite's interface; nothing is verified or signed with it
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/token/jwt"

	"github.com/cambio-sts/cambio/exchange"
)

// newProvider composes fosite with our grants and nothing of its own. They are one
// handler: fosite drops a second one of the same type without a word.
func newProvider(o Options) fosite.OAuth2Provider {
	config := newConfig(o.Issuer)
	config.ClientAuthenticationStrategy = (&authenticator{clients: o.Clients}).authenticate
	return compose.Compose(config, noClients{}, nil,
		func(fosite.Configurator, any, any) any { return &exchangeGrant{exchanger: o.Exchanger} })
}

// newConfig sets whatever a getter of fosite.Config would otherwise fill in on
// first use: those writes race between requests. What could reach out, hash or
// match by fosite's own rules is replaced by something that refuses.
func newConfig(issuer string) *fosite.Config {
	return &fosite.Config{
		AccessTokenIssuer:              issuer,
		IDTokenIssuer:                  issuer,
		TokenURL:                       issuer + tokenPath,
		AccessTokenLifespan:            15 * time.Minute,
		RefreshTokenLifespan:           -1,
		AuthorizeCodeLifespan:          time.Minute,
		IDTokenLifespan:                15 * time.Minute,
		ScopeStrategy:                  fosite.ExactScopeStrategy,
		AudienceMatchingStrategy:       fosite.ExactAudienceMatchingStrategy,
		ClientAuthenticationStrategy:   (&authenticator{}).authenticate,
		ClientSecretsHasher:            noSecrets{},
		JWKSFetcherStrategy:            noFetches{},
		HMACHasher:                     sha512.New512_256,
		JWTScopeClaimKey:               jwt.JWTScopeFieldString,
		RedirectSecureChecker:          func(context.Context, *url.URL) bool { return false },
		MinParameterEntropy:            fosite.MinParameterEntropy,
		EnforcePKCE:                    true,
		PushedAuthorizeContextLifespan: time.Minute,
	}
}

// noClients is fosite's storage: there is nothing in it.
type noClients struct{}

// GetClient finds nobody.
func (noClients) GetClient(context.Context, string) (fosite.Client, error) {
	return nil, fosite.ErrNotFound
}

// ClientAssertionJWTValid refuses: assertions are not fosite's to check.
func (noClients) ClientAssertionJWTValid(context.Context, string) error { return errNotFosites }

// SetClientAssertionJWT refuses.
func (noClients) SetClientAssertionJWT(context.Context, string, time.Time) error {
	return errNotFosites
}

var errNotFosites = errors.New("fosite was asked for what it must not do here")

// noSecrets stands where fosite would put bcrypt, at a fifth of a second a guess.
type noSecrets struct{}

// Compare finds no match.
func (noSecrets) Compare(context.Context, []byte, []byte) error { return errNotFosites }

// Hash refuses.
func (noSecrets) Hash(context.Context, []byte) ([]byte, error) { return nil, errNotFosites }

// noFetches stands where fosite would fetch a key set anew for every unknown key.
type noFetches struct{}

// Resolve refuses.
func (noFetches) Resolve(context.Context, string, bool) (*josev3.JSONWebKeySet, error) {
	return nil, errNotFosites
}

// failureOf makes an *exchange.Error of whatever came out of fosite. Its own
// errors are not trusted with a caller: the checks before it leave it nothing to
// complain of but client authentication, and the rest is internal.
func failureOf(err error) *exchange.Error {
	var known *exchange.Error
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, fosite.ErrInvalidClient) {
		return exchange.Fault(exchange.KindInvalidClient, errNoClient.Advice, err)
	}
	return exchange.Fault(exchange.KindInternal, "", err)
}
