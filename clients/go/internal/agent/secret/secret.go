// Package secret is what callers of an agent prove themselves by, where no uid tells who
// they are (S36): made anew at each start, or shared by a file.
package secret

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/disk"
)

const (
	size     = 32      // bytes of chance
	shortest = 32      // characters of one that comes from a file
	longest  = 4 << 10 // bytes
)

// New makes the secret of a start. It is a text of letters, digits, "-" and "_", which
// headers, forms and signatures take as it is.
func New(random io.Reader) (cambio.Secret, error) {
	var raw [size]byte
	if _, err := io.ReadFull(random, raw[:]); err != nil {
		return cambio.Secret{}, fmt.Errorf("making the secret of this start: %w", err)
	}
	return cambio.NewSecret(base64.RawURLEncoding.EncodeToString(raw[:])), nil
}

// Read reads a secret as SDKs do that are given the same file: to its last byte.
func Read(path string) (cambio.Secret, error) {
	text, err := disk.Read(path, longest)
	switch {
	case err != nil:
		return cambio.Secret{}, err
	case strings.HasSuffix(text, "\n"):
		return cambio.Secret{}, fmt.Errorf("%s: it ends with a newline, which SDKs would send: write it without", path)
	case len(text) < shortest || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return cambio.Secret{}, fmt.Errorf("%s: a secret has %d printable characters or more, and no blank", path, shortest)
	}
	return cambio.NewSecret(text), nil
}

// Keep writes the secret's file, for the agent's user alone, unless it is in place.
func Keep(path string, s cambio.Secret) error { return disk.Keep(path, s.Reveal(), 0o600) }
