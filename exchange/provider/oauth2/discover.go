package oauth2

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// maxServers bounds how many servers a resource may name.
const maxServers = 16

// resourceMetadata is what is read of RFC 9728 §2.
type resourceMetadata struct {
	Resource string   `json:"resource"`
	Servers  []string `json:"authorization_servers"`
}

// serverMetadata is what is read of RFC 8414 §2 and RFC 8705 §5.
type serverMetadata struct {
	Issuer     string `json:"issuer"`
	Token      string `json:"token_endpoint"`
	Revocation string `json:"revocation_endpoint"`
	MTLS       struct {
		Token      string `json:"token_endpoint"`
		Revocation string `json:"revocation_endpoint"`
	} `json:"mtls_endpoint_aliases"`
}

// endpoints are where a server is asked.
type endpoints struct {
	issuer     string // empty: unknown
	token      string
	revocation string // empty: it offers none, or nobody said
}

// Load finds the servers by their metadata.
func (d *driver) Load(ctx context.Context) error {
	if err := d.server.load(ctx, d.settings.Resource); err != nil {
		return fmt.Errorf("finding the authorization server: %w", err)
	}
	if d.idp != nil {
		if err := d.idp.load(ctx, ""); err != nil {
			return fmt.Errorf("finding the identity provider: %w", err)
		}
	}
	return nil
}

// load finds the party's endpoints. What was found before stays where that fails.
func (p *party) load(ctx context.Context, resource string) error {
	if p.settings.TokenURL != "" {
		return nil
	}
	found, err := p.discover(ctx, resource)
	if err != nil {
		p.failed.Store(&err)
		return err
	}
	p.found.Store(found)
	return nil
}

func (p *party) discover(ctx context.Context, resource string) (*endpoints, error) {
	issuer := p.settings.Issuer
	if issuer == "" {
		var err error
		if issuer, err = p.serverOf(ctx, resource); err != nil {
			return nil, err
		}
	}
	var m serverMetadata
	if err := p.read(ctx, serverDocuments(issuer), &m); err != nil {
		return nil, fmt.Errorf("the metadata of %s: %w", issuer, err)
	}
	if m.Issuer != issuer { // RFC 8414 §3.3
		return nil, fmt.Errorf("the metadata of %s says that it is another issuer's", issuer)
	}
	e := &endpoints{issuer: issuer, token: m.Token, revocation: m.Revocation}
	if p.settings.auth() == AuthTLS {
		if m.MTLS.Token != "" {
			e.token = m.MTLS.Token
		}
		if m.MTLS.Revocation != "" {
			e.revocation = m.MTLS.Revocation
		}
	}
	if err := checkFound(issuer, e.token); err != nil {
		return nil, fmt.Errorf("the metadata of %s: token_endpoint: %w", issuer, err)
	}
	if e.revocation != "" {
		if err := checkFound(issuer, e.revocation); err != nil {
			return nil, fmt.Errorf("the metadata of %s: revocation_endpoint: %w", issuer, err)
		}
	}
	return e, nil
}

// serverOf is the server that a resource names.
func (p *party) serverOf(ctx context.Context, resource string) (string, error) {
	var m resourceMetadata
	if err := p.read(ctx, resourceDocuments(resource), &m); err != nil {
		return "", fmt.Errorf("the metadata of %s: %w", resource, err)
	}
	switch {
	case m.Resource != resource: // RFC 9728 §3.3
		return "", fmt.Errorf("the metadata of %s says that it is another resource's", resource)
	case len(m.Servers) == 0 || len(m.Servers) > maxServers:
		return "", fmt.Errorf("the metadata of %s names %d authorization servers", resource, len(m.Servers))
	case len(m.Servers) > 1:
		return "", fmt.Errorf("the metadata of %s names several authorization servers: the target must say issuer", resource)
	}
	if err := checkIssuer(m.Servers[0]); err != nil {
		return "", fmt.Errorf("the metadata of %s: authorization_servers: %w", resource, err)
	}
	return m.Servers[0], checkFound(resource, m.Servers[0])
}

// read takes the first document that is there.
func (p *party) read(ctx context.Context, documents []string, into any) error {
	for _, address := range documents {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return fmt.Errorf("making a request: %w", err)
		}
		a, err := provider.Ask(p.client, r, p.now)
		switch {
		case err != nil:
			return err
		case a.Status == http.StatusNotFound:
			continue
		case a.Status != http.StatusOK:
			return fmt.Errorf("the answer has status %d", a.Status)
		}
		return a.Decode(into)
	}
	return errors.New("there is none")
}

// resourceDocuments are where RFC 9728 §3.1 has a resource's metadata: the well-known
// path before its own, and then the host's.
func resourceDocuments(resource string) []string {
	const known = "/.well-known/oauth-protected-resource"
	base, path, query := split(resource)
	if path == "" {
		return []string{base + known + query}
	}
	return []string{base + known + path + query, base + known}
}

// serverDocuments are where a server's metadata is: by RFC 8414 §3.1, and where OpenID
// Connect has it, which RFC 8414 §5 lets stand.
func serverDocuments(issuer string) []string {
	base, path, _ := split(issuer)
	documents := []string{base + "/.well-known/oauth-authorization-server" + path, base + "/.well-known/openid-configuration" + path}
	if path != "" {
		documents = append(documents, base+path+"/.well-known/openid-configuration")
	}
	return documents
}

// split cuts a checked URL. A slash at the end of the path goes (RFC 8414 §3.1).
func split(address string) (base, path, query string) {
	rest := strings.TrimPrefix(address, "https://")
	if i := strings.IndexByte(rest, '?'); i >= 0 {
		rest, query = rest[:i], rest[i:]
	}
	host, path, _ := strings.Cut(rest, "/")
	if path = strings.TrimRight(path, "/"); path != "" {
		path = "/" + path
	}
	return "https://" + host, path, query
}

// checkFound holds what a document names to https, and keeps a document from afar from
// naming this machine (S24); the client looks at the addresses besides.
func checkFound(by, address string) error {
	if err := checkURL(address, false); err != nil {
		return err
	}
	if exchange.LoopbackHost(hostname(address)) && !exchange.LoopbackHost(hostname(by)) {
		return fmt.Errorf("%q is on this machine", address)
	}
	return nil
}

// hostname of a checked URL.
func hostname(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
