package exec

import (
	"maps"
	"slices"
	"strings"
)

// masters are variables that win over what a room sets: with them an SDK would use other
// credentials than those it was started for. They are listed by one of the variables that
// the room sets.
var masters = map[string][]string{
	// The default chain of the AWS SDKs asks container credentials last but one.
	"AWS_CONTAINER_CREDENTIALS_FULL_URI": {
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_PROFILE", "AWS_DEFAULT_PROFILE",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_BEARER_TOKEN_BEDROCK",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
	},
	// DefaultAzureCredential asks the environment and workload identity before managed
	// identity, and that Service Fabric and Arc before App Service.
	"IDENTITY_ENDPOINT": {
		"AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_USERNAME", "AZURE_PASSWORD", "AZURE_FEDERATED_TOKEN_FILE",
		"IDENTITY_SERVER_THUMBPRINT", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET",
	},
	// Application Default Credentials: a file wins, and NO_GCE_CHECK asks nobody.
	"GCE_METADATA_HOST": {"GOOGLE_APPLICATION_CREDENTIALS", "NO_GCE_CHECK", "GOOGLE_API_KEY"},
	"OCI_RESOURCE_PRINCIPAL_VERSION": {
		"OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM_PASSPHRASE", "OCI_RESOURCE_PRINCIPAL_RPT_ENDPOINT", "OCI_RESOURCE_PRINCIPAL_RPST_ENDPOINT",
	},
	"VAULT_ADDR": {"VAULT_AGENT_ADDR", "VAULT_NAMESPACE"},
}

// Environment is environ for a command, with what rooms set, and the names of the
// variables that are left out because they would win over it. set holds secrets.
func Environment(environ []string, set map[string]string) (env, removed []string) {
	out := map[string]bool{}
	for name := range set {
		for _, master := range masters[name] {
			out[master] = true
		}
		if prefix, ok := strings.CutSuffix(name, "_CR_TOKEN_FILENAME"); ok { // IBM's, by service
			out[prefix+"_APIKEY"], out["IBM_CREDENTIALS_FILE"] = true, true
		}
	}
	proxied, spared := false, ""
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		switch _, ours := set[name]; {
		case ours:
			continue
		case out[name]:
			removed = append(removed, name)
			continue
		}
		switch strings.ToUpper(name) {
		case "HTTP_PROXY", "ALL_PROXY":
			proxied = proxied || value != ""
		case "NO_PROXY":
			if value != "" {
				spared = value
			}
		}
		env = append(env, pair)
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		env = append(env, name+"="+set[name])
	}
	if proxied && len(set) > 0 && !spares(spared) {
		// Some SDKs would send what is meant for this machine to the proxy.
		env = slices.DeleteFunc(env, func(pair string) bool {
			name, _, _ := strings.Cut(pair, "=")
			return strings.EqualFold(name, "NO_PROXY")
		})
		list := strings.TrimPrefix(spared+",127.0.0.1,localhost", ",")
		env = append(env, "NO_PROXY="+list, "no_proxy="+list)
	}
	return env, removed
}

func spares(list string) bool {
	for entry := range strings.SplitSeq(list, ",") {
		if entry = strings.TrimSpace(entry); entry == "*" || entry == "127.0.0.1" {
			return true
		}
	}
	return false
}
