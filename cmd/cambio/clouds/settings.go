package clouds

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"text/template"

	"github.com/cambio-sts/cambio/exchange/provider/aws/awssandbox"
)

// Setting is one setting, or one environment variable.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Settings are a target's settings under the key of its provider, as a policy has
// them.
func (c *Clouds) Settings(name string) []Setting {
	at := c.Endpoint(name)
	switch name {
	case AWS:
		return []Setting{
			{"role_arn", "arn:aws:iam::" + awssandbox.DefaultAccount + ":role/" + awsRole}, {"region", awssandbox.DefaultRegion}, {"endpoint", at},
		}
	case Azure:
		return []Setting{
			{"tenant_id", azureTenant}, {"client_id", azureClient}, {"scope", "https://cognitiveservices.azure.com/.default"}, {"authority", at},
		}
	case GCP:
		return []Setting{{"provider", gcpProvider}, {"service_account", gcpAccount}, {"sts_url", at}, {"iam_url", at}}
	case OCI:
		return []Setting{{"domain", at}, {"region", ociRegion}, {"client_id", ociClient}, {"res_type", ociResource}}
	case IBM:
		return []Setting{{"profile_id", ibmProfile}, {"endpoint", at}}
	case Anthropic:
		return []Setting{
			{"federation_rule_id", anthropicRule}, {"organization_id", anthropicOrg}, {"service_account_id", anthropicUser}, {"endpoint", at},
		}
	case OpenAI:
		return []Setting{{"identity_provider_id", openaiPool}, {"service_account_id", openaiUser}, {"endpoint", at}}
	}
	return nil
}

// Audience is the `aud` that a stand-in asks of an assertion; with IBM, of a token of
// the linked cluster.
func (c *Clouds) Audience(name string) string { return c.audience(name) }

// Subject is the `sub` that a stand-in lets in; with IBM, that of the linked cluster's
// workload.
func (c *Clouds) Subject(name string) string {
	if name == IBM {
		return c.options.Workload
	}
	return c.subject(name)
}

// Environment is what the vendors' own SDKs and tools read, to find the stand-ins and
// to trust their certificates.
func (c *Clouds) Environment(caFile string) []Setting {
	return []Setting{
		{"AWS_CA_BUNDLE", caFile}, {"REQUESTS_CA_BUNDLE", caFile}, {"SSL_CERT_FILE", caFile}, {"CURL_CA_BUNDLE", caFile}, {"NODE_EXTRA_CA_CERTS", caFile},
		{"AWS_REGION", awssandbox.DefaultRegion}, {"AWS_DEFAULT_REGION", awssandbox.DefaultRegion}, // SDKs read the one, boto3 the other
		{"AWS_ROLE_ARN", c.Settings(AWS)[0].Value},
		{"AWS_ENDPOINT_URL_STS", c.Endpoint(AWS)}, {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME", c.Endpoint(AWS)},
		{"AZURE_AUTHORITY_HOST", c.Endpoint(Azure)}, {"AZURE_TENANT_ID", azureTenant}, {"AZURE_CLIENT_ID", azureClient},
		{"AZURE_OPENAI_ENDPOINT", c.Endpoint(Azure)}, {"VERTEX_ENDPOINT", c.Endpoint(GCP)}, {"OCI_GENAI_ENDPOINT", c.Endpoint(OCI)},
		{"WATSONX_URL", c.Endpoint(IBM)}, {"ANTHROPIC_BASE_URL", c.Endpoint(Anthropic)}, {"OPENAI_BASE_URL", c.Endpoint(OpenAI) + "/v1"},
	}
}

//go:embed clouds.yaml
var samplePolicy string

// Policy is the policy file with a target for each stand-in.
func (c *Clouds) Policy() ([]byte, error) {
	values := map[string]map[string]string{}
	for _, name := range Names() {
		values[name] = map[string]string{}
		for _, s := range c.Settings(name) {
			values[name][s.Name] = s.Value
		}
	}
	values[OCI]["host"] = strings.TrimPrefix(c.Endpoint(OCI), "https://") // what sessions sign for
	t, err := template.New("clouds.yaml").Option("missingkey=error").Delims("<", ">").Parse(samplePolicy)
	if err != nil {
		return nil, fmt.Errorf("reading the sample policy of the stand-ins: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, values); err != nil {
		return nil, fmt.Errorf("writing the sample policy of the stand-ins: %w", err)
	}
	return b.Bytes(), nil
}
