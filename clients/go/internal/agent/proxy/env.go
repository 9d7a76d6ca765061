package proxy

import "strings"

// Env is what makes the SDKs of a process use the proxy: for each provider its first
// route with a prefix. bound maps the configured address to the one that is bound. The
// values hold the secret of the start: they are for the environment of a child alone.
//
// Bedrock's SDKs sign with the secret as their access key id, which is then that of all
// AWS services in the process.
func (r *Room) Env(bound map[string]string) map[string]string {
	env := map[string]string{}
	address := bound[r.settings.Listen]
	if address == "" || strings.HasPrefix(address, unixPrefix) {
		return env
	}
	secret := r.secret.Reveal()
	set := func(pairs ...string) {
		if _, ok := env[pairs[0]]; ok {
			return
		}
		for i := 0; i < len(pairs); i += 2 {
			env[pairs[i]] = pairs[i+1]
		}
	}
	for _, route := range r.filled {
		if route.Host != "" || route.Gateway != nil {
			continue
		}
		base := "http://" + address + strings.TrimRight(route.Prefix, "/")
		switch route.Provider {
		case "openai":
			set("OPENAI_BASE_URL", base+"/v1", "OPENAI_API_KEY", secret)
		case "anthropic":
			set("ANTHROPIC_BASE_URL", base, "ANTHROPIC_API_KEY", secret)
		case "azure-openai":
			set("AZURE_OPENAI_ENDPOINT", base, "AZURE_OPENAI_API_KEY", secret)
		case "bedrock":
			set("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", base, "AWS_ACCESS_KEY_ID", secret, "AWS_SECRET_ACCESS_KEY", secret, "AWS_REGION", route.Region, "AWS_DEFAULT_REGION", route.Region)
		}
	}
	return env
}
