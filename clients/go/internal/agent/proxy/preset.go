package proxy

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// preset is what a provider's route leaves out. "{region}" stands for the route's.
type preset struct {
	upstream string // empty: the route names it
	auth     Auth
	headers  map[string]string
	methods  []string
	paths    []string
	slash    bool
	endless  bool // answers that are silent for long are meant to be
}

// presets by the name of a provider. Paths are those of inference: who needs more,
// such as the administration of an account, lists it.
var presets = map[string]preset{
	"openai": { // platform.openai.com/docs/api-reference
		upstream: "https://api.openai.com", auth: Auth{Bearer: true},
		methods: []string{"GET", "POST"},
		paths: []string{
			"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/responses/**", "/v1/embeddings",
			"/v1/models", "/v1/models/*", "/v1/images/*", "/v1/audio/*", "/v1/moderations",
		},
	},
	"anthropic": { // docs.anthropic.com/en/api; OAuth tokens want the beta header
		upstream: "https://api.anthropic.com", auth: Auth{Bearer: true},
		headers: map[string]string{"Anthropic-Beta": "oauth-2025-04-20"},
		methods: []string{"GET", "POST"},
		paths:   []string{"/v1/messages", "/v1/messages/count_tokens", "/v1/models", "/v1/models/*"},
	},
	"azure-openai": { // learn.microsoft.com/azure/ai-foundry/openai/reference
		auth: Auth{Bearer: true}, methods: []string{"GET", "POST"},
		paths: []string{"/openai/deployments/*/**", "/openai/v1/**", "/openai/responses", "/openai/responses/**", "/openai/models"},
	},
	"vertex": { // cloud.google.com/vertex-ai/docs/reference/rest
		upstream: "https://{region}-aiplatform.googleapis.com", auth: Auth{Bearer: true},
		methods: []string{"GET", "POST"},
		paths: []string{
			"/*/projects/*/locations/*/publishers/*/models/*", "/*/projects/*/locations/*/endpoints/*",
			"/*/projects/*/locations/*/endpoints/*/chat/completions", "/*/publishers/*/models/*",
		},
	},
	"bedrock": { // docs.aws.amazon.com/bedrock/latest/APIReference; models may be ARNs
		upstream: "https://bedrock-runtime.{region}.amazonaws.com", auth: Auth{AWS: &AWS{Service: "bedrock"}},
		methods: []string{"POST"}, slash: true,
		paths: []string{
			"/model/*/converse", "/model/*/converse-stream", "/model/*/invoke", "/model/*/invoke-with-response-stream",
			"/model/*/count-tokens", "/guardrail/*/version/*/apply",
		},
	},
	"oci-genai": { // docs.oracle.com/iaas/api/#/en/generative-ai-inference
		upstream: "https://inference.generativeai.{region}.oci.oraclecloud.com", auth: Auth{OCI: &OCI{}},
		methods: []string{"POST"},
		paths:   []string{"/20231130/actions/*", "/openai/v1/**", "/20231130/actions/v1/**"},
	},
	"watsonx": { // cloud.ibm.com/apidocs/watsonx-ai
		upstream: "https://{region}.ml.cloud.ibm.com", auth: Auth{Bearer: true},
		methods: []string{"GET", "POST"},
		paths:   []string{"/ml/v1/text/*", "/ml/v1/deployments/*/text/*", "/ml/v1/foundation_model_specs"},
	},
	"mcp": { // streamable HTTP: one path, three methods (MCP 2025-11-25, transports)
		auth: Auth{Bearer: true}, methods: []string{"GET", "POST", "DELETE"}, paths: []string{"/"}, endless: true,
	},
}

// Providers are the presets there are, in alphabetical order.
func Providers() []string { return slices.Sorted(maps.Keys(presets)) }

// filled is the route with everything that was left out.
func (r Route) filled() Route {
	p, known := presets[r.Provider]
	if r.Name == "" {
		r.Name = r.Provider
	}
	if r.Prefix == "" && r.Host == "" {
		r.Prefix = "/" + r.Name
	}
	if r.Upstream == "" && (r.Region != "" || !strings.Contains(p.upstream, "{region}")) {
		r.Upstream = strings.ReplaceAll(p.upstream, "{region}", r.Region)
		if r.Provider == "vertex" && r.Region == "global" {
			r.Upstream = "https://aiplatform.googleapis.com"
		}
	}
	auth := Auth{Bearer: true}
	switch {
	case r.Auth != nil:
		auth = *r.Auth
	case known:
		auth = p.auth
	}
	if auth.AWS != nil && auth.AWS.Region == "" {
		signature := *auth.AWS
		signature.Region = r.Region
		auth.AWS = &signature
	}
	r.Auth = &auth
	headers := maps.Clone(p.headers)
	if headers == nil {
		headers = map[string]string{}
	}
	maps.Copy(headers, r.Headers)
	r.Headers = headers
	if len(r.Methods) == 0 {
		if r.Methods = p.methods; !known {
			r.Methods = []string{"GET", "POST"}
		}
	}
	if len(r.Paths) == 0 {
		r.Paths = p.paths
	}
	r.EncodedSlash = r.EncodedSlash || p.slash
	r.Limits = r.Limits.filled(r.Auth.signs(), p.endless)
	if r.Cookies.MaxUsers == 0 {
		r.Cookies.MaxUsers = 64
	}
	return r
}

func (l Limits) filled(signs, endless bool) Limits {
	if l.MaxBody == 0 {
		l.MaxBody = 256 << 20
	}
	if l.Buffer == 0 {
		if l.Buffer = 1 << 20; signs {
			l.Buffer = 32 << 20
		}
	}
	if l.HeaderTimeout == nil {
		l.HeaderTimeout = new(10 * time.Minute)
	}
	if l.IdleTimeout == nil {
		l.IdleTimeout = new(10 * time.Minute)
		if endless {
			l.IdleTimeout = new(time.Duration)
		}
	}
	if l.Concurrent == 0 {
		l.Concurrent = 256
	}
	return l
}
