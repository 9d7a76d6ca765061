// Package caller is who the agent is at the server: the token that it has already, the
// registered client that it may be, and whom it takes for the server.
package caller

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// Settings say where the token is that is exchanged: one of them. None: the variables
// CAMBIO_TOKEN_FILE and CAMBIO_TOKEN, a GitHub Actions job's ID token, or the file
// cambio.DefaultTokenFile, the first that is there.
type Settings struct {
	File          string  `yaml:"file"`           // read for each exchange: a projected service account token, say
	Environment   string  `yaml:"environment"`    // name of the variable that holds it
	GitHubActions string  `yaml:"github_actions"` // audience of the job's ID token
	SPIFFE        *SPIFFE `yaml:"spiffe"`
	OIDC          *OIDC   `yaml:"oidc"`
}

// SPIFFE is a JWT-SVID of the Workload API.
type SPIFFE struct {
	Socket   string `yaml:"socket"`   // unix:///path; default: SPIFFE_ENDPOINT_SOCKET
	Audience string `yaml:"audience"` // what the server's trust expects
}

// OIDC is an access token by client credentials (RFC 6749 §4.4).
type OIDC struct {
	TokenURL         string   `yaml:"token_url"`
	ClientID         string   `yaml:"client_id"`
	ClientSecretFile string   `yaml:"client_secret_file"`
	Scopes           []string `yaml:"scopes"`
	Audience         string   `yaml:"audience"`
}

// Client is a registered client of the server.
type Client struct {
	ID         string `yaml:"id"`
	SecretFile string `yaml:"secret_file"`
}

// Check finds what cannot work. Each fault begins with its key below `identity`.
func (s *Settings) Check() []error {
	var given []string
	for _, kind := range []struct {
		name string
		set  bool
	}{
		{"file", s.File != ""}, {"environment", s.Environment != ""}, {"github_actions", s.GitHubActions != ""},
		{"spiffe", s.SPIFFE != nil}, {"oidc", s.OIDC != nil},
	} {
		if kind.set {
			given = append(given, kind.name)
		}
	}
	var faults []error
	if len(given) > 1 {
		faults = append(faults, fmt.Errorf("%s: only one identity can be given, and there are %s", given[1], strings.Join(given, " and ")))
	}
	if strings.ContainsAny(s.Environment, "=\x00") {
		faults = append(faults, errors.New("environment: write the name of a variable, not its value"))
	}
	if s.SPIFFE != nil && s.SPIFFE.Audience == "" {
		faults = append(faults, errors.New("spiffe.audience: say which audience the server's trust expects"))
	}
	if o := s.OIDC; o != nil {
		if _, err := cambio.ClientCredentials(cambio.OIDC{TokenURL: o.TokenURL, ClientID: "x", ClientSecret: func() (cambio.Secret, error) { return cambio.Secret{}, nil }}); err != nil {
			faults = append(faults, fmt.Errorf("oidc.token_url: %w", errors.Unwrap(err)))
		}
		if o.ClientID == "" {
			faults = append(faults, errors.New("oidc.client_id: give the client's id"))
		}
		if o.ClientSecretFile == "" {
			faults = append(faults, errors.New("oidc.client_secret_file: give the file of the client's secret"))
		}
	}
	return faults
}

// Check finds what cannot work. Each fault begins with its key below `client`.
func (c *Client) Check() []error {
	switch {
	case c.ID == "" && c.SecretFile != "":
		return []error{errors.New("id: give the client's id beside its secret_file")}
	case c.ID != "" && c.SecretFile == "":
		return []error{errors.New("secret_file: give the file of the client's secret beside its id")}
	}
	return nil
}

// CheckURL finds what is wrong with a server's URL.
func CheckURL(text string) error {
	if _, err := url.Parse(text); err != nil || text == "" {
		return errors.New("it is no URL: write https://host")
	}
	_, err := cambio.New(text, cambio.Environment("CAMBIO_TOKEN"))
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}
