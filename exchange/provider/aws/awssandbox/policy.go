package awssandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// policy is a policy document (IAM User Guide, "IAM JSON policy elements reference"),
// as far as it is understood here; NotPrincipal is not.
type policy struct {
	Version   string
	ID        string `json:"Id"`
	Statement statements
}

type statements []statement

type statement struct {
	Sid         string
	Effect      string
	Principal   principal
	Action      texts
	NotAction   texts
	Resource    texts
	NotResource texts
	Condition   map[string]map[string]texts
}

// effect is what a policy says of a request.
type effect uint8

const (
	silent effect = iota
	allow
	deny
)

// facts are a request's context keys, lower case, with their values.
type facts map[string][]string

// readPolicy reads a document strictly.
func readPolicy(text string) (*policy, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	p := new(policy)
	if err := d.Decode(p); err != nil {
		return nil, fmt.Errorf("it is no policy document: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the policy document")
	}
	if p.Version != "2012-10-17" && p.Version != "2008-10-17" {
		return nil, errors.New("the Version is unknown")
	}
	if len(p.Statement) == 0 {
		return nil, errors.New("there is no Statement")
	}
	for _, s := range p.Statement {
		if s.Effect != "Allow" && s.Effect != "Deny" {
			return nil, errors.New("an Effect is Allow or Deny")
		}
		if (len(s.Action) == 0) == (len(s.NotAction) == 0) {
			return nil, errors.New("a statement has Action or NotAction")
		}
	}
	return p, nil
}

// forSession reports whether the document may be a session policy.
func (p *policy) forSession() bool {
	for _, s := range p.Statement {
		if s.Principal.set || len(s.Resource) == 0 && len(s.NotResource) == 0 {
			return false
		}
	}
	return true
}

// decide says what the document says. by are the names of the caller, for documents
// that name principals; resource is empty where the document belongs to one.
func (p *policy) decide(action, resource string, by []string, f facts) effect {
	out := silent
	for _, s := range p.Statement {
		if !s.covers(action, resource, by) {
			continue
		}
		met, known := s.met(f)
		switch {
		case s.Effect == "Deny" && (met || !known):
			return deny
		case s.Effect == "Allow" && met && known:
			out = allow
		}
	}
	return out
}

func (s *statement) covers(action, resource string, by []string) bool {
	action = strings.ToLower(action)
	covered := len(s.Action) > 0 && s.Action.lower().match(action) || len(s.NotAction) > 0 && !s.NotAction.lower().match(action)
	if !covered {
		return false
	}
	if resource != "" && len(s.Resource) > 0 && !s.Resource.match(resource) || len(s.NotResource) > 0 && s.NotResource.match(resource) {
		return false
	}
	return by == nil || s.Principal.names(by)
}

// met reports whether the conditions hold; known is false where one is not
// understood, which never helps the caller.
func (s *statement) met(f facts) (met, known bool) {
	met, known = true, true
	for operator, keys := range s.Condition {
		quantifier, plain, quantified := strings.Cut(operator, ":")
		if !quantified {
			quantifier, plain = "", operator
		}
		ifExists := strings.HasSuffix(plain, "IfExists")
		compare, not := comparison(strings.TrimSuffix(plain, "IfExists"))
		if compare == nil || quantifier != "" && quantifier != "ForAllValues" && quantifier != "ForAnyValue" {
			return false, false
		}
		for key, wanted := range keys {
			has, there := f[strings.ToLower(key)]
			if !there || len(has) == 0 {
				// A missing key satisfies a negation, IfExists and ForAllValues.
				met = met && (not || ifExists || quantifier == "ForAllValues")
				continue
			}
			hits := 0
			for _, value := range has {
				if wanted.any(func(w string) bool { return compare(w, value) }) != not {
					hits++
				}
			}
			if quantifier == "ForAnyValue" {
				met = met && hits > 0
			} else {
				met = met && hits == len(has)
			}
		}
	}
	return met, known
}

// comparison is an operator on texts, and whether it is turned around.
func comparison(operator string) (compare func(wanted, value string) bool, not bool) {
	equal := func(wanted, value string) bool { return wanted == value }
	switch operator {
	case "StringEquals":
		return equal, false
	case "StringNotEquals":
		return equal, true
	case "StringEqualsIgnoreCase":
		return strings.EqualFold, false
	case "StringLike", "ArnLike", "ArnEquals":
		return like, false
	case "StringNotLike":
		return like, true
	}
	return nil, false
}

// like matches the whole of value; `*` is any run of characters and `?` is one.
func like(pattern, value string) bool {
	p, v, star, mark := 0, 0, -1, 0
	for v < len(value) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, v
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == value[v]):
			p++
			v++
		case star >= 0:
			mark++
			p, v = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// texts is a text or a list of them.
type texts []string

// UnmarshalJSON takes both.
func (t *texts) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil && !bytes.Equal(b, []byte("null")) {
		*t = texts{one}
		return nil
	}
	var many []string
	if err := json.Unmarshal(b, &many); err != nil || len(many) == 0 {
		return errors.New("a text is wanted, or a list of them")
	}
	*t = many
	return nil
}

func (t texts) any(f func(string) bool) bool {
	for _, text := range t {
		if f(text) {
			return true
		}
	}
	return false
}

func (t texts) match(value string) bool {
	return t.any(func(pattern string) bool { return like(pattern, value) })
}

func (t texts) lower() texts {
	out := make(texts, len(t))
	for i, text := range t {
		out[i] = strings.ToLower(text)
	}
	return out
}

// UnmarshalJSON takes a statement or a list of them.
func (s *statements) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	if len(b) == 0 || b[0] != '[' {
		b = append(append([]byte{'['}, b...), ']')
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var list []statement
	if err := d.Decode(&list); err != nil {
		return err
	}
	*s = list
	return nil
}

// principal is "*", or names by kind.
type principal struct {
	set   bool
	all   bool
	named map[string]texts
}

// UnmarshalJSON takes both.
func (p *principal) UnmarshalJSON(b []byte) error {
	p.set = true
	var text string
	if json.Unmarshal(b, &text) == nil {
		if text != "*" {
			return errors.New(`a Principal is "*" or names kinds`)
		}
		p.all = true
		return nil
	}
	return json.Unmarshal(b, &p.named)
}

// names reports whether one of a caller's names is listed.
func (p *principal) names(by []string) bool {
	if p.all {
		return true
	}
	for _, listed := range p.named {
		for _, name := range by {
			if listed.any(func(l string) bool { return l == name || l == "*" }) {
				return true
			}
		}
	}
	return false
}
