package ibm

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

const defaultEndpoint = "https://iam.cloud.ibm.com"

// longestDefault is how long IAM's tokens live; a request cannot ask for less.
const longestDefault = time.Hour

// Method is how a token is asked for.
type Method string

// The methods.
const (
	MethodComputeResource Method = "compute_resource" // the workload's own token, which came as passthrough_token
	MethodAssume          Method = "assume"           // this house's identity, which assumes the profile
)

// Settings are a target's settings under the key `ibm`.
type Settings struct {
	Method Method `yaml:"method,omitempty" json:"method,omitempty" jsonschema:"enum=compute_resource,enum=assume,description=whose identity takes the profile: the workload's own on IKS or ROKS or this house's; default compute_resource"`
	// Exactly one of these names the trusted profile.
	ProfileID   string `yaml:"profile_id,omitempty" json:"profile_id,omitempty" jsonschema:"description=id of the trusted profile: Profile-…"`
	ProfileCRN  string `yaml:"profile_crn,omitempty" json:"profile_crn,omitempty" jsonschema:"description=CRN of the trusted profile"`
	ProfileName string `yaml:"profile_name,omitempty" json:"profile_name,omitempty" jsonschema:"description=name of the trusted profile; with assume account is needed too"`
	Account     string `yaml:"account,omitempty" json:"account,omitempty" jsonschema:"description=id of the account that the profile of that name is in"`
	// With assume exactly one of these is this house's identity.
	APIKey      provider.SecretRef `yaml:"api_key,omitempty" json:"api_key,omitempty" jsonschema:"description=with assume: API key of a service id: ${secret:NAME}"`
	CRTokenFile string             `yaml:"cr_token_file,omitempty" json:"cr_token_file,omitempty" jsonschema:"description=with assume: file of the compute resource token of the pod that this house runs in"`
	CRProfileID string             `yaml:"cr_profile_id,omitempty" json:"cr_profile_id,omitempty" jsonschema:"description=with cr_token_file: id of the profile that the pod itself may take"`

	Endpoint        string        `yaml:"endpoint,omitempty" json:"endpoint,omitempty" jsonschema:"description=https URL of IAM; default https://iam.cloud.ibm.com"`
	LongestLifetime time.Duration `yaml:"longest_lifetime,omitempty" json:"longest_lifetime,omitempty" jsonschema:"description=longest life that IAM gives; default 1h"`
	MayOutlive      bool          `yaml:"may_outlive,omitempty" json:"may_outlive,omitempty" jsonschema:"description=take tokens that live longer than what the exchange may give; IAM cannot shorten them"`
}

// Kind registers the provider.
func Kind() provider.Kind {
	return provider.Kind{Name: "ibm", New: func() provider.Config { return new(Settings) }}
}

// Open makes the driver.
func (s *Settings) Open(d provider.Deps) (provider.Driver, error) {
	if d.HTTP == nil {
		return nil, errors.New("an ibm target needs a way out, and there is none")
	}
	if s.APIKey != "" && d.Secret == nil {
		return nil, errors.New("an ibm target with an API key needs the house's secrets, and there are none")
	}
	return newDriver(s, d)
}

// Facts says what the core must know. IAM takes no wish for a lifetime: whatever is
// shorter than what it gives cannot be promised (S5).
func (s *Settings) Facts() exchange.Facts {
	return exchange.Facts{
		Method: string(s.method()), MayOutlive: s.MayOutlive, MinTTL: s.longest(), MaxTTL: s.longest(),
		Types: []exchange.TokenType{exchange.TokenTypeAccessToken},
	}
}

func (s *Settings) method() Method {
	if s.Method == "" {
		return MethodComputeResource
	}
	return s.Method
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

var (
	profileForm = regexp.MustCompile(`^Profile-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	crnForm     = regexp.MustCompile(`^crn:v1:[a-z0-9-]+:[a-z0-9-]+:iam-identity:[a-z0-9-]*:a/[0-9a-f]{32}::profile:Profile-[0-9a-f-]{36}$`)
	nameForm    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._-]{0,99}$`)
	accountForm = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// Validate returns every fault.
func (s *Settings) Validate() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	named := 0
	for _, name := range []string{s.ProfileID, s.ProfileCRN, s.ProfileName} {
		if name != "" {
			named++
		}
	}
	if named != 1 {
		fault("profile_id: name the trusted profile in one way: profile_id, profile_crn or profile_name")
	}
	if s.ProfileID != "" && !profileForm.MatchString(s.ProfileID) {
		fault("profile_id: %q is no trusted profile's id, such as Profile-00000000-0000-4000-8000-000000000000", s.ProfileID)
	}
	if s.ProfileCRN != "" && !crnForm.MatchString(s.ProfileCRN) {
		fault("profile_crn: %q is no trusted profile's CRN", s.ProfileCRN)
	}
	if s.ProfileName != "" && !nameForm.MatchString(s.ProfileName) {
		fault("profile_name: %q is no trusted profile's name", s.ProfileName)
	}
	if s.Account != "" && !accountForm.MatchString(s.Account) {
		fault("account: %q is no account's id: 32 hexadecimal digits", s.Account)
	}
	faults = append(faults, s.validateIdentity()...)
	if err := provider.CheckEndpoint(s.endpoint()); err != nil {
		fault("endpoint: %w", err)
	}
	if s.LongestLifetime != 0 && (s.LongestLifetime < time.Minute || s.LongestLifetime > 24*time.Hour) {
		fault("longest_lifetime: between 1m and 24h")
	}
	return faults
}

// validateIdentity checks what says whose identity takes the profile.
func (s *Settings) validateIdentity() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	switch s.method() {
	case MethodComputeResource:
		if s.APIKey != "" || s.CRTokenFile != "" || s.CRProfileID != "" {
			fault("method: api_key, cr_token_file and cr_profile_id are for assume; with compute_resource the workload brings its own token")
		}
		if s.Account != "" {
			fault("account: it is for assume; a compute resource's profile is in its own account")
		}
		return faults
	case MethodAssume:
	default:
		fault("method: %q is neither %s nor %s", s.Method, MethodComputeResource, MethodAssume)
		return faults
	}
	if (s.ProfileName != "") != (s.Account != "") {
		fault("account: with assume a profile is named by profile_name and account together, else account is left out")
	}
	switch {
	case (s.APIKey != "") == (s.CRTokenFile != ""):
		fault("api_key: with assume this house has one identity: api_key, or cr_token_file")
	case s.APIKey != "":
		if _, ok := s.APIKey.Name(); !ok {
			fault("api_key: name a secret of the server's configuration: ${secret:NAME}")
		}
		if s.CRProfileID != "" {
			fault("cr_profile_id: it goes with cr_token_file")
		}
	case !profileForm.MatchString(s.CRProfileID):
		fault("cr_profile_id: with cr_token_file, the id of the profile that the pod itself may take")
	}
	return faults
}
