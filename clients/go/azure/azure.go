// Package azure gives access tokens of a Cambio server to azure-sdk-for-go.
//
// A target gives tokens for one resource of Azure. Where a program uses one:
//
//	credential := azure.NewCredential(client.TokenSource(cambio.Request{Audience: "azure-openai"}))
//
// Where it uses several, each has its target:
//
//	credential, err := azure.NewCredentialFor(map[string]*cambio.TokenSource{
//		"https://cognitiveservices.azure.com": client.TokenSource(cambio.Request{Audience: "azure-openai"}),
//		"https://storage.azure.com":           client.TokenSource(cambio.Request{Audience: "azure-blobs"}),
//	})
package azure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// sendLeft is how long a token lives at least when it is given out.
const sendLeft = time.Minute

// NewCredential gives the tokens of one source, to whoever asks for the resource that
// they are for. Where the server says which that is, another one is refused here, with
// words, and not by Azure.
func NewCredential(source *cambio.TokenSource) azcore.TokenCredential {
	return &credential{only: source}
}

// NewCredentialFor has a source for each resource, such as "https://vault.azure.net",
// with or without "/.default".
func NewCredentialFor(sources map[string]*cambio.TokenSource) (azcore.TokenCredential, error) {
	c := &credential{by: map[string]*cambio.TokenSource{}}
	for name, source := range sources {
		switch {
		case name == "" || source == nil:
			return nil, fmt.Errorf("azure: resource %q wants a name and a source", name)
		case c.by[resource(name)] != nil:
			return nil, fmt.Errorf("azure: resource %q is given twice: write it without /.default", resource(name))
		}
		c.by[resource(name)] = source
	}
	if len(c.by) == 0 {
		return nil, errors.New("azure: name a resource and its source")
	}
	return c, nil
}

type credential struct {
	only *cambio.TokenSource            // for all resources, or
	by   map[string]*cambio.TokenSource // by resource
}

// GetToken is the token of the resource that the scopes are of; it lives a minute yet,
// or half its life if that is less. RefreshOn is when the source renews. Claims, which a
// service asks for when it takes a token no more (continuous access evaluation), bring
// another token than the one that is held; what they say cannot be passed on, nor can
// TenantID: tenant and application are the target's.
func (c *credential) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	source, err := c.source(options.Scopes)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	token, err := source.AtLeast(ctx, sendLeft)
	if err == nil && options.Claims != "" {
		token, err = source.Renew(ctx, token.Value)
	}
	if err != nil {
		return azcore.AccessToken{}, err
	}
	if err := check(token, options.Scopes); err != nil {
		return azcore.AccessToken{}, err
	}
	return azcore.AccessToken{Token: token.Value.Reveal(), ExpiresOn: token.Expires, RefreshOn: token.Refresh}, nil
}

func (c *credential) source(scopes []string) (*cambio.TokenSource, error) {
	if len(scopes) == 0 {
		return nil, errors.New("azure: a token is asked for without a scope: give the client one, such as https://vault.azure.net/.default")
	}
	name := resource(scopes[0])
	for _, scope := range scopes[1:] {
		if resource(scope) != name {
			return nil, fmt.Errorf("azure: %q and %q are of two resources: a token is for one", scopes[0], scope)
		}
	}
	if c.only != nil {
		return c.only, nil
	}
	if source := c.by[name]; source != nil {
		return source, nil
	}
	return nil, fmt.Errorf("azure: there is no target for %q: add it to %q", name, slices.Sorted(maps.Keys(c.by)))
}

// check refuses what Azure would.
func check(token *cambio.Credential, scopes []string) error {
	if token.Type != "Bearer" || token.IssuedTokenType != cambio.TokenTypeAccessToken {
		return fmt.Errorf("azure: the target gives %q and no access token: name a target of provider azure", token.IssuedTokenType)
	}
	if len(token.Scopes) == 0 {
		return nil
	}
	granted := resource(token.Scopes[0])
	if asked := resource(scopes[0]); asked != granted {
		return fmt.Errorf("azure: the target gives tokens for %q, and the client asks for %q: name the target of that resource, or map resources to targets with NewCredentialFor", granted, asked)
	}
	return nil
}

// resource is that of a scope. Entra knows an audience with and without a slash at its
// end, and Azure's clients ask either way.
func resource(scope string) string {
	return strings.TrimRight(strings.TrimSuffix(scope, "/.default"), "/")
}
