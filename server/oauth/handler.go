package oauth

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/server"
)

// Exchanger performs exchanges. An error is an *exchange.Error.
type Exchanger interface {
	Exchange(ctx context.Context, r exchange.Request) (exchange.Receipt, error)
}

// Keys are the public documents of our two issuers, as JSON.
type Keys interface {
	AccessJWKS() []byte          // RFC 7517 §5, of <issuer>
	FederationJWKS() []byte      // of <issuer>/federation
	FederationDiscovery() []byte // OpenID Connect Discovery 1.0 §3, of <issuer>/federation
}

// The defaults of Options.
const (
	DefaultMaxBytes = 64 << 10
	readTimeout     = 10 * time.Second
	writeTimeout    = 10 * time.Second
)

// Options are what the door needs.
type Options struct {
	Issuer    string // absolute URL without trailing slash; `issuer` of the metadata, to the letter
	Exchanger Exchanger
	Clients   server.Clients // nil: no client is registered
	Keys      Keys
	Logger    *slog.Logger // nil: slog.Default
	Now       func() time.Time
	MaxBytes  int64 // of a request's body; zero: DefaultMaxBytes
	// Timeout is what one exchange has for its steps, as the exchanger itself keeps
	// it: connections are held open long enough for it. Zero:
	// exchange.DefaultTimeout.
	Timeout time.Duration
	// Own makes the endpoints about tokens of ours; nil: they are not there.
	Own *OwnTokens
	// Refused counts what this door refused by itself: no exchange was begun, so
	// nobody else sees it (S32). nil: nobody counts.
	Refused func(exchange.Kind)
}

// The paths below the issuer's own.
const (
	tokenPath      = "/oauth2/token"
	introspectPath = "/oauth2/introspect"
	revokePath     = "/oauth2/revoke"
	authorizePath  = "/oauth2/authorize"
	jwksPath       = "/oauth2/jwks"
	federationPath = "/federation"
	metadataPath   = "/.well-known/oauth-authorization-server"
	discoveryPath  = "/.well-known/openid-configuration"
)

// Handler is the door.
type Handler struct {
	Options
	provider fosite.OAuth2Provider
	routes   map[string]http.HandlerFunc
}

// New builds the door. It answers exactly the paths that Paths lists.
func New(o Options) *Handler {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.Timeout == 0 {
		o.Timeout = exchange.DefaultTimeout
	}
	if o.Refused == nil {
		o.Refused = func(exchange.Kind) {}
	}
	o.Issuer = strings.TrimSuffix(o.Issuer, "/")
	h := &Handler{Options: o, provider: newProvider(o)}
	base := ""
	if u, err := url.Parse(o.Issuer); err == nil {
		base = u.Path
	}
	h.routes = map[string]http.HandlerFunc{
		base + tokenPath:     h.token,
		base + authorizePath: h.authorize,
		base + jwksPath:      h.document(mediaJWKS, o.Keys.AccessJWKS),
		// RFC 8414 §3.1 puts the well-known part before the issuer's path, OpenID
		// Connect Discovery 1.0 §4 behind it, and clients try all three (RFC 8414 §5).
		metadataPath + base:                   h.document(mediaJSON, h.metadata),
		discoveryPath + base:                  h.document(mediaJSON, h.metadata),
		base + discoveryPath:                  h.document(mediaJSON, h.metadata),
		base + federationPath + discoveryPath: h.document(mediaJSON, o.Keys.FederationDiscovery),
		base + federationPath + "/jwks":       h.document(mediaJWKS, o.Keys.FederationJWKS),
	}
	if o.Own != nil {
		h.routes[base+introspectPath], h.routes[base+revokePath] = h.introspect, h.revoke
	}
	return h
}

// Paths lists the paths of the door, sorted, for whoever mounts it.
func (h *Handler) Paths() []string {
	paths := make([]string, 0, len(h.routes))
	for p := range h.routes {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths
}

// whole bounds a request from its first byte to the last of its answer.
func (h *Handler) whole() time.Duration {
	return readTimeout + server.ExchangeTime(h.Timeout) + writeTimeout
}

// ServeHTTP finds the endpoint by the exact path.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if endpoint, ok := h.routes[r.URL.Path]; ok {
		endpoint(w, r)
		return
	}
	h.refuse(w, r, exchange.Fault(exchange.KindNotFound, "there is nothing at this path", nil))
}
