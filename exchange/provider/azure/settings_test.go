package azure_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/azure"
)

func TestSettingsAreChecked(t *testing.T) {
	good := azure.Settings{TenantID: tenant, ClientID: app, Scope: scope}
	for i, change := range []func(*azure.Settings){
		func(*azure.Settings) {},
		func(s *azure.Settings) { s.TenantID = "contoso.onmicrosoft.com" },
		func(s *azure.Settings) { s.Scope = "api://" + other + "/.default" },
		func(s *azure.Settings) {
			s.Method, s.Subject = azure.MethodOnBehalfOf, []string{"namespace", "subject"}
		},
		func(s *azure.Settings) { s.Authority = "https://login.microsoftonline.us" },
		func(s *azure.Settings) { s.Authority, s.Audience = "https://127.0.0.1:8443", "api://sandbox" },
		func(s *azure.Settings) { s.LongestLifetime = 24 * time.Hour },
	} {
		s := good
		change(&s)
		if faults := s.Validate(); len(faults) > 0 {
			t.Errorf("%d: %v", i, faults)
		}
	}
	for i, c := range []struct {
		setting string
		change  func(*azure.Settings)
	}{
		{"tenant_id", func(s *azure.Settings) { s.TenantID = "" }},
		{"tenant_id", func(s *azure.Settings) { s.TenantID = "common" }},
		{"tenant_id", func(s *azure.Settings) { s.TenantID = "organizations" }},
		{"tenant_id", func(s *azure.Settings) { s.TenantID = "adfs" }},
		{"tenant_id", func(s *azure.Settings) { s.TenantID = "a.b/../c.d" }},
		{"client_id", func(s *azure.Settings) { s.ClientID = "my-app" }},
		{"scope", func(s *azure.Settings) { s.Scope = "https://cognitiveservices.azure.com" }},
		{"scope", func(s *azure.Settings) { s.Scope = "/.default" }},
		{"scope", func(s *azure.Settings) { s.Scope = "https://a/.default https://b/.default" }},
		{"method", func(s *azure.Settings) { s.Method = "client_secret" }},
		{"authority", func(s *azure.Settings) { s.Authority = "http://login.microsoftonline.com" }},
		{"authority", func(s *azure.Settings) { s.Authority = "https://login.microsoftonline.com/" }},
		{"authority", func(s *azure.Settings) { s.Authority = "https://Login.example" }},
		{"authority", func(s *azure.Settings) { s.Authority = "https://a@b" }},
		{"audience", func(s *azure.Settings) { s.Audience = "a b" }},
		{"longest_lifetime", func(s *azure.Settings) { s.LongestLifetime = time.Minute }},
		{"longest_lifetime", func(s *azure.Settings) { s.LongestLifetime = 48 * time.Hour }},
		{"subject", func(s *azure.Settings) { s.Subject = []string{"Bad Name"} }},
	} {
		s := good
		c.change(&s)
		if faults := s.Validate(); len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), c.setting) {
			t.Errorf("%d: %v, want one of %s", i, faults, c.setting)
		}
	}
	if _, err := good.Open(provider.Deps{}); err == nil {
		t.Error("it opens without an issuer")
	}
}
