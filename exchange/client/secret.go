package client

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
)

const (
	secretPrefix = "cambio_secret_" // for whoever searches code and logs for what leaked
	secretBytes  = 32
)

// NewSecret makes a secret of 32 random bytes and says what policy keeps of it, in
// lower-case hexadecimal.
func NewSecret(random io.Reader) (secret exchange.Secret, hash string, err error) {
	var raw [secretBytes]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		return exchange.Secret{}, "", fmt.Errorf("making a secret: %w", err)
	}
	text := secretPrefix + base64.RawURLEncoding.EncodeToString(raw[:])
	sum := sha256.Sum256([]byte(text))
	return exchange.NewSecret(text), hex.EncodeToString(sum[:]), nil
}

// isSecret reports whether a text has the form that NewSecret gives. Nothing else
// is a secret here, whatever its hash: one SHA-256 protects 256 random bits, and
// would not protect what a person makes up.
func isSecret(text string) bool {
	body, ok := strings.CutPrefix(text, secretPrefix)
	if !ok || len(body) != base64.RawURLEncoding.EncodedLen(secretBytes) || strings.ContainsAny(body, "\r\n") {
		return false
	}
	_, err := base64.RawURLEncoding.Strict().DecodeString(body)
	return err == nil
}

// matches compares in constant time, and with as many hashes for a client that is
// not there.
func matches(secret exchange.Secret, hashes [][32]byte) bool {
	text := secret.Reveal()
	sum := sha256.Sum256([]byte(text))
	found := 0
	for i := range 2 {
		var want [32]byte // of nothing: no text is known to hash to it
		if i < len(hashes) {
			want = hashes[i]
		}
		same := subtle.ConstantTimeCompare(sum[:], want[:])
		if i < len(hashes) {
			found |= same
		}
	}
	return found == 1 && isSecret(text)
}
