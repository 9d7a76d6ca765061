package gcp

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// Token is what a target vends.
type Token string

// The tokens.
const (
	TokenAccess Token = "access_token"
	TokenID     Token = "id_token" // of a service account, for one audience
)

// Where Google answers, and what a target can reach unless its scopes say otherwise.
const (
	stsURL        = "https://sts.googleapis.com"
	iamURL        = "https://iamcredentials.googleapis.com"
	cloudPlatform = "https://www.googleapis.com/auth/cloud-platform"
)

// Lifetimes (IAM documentation, "Create short-lived credentials for a service
// account"). What is not impersonated lives as long as Google likes.
const (
	fixedLife    = time.Hour
	longestLife  = time.Hour
	extendedLife = 12 * time.Hour
)

// Limits of Credential Access Boundaries.
const (
	maxRules    = 10
	maxBoundary = 2048 // characters of the whole, as JSON
)

// Settings are a target's settings under the key `gcp`.
type Settings struct {
	Provider       string   `yaml:"provider" json:"provider" jsonschema:"required,description=pool provider: projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER"`
	ServiceAccount string   `yaml:"service_account,omitempty" json:"service_account,omitempty" jsonschema:"description=email of the service account to impersonate; default: none; callers use the federated identity itself"`
	Token          Token    `yaml:"token,omitempty" json:"token,omitempty" jsonschema:"enum=access_token,enum=id_token,description=what is vended; default access_token"`
	Audience       string   `yaml:"audience,omitempty" json:"audience,omitempty" jsonschema:"description=aud of the id_token"`
	IncludeEmail   bool     `yaml:"include_email,omitempty" json:"include_email,omitempty" jsonschema:"description=put the service account's email into the id_token"`
	Scopes         []string `yaml:"scopes,omitempty" json:"scopes,omitempty" jsonschema:"description=every OAuth scope of an access_token; default https://www.googleapis.com/auth/cloud-platform"`
	Delegates      []string `yaml:"delegates,omitempty" json:"delegates,omitempty" jsonschema:"description=emails of service accounts between the federated identity and service_account; first the one that is impersonated first"`
	// Extended says that the organization lets tokens of the account live 12 hours.
	Extended       bool   `yaml:"extended,omitempty" json:"extended,omitempty" jsonschema:"description=iam.allowServiceAccountCredentialLifetimeExtension holds for the service account: up to 12h in place of 1h"`
	AccessBoundary []Rule `yaml:"access_boundary,omitempty" json:"access_boundary,omitempty" jsonschema:"description=Credential Access Boundary: what of Cloud Storage the token opens and nothing else"`
	UserProject    string `yaml:"user_project,omitempty" json:"user_project,omitempty" jsonschema:"description=project billed for a workforce pool's calls"`
	// ActorProvider turns actor tokens on.
	ActorProvider string `yaml:"actor_provider,omitempty" json:"actor_provider,omitempty" jsonschema:"description=pool provider by which Google verifies who acts; an assertion for the proven actor goes along; default: none does"`
	// AssertionAudience is the assertion's `aud`.
	AssertionAudience string `yaml:"assertion_audience,omitempty" json:"assertion_audience,omitempty" jsonschema:"description=aud of our assertion; one of the provider's allowed audiences; default: the provider's https URL"`
	// Subject follows <tenant>:<target> in the assertion's `sub`.
	Subject    []string `yaml:"subject,omitempty" json:"subject,omitempty" jsonschema:"description=what follows tenant and target in sub: subject or attributes such as namespace; default: nothing"`
	MayOutlive bool     `yaml:"may_outlive,omitempty" json:"may_outlive,omitempty" jsonschema:"description=take tokens that live longer than what the exchange may give"`
	STSURL     string   `yaml:"sts_url,omitempty" json:"sts_url,omitempty" jsonschema:"description=https URL of the Security Token Service; scheme and host only; default https://sts.googleapis.com"`
	IAMURL     string   `yaml:"iam_url,omitempty" json:"iam_url,omitempty" jsonschema:"description=https URL of the IAM Service Account Credentials API; scheme and host only; default https://iamcredentials.googleapis.com"`
}

// Rule is one rule of a Credential Access Boundary.
type Rule struct {
	AvailableResource     string     `yaml:"available_resource" json:"availableResource" jsonschema:"required,description=//storage.googleapis.com/projects/_/buckets/BUCKET"`
	AvailablePermissions  []string   `yaml:"available_permissions" json:"availablePermissions" jsonschema:"required,description=such as inRole:roles/storage.objectViewer"`
	AvailabilityCondition *Condition `yaml:"availability_condition,omitempty" json:"availabilityCondition,omitempty" jsonschema:"description=a CEL condition on the object's name"`
}

// Condition narrows a rule.
type Condition struct {
	Expression  string `yaml:"expression" json:"expression" jsonschema:"required,description=CEL"`
	Title       string `yaml:"title,omitempty" json:"title,omitempty" jsonschema:"description=for people"`
	Description string `yaml:"description,omitempty" json:"description,omitempty" jsonschema:"description=for people"`
}

// Kind registers the provider.
func Kind() provider.Kind {
	return provider.Kind{Name: "gcp", New: func() provider.Config { return new(Settings) }}
}

// Open makes the driver.
func (s *Settings) Open(d provider.Deps) (provider.Driver, error) {
	if d.Asserter == nil || d.HTTP == nil {
		return nil, errors.New("a gcp target needs this issuer's assertions and a way out, and one of them is missing")
	}
	return newDriver(s, d)
}

// Facts says what the core must know: an access token of a service account lives as
// long as it is asked to; everything else an hour, whatever is asked (S5).
func (s *Settings) Facts() exchange.Facts {
	f := exchange.Facts{MayOutlive: s.MayOutlive, MaxTTL: longestLife, Types: []exchange.TokenType{exchange.TokenTypeAccessToken}}
	switch {
	case s.Token == TokenID:
		f.Types = []exchange.TokenType{exchange.TokenTypeIDToken}
		f.MinTTL = fixedLife
	case s.ServiceAccount == "":
		f.Scopes, f.MinTTL = s.scopes(), fixedLife
	default:
		f.Scopes = s.scopes()
		if s.Extended {
			f.MaxTTL = extendedLife
		}
	}
	return f
}

func (s *Settings) scopes() []string {
	if len(s.Scopes) > 0 {
		return s.Scopes
	}
	return []string{cloudPlatform}
}

func or(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}

// assertionAudience is what a provider without allowed audiences of its own takes:
// its own name as a URL. So each provider has an audience of its own (S2).
func (s *Settings) assertionAudience() string {
	return or(s.AssertionAudience, "https://iam.googleapis.com/"+s.Provider)
}

var (
	workload = regexp.MustCompile(`^projects/[0-9]{1,20}/locations/global/workloadIdentityPools/[a-z0-9-]{4,32}/providers/[a-z0-9-]{4,32}$`)
	// A workforce pool belongs to an organization.
	workforce = regexp.MustCompile(`^locations/global/workforcePools/[a-z0-9-]{6,63}/providers/[a-z0-9-]{4,32}$`)
	email     = regexp.MustCompile(`^[a-z0-9-]{1,63}@[a-z0-9.-]{1,190}\.gserviceaccount\.com$`)
	project   = regexp.MustCompile(`^[a-z0-9:.-]{1,63}$`)
	bucket    = regexp.MustCompile(`^//storage\.googleapis\.com/projects/_/buckets/[a-z0-9._-]{3,222}$`)
)

// Validate returns every fault.
func (s *Settings) Validate() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !workload.MatchString(s.Provider) && !workforce.MatchString(s.Provider) {
		fault("provider: %q is no pool provider: projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER", s.Provider)
	}
	if s.ServiceAccount != "" && !email.MatchString(s.ServiceAccount) {
		fault("service_account: %q is no service account's email", s.ServiceAccount)
	}
	faults = append(faults, s.tokenFaults()...)
	for i, d := range s.Delegates {
		if !email.MatchString(d) {
			fault("delegates[%d]: %q is no service account's email", i, d)
		}
	}
	if s.ServiceAccount == "" {
		for name, set := range map[string]bool{"delegates": len(s.Delegates) > 0, "extended": s.Extended, "access_boundary": len(s.AccessBoundary) > 0} {
			if set {
				fault("%s: it goes with a service_account", name)
			}
		}
	}
	faults = append(faults, s.boundaryFaults()...)
	switch {
	case s.UserProject == "":
	case !workforce.MatchString(s.Provider):
		fault("user_project: it goes with a workforce pool")
	case !project.MatchString(s.UserProject):
		fault("user_project: %q is no project's id or number", s.UserProject)
	}
	if s.ActorProvider != "" && !workload.MatchString(s.ActorProvider) && !workforce.MatchString(s.ActorProvider) {
		fault("actor_provider: %q is no pool provider", s.ActorProvider)
	}
	if len(s.assertionAudience()) > 256 || !exchange.ValidScope(s.assertionAudience()) {
		fault("assertion_audience: at most 256 printable characters without space")
	}
	for name, base := range map[string]string{"sts_url": or(s.STSURL, stsURL), "iam_url": or(s.IAMURL, iamURL)} {
		if u, err := url.Parse(base); err != nil || u.Scheme != "https" || u.Host == "" || base != "https://"+strings.ToLower(u.Host) {
			fault("%s: %q is not https:// and a host in lower case, and nothing else", name, base)
		}
	}
	return append(faults, provider.CheckSubjectNames(s.Subject)...)
}

func (s *Settings) tokenFaults() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	switch s.Token {
	case "", TokenAccess:
		if s.Audience != "" || s.IncludeEmail {
			fault("audience: it and include_email go with token: id_token; the assertion's is assertion_audience")
		}
		seen := map[string]bool{}
		for i, scope := range s.Scopes {
			if !exchange.ValidScope(scope) || len(scope) > 256 || seen[scope] {
				fault("scopes[%d]: %q is no scope, or is listed twice", i, scope)
			}
			seen[scope] = true
		}
	case TokenID:
		if s.ServiceAccount == "" {
			fault("token: an id_token is of a service_account, and there is none")
		}
		if s.Audience == "" || len(s.Audience) > 512 || !exchange.ValidScope(s.Audience) {
			fault("audience: name whom the id_token is for, in at most 512 printable characters without space")
		}
		if len(s.Scopes) > 0 || s.Extended || len(s.AccessBoundary) > 0 {
			fault("token: an id_token has no scopes, no access_boundary and lives an hour")
		}
	default:
		fault("token: %q is neither %s nor %s", s.Token, TokenAccess, TokenID)
	}
	return faults
}

func (s *Settings) boundaryFaults() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(s.AccessBoundary) > maxRules {
		fault("access_boundary: at most %d rules", maxRules)
	}
	for i, r := range s.AccessBoundary {
		if !bucket.MatchString(r.AvailableResource) {
			fault("access_boundary[%d]: available_resource is a bucket of Cloud Storage, which alone knows boundaries: //storage.googleapis.com/projects/_/buckets/BUCKET", i)
		}
		for _, p := range r.AvailablePermissions {
			if !strings.HasPrefix(p, "inRole:") {
				fault("access_boundary[%d]: %q is no role: write inRole:roles/…", i, p)
			}
		}
		if len(r.AvailablePermissions) == 0 {
			fault("access_boundary[%d]: available_permissions are missing", i)
		}
	}
	if len(s.AccessBoundary) > 0 && len(s.boundary()) > maxBoundary {
		fault("access_boundary: at most %d characters, and it has %d", maxBoundary, len(s.boundary()))
	}
	return faults
}
