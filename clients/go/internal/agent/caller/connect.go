package caller

import (
	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/spiffe"
)

// Connect makes the client of a server. It asks nothing of the network. caFile is PEM
// with the CAs to trust in place of the system's; empty: those.
func Connect(url, caFile string, s Settings, c Client) (*cambio.Client, error) {
	identity, err := s.identity()
	if err != nil {
		return nil, err
	}
	var options []cambio.Option
	if caFile != "" {
		options = append(options, cambio.WithCAFile(caFile))
	}
	if c.ID != "" {
		options = append(options, cambio.WithClientSecret(c.ID, cambio.SecretFile(c.SecretFile)))
	}
	return cambio.New(url, identity, options...)
}

// identity is where the token comes from. What is not there yet is no fault: a token
// that is mounted later is found then.
func (s *Settings) identity() (cambio.Identity, error) {
	switch {
	case s.File != "":
		return cambio.File(s.File), nil
	case s.Environment != "":
		return cambio.Environment(s.Environment), nil
	case s.GitHubActions != "":
		return cambio.GitHubActions(s.GitHubActions), nil
	case s.SPIFFE != nil:
		return spiffe.New(s.SPIFFE.Audience, s.SPIFFE.Socket)
	case s.OIDC != nil:
		o := s.OIDC
		return cambio.ClientCredentials(cambio.OIDC{
			TokenURL: o.TokenURL, ClientID: o.ClientID, ClientSecret: cambio.SecretFile(o.ClientSecretFile), Scopes: o.Scopes, Audience: o.Audience,
		})
	}
	if found, err := cambio.FromEnvironment(); err == nil {
		return found, nil
	}
	return cambio.File(cambio.DefaultTokenFile), nil
}
