package subject_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

func TestS7OwnTokensAreNoSubjects(t *testing.T) {
	b := newBench(t)
	for _, issuer := range []string{
		"https://cambio.test", "https://cambio.test/", "https://CAMBIO.test", "https://cambio.test:443", "HTTPS://cambio.test",
		"https://cambio.test/federation", "https://cambio.test/federation/",
	} {
		own := corp()
		own.Issuer = issuer
		wantFault(t, b.Check([]exchange.Trust{own}), "issuer: it is Cambio itself")
		own.Keys.File = "keys.json"
		wantFault(t, b.Check([]exchange.Trust{own}), "issuer: it is Cambio itself")
	}
	for _, url := range []string{"https://cambio.test/oauth2/jwks", "https://cambio.test/federation/jwks", "https://Cambio.test:443/x"} {
		own := corp()
		own.Keys.URL = url
		wantFault(t, b.Check([]exchange.Trust{own}), "keys.url: these are Cambio's own keys")
	}
	near := corp()
	near.Issuer, near.Keys.URL = "https://cambio.test.example", "https://cambio.test.example/keys"
	if faults := b.Check([]exchange.Trust{near}); len(faults) > 0 {
		t.Error(faults)
	}
	for _, typ := range []string{"oauth-id-jag+jwt", "application/oauth-id-jag+jwt", "DPoP+JWT", "cambio-session+jwt"} {
		own := corp()
		own.Types = []string{"jwt", typ}
		wantFault(t, b.Check([]exchange.Trust{own}), "is never a subject")
	}
}

func TestS8CloudAudiencesAreRefused(t *testing.T) {
	b := newBench(t)
	for _, audience := range []string{
		"sts.amazonaws.com", "STS.amazonaws.com", "sts.amazonaws.com.cn", "sts.eu-central-1.amazonaws.com", "pods.eks.amazonaws.com",
		"api://AzureADTokenExchange", "api://AzureADTokenExchangeUSGov", "api://azureadtokenexchange",
		"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
		"https://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
		"https://sts.googleapis.com/v1/token", "https://idcs-1.identity.oraclecloud.com", "https://idcs-1.identity.oraclecloud.com:443/",
		"https://iam.cloud.ibm.com/identity/token", "https://api.anthropic.com/v1", "https://auth.openai.com",
	} {
		trust := corp()
		trust.Audiences = []string{"cambio", audience}
		wantFault(t, b.Check([]exchange.Trust{trust}), "is a cloud's")
	}
	trust := corp()
	trust.Audiences = []string{"cambio", "https://cambio.example", "sts.amazonaws.com.example", "my-sts.amazonaws.community"}
	if faults := b.Check([]exchange.Trust{trust}); len(faults) > 0 {
		t.Error(faults)
	}
}

func wantFault(t *testing.T, faults []error, words string) {
	t.Helper()
	if !slices.ContainsFunc(faults, func(err error) bool { return strings.Contains(err.Error(), words) }) {
		t.Errorf("faults %v, want one with %q", faults, words)
	}
}

// Every fault comes in one run, with the trust and the field.
func TestCheckFindsEveryFault(t *testing.T) {
	b := newBench(t)
	review := func(r exchange.Review) func(*exchange.Trust) {
		return func(tr *exchange.Trust) { tr.Kind, tr.Review = exchange.TrustKubernetes, &r }
	}
	for want, break_ := range map[string]func(*exchange.Trust){
		"name: it must not be empty":           func(tr *exchange.Trust) { tr.Name = "" },
		`kind: "saml" is not one of`:           func(tr *exchange.Trust) { tr.Kind = "saml" },
		"issuer: it must not be empty":         func(tr *exchange.Trust) { tr.Issuer = "" },
		"issuer: it must begin with https":     func(tr *exchange.Trust) { tr.Issuer = "http://login.test" },
		"issuer: it has no host":               func(tr *exchange.Trust) { tr.Issuer = "login" },
		"issuer: it must not have a fragment":  func(tr *exchange.Trust) { tr.Issuer = login + "#x" },
		"issuer: a spiffe trust is picked":     func(tr *exchange.Trust) { tr.Kind = exchange.TrustSPIFFE },
		"trust_domain: only a spiffe":          func(tr *exchange.Trust) { tr.TrustDomain = "acme.test" },
		`trust_domain: "spiffe://a" is not`:    func(tr *exchange.Trust) { tr.Kind, tr.Issuer, tr.TrustDomain = exchange.TrustSPIFFE, "", "spiffe://a" },
		"keys: a spiffe trust needs":           func(tr *exchange.Trust) { tr.Kind, tr.Issuer, tr.TrustDomain = exchange.TrustSPIFFE, "", "a" },
		"keys: url and file exclude":           func(tr *exchange.Trust) { tr.Keys = exchange.KeySource{URL: login, File: "x"} },
		"keys.url: it must begin with https":   func(tr *exchange.Trust) { tr.Keys.URL = "http://169.254.169.254/" },
		"keys.url: it must not hold a user":    func(tr *exchange.Trust) { tr.Keys.URL = "https://a:b@login.test/" },
		"keys.stale: it must be 1m0s at least": func(tr *exchange.Trust) { tr.Keys.Stale = -1 },
		"audiences: name at least one":         func(tr *exchange.Trust) { tr.Audiences = nil },
		"audiences: an audience must not be":   func(tr *exchange.Trust) { tr.Audiences = []string{""} },
		`algorithms: "none" is not one of`:     func(tr *exchange.Trust) { tr.Algorithms = []string{"none"} },
		`algorithms: "HS256" is not one of`:    func(tr *exchange.Trust) { tr.Algorithms = []string{"RS256", "HS256"} },
		"leeway: it must be between":           func(tr *exchange.Trust) { tr.Leeway = time.Hour },
		"max_age: it must not be negative":     func(tr *exchange.Trust) { tr.MaxAge = -1 },
		"clientless.azp: it stands without":    func(tr *exchange.Trust) { tr.ClientlessAZP = []string{"cli"} },
		"clientless.azp: only an oidc": func(tr *exchange.Trust) {
			tr.Kind, tr.Clientless, tr.ClientlessAZP = exchange.TrustKubernetes, true, []string{"cli"}
		},
		"clientless.azp: an authorized":           func(tr *exchange.Trust) { tr.Clientless, tr.ClientlessAZP = true, []string{""} },
		"claims.Team: a name has":                 func(tr *exchange.Trust) { tr.Claims = map[string]string{"Team": "$.team"} },
		"claims.sub: it says who":                 func(tr *exchange.Trust) { tr.Claims = map[string]string{"sub": "$.email"} },
		`claims.team: "team" is not a JSON path`:  func(tr *exchange.Trust) { tr.Claims = map[string]string{"team": "team"} },
		`claims.team: "$[" is not a JSON path`:    func(tr *exchange.Trust) { tr.Claims = map[string]string{"team": "$["} },
		`claims.team: "$.a[?(@" is not a JSON pa`: func(tr *exchange.Trust) { tr.Claims = map[string]string{"team": "$.a[?(@"} },
		"review: only a kubernetes":               func(tr *exchange.Trust) { tr.Review = &exchange.Review{Mode: exchange.ReviewNever} },
		`review.mode: "" is not one of`:           review(exchange.Review{}),
		"review.server: it must begin":            review(exchange.Review{Mode: exchange.ReviewCached, Server: "http://10.0.0.1"}),
		"review.ttl: it must be between":          review(exchange.Review{Mode: exchange.ReviewCached, TTL: time.Hour}),
	} {
		t.Run(want, func(t *testing.T) {
			trust := corp()
			break_(&trust)
			faults := b.Check([]exchange.Trust{trust})
			wantFault(t, faults, want)
			if err := b.Load([]exchange.Trust{trust}); err == nil {
				t.Error("loaded all the same")
			}
		})
	}
	one := corp()
	one.Audiences, one.Leeway, one.Algorithms = nil, -1, []string{"none"}
	if faults := b.Check([]exchange.Trust{one, prod("x")}); len(faults) != 3 {
		t.Errorf("%d faults, want three: %v", len(faults), faults)
	}
}

func TestS6CheckWantsPinnedAndSeparateKeys(t *testing.T) {
	b := newBench(t)
	check := func(change func(a, b *exchange.Trust), words string) {
		t.Helper()
		one, two := prod("blue"), prod("green")
		change(&one, &two)
		faults := b.Check([]exchange.Trust{one, two})
		if words == "" {
			if len(faults) > 0 {
				t.Error(faults)
			}
			return
		}
		wantFault(t, faults, words)
	}
	check(func(_, _ *exchange.Trust) {}, "")
	check(func(x, _ *exchange.Trust) { x.Keys = exchange.KeySource{} }, "each of the two needs keys.url or keys.file")
	check(func(_, y *exchange.Trust) { y.Keys = exchange.KeySource{} }, "each of the two needs keys.url or keys.file")
	check(func(x, y *exchange.Trust) { y.Keys = x.Keys }, "the same keys")
	check(func(x, y *exchange.Trust) {
		x.Keys, y.Keys = exchange.KeySource{File: "a"}, exchange.KeySource{File: "b"}
	}, "")
	check(func(_, y *exchange.Trust) {
		y.Kind = exchange.TrustOIDC
		y.Tenant = "other"
		y.Keys = exchange.KeySource{}
	}, "each of the two")
	check(func(_, y *exchange.Trust) { y.Name = "blue" }, "another trust has it already")
}
