package oauth2_test

import (
	"crypto/sha256"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider/oauth2"
	"github.com/cambio-sts/cambio/exchange/provider/oauth2/oauth2sandbox"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// TestSuite: every grant, every way to authenticate, with the server named or found,
// and every kind of weather once.
func TestSuite(t *testing.T) {
	y := newTown(t)
	grant := func(g oauth2.Grant) func(*oauth2.Settings) { return func(s *oauth2.Settings) { s.Grant = g } }
	passthrough := func(s *oauth2.Settings) { s.SubjectToken = oauth2.ProofPassthrough }
	auth := func(a oauth2.Auth) func(*oauth2.Settings) {
		return func(s *oauth2.Settings) {
			s.Auth = a
			if a != oauth2.AuthPost {
				s.ClientSecret = ""
			}
		}
	}
	for name, c := range map[string]struct {
		change      []func(*oauth2.Settings)
		unavailable sandbox.Mood
		wrong       sandbox.Mood // which the operator must see to
	}{
		"client_credentials": {nil, sandbox.Down, sandbox.HTML},
		"found":              {[]func(*oauth2.Settings){found, func(s *oauth2.Settings) { s.Issuer = "" }}, sandbox.Huge, sandbox.WithoutExpiry},
		"found by issuer":    {[]func(*oauth2.Settings){found}, sandbox.Redirecting, sandbox.HTML},
		"token_exchange":     {[]func(*oauth2.Settings){grant(oauth2.GrantTokenExchange)}, sandbox.PastExpiry, sandbox.WithoutExpiry},
		"token_exchange of the caller's own": {
			[]func(*oauth2.Settings){grant(oauth2.GrantTokenExchange), passthrough}, sandbox.Down, sandbox.HTML},
		"jwt_bearer":                     {[]func(*oauth2.Settings){grant(oauth2.GrantJWTBearer)}, sandbox.Huge, sandbox.HTML},
		"jwt_bearer of the caller's own": {[]func(*oauth2.Settings){grant(oauth2.GrantJWTBearer), passthrough}, sandbox.Redirecting, sandbox.WithoutExpiry},
		"jwt_bearer without a client": {[]func(*oauth2.Settings){grant(oauth2.GrantJWTBearer), auth(oauth2.AuthNone), func(s *oauth2.Settings) {
			s.ClientID = ""
		}}, sandbox.PastExpiry, sandbox.HTML},
		"id_jag": {[]func(*oauth2.Settings){grant(oauth2.GrantIDJAG)}, sandbox.Redirecting, sandbox.HTML},
		"id_jag of an identity provider": {[]func(*oauth2.Settings){grant(oauth2.GrantIDJAG), func(s *oauth2.Settings) {
			s.IDP = &oauth2.Server{TokenURL: y.idpURL + "/token", ClientID: gateway, ClientSecret: "${secret:gateway}"}
		}}, sandbox.Down, sandbox.HTML},
		"id_jag found": {[]func(*oauth2.Settings){grant(oauth2.GrantIDJAG), found, func(s *oauth2.Settings) {
			s.IDP = &oauth2.Server{Issuer: y.idpURL, ClientID: gateway, ClientSecret: "${secret:gateway}"}
		}}, sandbox.Huge, sandbox.WithoutExpiry},
		"post":            {[]func(*oauth2.Settings){auth(oauth2.AuthPost)}, sandbox.Down, sandbox.HTML},
		"private_key_jwt": {[]func(*oauth2.Settings){auth(oauth2.AuthPrivateKeyJWT), func(s *oauth2.Settings) { s.KeyFile, s.KeyID = y.keyFile, "k1" }}, sandbox.Huge, sandbox.HTML},
		"private_key_jwt by the federation issuer": {[]func(*oauth2.Settings){auth(oauth2.AuthPrivateKeyJWT), func(s *oauth2.Settings) {
			s.ClientID = ""
		}}, sandbox.PastExpiry, sandbox.HTML},
		"tls_client_auth": {[]func(*oauth2.Settings){auth(oauth2.AuthTLS), func(s *oauth2.Settings) {
			s.CertFile, s.KeyFile = y.shown.cert, y.shown.key
		}}, sandbox.Redirecting, sandbox.WithoutExpiry},
	} {
		t.Run(name, func(t *testing.T) {
			settings := y.settings(c.change...)
			r := &recording{Settings: settings, t: t, town: y, owners: map[[sha256.Size]byte]string{}}
			providertest.Run(t, providertest.Harness{
				Provider: "oauth2", Config: r, Deps: y.deps, Type: exchange.TokenTypeAccessToken, Scopes: []string{"read", "call"}, Honour: r.use,
				Fail: map[exchange.Kind]func(*testing.T) func(){
					exchange.KindUnavailable: set(y, c.unavailable), exchange.KindThrottled: set(y, sandbox.Throttling),
					exchange.KindMisconfigured: set(y, c.wrong), exchange.KindProviderRefused: set(y, sandbox.Refusing),
				},
				Hang: set(y, sandbox.Slow),
			})
		})
	}
}

// TestS23SubjectsNeverShare over ten thousand exchanges of two subjects at once.
func TestS23SubjectsNeverShare(t *testing.T) {
	y := newTownOf(t, providertest.NewQuickFederation(t))
	quick, err := oauth2sandbox.New(y.house.World(), oauth2sandbox.Setup{
		Clients: []oauth2sandbox.Client{{ID: gateway, Secret: secret}}, Scopes: []string{"read"},
	})
	if err != nil {
		t.Fatal(err)
	}
	y.deps.HTTP = providertest.Inside(quick)
	settings := y.settings(func(s *oauth2.Settings) { s.Grant = oauth2.GrantTokenExchange })
	providertest.Harness{Provider: "oauth2", Config: settings, Deps: y.deps, Scopes: []string{"read"}}.NeverShare(t, []string{"oidc:corp:alice", "oidc:other:alice"}, nil,
		func(c exchange.Credential) string {
			token, _ := quick.Whoami(c.Value.Reveal())
			return token.Subject
		})
}
