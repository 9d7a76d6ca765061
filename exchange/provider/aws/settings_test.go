package aws_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/aws"
)

const allowAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"bedrock:*","Resource":"*"}]}`

func good() *aws.Settings {
	return &aws.Settings{RoleARN: "arn:aws:iam::123456789012:role/teams/llm", Region: "eu-west-1"}
}

// TestSettingsAreChecked: each fault begins with the setting that is wrong, so that
// policy can show its place.
func TestSettingsAreChecked(t *testing.T) {
	for at, changes := range map[string][]func(*aws.Settings){
		"": {
			func(*aws.Settings) {},
			func(s *aws.Settings) { s.Endpoint = "https://vpce-0a1b.sts.eu-west-1.vpce.amazonaws.com" },
			func(s *aws.Settings) { s.Endpoint = "https://127.0.0.1:8443/" },
			func(s *aws.Settings) { s.Region, s.RoleARN = "cn-north-1", "arn:aws-cn:iam::123456789012:role/llm" },
			func(s *aws.Settings) {
				s.Region, s.RoleARN = "us-gov-east-1", "arn:aws-us-gov:iam::123456789012:role/llm"
			},
			func(s *aws.Settings) { s.MaxSession = 12 * time.Hour },
			func(s *aws.Settings) { s.Method, s.ExternalID = aws.MethodAssumeRole, "a:b/c" },
			func(s *aws.Settings) { s.Policy = allowAll },
			func(s *aws.Settings) { s.Scopes = map[string]aws.Scope{"a": {Policy: allowAll}} },
			func(s *aws.Settings) {
				s.Tags, s.TransitiveTags = map[string]aws.Source{"Cost Center": {Fixed: "7 + 5"}}, []string{"Cost Center"}
			},
		},
		"role_arn": {
			func(s *aws.Settings) { s.RoleARN = "" },
			func(s *aws.Settings) { s.RoleARN = "arn:aws:iam::123456789012:user/llm" },
			func(s *aws.Settings) { s.RoleARN = "arn:aws:iam::12345:role/llm" },
			func(s *aws.Settings) { s.RoleARN += strings.Repeat("x", 64) },
			func(s *aws.Settings) { s.RoleARN += "\n" },
		},
		"region": {
			func(s *aws.Settings) { s.Region = "" },
			func(s *aws.Settings) { s.Region = "aws-global" },
			func(s *aws.Settings) { s.Region = "eu-west" },
			func(s *aws.Settings) { s.Region = "EU-WEST-1" },
			func(s *aws.Settings) { s.Region = "eu-wset-1" },
			func(s *aws.Settings) { s.Region = "s3" },
			func(s *aws.Settings) { s.Region = "cn-north-1" }, // another partition than the role's
		},
		"endpoint": {
			func(s *aws.Settings) { s.Endpoint = "http://sts.eu-west-1.amazonaws.com" },
			func(s *aws.Settings) { s.Endpoint = "http://127.0.0.1:8443" },
			func(s *aws.Settings) { s.Endpoint = "sts.eu-west-1.amazonaws.com" },
			func(s *aws.Settings) { s.Endpoint = "https://" },
			func(s *aws.Settings) { s.Endpoint = "https://a@b" },
			func(s *aws.Settings) { s.Endpoint = "https://b/path" },
			func(s *aws.Settings) { s.Endpoint = "https://b?x=1" },
			func(s *aws.Settings) { s.Endpoint = "https://b#" },
			func(s *aws.Settings) { s.Endpoint = "https://B" },
			func(s *aws.Settings) { s.Endpoint = "https://%zz" },
		},
		"method": {func(s *aws.Settings) { s.Method = "saml" }},
		"format": {func(s *aws.Settings) { s.Format = "env" }},
		"max_session": {
			func(s *aws.Settings) { s.MaxSession = 15 * time.Minute },
			func(s *aws.Settings) { s.MaxSession = 13 * time.Hour },
			func(s *aws.Settings) { s.MaxSession = time.Hour + time.Millisecond },
			func(s *aws.Settings) { s.Method, s.MaxSession = aws.MethodAssumeRole, 2*time.Hour },
		},
		"audience": {
			func(s *aws.Settings) { s.Audience = "a b" },
			func(s *aws.Settings) { s.Audience = strings.Repeat("x", 256) },
			func(s *aws.Settings) { s.Method, s.Audience = aws.MethodAssumeRole, "x" },
		},
		"subject": {
			func(s *aws.Settings) { s.Subject = []string{"Name Space"} },
			func(s *aws.Settings) { s.Method, s.Subject = aws.MethodPassthrough, []string{"namespace"} },
		},
		"session_prefix": {
			func(s *aws.Settings) { s.SessionPrefix = "a/b" },
			func(s *aws.Settings) { s.SessionPrefix = strings.Repeat("x", 28) },
		},
		"external_id": {
			func(s *aws.Settings) { s.ExternalID = "x1" },
			func(s *aws.Settings) { s.Method, s.ExternalID = aws.MethodAssumeRole, "x" },
		},
		"source_identity": {
			func(s *aws.Settings) { s.SourceIdentity = &aws.Source{} },
			func(s *aws.Settings) { s.SourceIdentity = &aws.Source{Fixed: "x"} },
			func(s *aws.Settings) { s.SourceIdentity = &aws.Source{Fixed: "xx", From: "subject"} },
			func(s *aws.Settings) { s.SourceIdentity = &aws.Source{From: "exchange"} },
			func(s *aws.Settings) {
				s.Method, s.SourceIdentity = aws.MethodPassthrough, &aws.Source{From: "subject"}
			},
		},
		"tags": {
			func(s *aws.Settings) { s.Tags = map[string]aws.Source{"": {Fixed: "x"}} },
			func(s *aws.Settings) { s.Tags = map[string]aws.Source{"aws:x": {Fixed: "x"}} },
			func(s *aws.Settings) { s.Tags = map[string]aws.Source{"a;b": {Fixed: "x"}} },
			func(s *aws.Settings) { s.Tags = map[string]aws.Source{"Team": {Fixed: "x"}, "team": {Fixed: "y"}} },
			func(s *aws.Settings) { s.Tags = map[string]aws.Source{"a": {Fixed: strings.Repeat("x", 257)}} },
			func(s *aws.Settings) { s.Tags = map[string]aws.Source{"a": {}} },
			func(s *aws.Settings) {
				s.Method, s.Tags = aws.MethodPassthrough, map[string]aws.Source{"a": {Fixed: "x"}}
			},
			func(s *aws.Settings) {
				s.Tags = map[string]aws.Source{}
				for n := range 51 {
					s.Tags[fmt.Sprint("k", n)] = aws.Source{Fixed: "x"}
				}
			},
		},
		"transitive_tags": {
			func(s *aws.Settings) { s.TransitiveTags = []string{"a"} },
			func(s *aws.Settings) {
				s.Tags, s.TransitiveTags = map[string]aws.Source{"a": {Fixed: "x"}}, []string{"a", "a"}
			},
		},
		"policy": {
			func(s *aws.Settings) { s.Policy = "{not json" },
			func(s *aws.Settings) { s.Policy = "null" },
			func(s *aws.Settings) { s.Policy = allowAll + allowAll },
			func(s *aws.Settings) { s.Policy = strings.Replace(allowAll, "2012-10-17", "2008-10-17", 1) },
			func(s *aws.Settings) { s.Policy = strings.Replace(allowAll, "Allow", "allow", 1) },
			func(s *aws.Settings) { s.Policy = strings.Replace(allowAll, `"Resource":"*"`, `"Principal":"*"`, 1) },
			func(s *aws.Settings) { s.Policy = strings.Replace(allowAll, `"Resource":"*"`, `"Sid":"x"`, 1) },
			func(s *aws.Settings) { s.Policy = strings.Replace(allowAll, `bedrock:*`, strings.Repeat("x", 2048), 1) },
		},
		"policy_arns": {func(s *aws.Settings) { s.PolicyARNs = []string{"arn:aws:iam::aws:role/x"} }},
		"scopes": {
			func(s *aws.Settings) { s.Scopes = map[string]aws.Scope{"a": {}} },
			func(s *aws.Settings) { s.Scopes = map[string]aws.Scope{"a b": {Policy: allowAll}} },
			func(s *aws.Settings) { s.Scopes = map[string]aws.Scope{"a": {Policy: "{"}} },
			func(s *aws.Settings) { s.Scopes, s.Policy = map[string]aws.Scope{"a": {Policy: allowAll}}, allowAll },
			func(s *aws.Settings) { // each fits, and all of them do not
				s.Scopes = map[string]aws.Scope{}
				for n := range 3 {
					s.Scopes[fmt.Sprint("s", n)] = aws.Scope{Policy: strings.Replace(allowAll, `bedrock:*`, strings.Repeat("x", 700), 1)}
				}
			},
		},
	} {
		for i, change := range changes {
			s := good()
			change(s)
			faults := s.Validate()
			if at == "" {
				if len(faults) > 0 {
					t.Errorf("good settings %d: %v", i, faults)
				}
				continue
			}
			if len(faults) != 1 || !strings.HasPrefix(strings.NewReplacer(".", ":", "[", ":").Replace(faults[0].Error()), at+":") {
				t.Errorf("%s %d: %v", at, i, faults)
			}
		}
	}
	all := &aws.Settings{Endpoint: "http://x", Method: "x", Format: "y"}
	if faults := all.Validate(); len(faults) != 5 {
		t.Errorf("every fault in one run: %v", faults)
	}
}

// TestFacts: what the core must know of lifetimes and types.
func TestFacts(t *testing.T) {
	s := good()
	if f := s.Facts(); f.MinTTL != 16*time.Minute || f.MaxTTL != time.Hour || f.Scopes != nil || f.Types[0] != aws.TokenTypeCredentials {
		t.Errorf("%+v", f)
	}
	s.MayOutlive = true
	if f := s.Facts(); f.MinTTL != 15*time.Minute || !f.MayOutlive {
		t.Errorf("%+v", f)
	}
	s.Format, s.MaxSession, s.Scopes = aws.FormatBedrockKey, 12*time.Hour, map[string]aws.Scope{"b": {}, "a": {}}
	if f := s.Facts(); f.MinTTL != 0 || f.MaxTTL != 12*time.Hour || strings.Join(f.Scopes, " ") != "a b" || f.Types[0] != aws.TokenTypeBedrockKey {
		t.Errorf("%+v", f)
	}
	if _, err := good().Open(provider.Deps{}); err == nil {
		t.Error("it opens without a way out")
	}
}

func FuzzSettings(f *testing.F) {
	f.Add("arn:aws:iam::123456789012:role/llm", "eu-west-1", "https://sts.eu-west-1.amazonaws.com", allowAll)
	f.Add("arn:aws-cn:iam::123456789012:role/a/b", "cn-north-1", "", `{"Version":"2012-10-17","Statement":{"Effect":"Deny","NotAction":"a:*","Resource":["*"]}}`)
	f.Fuzz(func(t *testing.T, role, region, endpoint, policy string) {
		s := &aws.Settings{RoleARN: role, Region: region, Endpoint: endpoint, Policy: policy}
		if len(s.Validate()) > 0 {
			return
		}
		if endpoint != "" && !strings.HasPrefix(strings.ToLower(endpoint), "https://") {
			t.Errorf("the endpoint %q is taken", endpoint)
		}
		if strings.Contains(region, "global") || strings.ContainsAny(region, "./: ") {
			t.Errorf("the region %q is taken", region)
		}
		s.Scopes, s.Policy = map[string]aws.Scope{"a": {Policy: policy}}, ""
		if policy != "" && len(s.Validate()) > 0 {
			t.Errorf("%q is good alone and not as a scope: %v", policy, s.Validate())
		}
	})
}
