package oci

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

// What the provider issues.
const (
	TokenTypeRPST    exchange.TokenType = "urn:oci:token-type:oci-rpst"
	TokenTypeUPST    exchange.TokenType = "urn:oci:token-type:oci-upst"
	TokenTypeSession exchange.TokenType = "urn:cambio:token-type:oci-signing-session"
)

// maxRPST is the longest life of an RPST.
const maxRPST = 12 * time.Hour

// Settings are a target's settings under the key `oci`.
type Settings struct {
	Domain       string             `yaml:"domain" json:"domain" jsonschema:"required,description=URL of the identity domain; scheme and host only"`
	Region       string             `yaml:"region" json:"region" jsonschema:"required,description=region that callers are told such as us-ashburn-1"`
	Tenancy      string             `yaml:"tenancy,omitempty" json:"tenancy,omitempty" jsonschema:"description=OCID of the tenancy that callers are told; default: what the token says"`
	ClientID     string             `yaml:"client_id,omitempty" json:"client_id,omitempty" jsonschema:"description=the domain's confidential application"`
	ClientSecret provider.SecretRef `yaml:"client_secret,omitempty" json:"client_secret,omitempty" jsonschema:"description=its secret as ${secret:NAME}"`
	Signed       Principal          `yaml:"signed,omitempty" json:"signed,omitempty" jsonschema:"enum=instance,enum=workload,enum=resource,description=sign the exchange with this principal of our own in place of a client secret"`
	Token        string             `yaml:"token,omitempty" json:"token,omitempty" jsonschema:"enum=rpst,enum=upst,description=what the domain issues; default rpst"`
	ResType      string             `yaml:"res_type,omitempty" json:"res_type,omitempty" jsonschema:"description=the trust's impersonatingResource; required for rpst"`
	Audience     string             `yaml:"audience,omitempty" json:"audience,omitempty" jsonschema:"description=aud of our assertion; default: domain"`
	// Subject follows <tenant>:<target> in the assertion's `sub`: the canonical
	// subject, or attributes of it.
	Subject []string `yaml:"subject,omitempty" json:"subject,omitempty" jsonschema:"description=what follows tenant and target in sub: subject or attributes such as namespace and service_account; default [subject]"`
	// Claims become claims of the assertion, for the trust's claimPropagations.
	Claims     map[string]string `yaml:"claims,omitempty" json:"claims,omitempty" jsonschema:"description=ext_ claims of the assertion from attributes; 3 at most"`
	MaxTTL     time.Duration     `yaml:"max_ttl,omitempty" json:"max_ttl,omitempty" jsonschema:"description=cap on the token's life (rpst_exp); default 12h; upst 10m"`
	MinTTL     time.Duration     `yaml:"min_ttl,omitempty" json:"min_ttl,omitempty" jsonschema:"description=shortest life that the domain gives; default: any"`
	MayOutlive bool              `yaml:"may_outlive,omitempty" json:"may_outlive,omitempty" jsonschema:"description=take tokens that live longer than what the exchange may give"`
	Signing    *Signing          `yaml:"signing,omitempty" json:"signing,omitempty" jsonschema:"description=hold signing sessions for callers that send no public_key"`
}

// Principal is one of our own process that signs the exchange.
type Principal string

// The principals.
const (
	PrincipalInstance Principal = "instance" // of the compute instance
	PrincipalWorkload Principal = "workload" // of the pod, on OKE
	PrincipalResource Principal = "resource" // OCI_RESOURCE_PRINCIPAL_*
)

// Kind registers the provider.
func Kind() provider.Kind {
	return provider.Kind{Name: "oci", New: func() provider.Config { return new(Settings) }}
}

// Facts says what the core must know.
func (s *Settings) Facts() exchange.Facts {
	f := exchange.Facts{MayOutlive: s.MayOutlive, MinTTL: s.MinTTL, MaxTTL: s.longest(), Types: []exchange.TokenType{s.issues()}}
	if s.Signing != nil {
		f.Types = append(f.Types, TokenTypeSession)
	}
	return f
}

func (s *Settings) issues() exchange.TokenType {
	if s.Token == "upst" {
		return TokenTypeUPST
	}
	return TokenTypeRPST
}

// longest is the cap on a token's life. A UPST ends with the assertion that it came
// of.
func (s *Settings) longest() time.Duration {
	longest := maxRPST
	if s.issues() == TokenTypeUPST {
		longest = exchange.MaxAssertionLifetime
	}
	if s.MaxTTL > 0 {
		longest = min(longest, s.MaxTTL)
	}
	return longest
}

func (s *Settings) audience() string {
	if s.Audience != "" {
		return s.Audience
	}
	return s.Domain
}

var (
	regionForm  = regexp.MustCompile(`^[a-z]{2,}(-[a-z0-9]+)+$`)
	tenancyForm = regexp.MustCompile(`^ocid1\.tenancy\.[a-z0-9-]+\.[a-z0-9-]*\.[a-z0-9]+$`)
	claimForm   = regexp.MustCompile(`^ext_[A-Za-z0-9_]{1,60}$`)
)

// Validate returns every fault.
func (s *Settings) Validate() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if err := checkDomain(s.Domain); err != nil {
		fault("domain: %w", err)
	}
	if !regionForm.MatchString(s.Region) {
		fault("region: %q is no region's name, such as us-ashburn-1", s.Region)
	}
	if s.Tenancy != "" && !tenancyForm.MatchString(s.Tenancy) {
		fault("tenancy: %q is no tenancy's OCID, such as ocid1.tenancy.oc1..aaaa", s.Tenancy)
	}
	faults = append(faults, s.clientFaults()...)
	switch {
	case s.Token != "" && s.Token != "rpst" && s.Token != "upst":
		fault("token: %q is neither rpst nor upst", s.Token)
	case s.issues() == TokenTypeRPST && !printable(s.ResType, 255):
		fault("res_type: name the trust's impersonatingResource, up to 255 printable characters: an rpst is for it")
	case s.issues() == TokenTypeUPST && s.ResType != "":
		fault("res_type: it goes with an rpst; leave it out with token: upst")
	}
	if s.Audience != "" && !printable(s.Audience, 1024) {
		fault("audience: up to 1024 printable characters without space")
	}
	faults = append(faults, provider.CheckSubjectNames(s.Subject)...)
	if len(s.Claims) > 3 {
		fault("claims: the domain takes 3 at most, and here are %d", len(s.Claims))
	}
	for claim, name := range s.Claims {
		if !claimForm.MatchString(claim) || len(provider.CheckSubjectNames([]string{name})) > 0 {
			fault("claims.%s: %q: a claim begins with ext_, and its value is subject or an attribute's name", claim, name)
		}
	}
	switch longest := s.longest(); {
	case s.MaxTTL < 0 || s.MaxTTL > 0 && s.MaxTTL < time.Second || s.MaxTTL > maxRPST:
		fault("max_ttl: 1s to 12h, not %v: the domain gives no more", s.MaxTTL)
	case s.issues() == TokenTypeUPST && s.MaxTTL > longest:
		fault("max_ttl: %v at most: a upst ends with the assertion that it came of", longest)
	case s.MinTTL < 0 || s.MinTTL > longest:
		fault("min_ttl: %v is over the longest life, %v", s.MinTTL, longest)
	}
	if s.Signing != nil {
		faults = append(faults, s.Signing.faults()...)
	}
	return faults
}

func (s *Settings) clientFaults() []error {
	var faults []error
	_, named := s.ClientSecret.Name()
	switch {
	case s.Signed != "" && (s.ClientID != "" || s.ClientSecret != ""):
		faults = append(faults, errors.New("signed: choose one: a signed exchange, or client_id with client_secret"))
	case s.Signed != "":
		if !slices.Contains([]Principal{PrincipalInstance, PrincipalWorkload, PrincipalResource}, s.Signed) {
			faults = append(faults, fmt.Errorf("signed: %q is none of instance, workload and resource", s.Signed))
		}
	case !printable(s.ClientID, 255) || strings.Contains(s.ClientID, ":"):
		faults = append(faults, errors.New("client_id: name the domain's confidential application, or say signed: instance"))
	case !named:
		faults = append(faults, errors.New("client_secret: write ${secret:NAME}, and list NAME with this domain's host in cambio.yaml"))
	}
	return faults
}

// checkDomain holds the URL to an origin: the SDK waits for seconds, and then blames
// the network, where there is more.
func checkDomain(domain string) error {
	if domain == "" {
		return errors.New("name the identity domain's URL, such as https://idcs-0123.identity.oraclecloud.com")
	}
	u, err := url.Parse(domain)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return fmt.Errorf("%q is no URL such as https://idcs-0123.identity.oraclecloud.com", domain)
	case u.Scheme != "https" && !(u.Scheme == "http" && exchange.LoopbackHost(u.Hostname())):
		return fmt.Errorf("%q must be https; plain http is for loopback hosts only", domain)
	case u.Scheme+"://"+strings.ToLower(u.Host) != domain:
		return fmt.Errorf("%q: write scheme and host alone, in lower case, without a slash at the end", domain)
	}
	return nil
}

// printable reports whether text has 1 to most bytes of printable ASCII, without
// space.
func printable(text string, most int) bool {
	return text != "" && len(text) <= most && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}
