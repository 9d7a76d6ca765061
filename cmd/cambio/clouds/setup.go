package clouds

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/cambio-sts/cambio/exchange/policy"
	"github.com/cambio-sts/cambio/exchange/provider/anthropic/anthropicsandbox"
	"github.com/cambio-sts/cambio/exchange/provider/aws/awssandbox"
	"github.com/cambio-sts/cambio/exchange/provider/azure/azuresandbox"
	"github.com/cambio-sts/cambio/exchange/provider/gcp/gcpsandbox"
	"github.com/cambio-sts/cambio/exchange/provider/ibm/ibmsandbox"
	"github.com/cambio-sts/cambio/exchange/provider/oci/ocisandbox"
	"github.com/cambio-sts/cambio/exchange/provider/openai/openaisandbox"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// What the accounts are called. None of it is anybody's.
const (
	awsRole       = "llm"
	azureTenant   = "0d0e0f00-0000-4000-8000-00000000c0de"
	azureClient   = "0d0e0f00-0000-4000-8000-0000000c11e4"
	gcpPool       = "projects/123456789012/locations/global/workloadIdentityPools/cambio"
	gcpProvider   = gcpPool + "/providers/cambio"
	gcpAccount    = "llm@cambio-dev.iam.gserviceaccount.com"
	ociClient     = "cambio"
	ociResource   = "llm-gateway"
	ociRegion     = "us-ashburn-1"
	ibmProfile    = "Profile-00000000-0000-4000-8000-00000000c0de"
	anthropicRule = "fdrl_cambiodev"
	anthropicOrg  = "0d0e0f00-0000-4000-8000-0000000000a1"
	anthropicUser = "svac_llm"
	openaiPool    = "wip_cambiodev"
	openaiUser    = "svc_llm"
)

// OCISecretName is the secret of cambio.yaml that the sample policy names.
const OCISecretName = "oci-client"

// targets are the names that the sample policy has for each stand-in.
var targets = map[string]string{
	AWS: "bedrock", Azure: "azure-openai", GCP: "vertex", OCI: "oci-genai", IBM: "watsonx", Anthropic: "claude", OpenAI: "gpt",
}

// subject is the `sub` that a stand-in lets in.
func (c *Clouds) subject(name string) string {
	if c.options.Subject != "" {
		return c.options.Subject
	}
	return policy.DefaultTenant + ":" + targets[name]
}

// audience is the `aud` that a stand-in asks for.
func (c *Clouds) audience(name string) string {
	switch name {
	case AWS:
		return awssandbox.DefaultAudience
	case Azure:
		return azuresandbox.Audience
	case GCP:
		return "https://iam.googleapis.com/" + gcpProvider
	case IBM:
		return "iam"
	case Anthropic:
		return c.Endpoint(name) + "/federation/" + anthropicRule
	case OpenAI:
		return c.Endpoint(name) + "/federation/" + openaiPool
	}
	return c.Endpoint(name)
}

// handler makes one stand-in.
func (c *Clouds) handler(name string) (http.Handler, error) {
	w, sub, aud := c.options.Assertions, c.subject(name), c.audience(name)
	switch name {
	case AWS:
		return c.aws(sub)
	case Azure:
		return azuresandbox.New(azuresandbox.Options{World: w, TenantID: azureTenant, Apps: []azuresandbox.App{{
			ClientID: azureClient, Credentials: []azuresandbox.Credential{{Issuer: w.Issuer, Subject: sub, Audience: aud}},
		}}})
	case GCP:
		return gcpsandbox.New(gcpsandbox.Options{
			World: w,
			Providers: []gcpsandbox.Provider{{
				Name: gcpProvider, Audiences: []string{aud},
				Condition: func(claims sandbox.Claims) bool { return matches(sub, claims.Subject) },
			}},
			Accounts: []gcpsandbox.Account{{Email: gcpAccount, Users: []string{"principalSet://iam.googleapis.com/" + gcpPool + "/*"}}},
		})
	case OCI:
		return later(func() (http.Handler, error) { // it makes an RSA key
			return ocisandbox.New(ocisandbox.Setup{
				World: w, ClientID: ociClient, ClientSecret: c.options.OCISecret.Reveal(),
				Trust: ocisandbox.Trust{
					Audience: aud, ImpersonatingResource: ociResource,
					Impersonate: []ocisandbox.Rule{{Pattern: sub + "*", User: "llm"}},
				},
			})
		}), nil
	case IBM:
		return ibmsandbox.New(c.options.Cluster, ibmsandbox.Setup{Profiles: []ibmsandbox.Profile{{
			ID: ibmProfile, Name: "llm", ComputeResources: []string{c.options.Workload},
		}}}), nil
	case Anthropic:
		return anthropicsandbox.New(w, anthropicsandbox.Rule{
			ID: anthropicRule, OrganizationID: anthropicOrg, ServiceAccountID: anthropicUser, Audience: aud, SubjectPrefix: sub,
		}), nil
	case OpenAI:
		return openaisandbox.New(w, openaisandbox.Provider{
			ID: openaiPool, Audience: aud, Mappings: []openaisandbox.Mapping{
				{ServiceAccountID: openaiUser, Subject: sub},
				// Targets whose assertions name the user, such as gpt-people.
				{ServiceAccountID: openaiUser, Subject: strings.TrimSuffix(sub, "*") + "-*"},
			},
		}), nil
	}
	return nil, fmt.Errorf("there is no stand-in called %q", name)
}

// aws has one role, which trusts the assertions of each target whose name begins as
// the first one's does, and the workload's own token.
func (c *Clouds) aws(sub string) (http.Handler, error) {
	w, cluster := c.options.Assertions, c.options.Cluster
	trust, err := joinPolicies(
		awssandbox.WebIdentityTrust(awssandbox.DefaultAccount, w.Issuer, awssandbox.DefaultAudience, strings.TrimSuffix(sub, "*")+"*", true),
		awssandbox.WebIdentityTrust(awssandbox.DefaultAccount, cluster.Issuer, awssandbox.DefaultAudience, c.options.Workload, false),
	)
	if err != nil {
		return nil, err
	}
	return awssandbox.New(w, awssandbox.Setup{
		Roles:    []awssandbox.Role{{Name: awsRole, Trust: trust}},
		Clusters: []awssandbox.Cluster{{Issuer: cluster.Issuer, Keys: cluster.Keys, Audiences: []string{awssandbox.DefaultAudience}}},
	})
}

// joinPolicies makes one policy document of the statements of several.
func joinPolicies(documents ...string) (string, error) {
	type document struct {
		Version   string
		Statement []json.RawMessage
	}
	whole := document{Version: "2012-10-17"}
	for _, text := range documents {
		var d document
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			return "", fmt.Errorf("joining trust policies: %w", err)
		}
		whole.Statement = append(whole.Statement, d.Statement...)
	}
	text, err := json.Marshal(whole)
	return string(text), err
}

// matches compares with a text that may end with *.
func matches(pattern, text string) bool {
	prefix, open := strings.CutSuffix(pattern, "*")
	return pattern == text || open && strings.HasPrefix(text, prefix)
}

// later makes a handler when it is first asked, which keeps a start short.
func later(build func() (http.Handler, error)) http.Handler {
	once := sync.OnceValues(build)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, err := once()
		if err != nil {
			http.Error(w, "this stand-in could not be set up", http.StatusInternalServerError)
			return
		}
		h.ServeHTTP(w, r)
	})
}
