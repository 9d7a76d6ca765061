package issuer

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// compactSigner signs with one key under one header. The header is the same for every
// token, and go-jose, which made it, would encode it anew for each: that is a fifth of
// what a token costs.
type compactSigner struct {
	private   crypto.Signer
	algorithm string
	header    string // base64url, with the dot behind it
}

// newCompactSigner takes the header from a token that go-jose signs with the same key.
func newCompactSigner(signer jose.Signer, private crypto.Signer, algorithm string) (*compactSigner, error) {
	signed, err := signer.Sign([]byte("{}"))
	if err != nil {
		return nil, fmt.Errorf("its algorithm does not fit its key: %w", err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		return nil, fmt.Errorf("it signs nothing that can be sent: %w", err)
	}
	header, _, _ := strings.Cut(compact, ".")
	return &compactSigner{private: private, algorithm: algorithm, header: header + "."}, nil
}

// sign returns the compact serialization (RFC 7515 §7.1).
func (s *compactSigner) sign(payload []byte) (string, error) {
	text := make([]byte, 0, len(s.header)+base64.RawURLEncoding.EncodedLen(len(payload))+1+base64.RawURLEncoding.EncodedLen(512))
	text = append(text, s.header...)
	text = base64.RawURLEncoding.AppendEncode(text, payload)
	signature, err := s.signature(text)
	if err != nil {
		return "", err
	}
	text = append(text, '.')
	return string(base64.RawURLEncoding.AppendEncode(text, signature)), nil
}

// signature is as in RFC 7518 §3.3 and §3.4, and RFC 8037 §3.1.
func (s *compactSigner) signature(text []byte) ([]byte, error) {
	switch s.algorithm {
	case "EdDSA":
		return s.private.Sign(nil, text, crypto.Hash(0))
	case "RS256":
		digest := sha256.Sum256(text)
		return s.private.Sign(rand.Reader, digest[:], crypto.SHA256)
	case "ES256":
		private, ok := s.private.(*ecdsa.PrivateKey)
		if !ok {
			return nil, errors.New("the key is on no curve")
		}
		digest := sha256.Sum256(text)
		r, v, err := ecdsa.Sign(rand.Reader, private, digest[:])
		if err != nil {
			return nil, err
		}
		signature := make([]byte, 64)
		r.FillBytes(signature[:32])
		v.FillBytes(signature[32:])
		return signature, nil
	}
	return nil, fmt.Errorf("no signature is made by %q", s.algorithm)
}
