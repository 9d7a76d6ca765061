package all_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/outbound/outboundtest"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/all"
	"github.com/cambio-sts/cambio/exchange/provider/anthropic"
	"github.com/cambio-sts/cambio/exchange/provider/aws"
	"github.com/cambio-sts/cambio/exchange/provider/azure"
	"github.com/cambio-sts/cambio/exchange/provider/gcp"
	"github.com/cambio-sts/cambio/exchange/provider/ibm"
	"github.com/cambio-sts/cambio/exchange/provider/oauth2"
	"github.com/cambio-sts/cambio/exchange/provider/oci"
	"github.com/cambio-sts/cambio/exchange/provider/openai"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
	"github.com/cambio-sts/cambio/exchange/provider/vault"
)

// shut is where the house lets nobody ask.
const shut = "https://127.0.0.1:1"

// outside are targets of every provider that asks somebody outside.
func outside() map[string]provider.Config {
	const guid = "8f1c2f9e-0000-4000-8000-000000000001"
	return map[string]provider.Config{
		"anthropic": &anthropic.Settings{FederationRuleID: "fdrl_01", OrganizationID: "11111111-2222-4333-8444-555555555555", Endpoint: shut},
		"aws":       &aws.Settings{RoleARN: "arn:aws:iam::123456789012:role/llm", Region: "eu-west-1", Endpoint: shut, MaxSession: time.Hour, MayOutlive: true},
		"aws, passthrough": &aws.Settings{Method: aws.MethodPassthrough, RoleARN: "arn:aws:iam::123456789012:role/llm", Region: "eu-west-1", Endpoint: shut,
			MaxSession: time.Hour, MayOutlive: true},
		"azure":       &azure.Settings{TenantID: guid, ClientID: guid, Scope: "https://cognitiveservices.azure.com/.default", Authority: shut, MayOutlive: true},
		"gcp":         &gcp.Settings{Provider: "projects/1/locations/global/workloadIdentityPools/cambio/providers/prod", STSURL: shut, IAMURL: shut, MayOutlive: true},
		"ibm":         &ibm.Settings{ProfileID: "Profile-" + guid, Endpoint: shut, MayOutlive: true},
		"ibm, assume": &ibm.Settings{Method: ibm.MethodAssume, ProfileID: "Profile-" + guid, APIKey: "${secret:s}", Endpoint: shut, MayOutlive: true},
		"oauth2":      &oauth2.Settings{Server: oauth2.Server{TokenURL: shut + "/token", ClientID: "c", ClientSecret: "${secret:s}"}, MayOutlive: true},
		"oauth2, found": &oauth2.Settings{Server: oauth2.Server{ClientID: "c", ClientSecret: "${secret:s}"}, Resource: shut + "/mcp",
			MayOutlive: true},
		"oci":    &oci.Settings{Domain: shut, Region: "us-ashburn-1", ClientID: "c", ClientSecret: "${secret:s}", ResType: "llm"},
		"openai": &openai.Settings{IdentityProviderID: "idp", ServiceAccountID: "svc", Endpoint: shut, MayOutlive: true},
		"vault":  &vault.Settings{Address: shut, Path: "secret/data/x", MayOutlive: true, Auth: vault.Auth{Role: "r", Audience: "vault"}},
	}
}

// counted counts the requests that are tried.
type counted struct {
	http.RoundTripper
	n atomic.Int64
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return c.RoundTripper.RoundTrip(r)
}

// told is a gate that keeps what it is told.
type told struct{ left []error }

func (g *told) Enter(*exchange.Target) (func(error), error) {
	return func(err error) { g.left = append(g.left, err) }, nil
}

// TestS24WhatIsNotLetOutIsTheOperators: a request that the house does not let out is no
// outage of the provider. It is tried once, the gate hears that nobody was called, and
// the operator hears what is refused and where it would be allowed, by an exchange as
// by a check; the advice, which a caller may see, names neither.
func TestS24WhatIsNotLetOutIsTheOperators(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	for name, config := range outside() {
		kind, _, _ := strings.Cut(name, ",")
		asked = append(asked, kind)
		if faults := config.Validate(); len(faults) > 0 {
			t.Fatalf("%s: %v", name, faults)
		}
		for why, client := range outboundtest.Shut(t) {
			t.Run(name+", "+why, func(t *testing.T) {
				count := &counted{RoundTripper: client.Transport}
				deps := provider.Deps{
					HTTP: &http.Client{Transport: count, CheckRedirect: client.CheckRedirect}, Asserter: providertest.NewQuickFederation(t), Now: time.Now, Random: rand.Reader,
					Secret: func(provider.SecretRef, string) (exchange.Secret, error) {
						return exchange.NewSecret("vended-secret-of-the-test"), nil
					},
				}
				judge := func(what string, err error, tries int64) {
					t.Helper()
					var e *exchange.Error
					if !errors.As(err, &e) || e.Kind != exchange.KindMisconfigured || !errors.Is(err, provider.ErrNotCalled) {
						t.Fatalf("%s: %v", what, err)
					}
					wants := []string{"127.0.0.1", "outbound.allow"}
					if why == "address" {
						wants[0] = "127.0.0.1/32"
					}
					for _, want := range wants {
						if !strings.Contains(e.Err.Error(), want) {
							t.Errorf("%s: the cause does not name %s: %v", what, want, e.Err)
						}
					}
					if strings.Contains(e.Advice, "127.0.0.1") || strings.Contains(err.Error(), "vended-secret") {
						t.Errorf("%s: it tells too much: %v", what, err)
					}
					if n := count.n.Swap(0); n != tries {
						t.Errorf("%s: tried %d times, want %d", what, n, tries)
					}
				}

				gate := &told{}
				vendor := provider.NewVendor(provider.VendorOptions{Deps: deps, Gate: gate})
				h := providertest.Harness{Provider: kind, Config: config, Deps: deps, Scopes: config.Facts().Scopes, PublicKey: public}
				g := h.Grant(t, "k8s:prod:llm:gateway")
				g.Lifetime, g.NotAfter = time.Hour, g.Now.Add(2*time.Hour)
				g.Passthrough = exchange.Token{Value: exchange.NewSecret("e30.e30.c2ln")}
				tries := int64(1)
				if l, ok := config.(provider.LoaderConfig); ok && l.MustLoad() {
					tries = 0
					judge("load", vendor.Load(t.Context(), []*exchange.Target{g.Target}), 1)
				}
				slot, err := vendor.Reserve(t.Context(), g)
				if err != nil {
					t.Fatal(err)
				}
				_, err = slot.Vend(t.Context())
				judge("vend", err, tries)
				if err := slot.Release(t.Context(), exchange.Credential{}, false); err != nil {
					t.Error(err)
				}
				if len(gate.left) != 1 || !errors.Is(gate.left[0], provider.ErrNotCalled) {
					t.Errorf("the gate is told %v", gate.left)
				}

				d, err := config.Open(deps)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				judge("check", d.(provider.Checker).Check(ctx), 1)
			})
		}
	}
	for _, kind := range all.Registry().Kinds() {
		if !slices.Contains(asked, kind) && kind != "mcp" { // mcp asks nobody
			t.Errorf("%s is not asked", kind)
		}
	}
}
