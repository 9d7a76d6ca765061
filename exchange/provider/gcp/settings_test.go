package gcp_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/gcp"
)

func TestSettingsAreChecked(t *testing.T) {
	workforce := "locations/global/workforcePools/people/providers/corp"
	for i, s := range []gcp.Settings{
		{Provider: name},
		{Provider: workforce, UserProject: "billed-1"},
		{Provider: name, ServiceAccount: account, Delegates: []string{hop}, Extended: true, Scopes: []string{readOnly}},
		{Provider: name, ServiceAccount: account, Token: gcp.TokenID, Audience: "https://run.example", IncludeEmail: true},
		{Provider: name, ServiceAccount: account, AccessBoundary: models, ActorProvider: actors, AssertionAudience: "cambio"},
		{Provider: name, STSURL: "https://127.0.0.1:8443", IAMURL: "https://127.0.0.1:8443", Subject: []string{"namespace", "subject"}},
	} {
		if faults := s.Validate(); len(faults) > 0 {
			t.Errorf("%d: %v", i, faults)
		}
	}
	for i, c := range []struct {
		settings gcp.Settings
		setting  string
	}{
		{gcp.Settings{}, "provider"},
		{gcp.Settings{Provider: "//iam.googleapis.com/" + name}, "provider"},
		{gcp.Settings{Provider: "projects/p/locations/global/workloadIdentityPools/cambio/providers/prod"}, "provider"},
		{gcp.Settings{Provider: name, ServiceAccount: "someone@example.com"}, "service_account"},
		{gcp.Settings{Provider: name, ServiceAccount: "a@b/c.iam.gserviceaccount.com"}, "service_account"},
		{gcp.Settings{Provider: name, Delegates: []string{hop}}, "delegates"},
		{gcp.Settings{Provider: name, ServiceAccount: account, Delegates: []string{"x"}}, "delegates"},
		{gcp.Settings{Provider: name, Extended: true}, "extended"},
		{gcp.Settings{Provider: name, AccessBoundary: models}, "access_boundary"},
		{gcp.Settings{Provider: name, ServiceAccount: account, AccessBoundary: slices.Repeat(models, 11)}, "access_boundary"},
		{gcp.Settings{Provider: name, ServiceAccount: account, AccessBoundary: []gcp.Rule{{AvailableResource: "//aiplatform.googleapis.com/x", AvailablePermissions: []string{"inRole:roles/x"}}}}, "access_boundary"},
		{gcp.Settings{Provider: name, ServiceAccount: account, AccessBoundary: []gcp.Rule{{AvailableResource: models[0].AvailableResource}}}, "access_boundary"},
		{gcp.Settings{Provider: name, ServiceAccount: account, AccessBoundary: []gcp.Rule{{AvailableResource: models[0].AvailableResource, AvailablePermissions: []string{"roles/x"}}}}, "access_boundary"},
		{gcp.Settings{Provider: name, ServiceAccount: account, AccessBoundary: []gcp.Rule{{
			AvailableResource: models[0].AvailableResource, AvailablePermissions: []string{"inRole:roles/x"},
			AvailabilityCondition: &gcp.Condition{Expression: strings.Repeat("x", 2048)},
		}}}, "access_boundary"},
		{gcp.Settings{Provider: name, UserProject: "p"}, "user_project"},
		{gcp.Settings{Provider: workforce, UserProject: "P P"}, "user_project"},
		{gcp.Settings{Provider: name, ActorProvider: "actors"}, "actor_provider"},
		{gcp.Settings{Provider: name, AssertionAudience: "a b"}, "assertion_audience"},
		{gcp.Settings{Provider: name, Token: "jwt"}, "token"},
		{gcp.Settings{Provider: name, Token: gcp.TokenID, Audience: "a"}, "token"},
		{gcp.Settings{Provider: name, ServiceAccount: account, Token: gcp.TokenID}, "audience"},
		{gcp.Settings{Provider: name, ServiceAccount: account, Token: gcp.TokenID, Audience: "a", Extended: true}, "token"},
		{gcp.Settings{Provider: name, Audience: "a"}, "audience"},
		{gcp.Settings{Provider: name, Scopes: []string{"a b"}}, "scopes"},
		{gcp.Settings{Provider: name, Scopes: []string{"a", "a"}}, "scopes"},
		{gcp.Settings{Provider: name, STSURL: "http://sts.googleapis.com"}, "sts_url"},
		{gcp.Settings{Provider: name, IAMURL: "https://iam.example/x"}, "iam_url"},
		{gcp.Settings{Provider: name, Subject: []string{"Bad Name"}}, "subject"},
	} {
		faults := c.settings.Validate()
		if len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), c.setting) {
			t.Errorf("%d: %v, want one of %s", i, faults, c.setting)
		}
	}
	if _, err := (&gcp.Settings{Provider: name}).Open(provider.Deps{}); err == nil {
		t.Error("it opens without an issuer")
	}
}

func TestFactsFollowTheToken(t *testing.T) {
	for _, c := range []struct {
		settings gcp.Settings
		types    exchange.TokenType
		scopes   int
	}{
		{gcp.Settings{Provider: name}, exchange.TokenTypeAccessToken, 1},
		{gcp.Settings{Provider: name, ServiceAccount: account, Scopes: []string{"a", "b"}}, exchange.TokenTypeAccessToken, 2},
		{gcp.Settings{Provider: name, ServiceAccount: account, Token: gcp.TokenID, Audience: "x"}, exchange.TokenTypeIDToken, 0},
	} {
		if f := c.settings.Facts(); len(f.Types) != 1 || f.Types[0] != c.types || len(f.Scopes) != c.scopes {
			t.Errorf("%+v", f)
		}
	}
}
