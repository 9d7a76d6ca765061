package oauth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"strings"
)

// The bounds of a public key. The greatest that passes, RSA of 8192 bits, is 1.1
// kB of DER.
const (
	maxKeyText = 4096
	minRSABits = 2048
	maxRSABits = 8192
)

// parsePublicKey reads public_key: a SubjectPublicKeyInfo (RFC 5280 §4.1) in DER,
// in base64 of either alphabet. It returns the DER.
//
// A private key is told apart and named, since whoever sends one must know that
// it is burnt.
func parsePublicKey(text string) ([]byte, error) {
	if strings.Contains(text, "PRIVATE KEY") {
		return nil, errPrivateKey
	}
	if len(text) > maxKeyText {
		return nil, invalid("public_key is too long: 4096 bytes of base64 at most")
	}
	der, err := decodeBase64(text)
	if err != nil {
		return nil, invalid("public_key is base64 of a SubjectPublicKeyInfo in DER, without PEM lines; in a form, + is written %2B")
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		if isPrivateKey(der) {
			return nil, errPrivateKey
		}
		return nil, invalid("public_key is not a SubjectPublicKeyInfo in DER: openssl pkey -pubout -outform DER makes one")
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSABits || n > maxRSABits {
			return nil, invalid("public_key: an RSA key has 2048 to 8192 bits")
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return nil, invalid("public_key must be an RSA, ECDSA or Ed25519 key")
	}
	return der, nil
}

var errPrivateKey = invalid("public_key holds a private key: it has left your machine, so make a new pair, and send the public half")

func decodeBase64(text string) ([]byte, error) {
	if strings.ContainsAny(text, "-_") {
		return base64.RawURLEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
	}
	return base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(text, "="))
}

// isPrivateKey tries the three containers that private keys come in (RFC 5958,
// RFC 8017 A.1.2, RFC 5915).
func isPrivateKey(der []byte) bool {
	if _, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return true
	}
	if _, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return true
	}
	_, err := x509.ParseECPrivateKey(der)
	return err == nil
}
