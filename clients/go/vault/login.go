package vault

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"github.com/hashicorp/vault/api"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// NewLogin logs in to the `jwt` auth method at a mount ("jwt" if empty) as a role, with
// the JWT that a target hands out: one of provider mcp whose resource is the role's
// `bound_audiences`. It is for Client.Auth().Login, and for what takes an AuthMethod.
func NewLogin(source *cambio.TokenSource, mount, role string) (api.AuthMethod, error) {
	mount = strings.Trim(mount, "/")
	if mount == "" {
		mount = "jwt"
	}
	u := url.URL{Path: "auth/" + mount + "/login"}
	if u.EscapedPath() != u.Path || strings.Contains("/"+mount+"/", "/../") {
		return nil, fmt.Errorf("vault: %q is no mount of an auth method", mount)
	}
	return &login{source: source, path: u.Path, role: role}, nil
}

type login struct {
	source     *cambio.TokenSource
	path, role string
}

// Login gives what Vault answers; its Auth holds the token.
func (l *login) Login(ctx context.Context, client *api.Client) (*api.Secret, error) {
	client, err := strict(client)
	if err != nil {
		return nil, err
	}
	credential, err := l.source.AtLeast(ctx, sendLeft)
	if err != nil {
		return nil, err
	}
	if credential.Type != "Bearer" {
		return nil, fmt.Errorf("vault: the target gives %q and no JWT to log in with: name a target of provider mcp", credential.IssuedTokenType)
	}
	data := map[string]any{"jwt": credential.Value.Reveal()}
	if l.role != "" {
		data["role"] = l.role
	}
	return client.Logical().WriteWithContext(ctx, l.path, data)
}

// strict is a client of the same Vault without a token, which follows no redirect: what
// it sends is a secret itself.
func strict(client *api.Client) (*api.Client, error) {
	if err := safe(client.Address()); err != nil {
		return nil, err
	}
	config := client.CloneConfig()
	config.DisableRedirects = true
	own, err := api.NewClient(config)
	if err != nil {
		return nil, err
	}
	own.SetHeaders(client.Headers())
	own.ClearToken()
	return own, nil
}
