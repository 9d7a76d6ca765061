package mcp

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// maxResource bounds the resource URI in bytes: it travels in every token.
const maxResource = 2048

// Settings are a target's settings under the key `mcp`.
type Settings struct {
	// Resource is the URI of the server as its metadata says it (RFC 9728 §2),
	// kept to the byte: it becomes `aud`, and callers select the target by it.
	Resource string `yaml:"resource" json:"resource" jsonschema:"required,description=URI of the MCP server; becomes the token's audience to the byte (RFC 8707 §2)"`
	// Scopes is everything the server offers. Without any, tokens carry no scope.
	Scopes []string `yaml:"scopes,omitempty" json:"scopes,omitempty" jsonschema:"description=every scope the server offers (RFC 6749 §3.3)"`
	// IDJAG says that the resource is behind another authorization server; nil: it
	// takes tokens of ours.
	IDJAG *IDJAGSettings `yaml:"id_jag,omitempty" json:"id_jag,omitempty" jsonschema:"description=The server takes tokens of another authorization server: give identity assertion grants (ID-JAG) for that one instead of access tokens"`
}

// Kind registers the provider.
func Kind() provider.Kind {
	return provider.Kind{Name: "mcp", New: func() provider.Config { return new(Settings) }}
}

// Open makes the driver.
func (s *Settings) Open(d provider.Deps) (provider.Driver, error) {
	if s.IDJAG != nil {
		if d.Granter == nil {
			return nil, errors.New("an mcp target with id_jag needs this issuer's grants, and there is no issuer")
		}
		return &granter{settings: *s, granter: d.Granter, now: d.Now, random: d.Random}, nil
	}
	if d.Minter == nil {
		return nil, errors.New("an mcp target needs this issuer's access tokens, and there is no issuer")
	}
	return &driver{settings: *s, minter: d.Minter, now: d.Now, random: d.Random}, nil
}

// Facts says what the core must know.
func (s *Settings) Facts() exchange.Facts {
	if s.IDJAG != nil {
		return exchange.Facts{
			Resource: s.Resource, Authority: s.IDJAG.Audience, Scopes: s.Scopes, MaxTTL: exchange.MaxIDJAGLifetime,
			Types: []exchange.TokenType{exchange.TokenTypeIDJAG},
		}
	}
	return exchange.Facts{
		Resource: s.Resource, Scopes: s.Scopes, Own: true, MaxTTL: exchange.MaxAccessTokenLifetime,
		Types: []exchange.TokenType{exchange.TokenTypeAccessToken},
	}
}

// Validate returns every fault.
func (s *Settings) Validate() []error {
	var faults []error
	if err := checkResource(s.Resource); err != nil {
		faults = append(faults, fmt.Errorf("resource: %w", err))
	}
	seen := make(map[string]bool, len(s.Scopes))
	for i, scope := range s.Scopes {
		switch {
		case !exchange.ValidScope(scope):
			faults = append(faults, fmt.Errorf("scopes[%d]: %q is not one scope: printable ASCII without space, quote and backslash", i, scope))
		case seen[scope]:
			faults = append(faults, fmt.Errorf("scopes[%d]: %q is listed twice", i, scope))
		}
		seen[scope] = true
	}
	if s.IDJAG != nil {
		faults = append(faults, s.IDJAG.validate(s.Resource)...)
	}
	return faults
}

// checkResource holds the URI to RFC 8707 §2 (absolute, no fragment), to https,
// and to one spelling, so that a comparison of bytes is a comparison of resources.
func checkResource(resource string) error {
	if resource == "" {
		return errors.New("name the URI of the MCP server, such as https://mcp.example/github")
	}
	if len(resource) > maxResource {
		return fmt.Errorf("at most %d bytes", maxResource)
	}
	u, err := url.Parse(resource)
	switch {
	case err != nil:
		return fmt.Errorf("%q is not a URI", resource)
	case !u.IsAbs() || u.Host == "" || u.Opaque != "":
		return fmt.Errorf("%q is not an absolute URI with a host", resource)
	case u.Fragment != "" || strings.Contains(resource, "#"):
		return fmt.Errorf("%q has a fragment: leave it out (RFC 8707 §2)", resource)
	case u.User != nil:
		return errors.New("a URI with a user name or password: leave them out")
	case u.Scheme != "https" && !(u.Scheme == "http" && exchange.LoopbackHost(u.Hostname())):
		return fmt.Errorf("%q must be https; plain http is for loopback hosts only", resource)
	case u.String() != resource || strings.ToLower(u.Host) != u.Host:
		return fmt.Errorf("%q is not in canonical form: write scheme and host in lower case, and escape what a URI escapes", resource)
	}
	return nil
}
