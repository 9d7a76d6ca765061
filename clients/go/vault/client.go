package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/vault/api"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/again"
	"github.com/cambio-sts/cambio/clients/go/internal/origin"
)

const (
	// sendLeft is how long a token lives at least when it is sent.
	sendLeft = time.Minute
	// maxRefusal bounds what is read of a refusal, in bytes.
	maxRefusal = 64 << 10

	tokenHeader = "X-Vault-Token"
)

// NewClient makes a client whose token is the field that a target hands out
// (TokenTypeSecret), always the current one: it is put on each request to the address of
// the configuration, and to no other, unless the request has one already. Where Vault says that the token is invalid, it is
// renewed and the request sent once more. config nil: that of the environment (VAULT_ADDR
// and so on, but no VAULT_TOKEN); the client keeps it. The address is https, save on this
// machine.
func NewClient(config *api.Config, source *cambio.TokenSource) (*api.Client, error) {
	if config == nil {
		if config = api.DefaultConfig(); config.Error != nil {
			return nil, fmt.Errorf("vault: the environment: %w", config.Error)
		}
	}
	client, err := api.NewClient(config)
	if err != nil {
		return nil, err
	}
	if err := safe(client.Address()); err != nil {
		return nil, err
	}
	address, err := url.Parse(client.Address())
	if err != nil {
		return nil, err
	}
	client.ClearToken()
	own := *config.HttpClient
	base := own.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	own.Transport = &transport{source: source, base: base, host: address.Host, scheme: address.Scheme}
	config.HttpClient = &own
	check := config.CheckRetry
	if check == nil {
		check = api.DefaultRetryPolicy
	}
	config.CheckRetry = func(ctx context.Context, resp *http.Response, err error) (bool, error) {
		var refused *cambio.Error
		if errors.As(err, &refused) {
			return false, err // the source knows when it may ask again
		}
		return check(ctx, resp, err)
	}
	return client, nil
}

type transport struct {
	source       *cambio.TokenSource
	base         http.RoundTripper
	scheme, host string
}

// RoundTrip sends the request with the token; it does not change req.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != t.scheme || req.URL.Host != t.host || req.Header.Get(tokenHeader) != "" {
		return t.base.RoundTrip(req)
	}
	credential, err := t.source.AtLeast(req.Context(), sendLeft)
	if err == nil && credential.IssuedTokenType != cambio.TokenTypeSecret {
		err = fmt.Errorf("vault: the target gives %q and no token: name a target of provider vault with a `field` that holds one", credential.IssuedTokenType)
	}
	if err != nil {
		again.Close(req.Body)
		return nil, err
	}
	return again.Trip(t, req, credential)
}

// Refused is a 403 that is for the token.
func (t *transport) Refused(resp *http.Response) bool {
	return resp.StatusCode == http.StatusForbidden && invalid(resp)
}

// Renew renews the token that was refused.
func (t *transport) Renew(req *http.Request, refused *cambio.Credential) (*cambio.Credential, bool) {
	renewed, err := t.source.Renew(req.Context(), refused.Value)
	return renewed, err == nil && !renewed.Value.Equal(refused.Value)
}

// Send sends a copy of the request with the token.
func (t *transport) Send(req *http.Request, body io.ReadCloser, credential *cambio.Credential) (*http.Response, error) {
	sent := req.Clone(req.Context())
	sent.Body = body
	sent.Header.Set(tokenHeader, credential.Value.Reveal())
	return t.base.RoundTrip(sent)
}

// invalid reports whether a 403 is for the token, and not for what it may do. Vault says
// so in its list of errors. The body can be read again.
func invalid(resp *http.Response) bool {
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	rest := resp.Body
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(text), rest), rest}
	return err == nil && (bytes.Contains(text, []byte("invalid token")) || bytes.Contains(text, []byte("bad token")))
}

// safe refuses addresses that no token may be sent to.
func safe(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("vault: the address is no URL: write https://host:8200")
	}
	if origin.Safe(u) { // the SDK writes the socket of an agent as http://localhost
		return nil
	}
	return errors.New("vault: tokens go over https, or to this machine: use an https address")
}
