package awssandbox

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// assumeRole is the action for whoever has credentials.
func (s *Server) assumeRole(r *http.Request, body []byte, form url.Values) (*answer, *refusal) {
	who, refused := s.authenticate(r, body, "sts")
	if refused != nil {
		return nil, refused
	}
	a, refused := s.readAsked(form)
	if refused != nil {
		return nil, refused
	}
	of := Session{Tags: map[string]string{}, SourceIdentity: form.Get("SourceIdentity"), ExternalID: form.Get("ExternalId")}
	for _, tag := range members(form, "Tags", "Key", "Value") {
		if _, twice := of.Tags[tag["Key"]]; twice {
			return nil, invalid("Duplicate tag keys found.")
		}
		of.Tags[tag["Key"]] = tag["Value"]
	}
	for _, key := range members(form, "TransitiveTagKeys", "") {
		of.TransitiveTags = append(of.TransitiveTags, key[""])
	}
	if err := checkTags(&a, of.Tags, of.TransitiveTags, of.SourceIdentity); err != nil {
		return nil, invalid("%s", err)
	}
	by := []string{who.arn, s.account, "arn:aws:iam::" + s.account + ":root"}
	f := facts{"aws:principalarn": {who.arn}}
	if who.role != nil {
		by = append(by, who.role.arn)
		f["aws:principalarn"] = []string{who.role.arn}
		if refused := s.chain(who, a, &of); refused != nil {
			return nil, refused
		}
	}
	if of.ExternalID != "" {
		f["sts:externalid"] = []string{of.ExternalID}
	}
	role, refused := s.admit(a, of, f, by, "sts:AssumeRole")
	if refused != nil {
		refused.message = strings.Replace(refused.message, "Not authorized to perform", "User: "+who.arn+" is not authorized to perform:", 1)
		return nil, refused
	}
	return s.granted(role, a, of, a.policies)
}

// chain holds a session that assumes another role to what the first one carries.
func (s *Server) chain(who *identity, a asked, of *Session) *refusal {
	if a.duration > maxChained {
		return invalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	}
	before := who.session
	if before.SourceIdentity != "" {
		if of.SourceIdentity != "" && of.SourceIdentity != before.SourceIdentity {
			return refuse(http.StatusForbidden, "AccessDenied", "The source identity of a session cannot be changed")
		}
		of.SourceIdentity = before.SourceIdentity
	}
	for _, key := range before.TransitiveTags {
		if slices.ContainsFunc(slices.Collect(maps.Keys(of.Tags)), func(k string) bool { return strings.EqualFold(k, key) }) {
			return refuse(http.StatusBadRequest, "InvalidParameterValue", "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.")
		}
		of.Tags[key] = before.Tags[key]
		of.TransitiveTags = append(of.TransitiveTags, key)
	}
	return nil
}
