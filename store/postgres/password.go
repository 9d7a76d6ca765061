package postgres

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
)

// scramIterations is the server's own default.
const scramIterations = 4096

// scramVerifier makes what the server keeps of a password (RFC 5803 §4 in the form
// of PostgreSQL's pg_authid), so that the password itself is in no statement that
// a server may log.
func scramVerifier(password exchange.Secret) (string, error) {
	plain := password.Reveal()
	if strings.IndexFunc(plain, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
		// Others need SASLprep (RFC 4013), and clients differ over it.
		return "", errors.New("the service role's password has characters beyond printable ASCII: choose another")
	}
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // does not fail
	salted, err := pbkdf2.Key(sha256.New, plain, salt, scramIterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("hashing the service role's password: %w", err)
	}
	stored := sha256.Sum256(scramHMAC(salted, "Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramIterations, b64(salt), b64(stored[:]), b64(scramHMAC(salted, "Server Key"))), nil
}

func scramHMAC(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
