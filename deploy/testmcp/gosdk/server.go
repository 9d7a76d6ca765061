package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
)

// The scopes of the server: the first for everything, the second to call a tool.
const (
	scopeRead = "tools.read"
	scopeCall = "tools.call"
)

// serve is a server that takes the access tokens of one issuer for one resource, and
// verifies them by nothing but its published keys.
func serve(transport, resource, issuer string) error {
	at, err := url.Parse(resource)
	if err != nil {
		return err
	}
	server := newServer(nil)
	var handler http.Handler = mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)
	if transport == "sse" { // tells a tool nothing of the request, so each session has a server that knows who opened it
		handler = mcp.NewSSEHandler(func(r *http.Request) *mcp.Server { return newServer(auth.TokenInfoFromContext(r.Context())) }, nil)
	}
	v := &verifier{issuer: issuer, resource: resource}
	well := "/.well-known/oauth-protected-resource" + at.Path
	require := func(scopes ...string) func(http.Handler) http.Handler {
		return auth.RequireBearerToken(v.verify, &auth.RequireBearerTokenOptions{ResourceMetadataURL: at.Scheme + "://" + at.Host + well, Scopes: scopes})
	}
	read, call := require(scopeRead)(handler), require(scopeRead, scopeCall)(handler)
	mux := http.NewServeMux()
	mux.Handle(well, auth.ProtectedResourceMetadataHandler(&oauthex.ProtectedResourceMetadata{
		Resource: resource, AuthorizationServers: []string{issuer}, ScopesSupported: []string{scopeRead, scopeCall},
	}))
	mux.HandleFunc(at.Path, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, "too much", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if bytes.Contains(body, []byte(`"tools/call"`)) {
			call.ServeHTTP(w, r)
			return
		}
		read.ServeHTTP(w, r)
	})
	return (&http.Server{Addr: at.Host, Handler: mux, ReadHeaderTimeout: 10 * time.Second}).ListenAndServe()
}

// newServer has the one tool. opener is who opened the session; nil: each request says.
func newServer(opener *auth.TokenInfo) *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "cambio-test", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "whoami", Description: "Whom the server takes the caller for."},
		func(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			caller := opener
			if caller == nil {
				caller = r.Extra.TokenInfo
			}
			claims, err := json.Marshal(caller.Extra)
			if err != nil {
				return nil, nil, err
			}
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: string(claims)}}}, nil, nil
		})
	return server
}

// verifier verifies RFC 9068 access tokens of one issuer for one resource.
type verifier struct{ issuer, resource string }

func (v *verifier) verify(ctx context.Context, token string, _ *http.Request) (*auth.TokenInfo, error) {
	claims := jwt.MapClaims{}
	parsed, err := jwt.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) { return v.key(ctx, t) },
		jwt.WithIssuer(v.issuer), jwt.WithAudience(v.resource), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithValidMethods([]string{"ES256"}))
	if err != nil || parsed.Header["typ"] != "at+jwt" {
		return nil, fmt.Errorf("%w: %w", auth.ErrInvalidToken, errors.Join(err, errors.New("not for here")))
	}
	subject, _ := claims["sub"].(string)
	client, _ := claims["client_id"].(string)
	scope, _ := claims["scope"].(string)
	expires, err := claims.GetExpirationTime()
	if err != nil || subject == "" || client == "" {
		return nil, fmt.Errorf("%w: it lacks a claim", auth.ErrInvalidToken)
	}
	return &auth.TokenInfo{Scopes: strings.Fields(scope), Expiration: expires.Time, UserID: client + " " + v.issuer + " " + subject, Extra: claims}, nil
}

// key finds the key of a token in the issuer's key set.
func (v *verifier) key(ctx context.Context, t *jwt.Token) (any, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.issuer+"/oauth2/jwks", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var set struct {
		Keys []struct{ Kid, Kty, Crv, X, Y string }
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&set); err != nil {
		return nil, err
	}
	at := slices.IndexFunc(set.Keys, func(k struct{ Kid, Kty, Crv, X, Y string }) bool {
		return k.Kid == t.Header["kid"] && k.Kty == "EC" && k.Crv == "P-256"
	})
	if at < 0 {
		return nil, errors.New("no such key")
	}
	x, err := base64.RawURLEncoding.DecodeString(set.Keys[at].X)
	if err != nil {
		return nil, err
	}
	y, err := base64.RawURLEncoding.DecodeString(set.Keys[at].Y)
	if err != nil {
		return nil, err
	}
	return &ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int).SetBytes(x), Y: new(big.Int).SetBytes(y)}, nil
}
