package aws

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
)

// Limits of session policies (AWS STS API Reference, AssumeRole).
const (
	maxPolicy     = 2048 // characters, of the inline policy and all ARNs together
	maxPolicyARNs = 10
)

// policyVersion is the only version that has all of the language.
const policyVersion = "2012-10-17"

// nothing is the session policy of no scope: a session without any policy would have
// all that its role has.
const nothing = `{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}`

var policyARN = regexp.MustCompile(`^arn:(aws|aws-cn|aws-us-gov|aws-eusc):iam::(aws|[0-9]{12}):policy/[\w+=,.@/-]{1,512}$`)

// sessionPolicy is what a session is narrowed by.
type sessionPolicy struct {
	inline string // compact JSON; empty: none
	arns   []string
}

func (p sessionPolicy) fault() error {
	size := len(p.inline)
	for _, arn := range p.arns {
		size += len(arn)
	}
	switch {
	case size > maxPolicy:
		return fmt.Errorf("session policies have at most %d characters in all, ARNs included, and these have %d", maxPolicy, size)
	case len(p.arns) > maxPolicyARNs:
		return fmt.Errorf("at most %d managed policies, and these are %d", maxPolicyARNs, len(p.arns))
	}
	return nil
}

// readPolicy reads a session policy as far as it can be wrong for any account, and
// returns its statements.
func readPolicy(text string) ([]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	var document struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := d.Decode(&document); err != nil {
		return nil, fmt.Errorf("it is no JSON policy document: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the policy document")
	}
	if document.Version != policyVersion {
		return nil, fmt.Errorf("its Version must be %q", policyVersion)
	}
	statements, err := listed(document.Statement)
	if err != nil || len(statements) == 0 {
		return nil, errors.New("its Statement must be a list of statements")
	}
	for i, raw := range statements {
		var s struct{ Effect string }
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil || json.Unmarshal(raw, &s) != nil || s.Effect != "Allow" && s.Effect != "Deny" {
			return nil, fmt.Errorf("its statement %d must have the Effect Allow or Deny", i+1)
		}
		if members["Principal"] != nil || members["NotPrincipal"] != nil {
			return nil, fmt.Errorf("its statement %d names a principal, which a session policy cannot", i+1)
		}
		if members["Action"] == nil && members["NotAction"] == nil || members["Resource"] == nil && members["NotResource"] == nil {
			return nil, fmt.Errorf("its statement %d must say Action and Resource", i+1)
		}
	}
	return statements, nil
}

// listed is a list, or the one thing that stands in place of a list.
func listed(raw json.RawMessage) ([]json.RawMessage, error) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil {
		return list, nil
	}
	var one map[string]json.RawMessage
	if err := json.Unmarshal(raw, &one); err != nil {
		return nil, err
	}
	return []json.RawMessage{raw}, nil
}

// union is one document with the statements of all texts, which have been read
// before.
func union(texts []string) (string, error) {
	var statements []json.RawMessage
	for _, text := range texts {
		more, err := readPolicy(text)
		if err != nil {
			return "", err
		}
		for i, raw := range more {
			// A Sid must be unique in its document, and has no other use here.
			var members map[string]json.RawMessage
			if err := json.Unmarshal(raw, &members); err != nil {
				return "", err
			}
			delete(members, "Sid")
			if more[i], err = json.Marshal(members); err != nil {
				return "", err
			}
		}
		statements = append(statements, more...)
	}
	if len(statements) == 0 {
		return "", nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(struct {
		Version   string
		Statement []json.RawMessage
	}{policyVersion, statements}); err != nil {
		return "", err
	}
	return string(bytes.TrimSpace(b.Bytes())), nil
}

// policyFor is the session policy of the scopes that were granted.
func (s *Settings) policyFor(scopes []string) (sessionPolicy, error) {
	if len(s.Scopes) == 0 {
		var texts []string
		if s.Policy != "" {
			texts = []string{s.Policy}
		}
		inline, err := union(texts)
		return sessionPolicy{inline: inline, arns: s.PolicyARNs}, err
	}
	var p sessionPolicy
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(s.Scopes)) {
		if !slices.Contains(scopes, name) {
			continue
		}
		scope := s.Scopes[name]
		if scope.Policy != "" {
			texts = append(texts, scope.Policy)
		}
		for _, arn := range scope.PolicyARNs {
			if !slices.Contains(p.arns, arn) {
				p.arns = append(p.arns, arn)
			}
		}
	}
	if len(texts) == 0 && len(p.arns) == 0 {
		return sessionPolicy{inline: nothing}, nil
	}
	var err error
	p.inline, err = union(texts)
	return p, err
}
