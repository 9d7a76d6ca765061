package oauth2

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
)

// maxFile bounds a key's or a certificate's file, in bytes.
const maxFile = 64 << 10

// readFile reads a file anew: whoever rotates keys replaces it.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("it has over %d bytes", maxFile)
	}
	return text, nil
}

// signedByFile is an assertion that the client signs for itself (RFC 7523 §3).
func signedByFile(s *Server, audience string, now time.Time, random io.Reader) (exchange.Secret, error) {
	text, err := readFile(s.KeyFile)
	if err != nil {
		return exchange.Secret{}, err
	}
	key, algorithm, err := parseKey(text)
	if err != nil {
		return exchange.Secret{}, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: jose.JSONWebKey{Key: key, KeyID: s.KeyID}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return exchange.Secret{}, errors.New("it holds a key that cannot sign")
	}
	id, err := exchange.NewID(now, random)
	if err != nil {
		return exchange.Secret{}, err
	}
	claims, err := json.Marshal(map[string]any{
		"iss": s.ClientID, "sub": s.ClientID, "aud": audience, "jti": id.String(),
		"iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return exchange.Secret{}, err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return exchange.Secret{}, errors.New("its key does not sign")
	}
	compact, err := signed.CompactSerialize()
	return exchange.NewSecret(compact), err
}

// parseKey reads the first private key of a PEM file. No error tells what is in it.
func parseKey(text []byte) (crypto.Signer, jose.SignatureAlgorithm, error) {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return nil, "", errors.New("it holds no private key in PEM")
		}
		text = rest
		var key any
		var err error
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			continue
		}
		if err != nil {
			return nil, "", errors.New("it holds a private key that does not parse")
		}
		return algorithmOf(key)
	}
}

func algorithmOf(key any) (crypto.Signer, jose.SignatureAlgorithm, error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if k.N.BitLen() < 2048 {
			return nil, "", errors.New("its RSA key has under 2048 bits")
		}
		return k, jose.RS256, nil
	case *ecdsa.PrivateKey:
		switch k.Curve.Params().BitSize {
		case 256:
			return k, jose.ES256, nil
		case 384:
			return k, jose.ES384, nil
		case 521:
			return k, jose.ES512, nil
		}
	case ed25519.PrivateKey:
		return k, jose.EdDSA, nil
	}
	return nil, "", errors.New("it holds a key of a kind that nobody takes: RSA, P-256, P-384, P-521 or Ed25519 is wanted")
}

// certificate is a client's, in files that may be replaced at any time.
type certificate struct {
	certFile, keyFile string

	mu   sync.Mutex
	seen [2]stamp
}

// stamp tells one version of a file from the next.
type stamp struct {
	changed time.Time
	size    int64
}

// load reads both files.
func (c *certificate) load() (*tls.Certificate, error) {
	cert, err := readFile(c.certFile)
	if err != nil {
		return nil, fmt.Errorf("cert_file: %w", err)
	}
	key, err := readFile(c.keyFile)
	if err != nil {
		return nil, fmt.Errorf("key_file: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, errors.New("cert_file and key_file hold no certificate with its key")
	}
	return &pair, nil
}

// changed reports whether a file was replaced since it was asked last.
func (c *certificate) changed() bool {
	var now [2]stamp
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			now[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.seen
	c.seen = now
	return before != now
}
