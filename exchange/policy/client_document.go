package policy

import (
	"net/url"
	"slices"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
)

// maxClientURL bounds a client's name that is a URL, in bytes: it travels in tokens.
const maxClientURL = 256

// clientURLFile is a client that its own metadata document describes.
type clientURLFile struct {
	Algorithms []string `yaml:"algorithms,omitempty" jsonschema:"description=JOSE algorithms; default RS256 ES256 PS256 EdDSA."`
	CAFile     string   `yaml:"ca_file,omitempty" jsonschema:"description=PEM roots for the TLS of the document and its keys; default: the system's."`
}

func isClientURL(name string) bool { return strings.HasPrefix(name, "https://") }

// checkClientName holds a client_id to a plain name, or to the URL of a client-id
// metadata document (draft-ietf-oauth-client-id-metadata-document §3), in one
// spelling: clients are compared to the byte.
func (c *compiler) checkClientName(n named) {
	if !isClientURL(n.key) {
		if !validName(n.key, secretNameBytes) {
			n.fault(n.at, "a client's name, its client_id, has 1 to 64 of A-Z a-z 0-9 . _ -, or is the https URL of its metadata document")
		}
		return
	}
	u, err := url.Parse(n.key)
	switch {
	case len(n.key) > maxClientURL:
		n.fault(n.at, "a client's URL has at most %d bytes", maxClientURL)
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(n.key, "#"):
		n.fault(n.at, "a client's URL has a host and a path, and no user, query or fragment")
	case u.Path == "" || u.Path == "/" || slices.ContainsFunc(strings.Split(u.Path, "/"), func(part string) bool { return part == "." || part == ".." }):
		n.fault(n.at, "a client's URL has a path, without . and .., such as https://app.example/client.json")
	case u.String() != n.key || strings.ToLower(u.Host) != u.Host || strings.ContainsAny(n.key, "*?"):
		n.fault(n.at, "a client's URL is written in one way: the host in lower case, and escaped as a URI is")
	}
}

// clientDocument is where the keys of a client come from whose name is a URL.
func (c *compiler) clientDocument(n named, f clientURLFile) (exchange.KeySource, []string) {
	if !isClientURL(n.key) {
		n.fault(find(n.value, "metadata"), "only a client whose name is the https URL of its metadata document has one")
	}
	for _, a := range f.Algorithms {
		if !slices.Contains(assertionAlgorithms, a) {
			n.fault(find(n.value, "metadata", "algorithms"), "unknown algorithm %q: %s", a, didYouMean(a, assertionAlgorithms))
		}
	}
	return exchange.KeySource{Document: n.key, CAFile: c.path(f.CAFile)}, f.Algorithms
}
