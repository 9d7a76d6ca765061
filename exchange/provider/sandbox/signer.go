package sandbox

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"

	"github.com/go-jose/go-jose/v4"
)

// Signer is an issuer's RS256 key: a stand-in's own, or that of a cluster it knows.
type Signer struct {
	jose.Signer
	Public jose.JSONWebKey // its `kid` is the thumbprint (RFC 7638)
}

// NewSigner makes a key of so many bits; less than 2048 are for tests that make very
// many signatures.
func NewSigner(bits int) (*Signer, error) {
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, err
	}
	jwk := jose.JSONWebKey{Key: private, Algorithm: "RS256", Use: "sig"}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	jwk.KeyID = base64.RawURLEncoding.EncodeToString(sum)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jwk}, (&jose.SignerOptions{}).WithType("JWT"))
	return &Signer{Signer: signer, Public: jwk.Public()}, err
}
