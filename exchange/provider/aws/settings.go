package aws

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// What the driver issues.
const (
	// TokenTypeCredentials is the JSON document that `credential_process` prints
	// (AWS SDKs and Tools Reference Guide, "Process credential provider").
	TokenTypeCredentials exchange.TokenType = "urn:cambio:token-type:aws-credentials"
	// TokenTypeBedrockKey is a short-term Amazon Bedrock API key.
	TokenTypeBedrockKey exchange.TokenType = "urn:cambio:token-type:bedrock-api-key"
)

// The methods: how STS comes to believe who asks.
const (
	MethodWebIdentity = "web_identity"
	MethodPassthrough = "passthrough"
	MethodAssumeRole  = "assume_role"
)

// The formats: what the caller takes home.
const (
	FormatCredentials = "credentials"
	FormatBedrockKey  = "bedrock_api_key"
)

// DefaultAudience is what AWS documents as the audience for web identities.
const DefaultAudience = "sts.amazonaws.com"

// Settings are a target's settings under the key `aws`.
type Settings struct {
	RoleARN string `yaml:"role_arn" json:"role_arn" jsonschema:"required,description=ARN of the IAM role to assume\\, such as arn:aws:iam::123456789012:role/llm"`
	Region  string `yaml:"region" json:"region" jsonschema:"required,description=AWS region whose STS is asked\\, such as eu-west-1; aws-global is none"`
	// Endpoint is an STS of its own address: an interface endpoint (PrivateLink), a
	// FIPS endpoint or a stand-in.
	Endpoint string `yaml:"endpoint,omitempty" json:"endpoint,omitempty" jsonschema:"description=https URL of a private or FIPS STS endpoint; default: the region's own"`
	Method   string `yaml:"method,omitempty" json:"method,omitempty" jsonschema:"enum=web_identity,enum=passthrough,enum=assume_role,description=How STS is asked; default web_identity"`
	Format   string `yaml:"format,omitempty" json:"format,omitempty" jsonschema:"enum=credentials,enum=bedrock_api_key,description=What is handed out; default credentials"`
	// MaxSession is the role's own "maximum session duration" in IAM, which STS
	// enforces and does not tell.
	MaxSession time.Duration `yaml:"max_session,omitempty" json:"max_session,omitempty" jsonschema:"description=The role's maximum session duration as IAM has it\\, 1h to 12h; default 1h"`
	MayOutlive bool          `yaml:"may_outlive,omitempty" json:"may_outlive,omitempty" jsonschema:"description=Allow sessions that outlive what they were asked with: STS gives none under 15m. The excess is on record"`

	Audience string `yaml:"audience,omitempty" json:"audience,omitempty" jsonschema:"description=Audience of the assertion\\, a client id of the IAM OIDC provider; default sts.amazonaws.com"`
	// Subject is the issuer's syntax for what follows tenant and target (S2).
	Subject []string `yaml:"subject,omitempty" json:"subject,omitempty" jsonschema:"description=What follows <tenant>:<target> in the assertion's sub: subject for the canonical name\\, or attributes; default nothing"`

	SessionPrefix  string            `yaml:"session_prefix,omitempty" json:"session_prefix,omitempty" jsonschema:"description=Begins the role session name; the exchange id follows. Default cambio"`
	SourceIdentity *Source           `yaml:"source_identity,omitempty" json:"source_identity,omitempty" jsonschema:"description=The session's source identity; default none"`
	Tags           map[string]Source `yaml:"tags,omitempty" json:"tags,omitempty" jsonschema:"description=Session tags by key"`
	TransitiveTags []string          `yaml:"transitive_tags,omitempty" json:"transitive_tags,omitempty" jsonschema:"description=Keys of tags that stay through role chaining"`
	ExternalID     string            `yaml:"external_id,omitempty" json:"external_id,omitempty" jsonschema:"description=External id that the role's trust policy asks for; assume_role only"`

	Policy     string           `yaml:"policy,omitempty" json:"policy,omitempty" jsonschema:"description=Inline session policy\\, a JSON text: sessions get what it and the role both allow"`
	PolicyARNs []string         `yaml:"policy_arns,omitempty" json:"policy_arns,omitempty" jsonschema:"description=ARNs of managed session policies\\, at most 10"`
	Scopes     map[string]Scope `yaml:"scopes,omitempty" json:"scopes,omitempty" jsonschema:"description=Scopes that the target offers\\, each with the session policy that it stands for; excludes policy and policy_arns"`
}

// Scope is the session policy that one scope stands for. A session has the union of
// the scopes that were granted, and nothing with none.
type Scope struct {
	Policy     string   `yaml:"policy,omitempty" json:"policy,omitempty" jsonschema:"description=Inline session policy\\, a JSON text"`
	PolicyARNs []string `yaml:"policy_arns,omitempty" json:"policy_arns,omitempty" jsonschema:"description=ARNs of managed session policies"`
}

// Source says where a text in a session comes from: exactly one of its members is
// set.
type Source struct {
	Attribute string `yaml:"attribute,omitempty" json:"attribute,omitempty" jsonschema:"description=An attribute of the subject\\, which must have one value"`
	Fixed     string `yaml:"fixed,omitempty" json:"fixed,omitempty" jsonschema:"description=This very text"`
	From      string `yaml:"from,omitempty" json:"from,omitempty" jsonschema:"enum=subject,enum=actor,enum=client,enum=rule,description=A fact of the exchange: canonical subject\\, proven actor\\, registered client or rule"`
}

// Kind registers the provider.
func Kind() provider.Kind {
	return provider.Kind{Name: "aws", New: func() provider.Config { return new(Settings) }}
}

// filled are the settings with their defaults.
func (s *Settings) filled() Settings {
	out := *s
	for _, d := range []struct {
		at    *string
		value string
	}{
		{&out.Method, MethodWebIdentity}, {&out.Format, FormatCredentials}, {&out.Audience, DefaultAudience},
		{&out.SessionPrefix, "cambio"},
	} {
		if *d.at == "" {
			*d.at = d.value
		}
	}
	if out.MaxSession == 0 {
		out.MaxSession = time.Hour
	}
	return out
}

// Open makes the driver. Credentials of this process, which assume_role uses, are
// looked for when they are first needed.
func (s *Settings) Open(d provider.Deps) (provider.Driver, error) {
	if d.HTTP == nil {
		return nil, errors.New("an aws target needs a way out to STS, and there is none")
	}
	full := s.filled()
	if full.Method == MethodWebIdentity && d.Asserter == nil {
		return nil, errors.New("an aws target with method web_identity needs the federation issuer, and there is none")
	}
	return newDriver(full, d)
}

// Facts says what the core must know. A Bedrock key is signed here and may live
// shorter than the session behind it, so that only sessions have a least lifetime.
func (s *Settings) Facts() exchange.Facts {
	full := s.filled()
	f := exchange.Facts{MayOutlive: full.MayOutlive, MaxTTL: full.MaxSession, Types: []exchange.TokenType{TokenTypeCredentials}}
	if full.Format == FormatBedrockKey {
		f.Types = []exchange.TokenType{TokenTypeBedrockKey}
	} else {
		f.MinTTL = minSession
		if !full.MayOutlive {
			f.MinTTL += leastSlack
		}
	}
	if len(full.Scopes) > 0 {
		f.Scopes = slices.Sorted(maps.Keys(full.Scopes))
	}
	return f
}
