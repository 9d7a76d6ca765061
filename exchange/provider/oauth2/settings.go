package oauth2

import (
	"errors"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// longestDefault is how long the tokens of most servers live at the most; few take a
// wish.
const longestDefault = time.Hour

// Grant is how a token is asked for.
type Grant string

// The grants.
const (
	GrantClientCredentials Grant = "client_credentials" // in the house's own name
	GrantTokenExchange     Grant = "token_exchange"     // a subject's token for another
	GrantJWTBearer         Grant = "jwt_bearer"         // an assertion for the subject
	GrantIDJAG             Grant = "id_jag"             // an identity assertion grant, of this issuer or an identity provider
)

// Auth is how the house authenticates as a client.
type Auth string

// The methods of client authentication, by the names of RFC 8414 where it has one.
const (
	AuthBasic         Auth = "basic"           // client_secret_basic (RFC 6749 §2.3.1)
	AuthPost          Auth = "post"            // client_secret_post
	AuthPrivateKeyJWT Auth = "private_key_jwt" // an assertion (RFC 7523 §2.2)
	AuthTLS           Auth = "tls_client_auth" // a certificate (RFC 8705 §2)
	AuthNone          Auth = "none"            // a public client, or none at all
)

// Proof is which token speaks for the subject.
type Proof string

// The tokens that may speak for a subject.
const (
	ProofAssertion   Proof = "assertion"   // the federation issuer's
	ProofPassthrough Proof = "passthrough" // the subject's own, which came as passthrough_token
)

// Server is an authorization server and who the house is there.
type Server struct {
	TokenURL string `yaml:"token_url,omitempty" json:"token_url,omitempty" jsonschema:"description=https URL of the token endpoint; without it the server's metadata says it"`
	Issuer   string `yaml:"issuer,omitempty" json:"issuer,omitempty" jsonschema:"description=the server's name as its metadata says it (RFC 8414); without it the resource's metadata says it (RFC 9728)"`

	ClientID       string             `yaml:"client_id,omitempty" json:"client_id,omitempty" jsonschema:"description=who the house is there"`
	Auth           Auth               `yaml:"auth,omitempty" json:"auth,omitempty" jsonschema:"enum=basic,enum=post,enum=private_key_jwt,enum=tls_client_auth,enum=none,description=how the house proves it; default basic"`
	ClientSecret   provider.SecretRef `yaml:"client_secret,omitempty" json:"client_secret,omitempty" jsonschema:"description=with basic and post: ${secret:NAME}"`
	ClientAudience string             `yaml:"client_audience,omitempty" json:"client_audience,omitempty" jsonschema:"description=with private_key_jwt: aud of the assertion; default the server's issuer and else its token endpoint"`
	KeyFile        string             `yaml:"key_file,omitempty" json:"key_file,omitempty" jsonschema:"description=PEM file of a private key: with private_key_jwt the one that signs and without it this issuer's assertion is sent; with tls_client_auth the certificate's"`
	KeyID          string             `yaml:"key_id,omitempty" json:"key_id,omitempty" jsonschema:"description=with private_key_jwt and key_file: kid of the key as registered"`
	CertFile       string             `yaml:"cert_file,omitempty" json:"cert_file,omitempty" jsonschema:"description=with tls_client_auth: PEM file of the certificate and those above it"`
}

func (s *Server) auth() Auth {
	if s.Auth == "" {
		return AuthBasic
	}
	return s.Auth
}

// Settings are a target's settings under the key `oauth2`.
type Settings struct {
	Server `yaml:",inline"`

	// Resource selects the target and is sent along (RFC 8707 §2).
	Resource string `yaml:"resource,omitempty" json:"resource,omitempty" jsonschema:"description=URI of the resource that tokens are for; callers select the target by it"`
	Grant    Grant  `yaml:"grant,omitempty" json:"grant,omitempty" jsonschema:"enum=client_credentials,enum=token_exchange,enum=jwt_bearer,enum=id_jag,description=how tokens are asked for; default client_credentials"`

	Scope         string            `yaml:"scope,omitempty" json:"scope,omitempty" jsonschema:"description=scopes that each token is asked for with; one space between"`
	Scopes        []string          `yaml:"scopes,omitempty" json:"scopes,omitempty" jsonschema:"description=scopes that callers may ask for as policy allows"`
	RequireScopes []string          `yaml:"require_scopes,omitempty" json:"require_scopes,omitempty" jsonschema:"description=scopes without which a token is refused where they were asked for; default those of scope"`
	Audience      string            `yaml:"audience,omitempty" json:"audience,omitempty" jsonschema:"description=audience that is sent along"`
	OmitResource  bool              `yaml:"omit_resource,omitempty" json:"omit_resource,omitempty" jsonschema:"description=do not send the resource: for servers that refuse the parameter"`
	Parameters    map[string]string `yaml:"parameters,omitempty" json:"parameters,omitempty" jsonschema:"description=further parameters that are sent along"`

	SubjectToken      Proof              `yaml:"subject_token,omitempty" json:"subject_token,omitempty" jsonschema:"enum=assertion,enum=passthrough,description=what speaks for the subject: this issuer's assertion or the caller's passthrough_token; default assertion and with id_jag passthrough"`
	SubjectTokenType  exchange.TokenType `yaml:"subject_token_type,omitempty" json:"subject_token_type,omitempty" jsonschema:"description=how it is labelled (RFC 8693 §3); default jwt and for a passthrough_token with id_jag id_token"`
	AssertionAudience string             `yaml:"assertion_audience,omitempty" json:"assertion_audience,omitempty" jsonschema:"description=aud of the assertion for the subject; default the server's issuer and else its token endpoint"`
	Subject           []string           `yaml:"subject,omitempty" json:"subject,omitempty" jsonschema:"description=what follows tenant and target in the assertion's sub: subject or names of attributes; default subject"`
	IDP               *Server            `yaml:"idp,omitempty" json:"idp,omitempty" jsonschema:"description=with id_jag: the identity provider that makes the grants; without it this issuer does"`

	RevocationURL   string        `yaml:"revocation_url,omitempty" json:"revocation_url,omitempty" jsonschema:"description=https URL of the revocation endpoint (RFC 7009); without it the server's metadata says it where that is read"`
	LongestLifetime time.Duration `yaml:"longest_lifetime,omitempty" json:"longest_lifetime,omitempty" jsonschema:"description=longest life that the server gives; default 1h"`
	DefaultLifetime time.Duration `yaml:"default_lifetime,omitempty" json:"default_lifetime,omitempty" jsonschema:"description=life of tokens for which the server says none; without it they are refused"`
	MayOutlive      bool          `yaml:"may_outlive,omitempty" json:"may_outlive,omitempty" jsonschema:"description=take tokens that live longer than what the exchange may give; the server cannot shorten them"`
}

// Kind registers the provider.
func Kind() provider.Kind {
	return provider.Kind{Name: "oauth2", New: func() provider.Config { return new(Settings) }}
}

// Open makes the driver.
func (s *Settings) Open(d provider.Deps) (provider.Driver, error) {
	if d.HTTP == nil {
		return nil, errors.New("an oauth2 target needs a way out, and there is none")
	}
	if s.minted() && d.Asserter == nil {
		return nil, errors.New("an oauth2 target needs this issuer's assertions, and there is no issuer")
	}
	if s.grants() && d.Granter == nil {
		return nil, errors.New("an oauth2 target needs this issuer's identity assertion grants, and there is no issuer")
	}
	return newDriver(s, d)
}

// Facts says what the core must know. The grants take no wish for a lifetime: whatever
// is shorter than what the server gives cannot be promised (S5).
func (s *Settings) Facts() exchange.Facts {
	return exchange.Facts{
		Resource: s.Resource, Scopes: s.Scopes, Method: string(s.grant()), MayOutlive: s.MayOutlive,
		MinTTL: s.longest(), MaxTTL: s.longest(), Types: []exchange.TokenType{exchange.TokenTypeAccessToken},
	}
}

// MustLoad reports whether an endpoint has to be found by metadata.
func (s *Settings) MustLoad() bool {
	return s.TokenURL == "" || s.IDP != nil && s.IDP.TokenURL == ""
}

func (s *Settings) grant() Grant {
	if s.Grant == "" {
		return GrantClientCredentials
	}
	return s.Grant
}

func (s *Settings) proof() Proof {
	switch {
	case s.SubjectToken != "":
		return s.SubjectToken
	case s.grant() == GrantIDJAG:
		return ProofPassthrough
	}
	return ProofAssertion
}

func (s *Settings) proofType() exchange.TokenType {
	switch {
	case s.SubjectTokenType != "":
		return s.SubjectTokenType
	case s.grant() == GrantIDJAG && s.proof() == ProofPassthrough:
		return exchange.TokenTypeIDToken
	}
	return exchange.TokenTypeJWT
}

// minted reports whether assertions of the federation issuer are sent.
func (s *Settings) minted() bool {
	federated := func(v *Server) bool { return v != nil && v.auth() == AuthPrivateKeyJWT && v.KeyFile == "" }
	return federated(&s.Server) || federated(s.IDP) || s.grant() != GrantClientCredentials && !s.grants() && s.proof() == ProofAssertion
}

// grants reports whether this issuer makes the identity assertion grants.
func (s *Settings) grants() bool { return s.grant() == GrantIDJAG && s.IDP == nil }

func (s *Settings) subject() []string {
	if len(s.Subject) == 0 {
		return []string{"subject"}
	}
	return s.Subject
}

// always are the scopes that each token is asked for with.
func (s *Settings) always() []string { return strings.Fields(s.Scope) }

func (s *Settings) required() []string {
	if s.RequireScopes == nil {
		return s.always()
	}
	return s.RequireScopes
}

func (s *Settings) longest() time.Duration {
	if s.LongestLifetime > 0 {
		return s.LongestLifetime
	}
	return longestDefault
}
