package door

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

const (
	secretBytes = 32      // of the secret of a start
	minSecret   = 32      // characters, of one that comes from a file
	maxSecret   = 4 << 10 // bytes
)

// newSecret makes the secret of a start.
func newSecret(random io.Reader) (cambio.Secret, error) {
	var raw [secretBytes]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		return cambio.Secret{}, fmt.Errorf("making the secret: %w", err)
	}
	return cambio.NewSecret(base64.RawURLEncoding.EncodeToString(raw[:])), nil
}

// readSecret reads a secret as SDKs do that are given the same file: to its last byte.
func readSecret(path string) (cambio.Secret, error) {
	text, err := readFile(path, maxSecret)
	switch {
	case err != nil:
		return cambio.Secret{}, err
	case strings.HasSuffix(text, "\n"):
		return cambio.Secret{}, fmt.Errorf("%s: it ends with a newline, which SDKs would send: write it without", path)
	case len(text) < minSecret || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return cambio.Secret{}, fmt.Errorf("%s: a secret has %d printable characters or more, and no blank", path, minSecret)
	}
	return cambio.NewSecret(text), nil
}
