package cambio

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
)

// maxAuthorities bounds a file of certificates, in bytes.
const maxAuthorities = 1 << 20

// WithCAFile trusts the certificates of a PEM file in the system's place, for a server
// with a private CA. It is read once, by New. Without it New reads the file that
// CAMBIO_CA_FILE names, unless WithHTTPClient is given.
func WithCAFile(path string) Option {
	return func(c *Client) { c.caFile = path }
}

// trusting is a client that believes the certificates of a file.
func trusting(path string) (*http.Client, error) {
	pem, err := readFile(path, maxAuthorities)
	if err != nil {
		return nil, fmt.Errorf("cambio: CA file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(pem)) {
		return nil, fmt.Errorf("cambio: CA file: there is no certificate in %s: it is PEM", path)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return &http.Client{Transport: transport}, nil
}
