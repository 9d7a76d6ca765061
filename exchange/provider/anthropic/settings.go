package anthropic

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

const defaultEndpoint = "https://api.anthropic.com"

// The API gives a minute at least (Claude API, "WIF reference"), and an exchange takes
// its time. A token lives no longer than twice what its assertion has left, by which
// it is kept as short as asked.
const (
	minLife = 65 * time.Second
	maxLife = 2 * exchange.MaxAssertionLifetime
)

// Settings are a target's settings under the key `anthropic`.
type Settings struct {
	FederationRuleID string `yaml:"federation_rule_id" json:"federation_rule_id" jsonschema:"required,description=id of the federation rule that trusts this issuer: fdrl_…"`
	OrganizationID   string `yaml:"organization_id" json:"organization_id" jsonschema:"required,description=id of the organization: a UUID"`
	ServiceAccountID string `yaml:"service_account_id,omitempty" json:"service_account_id,omitempty" jsonschema:"description=id of the service account that tokens act as: svac_…; default: the rule's"`
	WorkspaceID      string `yaml:"workspace_id,omitempty" json:"workspace_id,omitempty" jsonschema:"description=id of the workspace that tokens are for: wrkspc_… or default; needed where the rule has several"`
	Endpoint         string `yaml:"endpoint,omitempty" json:"endpoint,omitempty" jsonschema:"description=https URL of the API; default https://api.anthropic.com"`
	// Audience is the `aud` that the rule asks for.
	Audience string `yaml:"audience,omitempty" json:"audience,omitempty" jsonschema:"description=aud of our assertion which the rule must ask for; default the endpoint and the rule's id"`
	// Subject follows <tenant>:<target> in the assertion's `sub`.
	Subject []string `yaml:"subject,omitempty" json:"subject,omitempty" jsonschema:"description=what follows tenant and target in sub: subject or attributes such as namespace; default: nothing"`
}

// Kind registers the provider.
func Kind() provider.Kind {
	return provider.Kind{Name: "anthropic", New: func() provider.Config { return new(Settings) }}
}

// Open makes the driver.
func (s *Settings) Open(d provider.Deps) (provider.Driver, error) {
	if d.Asserter == nil || d.HTTP == nil {
		return nil, errors.New("an anthropic target needs this issuer's assertions and a way out, and one of them is missing")
	}
	return newDriver(s, d)
}

// Facts says what the core must know.
func (s *Settings) Facts() exchange.Facts {
	return exchange.Facts{
		Method: "federation", MinTTL: minLife, MaxTTL: maxLife, Types: []exchange.TokenType{exchange.TokenTypeAccessToken},
	}
}

func (s *Settings) endpoint() string {
	if s.Endpoint != "" {
		return s.Endpoint
	}
	return defaultEndpoint
}

// audience is one of this target's own unless the operator says otherwise, so that
// an assertion for one rule is none for another (S2).
func (s *Settings) audience() string {
	if s.Audience != "" {
		return s.Audience
	}
	return s.endpoint() + "/federation/" + s.FederationRuleID
}

var (
	taggedForm = regexp.MustCompile(`^[a-zA-Z]+_[a-zA-Z0-9]{1,64}$`)
	uuidForm   = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

// Validate returns every fault.
func (s *Settings) Validate() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !taggedForm.MatchString(s.FederationRuleID) {
		fault("federation_rule_id: %q is no rule's id, such as fdrl_01ABC", s.FederationRuleID)
	}
	if !uuidForm.MatchString(s.OrganizationID) {
		fault("organization_id: %q is no organization's id: a UUID in lower case", s.OrganizationID)
	}
	if s.ServiceAccountID != "" && !taggedForm.MatchString(s.ServiceAccountID) {
		fault("service_account_id: %q is no service account's id, such as svac_01ABC", s.ServiceAccountID)
	}
	if s.WorkspaceID != "" && s.WorkspaceID != "default" && !taggedForm.MatchString(s.WorkspaceID) {
		fault("workspace_id: %q is neither default nor a workspace's id, such as wrkspc_01ABC", s.WorkspaceID)
	}
	if err := provider.CheckEndpoint(s.endpoint()); err != nil {
		fault("endpoint: %w", err)
	}
	if len(s.audience()) > 512 || !exchange.ValidScope(s.audience()) {
		fault("audience: at most 512 printable characters without space")
	}
	return append(faults, provider.CheckSubjectNames(s.Subject)...)
}
