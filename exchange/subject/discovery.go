package subject

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// discoveryPath follows the issuer (OpenID Connect Discovery 1.0 §4).
const discoveryPath = "/.well-known/openid-configuration"

// discover finds the address of an issuer's keys. The document must name the very
// issuer that was asked (§4.3), or one issuer could answer for another; its
// jwks_uri is the one URL that we follow without its standing in policy, and only
// from a document of an issuer that policy names.
func discover(ctx context.Context, f *fetcher, issuer string, authorize func(*http.Request) error) (string, error) {
	body, err := f.get(ctx, strings.TrimSuffix(issuer, "/")+discoveryPath, authorize)
	if err != nil {
		return "", fmt.Errorf("discovery: %w", err)
	}
	document, err := decodeObject(string(body))
	if err != nil {
		return "", fmt.Errorf("discovery: reading the document: %w", err)
	}
	if named, _ := document["issuer"].(string); named != issuer {
		return "", fmt.Errorf("discovery: the document is about the issuer %q", clip(named))
	}
	address, _ := document["jwks_uri"].(string)
	if address == "" {
		return "", errors.New("discovery: the document has no jwks_uri")
	}
	if err := checkURL(address); err != nil {
		return "", fmt.Errorf("discovery: jwks_uri: %w", err)
	}
	if strings.HasPrefix(issuer, "https://") && !strings.HasPrefix(strings.ToLower(address), "https://") {
		return "", errors.New("discovery: jwks_uri: it must begin with https://, like the issuer")
	}
	return address, nil
}

// clip bounds what a stranger's document puts into our log.
func clip(s string) string {
	if len(s) > 128 {
		return s[:128] + "…"
	}
	return s
}

// origin is what a bearer token may be sent to: scheme, host and port.
func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
