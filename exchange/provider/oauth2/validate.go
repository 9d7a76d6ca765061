package oauth2

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// Bounds on settings.
const (
	maxURL        = 2048
	maxParameters = 32
	maxValue      = 4096
)

var (
	textForm      = regexp.MustCompile(`^[\x21-\x7e]{1,512}$`)
	parameterForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,128}$`)
)

// ours are the parameters that the driver itself writes.
var ours = []string{
	"grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "assertion", "scope", "audience", "resource",
	"subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type", "refresh_token", "code", "username", "password",
}

// Validate returns every fault.
func (s *Settings) Validate() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	switch {
	case s.Resource != "":
		if err := checkURL(s.Resource, false); err != nil {
			fault("resource: %w", err)
		}
	case s.TokenURL == "" && s.Issuer == "":
		fault("token_url: nothing says where tokens come from: name token_url, issuer, or a resource whose metadata does")
	}
	faults = append(faults, s.Server.validate("")...)
	faults = append(faults, s.validateGrant()...)
	faults = append(faults, s.validateScopes()...)
	if s.Audience != "" && !textForm.MatchString(s.Audience) {
		fault("audience: at most 512 printable characters without space")
	}
	if len(s.Parameters) > maxParameters {
		fault("parameters: at most %d", maxParameters)
	}
	for name, value := range s.Parameters {
		switch {
		case !parameterForm.MatchString(name) || len(value) > maxValue:
			fault("parameters: %q is no parameter's name, or its value has over %d bytes", name, maxValue)
		case slices.Contains(ours, strings.ToLower(name)):
			fault("parameters: %q is written by Cambio itself", name)
		case strings.Contains(value, "${"):
			fault("parameters: %q: a secret does not go there", name)
		}
	}
	if s.RevocationURL != "" {
		if err := checkURL(s.RevocationURL, true); err != nil {
			fault("revocation_url: %w", err)
		}
	}
	for name, life := range map[string]time.Duration{"longest_lifetime": s.LongestLifetime, "default_lifetime": s.DefaultLifetime} {
		if life != 0 && (life < time.Minute || life > 7*24*time.Hour) {
			fault("%s: between 1m and 168h", name)
		}
	}
	return faults
}

// validateGrant checks what says who the token is asked for.
func (s *Settings) validateGrant() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	grant := s.grant()
	switch grant {
	case GrantClientCredentials:
		if s.SubjectToken != "" || s.SubjectTokenType != "" || s.AssertionAudience != "" || len(s.Subject) > 0 {
			fault("grant: subject_token, subject_token_type, assertion_audience and subject are for the other grants; with client_credentials a token is the house's own")
		}
		if s.auth() == AuthNone {
			fault("auth: with client_credentials the client is all that is proven: it cannot be none")
		}
		return append(faults, s.withoutIDP()...)
	case GrantTokenExchange, GrantJWTBearer:
		faults = append(faults, s.withoutIDP()...)
	case GrantIDJAG:
		if s.Issuer == "" || s.Issuer == s.Resource {
			fault("issuer: with id_jag, name the server that the grant is for: it becomes the grant's audience, and is not the resource")
		}
		if s.grants() {
			return append(faults, s.validateGrants()...)
		}
		if s.IDP.TokenURL == "" && s.IDP.Issuer == "" {
			fault("idp: name its token_url or its issuer")
		}
		faults = append(faults, s.IDP.validate("idp.")...)
	default:
		fault("grant: %q is none of client_credentials, token_exchange, jwt_bearer and id_jag", grant)
		return faults
	}
	switch s.proof() {
	case ProofAssertion:
	case ProofPassthrough:
		if s.AssertionAudience != "" || len(s.Subject) > 0 {
			fault("subject_token: assertion_audience and subject are for an assertion; a passthrough token stays as it came")
		}
		if s.TokenURL == "" && s.Issuer == "" {
			fault("issuer: with passthrough, name issuer or token_url: a resource does not say where a caller's own token goes")
		}
	default:
		fault("subject_token: %q is neither assertion nor passthrough", s.SubjectToken)
	}
	if s.AssertionAudience != "" {
		if !textForm.MatchString(s.AssertionAudience) {
			fault("assertion_audience: at most 512 printable characters without space")
		}
		if s.TokenURL == "" && s.Issuer == "" {
			fault("issuer: with assertion_audience, name issuer or token_url: a resource does not say where an assertion for another goes")
		}
	}
	if s.SubjectTokenType != "" {
		if u, err := url.Parse(string(s.SubjectTokenType)); err != nil || !u.IsAbs() || !textForm.MatchString(string(s.SubjectTokenType)) {
			fault("subject_token_type: %q is no URI, such as %s", s.SubjectTokenType, exchange.TokenTypeAccessToken)
		}
		if grant == GrantJWTBearer {
			fault("subject_token_type: jwt_bearer has no label")
		}
	}
	return append(faults, provider.CheckSubjectNames(s.Subject)...)
}

// validateGrants checks what this issuer puts into identity assertion grants.
func (s *Settings) validateGrants() []error {
	var faults []error
	if s.ClientID == "" || s.Resource == "" {
		faults = append(faults, errors.New("client_id: with id_jag, this issuer's grants name the client_id there, and the resource"))
	}
	if s.SubjectToken != "" || s.SubjectTokenType != "" || s.AssertionAudience != "" || len(s.Subject) > 0 {
		faults = append(faults, errors.New("grant: with id_jag, subject_token, subject_token_type, assertion_audience and subject go with idp; this issuer's grants name the subject as it is called here"))
	}
	return faults
}

func (s *Settings) withoutIDP() []error {
	if s.IDP != nil {
		return []error{errors.New("idp: it is for id_jag")}
	}
	return nil
}

func (s *Settings) validateScopes() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if s.Scope != strings.Join(s.always(), " ") {
		fault("scope: one space between two scopes, and none around them")
	}
	for name, list := range map[string][]string{"scope": s.always(), "scopes": s.Scopes, "require_scopes": s.RequireScopes} {
		for i, scope := range list {
			switch {
			case !exchange.ValidScope(scope):
				fault("%s: %q is not one scope: printable ASCII without space, quote and backslash", name, scope)
			case slices.Contains(list[:i], scope):
				fault("%s: %q is listed twice", name, scope)
			case name == "scopes" && slices.Contains(s.always(), scope):
				fault("scopes: %q is in scope already, with which each token is asked for", scope)
			case name == "require_scopes" && !slices.Contains(s.always(), scope) && !slices.Contains(s.Scopes, scope):
				fault("require_scopes: %q is neither in scope nor in scopes", scope)
			}
		}
	}
	return faults
}

// validate checks one server; under is where its settings stand.
func (s *Server) validate(under string) []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(under+format, args...)) }
	if s.TokenURL != "" {
		if err := checkURL(s.TokenURL, true); err != nil {
			fault("token_url: %w", err)
		}
	}
	if s.Issuer != "" {
		if err := checkIssuer(s.Issuer); err != nil {
			fault("issuer: %w", err)
		}
	}
	auth := s.auth()
	if !slices.Contains([]Auth{AuthBasic, AuthPost, AuthPrivateKeyJWT, AuthTLS, AuthNone}, auth) {
		fault("auth: %q is none of basic, post, private_key_jwt, tls_client_auth and none", auth)
		return faults
	}
	// This issuer's assertion may say by itself who the client is (RFC 7521 §4.2).
	if needed := auth != AuthNone && (auth != AuthPrivateKeyJWT || s.KeyFile != ""); s.ClientID == "" && needed {
		fault("client_id: name who the house is at the server")
	}
	if s.ClientID != "" && !textForm.MatchString(s.ClientID) {
		fault("client_id: at most 512 printable characters without space")
	}
	secret := auth == AuthBasic || auth == AuthPost
	if _, ok := s.ClientSecret.Name(); secret && !ok {
		fault("client_secret: name a secret of the server's configuration: ${secret:NAME}")
	}
	switch {
	case !secret && s.ClientSecret != "":
		fault("client_secret: it is for basic and post")
	case auth == AuthTLS && (s.KeyFile == "" || s.CertFile == ""):
		fault("cert_file: with tls_client_auth, name cert_file and key_file")
	case auth != AuthTLS && s.CertFile != "":
		fault("cert_file: it is for tls_client_auth")
	case auth != AuthTLS && auth != AuthPrivateKeyJWT && s.KeyFile != "":
		fault("key_file: it is for private_key_jwt and tls_client_auth")
	case s.KeyID != "" && (auth != AuthPrivateKeyJWT || s.KeyFile == "" || !textForm.MatchString(s.KeyID)):
		fault("key_id: it goes with private_key_jwt and key_file")
	case s.ClientAudience != "" && (auth != AuthPrivateKeyJWT || !textForm.MatchString(s.ClientAudience)):
		fault("client_audience: it is for private_key_jwt")
	case s.ClientAudience != "" && s.TokenURL == "" && s.Issuer == "":
		fault("issuer: with client_audience, name issuer or token_url: a resource does not say where an assertion for another goes")
	}
	return faults
}

// checkURL holds a URL to https, one spelling, and no fragment. What http.Client might
// turn into something else, user information first of all, is refused.
func checkURL(address string, endpoint bool) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || len(address) > maxURL:
		return fmt.Errorf("it is no URL, or has over %d bytes", maxURL)
	case u.Scheme != "https" || u.Host == "" || u.Opaque != "" || u.User != nil || strings.Contains(address, "#"):
		return fmt.Errorf("%q is not https://, a host, and at most path and query", address)
	case u.String() != address || strings.ToLower(u.Host) != u.Host || strings.Contains(u.Path, "/../") || strings.HasSuffix(u.Path, "/.."):
		return fmt.Errorf("%q is not in canonical form: write the host in lower case, and escape what a URL escapes", address)
	case endpoint && u.Path == "":
		return fmt.Errorf("%q has no path: name the endpoint itself", address)
	}
	return nil
}

// checkIssuer holds a server's name to RFC 8414 §2: no query, no fragment.
func checkIssuer(issuer string) error {
	if err := checkURL(issuer, false); err != nil {
		return err
	}
	if strings.Contains(issuer, "?") {
		return fmt.Errorf("%q has a query: an issuer has none (RFC 8414 §2)", issuer)
	}
	return nil
}
