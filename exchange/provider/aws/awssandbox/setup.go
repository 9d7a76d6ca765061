package awssandbox

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// The defaults of a Setup.
const (
	DefaultAccount  = "123456789012"
	DefaultRegion   = "us-east-1"
	DefaultAudience = "sts.amazonaws.com"
)

// Setup is what somebody set up in an account.
type Setup struct {
	Account string // empty: DefaultAccount
	Region  string // whose STS and Bedrock this is; empty: DefaultRegion
	// Audiences are the client ids of the IAM OIDC provider for the world's issuer;
	// nil: DefaultAudience. Empty, but not nil: there is no such provider.
	Audiences []string
	// Clusters are further IAM OIDC providers, for tokens that are passed through.
	Clusters []Cluster
	Roles    []Role
	// Keys are long-lived access keys of IAM users.
	Keys []Key
	// Managed are managed policies by ARN.
	Managed map[string]string
	// SingleUse refuses an assertion whose `jti` came before. STS itself does not: it
	// finds a client that shows one assertion for two sessions.
	SingleUse bool
}

// Cluster is an issuer with its published keys.
type Cluster struct {
	Issuer    string
	Keys      func() []byte // its JWK Set; empty: it cannot be reached
	Audiences []string
}

// Role is an IAM role.
type Role struct {
	Name       string        // with its path, such as llm or teams/llm
	Trust      string        // its trust policy, as JSON
	Policy     string        // what it may do, as JSON; empty: all of Bedrock
	MaxSession time.Duration // zero: an hour, as in IAM
}

// Key is an access key of an IAM user.
type Key struct {
	ID, Secret string
	User       string // name
}

// allOfBedrock is the policy of a role that says none.
const allOfBedrock = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"bedrock:*","Resource":"*"}]}`

// WebIdentityTrust is the trust policy that an operator writes for one target: `sub`
// is <tenant>:<target>, or a pattern for what follows them. With session, tags and a
// source identity are allowed too.
func WebIdentityTrust(account, issuer, audience, sub string, session bool) string {
	actions := []string{"sts:AssumeRoleWithWebIdentity"}
	if session {
		actions = append(actions, "sts:TagSession", "sts:SetSourceIdentity")
	}
	at := providerName(issuer)
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{map[string]any{
		"Effect": "Allow", "Action": actions,
		"Principal": map[string]string{"Federated": "arn:aws:iam::" + account + ":oidc-provider/" + at},
		"Condition": map[string]any{
			"StringEquals": map[string]string{at + ":aud": audience},
			"StringLike":   map[string]string{at + ":sub": sub},
		},
	}}})
	if err != nil {
		panic(err) // texts in maps have JSON
	}
	return string(text)
}

// providerName is how IAM names the provider of an issuer.
func providerName(issuer string) string { return strings.TrimPrefix(issuer, "https://") }

// identityProvider is an IAM OIDC provider.
type identityProvider struct {
	name       string // host and path of the issuer
	arn        string
	audiences  []string
	keys       func() []byte
	assertions *sandbox.Assertions
}

// role is a Role as it was read.
type role struct {
	Role
	arn, id string
	name    string // without path
	trust   *policy
	allows  *policy
}

var roleName = regexp.MustCompile(`^([!-~]+/)?[\w+=,.@-]{1,64}$`)

// build reads the setup.
func (s *Server) build(w sandbox.World, setup Setup) error {
	audiences := setup.Audiences
	if audiences == nil {
		audiences = []string{DefaultAudience}
	}
	clusters := setup.Clusters
	if len(audiences) > 0 {
		clusters = append([]Cluster{{Issuer: w.Issuer, Keys: w.Keys, Audiences: audiences}}, clusters...)
	}
	for _, c := range clusters {
		name := providerName(c.Issuer)
		s.providers[c.Issuer] = &identityProvider{
			name: name, arn: fmt.Sprintf("arn:aws:iam::%s:oidc-provider/%s", s.account, name), audiences: c.Audiences, keys: c.Keys,
			assertions: sandbox.NewAssertions(sandbox.World{Issuer: c.Issuer, Keys: c.Keys, Now: w.Now, Random: w.Random}),
		}
	}
	for _, r := range setup.Roles {
		if !roleName.MatchString(r.Name) {
			return fmt.Errorf("%q is no name for a role", r.Name)
		}
		if r.Policy == "" {
			r.Policy = allOfBedrock
		}
		if r.MaxSession == 0 {
			r.MaxSession = time.Hour
		}
		trust, err := readPolicy(r.Trust)
		if err != nil {
			return fmt.Errorf("the trust policy of role %s: %w", r.Name, err)
		}
		allows, err := readPolicy(r.Policy)
		if err != nil {
			return fmt.Errorf("the policy of role %s: %w", r.Name, err)
		}
		id, err := s.name("AROA")
		if err != nil {
			return err
		}
		arn := fmt.Sprintf("arn:aws:iam::%s:role/%s", s.account, r.Name)
		s.roles[arn] = &role{Role: r, arn: arn, id: id, name: r.Name[strings.LastIndexByte(r.Name, '/')+1:], trust: trust, allows: allows}
	}
	for arn, text := range setup.Managed {
		p, err := readPolicy(text)
		if err != nil {
			return fmt.Errorf("the managed policy %s: %w", arn, err)
		}
		s.managed[arn] = p
	}
	for _, k := range setup.Keys {
		s.keys[k.ID] = &identity{
			arn: fmt.Sprintf("arn:aws:iam::%s:user/%s", s.account, k.User), userID: "AIDA" + strings.ToUpper(k.User), secret: k.Secret,
		}
	}
	return nil
}
