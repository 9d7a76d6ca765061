package format

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/origin"
)

// maxRequest bounds what a helper reads of its caller, in bytes.
const maxRequest = 64 << 10

// Place is where git or docker may take a credential: one host, and of git's
// repositories there those below a path, if there is one.
type Place struct {
	// Host is reached over https, or is this machine: "github.com", "git.example:8443".
	Host string `yaml:"host"`
	// Path is git's alone, in whole segments: "org" or "org/repo". Git says no path
	// unless credential.useHttpPath is set.
	Path string `yaml:"path"`
	// Username is sent along with the token. Default: the user that is asked for, then
	// that of a Vault lease, then "x-access-token" for git and "oauth2accesstoken" for
	// docker.
	Username string `yaml:"username"`
	// Target is what is asked for.
	Target string `yaml:"target"`
}

// Get gets the credential of a target.
type Get func(ctx context.Context, target string) (*cambio.Credential, error)

// Check finds the faults of a place.
func (p Place) Check() error {
	u, err := url.Parse("https://" + p.Host)
	switch {
	case p.Host == "":
		return errors.New("host: name one, such as github.com")
	case err != nil || u.Host != p.Host || u.Hostname() == "" || strings.ContainsFunc(p.Host, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("host: %q is no host: write it without scheme and path, such as git.example:8443", p.Host)
	case p.Path != "" && !plainPath(strings.Trim(p.Path, "/")):
		return fmt.Errorf("path: %q is no path of a repository: write org, or org/repo", p.Path)
	case strings.ContainsFunc(p.Username, control):
		return errors.New("username: it holds control characters")
	case p.Target == "":
		return errors.New("target: name one")
	}
	return nil
}

// sameHost compares hosts of https, of which 443 is the port that goes without saying.
func sameHost(a, b string) bool {
	plain := func(host string) string { return strings.TrimSuffix(strings.ToLower(host), ":443") }
	return plain(a) == plain(b)
}

// safe reports whether a secret may be sent to a host by a protocol.
func safe(protocol, host string) bool {
	u, err := url.Parse("http://" + host)
	return protocol == "https" || protocol == "http" && err == nil && origin.Loopback(u.Hostname())
}

// plainPath reports whether a path means what it says: a server might take `org/../other`
// for another's.
func plainPath(path string) bool {
	for _, segment := range strings.Split(path, "/") {
		if segment == "" || segment == "." || segment == ".." || strings.ContainsAny(segment, "\\%") || strings.ContainsFunc(segment, control) {
			return false
		}
	}
	return true
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

// login is a credential as user and password.
func (p Place) login(c *cambio.Credential, asked, fallback string) (user, password string, err error) {
	user = p.Username
	if user == "" {
		user = asked
	}
	if c.IssuedTokenType == cambio.TokenTypeVaultLease {
		secret, err := Field(c, "password")
		if err != nil {
			return "", "", err
		}
		if name, err := Field(c, "username"); err == nil && user == "" {
			user = name.Reveal()
		}
		password = secret.Reveal()
	} else if password, err = token(c); err != nil {
		return "", "", err
	}
	if user == "" {
		user = fallback
	}
	// A value that holds a newline would be a second attribute of the answer.
	if password == "" || strings.ContainsFunc(user, control) || strings.ContainsFunc(password, control) {
		return "", "", errors.New("the credential is no password: it is empty, or holds control characters")
	}
	return user, password, nil
}

// request reads what a helper is asked, to its end.
func request(stdin io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(stdin, maxRequest+1))
	if err != nil {
		return nil, fmt.Errorf("reading the request: %w", err)
	}
	if len(text) > maxRequest {
		return nil, fmt.Errorf("the request has more than %d bytes", maxRequest)
	}
	return text, nil
}
