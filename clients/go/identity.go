package cambio

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

// DefaultTokenFile is where a projected service account token with the audience of the
// Cambio server is mounted by convention.
const DefaultTokenFile = "/var/run/secrets/cambio/token"

// maxToken bounds what is read of a token, in bytes: the server takes no longer one.
const maxToken = 32 << 10

// SubjectToken is what a workload is known by.
type SubjectToken struct {
	Value Secret
	Type  string // token type URI; empty: TokenTypeJWT
	// Expires is as the token itself says, by its issuer's clock; zero: it does not.
	Expires time.Time
}

// Identity gets the token that the caller already has. It is asked for each exchange,
// and has to be safe for concurrent use.
type Identity interface {
	SubjectToken(ctx context.Context) (SubjectToken, error)
}

// IdentityFunc is an Identity made of a function.
type IdentityFunc func(ctx context.Context) (SubjectToken, error)

// SubjectToken calls f.
func (f IdentityFunc) SubjectToken(ctx context.Context) (SubjectToken, error) { return f(ctx) }

// Static is an Identity of one token, such as that of the user of one request.
func Static(token Secret, tokenType string) Identity {
	return IdentityFunc(func(context.Context) (SubjectToken, error) {
		return newSubjectToken(token.Reveal(), tokenType)
	})
}

// File reads the token anew for each exchange: kubelet replaces a projected service
// account token (docs of Kubernetes, "Configure service accounts for Pods") well before
// it ends.
func File(path string) Identity {
	return IdentityFunc(func(context.Context) (SubjectToken, error) {
		text, err := readFile(path, maxToken)
		if errors.Is(err, fs.ErrNotExist) {
			return SubjectToken{}, fmt.Errorf("mount the service account token there, or name another file: %w", err)
		}
		if err != nil {
			return SubjectToken{}, fmt.Errorf("reading the token: %w", err)
		}
		token, err := newSubjectToken(text, TokenTypeJWT)
		if err != nil {
			return SubjectToken{}, fmt.Errorf("%s: %w", path, err)
		}
		return token, nil
	})
}

// SecretFile reads a secret anew each time, for WithClientSecret and OIDC. An end of
// line at its end is not part of it.
func SecretFile(path string) func() (Secret, error) {
	return func() (Secret, error) {
		text, err := readFile(path, maxToken)
		if err != nil {
			return Secret{}, err
		}
		if text = strings.TrimRight(text, "\r\n"); text == "" {
			return Secret{}, fmt.Errorf("%s: there is no secret in it", path)
		}
		return NewSecret(text), nil
	}
}

// readFile reads a file of so many bytes at most.
func readFile(path string, most int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return "", err
	}
	if int64(len(text)) > most {
		return "", fmt.Errorf("%s: it has more than %d bytes", path, most)
	}
	return string(text), nil
}

// Environment reads the token from a variable of the process, such as a CI system sets.
func Environment(variable string) Identity {
	return IdentityFunc(func(context.Context) (SubjectToken, error) {
		token, err := newSubjectToken(os.Getenv(variable), TokenTypeJWT)
		if err != nil {
			return SubjectToken{}, fmt.Errorf("variable %s: %w", variable, err)
		}
		return token, nil
	})
}

// FromEnvironment finds the identity by what is set: CAMBIO_TOKEN_FILE, CAMBIO_TOKEN,
// DefaultTokenFile if it is there, or the ID token of a GitHub Actions job.
func FromEnvironment() (Identity, error) {
	if path := os.Getenv("CAMBIO_TOKEN_FILE"); path != "" {
		return File(path), nil
	}
	if os.Getenv("CAMBIO_TOKEN") != "" {
		return Environment("CAMBIO_TOKEN"), nil
	}
	if _, err := os.Stat(DefaultTokenFile); err == nil {
		return File(DefaultTokenFile), nil
	}
	if os.Getenv(githubURL) != "" {
		return GitHubActions("cambio"), nil
	}
	return nil, errors.New("cambio: set CAMBIO_TOKEN_FILE to the file of a token, or mount one at " + DefaultTokenFile)
}

// newSubjectToken checks that a text is one whole token.
func newSubjectToken(text, tokenType string) (SubjectToken, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return SubjectToken{}, errors.New("there is no token in it")
	case len(text) > maxToken:
		return SubjectToken{}, fmt.Errorf("a token has at most %d bytes", maxToken)
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return SubjectToken{}, errors.New("it holds more than one token: one line, without blanks")
	}
	if tokenType == "" {
		tokenType = TokenTypeJWT
	}
	token := SubjectToken{Value: NewSecret(text), Type: tokenType}
	if tokenType != TokenTypeJWT && tokenType != TokenTypeIDToken {
		return token, nil
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 || parts[2] == "" {
		return SubjectToken{}, errors.New("it is no whole JWT: was it being written?")
	}
	token.Expires = expiry(parts[1])
	return token, nil
}

// expiry reads `exp` without verifying anything: it is ours to know when to renew, and
// for the server to believe.
func expiry(payload string) time.Time {
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(payload, "="))
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Expires float64 `json:"exp"`
	}
	if err := json.Unmarshal(text, &claims); err != nil || claims.Expires <= 0 || claims.Expires > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Expires), 0)
}
