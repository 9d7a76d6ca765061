// Package mcp gives access tokens of a Cambio server to clients of MCP servers, by
// modelcontextprotocol/go-sdk.
//
//	source := client.TokenSource(cambio.Request{Resource: "https://mcp.example/github"})
//	transport, err := cambiomcp.NewTransport("https://mcp.example/github", source)
//
// The older transport has no handler, and takes a client:
//
//	transport := &mcp.SSEClientTransport{Endpoint: "https://mcp.example/sse", HTTPClient: cambiomcp.HTTPClient(source)}
//
// The token is there before the first request: no server has to refuse first.
package mcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/origin"
)

// sendLeft is how long a token lives at least when it is sent.
const sendLeft = time.Minute

// HTTPClient sends the source's token with each request, and asks once more where it is
// refused; see cambio.TokenSource.Transport. It has no timeout, for streams are long.
func HTTPClient(source *cambio.TokenSource) *http.Client {
	return &http.Client{Transport: source.Transport(nil)}
}

// NewTransport is a transport to a server, which sends it the source's token; see
// NewHandler. The endpoint is https, save on this machine. No redirect is followed.
func NewTransport(endpoint string, source *cambio.TokenSource) (*mcp.StreamableClientTransport, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, errors.New("mcp: the endpoint is no URL of a server: write https://host/path")
	}
	if !origin.Safe(u) {
		return nil, errPlain
	}
	return &mcp.StreamableClientTransport{
		Endpoint: endpoint, OAuthHandler: NewHandler(source),
		HTTPClient: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

var errPlain = errors.New("mcp: tokens go over https, or to this machine: use an https endpoint")

// NewHandler gives the tokens of a source to a StreamableClientTransport. What is refused
// is replaced once, for any number of refusals of the same token; a replacement that is
// refused too is an error, and so is a token that lacks a scope, for another one of the
// same request lacks it as well. See to it that the endpoint is https: the SDK does not
// say where it sends a token. NewTransport sees to it.
func NewHandler(source *cambio.TokenSource) auth.OAuthHandler { return &handler{source} }

type handler struct{ source *cambio.TokenSource }

// TokenSource asks the source for each request, in the context of the connection.
func (h *handler) TokenSource(ctx context.Context) (oauth2.TokenSource, error) {
	return tokenSource{ctx: ctx, source: h.source}, nil
}

type tokenSource struct {
	ctx    context.Context // oauth2.TokenSource takes none
	source *cambio.TokenSource
}

func (t tokenSource) Token() (*oauth2.Token, error) {
	credential, err := t.source.AtLeast(t.ctx, sendLeft)
	if err != nil {
		return nil, err
	}
	if credential.Type != "Bearer" {
		return nil, fmt.Errorf("mcp: the target gives %q and no bearer token: name a target of provider mcp or oauth2", credential.IssuedTokenType)
	}
	return &oauth2.Token{AccessToken: credential.Value.Reveal(), TokenType: credential.Type, Expiry: credential.Expires}, nil
}

// Authorize is called for answers 401 and 403. Nothing of the answer is followed: which
// server gives the tokens is settled, whatever a challenge says.
func (h *handler) Authorize(ctx context.Context, req *http.Request, resp *http.Response) error {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection serves again
	_ = resp.Body.Close()
	if !origin.Safe(req.URL) {
		return errPlain
	}
	if resp.StatusCode == http.StatusForbidden {
		return forbidden(resp)
	}
	token, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return errors.New("mcp: the request had no token: the transport has a client that takes it off")
	}
	rejected := cambio.NewSecret(token)
	renewed, err := h.source.Renew(ctx, rejected)
	if err != nil {
		return err
	}
	if renewed.Value.Equal(rejected) {
		return fmt.Errorf("mcp: %s refuses a token that was just renewed: see that the target's resource is the server's, and that the server trusts this issuer", req.URL.Host)
	}
	return nil
}

// forbidden says which scopes are missing, if the server does (RFC 6750 §3.1).
func forbidden(resp *http.Response) error {
	challenges, err := oauthex.ParseWWWAuthenticate(resp.Header.Values("WWW-Authenticate"))
	if err == nil {
		for _, c := range challenges {
			if scope := c.Params["scope"]; scope != "" {
				return fmt.Errorf("mcp: the server wants the scopes %.256q: name them in the request, and see that a rule gives them", scope)
			}
		}
	}
	return errors.New("mcp: the server knows the token and refuses the request (403): see what its scopes allow")
}
