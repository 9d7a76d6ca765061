package aws

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// What STS gives (AWS STS API Reference, AssumeRole and AssumeRoleWithWebIdentity).
const (
	minSession   = 15 * time.Minute
	maxSession   = 12 * time.Hour
	maxChained   = time.Hour
	minRoleLimit = time.Hour // the least that IAM takes as a role's own maximum
)

var (
	roleARN    = regexp.MustCompile(`^arn:(aws|aws-cn|aws-us-gov|aws-eusc):iam::[0-9]{12}:role/(?:[!-.0-~]{1,510}/)?[\w+=,.@-]{1,64}$`)
	externalID = regexp.MustCompile(`^[\w+=,.@:/-]{2,1000}[\w+=,.@:/-]{0,224}$`)
	prefix     = regexp.MustCompile(`^[\w=,.@-]{1,27}$`) // with "-" and an exchange id it has 64 characters
)

// partitions are the worlds of AWS, by how their regions are named.
var partitions = []struct {
	name   string
	region *regexp.Regexp
}{
	{"aws-cn", regexp.MustCompile(`^cn-` + compass)},
	{"aws-us-gov", regexp.MustCompile(`^us-gov-` + compass)},
	{"aws-eusc", regexp.MustCompile(`^eusc-de-` + compass)},
	{"aws", regexp.MustCompile(`^(af|ap|ca|eu|il|me|mx|sa|us)-` + compass)},
}

const compass = `(north|south|east|west|central|northeast|northwest|southeast|southwest)-[1-9][0-9]?$`

// partitionOf is the world that a region belongs to; empty: it is no region.
func partitionOf(region string) string {
	for _, p := range partitions {
		if p.region.MatchString(region) {
			return p.name
		}
	}
	return ""
}

// Validate returns every fault.
func (s *Settings) Validate() []error {
	var faults []error
	add := func(setting string, err error) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", setting, err))
		}
	}
	full := s.filled()
	add("role_arn", checkRole(full.RoleARN))
	add("region", checkRegion(full.Region, full.RoleARN))
	add("endpoint", checkEndpoint(full.Endpoint))
	add("method", oneOf(full.Method, MethodWebIdentity, MethodPassthrough, MethodAssumeRole))
	add("format", oneOf(full.Format, FormatCredentials, FormatBedrockKey))
	add("max_session", full.checkMaxSession())
	add("audience", full.checkAudience(s.Audience))
	if !prefix.MatchString(full.SessionPrefix) {
		add("session_prefix", errors.New("1 to 27 of letters, digits and _ = , . @ -"))
	}
	if len(full.Subject) > 0 && full.Method != MethodWebIdentity {
		add("subject", errors.New("only web_identity has an assertion: leave it out"))
	}
	faults = append(faults, provider.CheckSubjectNames(full.Subject)...)
	if full.ExternalID != "" {
		switch {
		case full.Method != MethodAssumeRole:
			add("external_id", errors.New("only assume_role sends it: leave it out"))
		case !externalID.MatchString(full.ExternalID):
			add("external_id", errors.New("2 to 1224 of letters, digits and _ + = , . @ : / -"))
		}
	}
	full.checkSession(add)
	full.checkPolicies(add)
	return faults
}

func checkRole(arn string) error {
	if !roleARN.MatchString(arn) {
		return errors.New("write the role's ARN, such as arn:aws:iam::123456789012:role/llm")
	}
	return nil
}

func checkRegion(region, role string) error {
	partition := partitionOf(region)
	if partition == "" {
		return fmt.Errorf("%q is no region: write one such as eu-west-1, whose STS is asked", region)
	}
	if roleARN.MatchString(role) && !strings.HasPrefix(role, "arn:"+partition+":") {
		return fmt.Errorf("%s is a region of the partition %s, and the role's ARN is of another", region, partition)
	}
	return nil
}

// checkEndpoint takes a URL with a host and nothing else. An assertion goes there, so
// it is https in any case.
func checkEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return errors.New("write the URL of an STS endpoint, such as https://sts-fips.us-east-1.amazonaws.com")
	case u.Scheme != "https":
		return errors.New("it must be https: what proves an identity is sent there")
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(endpoint, "#") || strings.Trim(u.EscapedPath(), "/") != "":
		return errors.New("a host, with a port at most: leave user, path, query and fragment out")
	case strings.ToLower(u.Host) != u.Host:
		return errors.New("write the host in lower case")
	}
	return nil
}

func oneOf(value string, known ...string) error {
	if slices.Contains(known, value) {
		return nil
	}
	return fmt.Errorf("%q is none of %s", value, strings.Join(known, ", "))
}

func (s *Settings) checkMaxSession() error {
	switch {
	case s.MaxSession < minRoleLimit || s.MaxSession > maxSession:
		return fmt.Errorf("IAM takes %s to %s as a role's maximum session duration", minRoleLimit, maxSession)
	case s.MaxSession%time.Second != 0:
		return errors.New("whole seconds")
	case s.Method == MethodAssumeRole && s.MaxSession > maxChained:
		return fmt.Errorf("a role that is assumed from a role gets %s at most (role chaining): use web_identity for longer sessions", maxChained)
	}
	return nil
}

func (s *Settings) checkAudience(written string) error {
	switch {
	case s.Method != MethodWebIdentity && written != "":
		return errors.New("only web_identity has an assertion: leave it out")
	case len(s.Audience) > 255 || strings.ContainsFunc(s.Audience, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return errors.New("at most 255 characters without spaces")
	}
	return nil
}

// checkSession looks at what a session carries of its subject.
func (s *Settings) checkSession(add func(string, error)) {
	if s.Method == MethodPassthrough {
		if len(s.Tags) > 0 {
			add("tags", errors.New("a token that is passed through brings its own tags or none: use web_identity"))
		}
		if s.SourceIdentity != nil {
			add("source_identity", errors.New("a token that is passed through brings its own or none: use web_identity"))
		}
	}
	if s.SourceIdentity != nil {
		add("source_identity", s.SourceIdentity.fault())
		if s.SourceIdentity.Fixed != "" {
			_, err := identity(s.SourceIdentity.Fixed)
			add("source_identity", err)
		}
	}
	if len(s.Tags) > maxSessionTags {
		add("tags", fmt.Errorf("at most %d tags", maxSessionTags))
	}
	folded := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(s.Tags)) {
		at := "tags." + key
		add(at, checkTagKey(key))
		if other, twice := folded[strings.ToLower(key)]; twice {
			add(at, fmt.Errorf("AWS does not tell it from %q: keys differ by more than case", other))
		}
		folded[strings.ToLower(key)] = key
		add(at, s.Tags[key].fault())
		if fixed := s.Tags[key].Fixed; fixed != "" {
			_, err := tagValue(fixed)
			add(at, err)
		}
	}
	for i, key := range s.TransitiveTags {
		at := fmt.Sprintf("transitive_tags[%d]", i)
		if _, ok := s.Tags[key]; !ok {
			add(at, fmt.Errorf("%q is not among the tags", key))
		}
		if slices.Contains(s.TransitiveTags[:i], key) {
			add(at, fmt.Errorf("%q is listed twice", key))
		}
	}
}

func checkTagKey(key string) error {
	switch {
	case key == "" || len([]rune(key)) > maxTagKey || strings.ContainsFunc(key, func(r rune) bool { return !tagRune(r) }):
		return fmt.Errorf("a tag's key has 1 to %d letters, digits, spaces and _ . : / = + - @", maxTagKey)
	case strings.HasPrefix(strings.ToLower(key), "aws:"):
		return errors.New("keys that begin with aws: are AWS's own")
	}
	return nil
}

func (s *Settings) checkPolicies(add func(string, error)) {
	checkPolicy := func(at, text string, arns []string) {
		if text != "" {
			_, err := readPolicy(text)
			add(at+"policy", err)
		}
		for i, arn := range arns {
			if !policyARN.MatchString(arn) {
				add(fmt.Sprintf("%spolicy_arns[%d]", at, i), fmt.Errorf("%q is not the ARN of a managed policy", arn))
			}
		}
	}
	checkPolicy("", s.Policy, s.PolicyARNs)
	for _, name := range slices.Sorted(maps.Keys(s.Scopes)) {
		scope, at := s.Scopes[name], "scopes."+name+"."
		if !exchange.ValidScope(name) {
			add("scopes."+name, errors.New("a scope is printable ASCII without space, quote and backslash"))
		}
		if scope.Policy == "" && len(scope.PolicyARNs) == 0 {
			add("scopes."+name, errors.New("say the policy or policy_arns that it stands for"))
		}
		checkPolicy(at, scope.Policy, scope.PolicyARNs)
	}
	// Session policies add to each other: one beside the scopes would give what no
	// scope was granted for.
	if len(s.Scopes) > 0 && (s.Policy != "" || len(s.PolicyARNs) > 0) {
		add("scopes", errors.New("a policy of the target would hold beside that of each scope: write it into the scopes, and leave policy and policy_arns out"))
	}
	whole, err := s.policyFor(slices.Sorted(maps.Keys(s.Scopes)))
	if err != nil {
		return // said above, where it stands
	}
	at := "policy"
	if len(s.Scopes) > 0 {
		at = "scopes"
	}
	add(at, whole.fault())
}
