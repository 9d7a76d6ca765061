package azure

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// Method is how a token is asked for.
type Method string

// The methods.
const (
	MethodClientAssertion Method = "client_assertion" // a token of the application itself
	MethodOnBehalfOf      Method = "on_behalf_of"     // a token of the user whose Entra token came along
)

// publicAuthority is Entra of the public cloud.
const publicAuthority = "https://login.microsoftonline.com"

// audiences are what federated credentials ask for, by authority: each national
// cloud has its own (Microsoft Entra, "Workload identity federation").
var audiences = map[string]string{
	publicAuthority:                            "api://AzureADTokenExchange",
	"https://login.microsoftonline.us":         "api://AzureADTokenExchangeUSGov",
	"https://login.partner.microsoftonline.cn": "api://AzureADTokenExchangeChina",
}

// longestDefault is the longest that Entra gives where no token lifetime policy says
// otherwise: it draws between 60 and 90 minutes (Microsoft identity platform,
// "Configurable token lifetimes").
const longestDefault = 90 * time.Minute

// Settings are a target's settings under the key `azure`.
type Settings struct {
	TenantID string `yaml:"tenant_id" json:"tenant_id" jsonschema:"required,description=directory (tenant) id; or a domain name of the tenant"`
	ClientID string `yaml:"client_id" json:"client_id" jsonschema:"required,description=application (client) id of the app registration or managed identity that trusts this issuer"`
	// Scope is the one resource that tokens are for.
	Scope     string `yaml:"scope" json:"scope" jsonschema:"required,description=one resource followed by /.default such as https://cognitiveservices.azure.com/.default"`
	Method    Method `yaml:"method,omitempty" json:"method,omitempty" jsonschema:"enum=client_assertion,enum=on_behalf_of,description=whose token it is: the application's or the user's; default client_assertion"`
	Authority string `yaml:"authority,omitempty" json:"authority,omitempty" jsonschema:"description=https URL of Entra; scheme and host only; default https://login.microsoftonline.com"`
	Audience  string `yaml:"audience,omitempty" json:"audience,omitempty" jsonschema:"description=aud of our assertion; default by authority: api://AzureADTokenExchange or that of the national cloud"`
	// Subject follows <tenant>:<target> in the assertion's `sub`.
	Subject []string `yaml:"subject,omitempty" json:"subject,omitempty" jsonschema:"description=what follows tenant and target in sub: subject or attributes such as namespace; default: nothing since an application has 20 federated credentials at most"`
	// LongestLifetime is the longest life that the tenant gives its tokens.
	LongestLifetime time.Duration `yaml:"longest_lifetime,omitempty" json:"longest_lifetime,omitempty" jsonschema:"description=longest life that the tenant gives tokens of this resource; default 90m"`
	MayOutlive      bool          `yaml:"may_outlive,omitempty" json:"may_outlive,omitempty" jsonschema:"description=take tokens that live longer than what the exchange may give; Entra cannot shorten them"`
}

// Kind registers the provider.
func Kind() provider.Kind {
	return provider.Kind{Name: "azure", New: func() provider.Config { return new(Settings) }}
}

// Open makes the driver.
func (s *Settings) Open(d provider.Deps) (provider.Driver, error) {
	if d.Asserter == nil || d.HTTP == nil {
		return nil, errors.New("an azure target needs this issuer's assertions and a way out, and one of them is missing")
	}
	// azidentity reads it whatever it is told, and would ask another host.
	if os.Getenv(regionVariable) != "" {
		return nil, errors.New("the environment sets " + regionVariable + ", which moves token requests to another host: unset it")
	}
	return newDriver(s, d)
}

const regionVariable = "AZURE_REGIONAL_AUTHORITY_NAME"

// Facts says what the core must know. Entra chooses a lifetime itself and takes no
// wish: whatever is shorter than the longest that it may choose cannot be promised
// (S5).
func (s *Settings) Facts() exchange.Facts {
	return exchange.Facts{
		Scopes: []string{s.Scope}, MayOutlive: s.MayOutlive, MinTTL: s.longest(), MaxTTL: s.longest(),
		Types: []exchange.TokenType{exchange.TokenTypeAccessToken},
	}
}

func (s *Settings) longest() time.Duration {
	if s.LongestLifetime > 0 {
		return s.LongestLifetime
	}
	return longestDefault
}

func (s *Settings) authority() string {
	if s.Authority != "" {
		return s.Authority
	}
	return publicAuthority
}

func (s *Settings) audience() string {
	if s.Audience != "" {
		return s.Audience
	}
	if known, ok := audiences[s.authority()]; ok {
		return known
	}
	return audiences[publicAuthority]
}

var (
	guidForm   = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	domainForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,62}\.)+[a-z]{2,63}$`)
)

// Validate returns every fault.
func (s *Settings) Validate() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !guidForm.MatchString(s.TenantID) && (len(s.TenantID) > 253 || !domainForm.MatchString(s.TenantID)) {
		fault("tenant_id: %q is neither a directory's id (a GUID) nor its domain, such as contoso.onmicrosoft.com", s.TenantID)
	}
	if !guidForm.MatchString(s.ClientID) {
		fault("client_id: %q is no application (client) id: a GUID", s.ClientID)
	}
	if err := checkScope(s.Scope); err != nil {
		fault("scope: %w", err)
	}
	switch s.Method {
	case "", MethodClientAssertion, MethodOnBehalfOf:
	default:
		fault("method: %q is neither %s nor %s", s.Method, MethodClientAssertion, MethodOnBehalfOf)
	}
	if err := checkAuthority(s.authority()); err != nil {
		fault("authority: %w", err)
	}
	if len(s.audience()) > 600 || !exchange.ValidScope(s.audience()) {
		fault("audience: at most 600 printable characters without space")
	}
	if s.LongestLifetime != 0 && (s.LongestLifetime < 10*time.Minute || s.LongestLifetime > 24*time.Hour) {
		fault("longest_lifetime: Entra gives between 10m and 24h")
	}
	return append(faults, provider.CheckSubjectNames(s.Subject)...)
}

// checkScope: the client credentials grant knows nothing narrower than everything
// that was consented to for one resource.
func checkScope(scope string) error {
	resource, whole := strings.CutSuffix(scope, "/.default")
	switch {
	case !whole || resource == "":
		return fmt.Errorf("%q is not one resource followed by /.default, such as https://cognitiveservices.azure.com/.default", scope)
	case len(scope) > 512 || !exchange.ValidScope(scope):
		return errors.New("at most 512 printable characters without space")
	}
	return nil
}

func checkAuthority(authority string) error {
	u, err := url.Parse(authority)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || authority != "https://"+strings.ToLower(u.Host) {
		return fmt.Errorf("%q is not https:// and a host in lower case, and nothing else", authority)
	}
	return nil
}
