package awssandbox

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of STS (AWS STS API Reference; IAM User Guide, "IAM and AWS STS quotas").
const (
	minDuration = 900
	maxDuration = 43200
	maxChained  = time.Hour
	maxPolicies = 2048 // characters of session policies in all
	maxARNs     = 10
	maxTags     = 50
	maxKey      = 128
	maxValue    = 256
	maxPacked   = 4096 // bytes of policies and tags together, here
)

var (
	sessionName = regexp.MustCompile(`^[\w+=,.@-]*$`)
	assumeARN   = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$`)
)

// asked are the parameters that both ways of assuming a role have.
type asked struct {
	role     string
	name     string
	duration time.Duration
	policies []*policy
	packed   int // percent
	size     int // bytes of policies
}

func invalid(format string, args ...any) *refusal {
	return refuse(http.StatusBadRequest, "ValidationError", format, args...)
}

func constraint(value, at, must string) *refusal {
	return invalid("1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must %s", value, at, must)
}

// readAsked checks the parameters as far as no role is needed for it.
func (s *Server) readAsked(form url.Values) (asked, *refusal) {
	a := asked{role: form.Get("RoleArn"), name: form.Get("RoleSessionName"), duration: time.Hour}
	switch {
	case !assumeARN.MatchString(a.role) || len(a.role) > 2048:
		return a, invalid("%s is invalid", a.role)
	case !sessionName.MatchString(a.name):
		return a, constraint(a.name, "roleSessionName", `satisfy regular expression pattern: [\w+=,.@-]*`)
	case len(a.name) > 64:
		return a, constraint(a.name, "roleSessionName", "have length less than or equal to 64")
	case len(a.name) < 2:
		return a, constraint(a.name, "roleSessionName", "have length greater than or equal to 2")
	}
	if text := form.Get("DurationSeconds"); text != "" {
		seconds, err := strconv.Atoi(text)
		switch {
		case err != nil:
			return a, invalid("DurationSeconds is no number")
		case seconds < minDuration:
			return a, constraint(text, "durationSeconds", "have value greater than or equal to 900")
		case seconds > maxDuration:
			return a, constraint(text, "durationSeconds", "have value less than or equal to 43200")
		}
		a.duration = time.Duration(seconds) * time.Second
	}
	return s.readPolicies(a, form)
}

func (s *Server) readPolicies(a asked, form url.Values) (asked, *refusal) {
	inline := form.Get("Policy")
	a.size = utf8.RuneCountInString(inline)
	if a.size > maxPolicies {
		return a, constraint("…", "policy", "have length less than or equal to 2048")
	}
	if inline != "" {
		p, err := readPolicy(inline)
		if err != nil || !p.forSession() {
			return a, refuse(http.StatusBadRequest, "MalformedPolicyDocument", "The policy is not in the valid JSON format.")
		}
		a.policies = append(a.policies, p)
	}
	arns := members(form, "PolicyArns", "arn")
	if len(arns) > maxARNs {
		return a, invalid("Too many policy ARNs: %d", len(arns))
	}
	for _, arn := range arns {
		p, ok := s.managed[arn["arn"]]
		if !ok {
			return a, refuse(http.StatusBadRequest, "MalformedPolicyDocument", "The policy %s does not exist or is not attachable.", arn["arn"])
		}
		a.size += len(arn["arn"])
		a.policies = append(a.policies, p)
	}
	if a.size > maxPolicies {
		return a, refuse(http.StatusBadRequest, "PackedPolicyTooLarge", "Packed policy consumes %d%% of allotted space, please use smaller policy.", a.size*100/maxPolicies)
	}
	return a, nil
}

// members are the members of a list parameter, in order.
func members(form url.Values, list string, fields ...string) []map[string]string {
	var out []map[string]string
	for n := 1; n <= len(form); n++ {
		one := map[string]string{}
		for _, field := range fields {
			at := fmt.Sprintf("%s.member.%d", list, n)
			if field != "" {
				at += "." + field
			}
			if values, ok := form[at]; ok && len(values) == 1 {
				one[field] = values[0]
			}
		}
		if len(one) == 0 {
			break
		}
		out = append(out, one)
	}
	return out
}

// checkTags holds session tags and a source identity to their limits, and says how
// much of the allotted space they take with the policies.
func checkTags(a *asked, tags map[string]string, transitive []string, identity string) error {
	if len(tags) > maxTags {
		return fmt.Errorf("a session has at most %d tags", maxTags)
	}
	folded := map[string]bool{}
	size := a.size + len(identity)
	for key, value := range tags {
		takes := func(r rune) bool {
			return !(unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.In(r, unicode.Z) || strings.ContainsRune("_.:/=+-@", r))
		}
		switch {
		case key == "" || utf8.RuneCountInString(key) > maxKey || strings.ContainsFunc(key, takes) || strings.HasPrefix(strings.ToLower(key), "aws:"):
			return fmt.Errorf("the tag key %q is not taken", key)
		case utf8.RuneCountInString(value) > maxValue || strings.ContainsFunc(value, takes):
			return fmt.Errorf("the value of the tag %q is not taken", key)
		case folded[strings.ToLower(key)]:
			return fmt.Errorf("the tag key %q comes twice", key)
		}
		folded[strings.ToLower(key)] = true
		size += len(key) + len(value)
	}
	for _, key := range transitive {
		if !folded[strings.ToLower(key)] {
			return fmt.Errorf("the transitive tag key %q is no tag", key)
		}
	}
	if identity != "" && (len(identity) < 2 || len(identity) > 64 || !sessionName.MatchString(identity) || strings.HasPrefix(strings.ToLower(identity), "aws:")) {
		return fmt.Errorf("the source identity %q is not taken", identity)
	}
	a.packed = size * 100 / maxPacked
	return nil
}

// tooLarge refuses what does not fit together.
func (a asked) tooLarge() *refusal {
	if a.packed <= 100 {
		return nil
	}
	return refuse(http.StatusBadRequest, "PackedPolicyTooLarge", "Packed policy consumes %d%% of allotted space, please use smaller policy.", a.packed)
}
