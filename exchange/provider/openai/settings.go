package openai

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

const defaultEndpoint = "https://auth.openai.com"

// longestDefault is how long the tokens live that OpenAI gives; a request cannot ask
// for less.
const longestDefault = time.Hour

// Settings are a target's settings under the key `openai`.
type Settings struct {
	IdentityProviderID string `yaml:"identity_provider_id" json:"identity_provider_id" jsonschema:"required,description=id of the workload identity provider that trusts this issuer"`
	ServiceAccountID   string `yaml:"service_account_id" json:"service_account_id" jsonschema:"required,description=id of the service account that tokens act as"`
	Endpoint           string `yaml:"endpoint,omitempty" json:"endpoint,omitempty" jsonschema:"description=https URL of the token service; default https://auth.openai.com"`
	// Audience is the `aud` that the provider asks for.
	Audience string `yaml:"audience,omitempty" json:"audience,omitempty" jsonschema:"description=aud of our assertion which the identity provider must ask for; default the endpoint and the provider's id"`
	// TokenType is how the assertion is labelled.
	TokenType string `yaml:"token_type,omitempty" json:"token_type,omitempty" jsonschema:"enum=jwt,enum=id_token,description=subject_token_type of the assertion; default jwt"`
	// Subject follows <tenant>:<target> in the assertion's `sub`.
	Subject []string `yaml:"subject,omitempty" json:"subject,omitempty" jsonschema:"description=what follows tenant and target in sub: subject or attributes such as namespace; default: nothing"`
	// LongestLifetime is the longest life that OpenAI gives.
	LongestLifetime time.Duration `yaml:"longest_lifetime,omitempty" json:"longest_lifetime,omitempty" jsonschema:"description=longest life that OpenAI gives tokens of this provider; default 1h"`
	MayOutlive      bool          `yaml:"may_outlive,omitempty" json:"may_outlive,omitempty" jsonschema:"description=take tokens that live longer than what the exchange may give; OpenAI cannot shorten them"`
}

// Kind registers the provider.
func Kind() provider.Kind {
	return provider.Kind{Name: "openai", New: func() provider.Config { return new(Settings) }}
}

// Open makes the driver.
func (s *Settings) Open(d provider.Deps) (provider.Driver, error) {
	if d.Asserter == nil || d.HTTP == nil {
		return nil, errors.New("an openai target needs this issuer's assertions and a way out, and one of them is missing")
	}
	return newDriver(s, d)
}

// Facts says what the core must know. OpenAI takes no wish for a lifetime: whatever
// is shorter than what it gives cannot be promised (S5).
func (s *Settings) Facts() exchange.Facts {
	return exchange.Facts{
		Method: "federation", MayOutlive: s.MayOutlive, MinTTL: s.longest(), MaxTTL: s.longest(),
		Types: []exchange.TokenType{exchange.TokenTypeAccessToken},
	}
}

func (s *Settings) longest() time.Duration {
	if s.LongestLifetime > 0 {
		return s.LongestLifetime
	}
	return longestDefault
}

func (s *Settings) endpoint() string {
	if s.Endpoint != "" {
		return s.Endpoint
	}
	return defaultEndpoint
}

// audience is one of this target's own unless the operator says otherwise, so that
// an assertion for one provider is none for another (S2).
func (s *Settings) audience() string {
	if s.Audience != "" {
		return s.Audience
	}
	return s.endpoint() + "/federation/" + s.IdentityProviderID
}

// label is the assertion's subject_token_type.
func (s *Settings) label() exchange.TokenType {
	if s.TokenType == "id_token" {
		return exchange.TokenTypeIDToken
	}
	return exchange.TokenTypeJWT
}

var idForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$`)

// Validate returns every fault.
func (s *Settings) Validate() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !idForm.MatchString(s.IdentityProviderID) {
		fault("identity_provider_id: %q is no id of a workload identity provider", s.IdentityProviderID)
	}
	if !idForm.MatchString(s.ServiceAccountID) {
		fault("service_account_id: %q is no service account's id", s.ServiceAccountID)
	}
	if err := provider.CheckEndpoint(s.endpoint()); err != nil {
		fault("endpoint: %w", err)
	}
	if len(s.audience()) > 512 || !exchange.ValidScope(s.audience()) {
		fault("audience: at most 512 printable characters without space")
	}
	if s.TokenType != "" && s.TokenType != "jwt" && s.TokenType != "id_token" {
		fault("token_type: %q is neither jwt nor id_token", s.TokenType)
	}
	if s.LongestLifetime != 0 && (s.LongestLifetime < time.Minute || s.LongestLifetime > 24*time.Hour) {
		fault("longest_lifetime: between 1m and 24h")
	}
	return append(faults, provider.CheckSubjectNames(s.Subject)...)
}
