package caller

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/spiffe"
)

// maxFile bounds a secret and a CA file, in bytes.
const maxFile = 1 << 20

// Connect makes the client of a server. It asks nothing of the network. caFile is PEM
// with the CAs to trust in place of the system's; empty: those.
func Connect(url, caFile string, s Settings, c Client) (*cambio.Client, error) {
	identity, err := s.identity()
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 4
	transport.ResponseHeaderTimeout = 30 * time.Second
	if caFile != "" {
		pool, err := authorities(caFile)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	options := []cambio.Option{cambio.WithHTTPClient(&http.Client{Transport: transport})}
	if c.ID != "" {
		options = append(options, cambio.WithClientSecret(c.ID, secretOf(c.SecretFile)))
	}
	return cambio.New(url, identity, options...)
}

// identity is where the token comes from. What is not there yet is no fault: a token
// that is mounted later is found then.
func (s *Settings) identity() (cambio.Identity, error) {
	switch {
	case s.File != "":
		return cambio.File(s.File), nil
	case s.Environment != "":
		return cambio.Environment(s.Environment), nil
	case s.GitHubActions != "":
		return cambio.GitHubActions(s.GitHubActions), nil
	case s.SPIFFE != nil:
		return spiffe.New(s.SPIFFE.Audience, s.SPIFFE.Socket)
	case s.OIDC != nil:
		o := s.OIDC
		return cambio.ClientCredentials(cambio.OIDC{
			TokenURL: o.TokenURL, ClientID: o.ClientID, ClientSecret: secretOf(o.ClientSecretFile), Scopes: o.Scopes, Audience: o.Audience,
		})
	}
	if found, err := cambio.FromEnvironment(); err == nil {
		return found, nil
	}
	return cambio.File(cambio.DefaultTokenFile), nil
}

func authorities(path string) (*x509.CertPool, error) {
	pem, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(pem)) {
		return nil, fmt.Errorf("ca_file: there is no certificate in %s: it is PEM", path)
	}
	return pool, nil
}

// secretOf reads a secret each time it is asked for, so that it can be rotated.
func secretOf(path string) func() (cambio.Secret, error) {
	return func() (cambio.Secret, error) {
		text, err := readFile(path)
		if err != nil {
			return cambio.Secret{}, err
		}
		if text = strings.TrimRight(text, "\r\n"); text == "" {
			return cambio.Secret{}, fmt.Errorf("%s: there is no secret in it", path)
		}
		return cambio.NewSecret(text), nil
	}
}

func readFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", err
	}
	if len(text) > maxFile {
		return "", errors.New(path + ": it is too large")
	}
	return string(text), nil
}
