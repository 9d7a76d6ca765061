package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange/policy"
	"github.com/cambio-sts/cambio/exchange/provider/all"
)

// goodTargets are settings of each provider that are whole.
var goodTargets = map[string]string{
	"anthropic": "federation_rule_id: fdrl_01A, organization_id: 11111111-2222-4333-8444-555555555555",
	"aws":       "role_arn: 'arn:aws:iam::123456789012:role/llm', region: eu-west-1",
	"azure":     "tenant_id: 8f1c2f9e-0000-4000-8000-000000000001, client_id: 8f1c2f9e-0000-4000-8000-0000000000a1, scope: 'https://cognitiveservices.azure.com/.default'",
	"gcp":       "provider: projects/1/locations/global/workloadIdentityPools/cambio/providers/prod",
	"ibm":       "profile_id: Profile-00000000-0000-4000-8000-000000000000",
	"mcp":       "resource: 'https://mcp.example/a'",
	"oci":       "domain: 'https://idcs-0.identity.oraclecloud.com', region: us-ashburn-1, signed: workload, res_type: llm",
	"openai":    "identity_provider_id: idp_01A, service_account_id: svc_01A",
}

// badTarget is a target at fault: § stands where the fault is said to be.
type badTarget struct {
	provider string
	settings string // after the good ones
	rule     string // of the allow
	says     []string
}

// file is the policy of the case, and where its fault is.
func (b badTarget) file(t *testing.T) (text string, line, column int) {
	t.Helper()
	provider := strings.TrimPrefix(b.provider, "§")
	good := goodTargets[provider]
	settings := strings.Trim(good+", "+b.settings, ", ")
	text = `trusts:
  prod: {kubernetes: {issuer: https://oidc.prod.example, audiences: [cambio], clientless: true}}
targets:
  models:
    ` + b.provider + `: {` + settings + `}
allow:
  - {name: r, subjects: [{trust: prod}], targets: [models]` + b.rule + `}
`
	before, _, marked := strings.Cut(text, "§")
	if !marked {
		t.Fatalf("the case marks no place:\n%s", text)
	}
	line = strings.Count(before, "\n") + 1
	column = len([]rune(before[strings.LastIndex(before, "\n")+1:])) + 1
	return strings.ReplaceAll(text, "§", ""), line, column
}

// badTargets are, of each cloud and model provider, a lifetime that it cannot give and a setting that is
// misspelt, and of none a provider that is not there.
var badTargets = []badTarget{
	// What a rule allows, and the provider cannot give.
	{"anthropic", "", ", max_ttl: §1m", []string{`target "models" gives no lifetime under 1m5s`, "raise max_ttl"}},
	{"aws", "", ", max_ttl: §5m", []string{`target "models" gives no lifetime under 16m0s`, "may_outlive: true"}},
	{"azure", "", ", max_ttl: §1h", []string{`target "models" gives no lifetime under 1h30m0s`, "may_outlive: true"}},
	{"gcp", "", ", max_ttl: §30m", []string{`target "models" gives no lifetime under 1h0m0s`, "may_outlive: true"}},
	{"ibm", "", ", max_ttl: §30m", []string{`target "models" gives no lifetime under 1h0m0s`, "may_outlive: true"}},
	{"oci", "min_ttl: 1h", ", max_ttl: §30m", []string{`target "models" gives no lifetime under 1h0m0s`, "may_outlive: true"}},
	{"openai", "", ", max_ttl: §30m", []string{`target "models" gives no lifetime under 1h0m0s`, "may_outlive: true"}},
	{"mcp", "", ", max_ttl: §169h", []string{"max_ttl is over zero and at most 168h"}},

	// What a setting says of lifetimes that the provider does not have.
	{"aws", "max_session: §13h", "", []string{"max_session"}},
	{"azure", "longest_lifetime: §48h", "", []string{"longest_lifetime", "10m and 24h"}},
	{"gcp", "extended: §true", "", []string{"extended", "service_account"}},
	{"ibm", "longest_lifetime: §30s", "", []string{"longest_lifetime", "1m and 24h"}},
	{"oci", "max_ttl: §13h", "", []string{"max_ttl", "1s to 12h"}},
	{"openai", "longest_lifetime: §25h", "", []string{"longest_lifetime", "1m and 24h"}},

	// Misspelt settings.
	{"anthropic", "§organisation_id: x", "", []string{`unknown key "organisation_id"`, `did you mean "organization_id"?`}},
	{"aws", "§role-arn: x", "", []string{`unknown key "role-arn"`, `did you mean "role_arn"?`}},
	{"azure", "§tenantid: x", "", []string{`unknown key "tenantid"`, `did you mean "tenant_id"?`}},
	{"gcp", "§service_acount: x", "", []string{`unknown key "service_acount"`, `did you mean "service_account"?`}},
	{"ibm", "§profile: x", "", []string{`unknown key "profile"`, `did you mean "profile_id"?`}},
	{"mcp", "§scope: x", "", []string{`unknown key "scope"`, `did you mean "scopes"?`}},
	{"oci", "§restype: x", "", []string{`unknown key "restype"`, `did you mean "res_type"?`}},
	{"openai", "§may_outlives: true", "", []string{`unknown key "may_outlives"`, `did you mean "may_outlive"?`}},

	// Providers that are not.
	{"§amazon", "", "", []string{`"amazon"`}},
	{"§azur", "", "", []string{`"azur"`, `did you mean "azure"?`}},
	{"§open_ai", "", "", []string{`"open_ai"`, `did you mean "openai"?`}},
	{"§GCP", "", "", []string{`"GCP"`, `did you mean "gcp"?`}},

	// Settings that cannot be, told at the setting.
	{"aws", "method: §passthru", "", []string{"method"}},
	{"azure", "authority: §'http://login.microsoftonline.com'", "", []string{"authority"}},
	{"gcp", "token: §refresh_token", "", []string{"token", "access_token"}},
	{"oci", "subject: §[Namespace]", "", []string{"subject[0]"}},
	{"ibm", "endpoint: §'http://iam.cloud.ibm.com'", "", []string{"endpoint"}},
	{"anthropic", "workspace_id: §seven", "", []string{"workspace_id"}},
	{"openai", "token_type: §saml2", "", []string{"token_type"}},
	{"mcp", "scopes: §[a, a]", "", []string{"scopes[1]"}},
}

// TestBadTargets: policy check finds each with its line, its column and what to write.
func TestBadTargets(t *testing.T) {
	lifetimes, misspelt := map[string]bool{}, map[string]bool{}
	cases := badTargets
	for _, kind := range all.Registry().Kinds() {
		cases = append(cases, badTarget{kind, "§no_such_setting: x", "", []string{`unknown key "no_such_setting"`}})
	}
	for _, b := range cases {
		text, line, column := b.file(t)
		name := b.provider + " " + b.settings + b.rule
		if strings.Contains(b.rule, "max_ttl") {
			lifetimes[b.provider] = true
		}
		if strings.Contains(b.says[0], "unknown key") && len(b.says) > 1 {
			misspelt[b.provider] = true
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "p.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("cambio", "policy", "check", "--policy", dir, "--output", "json")
		out, err := cmd.Output()
		if err == nil || cmd.ProcessState.ExitCode() != statusFault {
			t.Errorf("%s: exit status %d", name, cmd.ProcessState.ExitCode())
			continue
		}
		var report struct {
			OK     bool
			Faults policy.Faults
		}
		if err := json.Unmarshal(out, &report); err != nil || report.OK {
			t.Errorf("%s: %v\n%s", name, err, out)
			continue
		}
		found := false
		for _, f := range report.Faults {
			found = found || f.File == "p.yaml" && f.Line == line && f.Column == column && containsAll(f.Message, b.says)
		}
		if !found {
			t.Errorf("%s: nothing at %d:%d says %q:\n%s", name, line, column, b.says, report.Faults.Error())
		}
	}
	for kind := range goodTargets {
		if !lifetimes[kind] || !misspelt[kind] {
			t.Errorf("of %s there is no case of a lifetime, or none of a misspelt setting", kind)
		}
	}
}

func containsAll(text string, parts []string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}
