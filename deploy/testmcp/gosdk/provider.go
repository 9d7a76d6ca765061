package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/auth/extauth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"
)

// settings are of one of the SDK's own ways to authorize: client credentials, or with
// an identity provider, its enterprise-managed authorization.
type settings struct {
	Issuer, ClientID, ClientSecret    string
	IdP, IdPClientID, IdPClientSecret string // empty: client credentials
	IDToken                           string
	Scopes                            []string
}

// provide calls the tool with a token that the SDK gets by itself.
func provide(ctx context.Context, endpoint string, in io.Reader, out io.Writer) error {
	var s settings
	if err := json.NewDecoder(in).Decode(&s); err != nil {
		return err
	}
	handler, err := s.handler(endpoint)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	session, err := mcp.NewClient(&mcp.Implementation{Name: "cambio-test", Version: "1"}, nil).
		Connect(ctx, &mcp.StreamableClientTransport{Endpoint: endpoint, OAuthHandler: handler, MaxRetries: -1}, nil)
	if err != nil {
		return err
	}
	result, err := call(ctx, session)
	if err := errors.Join(err, session.Close()); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(result)
}

func (s *settings) handler(resource string) (auth.OAuthHandler, error) {
	credentials := func(id, secret string) *oauthex.ClientCredentials {
		return &oauthex.ClientCredentials{ClientID: id, ClientSecretAuth: &oauthex.ClientSecretAuth{ClientSecret: secret}}
	}
	if s.IdP == "" {
		c := credentials(s.ClientID, s.ClientSecret)
		c.Issuer = s.Issuer
		return extauth.NewClientCredentialsHandler(&extauth.ClientCredentialsHandlerConfig{Credentials: c})
	}
	return extauth.NewEnterpriseHandler(&extauth.EnterpriseHandlerConfig{
		IdPIssuerURL: s.IdP, IdPCredentials: credentials(s.IdPClientID, s.IdPClientSecret),
		MCPAuthServerURL: s.Issuer, MCPCredentials: credentials(s.ClientID, s.ClientSecret),
		MCPResourceURI: resource, MCPScopes: s.Scopes, HTTPClient: http.DefaultClient,
		IDTokenFetcher: func(context.Context) (*oauth2.Token, error) {
			return (&oauth2.Token{AccessToken: "none"}).WithExtra(map[string]any{"id_token": s.IDToken}), nil
		},
	})
}
