package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
)

// The bounds of a public key. The greatest that passes, RSA of 8192 bits, is 1.1
// kB of DER.
const (
	maxPublicKey = 3072
	minRSABits   = 2048
	maxRSABits   = 8192
)

// checkPublicKey takes a SubjectPublicKeyInfo in DER (RFC 5280 §4.1) and nothing
// else.
//
// A private key is told apart and named, since whoever sends one must know that
// it is burnt.
func checkPublicKey(der []byte) error {
	if isPrivateKey(der) {
		return Invalid("public_key holds a private key: it has left your machine, so make a new pair, and send the public half")
	}
	if len(der) > maxPublicKey {
		return Invalid("public_key is too long: 3072 bytes of DER at most")
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return Invalid("public_key is not a SubjectPublicKeyInfo in DER: openssl pkey -pubout -outform DER makes one")
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSABits || n > maxRSABits {
			return Invalid("public_key: an RSA key has 2048 to 8192 bits")
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
	default:
		return Invalid("public_key must be an RSA, ECDSA or Ed25519 key")
	}
	return nil
}

// isPrivateKey tries the three containers that private keys come in (RFC 5958,
// RFC 8017 A.1.2, RFC 5915), and PEM.
func isPrivateKey(b []byte) bool {
	if bytes.Contains(b, []byte("PRIVATE KEY")) {
		return true
	}
	if len(b) > 16<<10 { // longer than any key that anybody has
		return false
	}
	if _, err := x509.ParsePKCS8PrivateKey(b); err == nil {
		return true
	}
	if _, err := x509.ParsePKCS1PrivateKey(b); err == nil {
		return true
	}
	_, err := x509.ParseECPrivateKey(b)
	return err == nil
}
