package issuer_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
)

func grant(now time.Time) exchange.IDJAG {
	g := exchange.IDJAG{AccessToken: token(now), Resource: "https://wiki.example/mcp"}
	g.Audience, g.ClientID, g.Expires = "https://as.wiki.example", "agents", now.Add(exchange.MaxIDJAGLifetime)
	return g
}

// Identity assertion grant draft §3.1: exactly these claims under that `typ`, signed
// by the keys that our metadata names.
func TestIDJAGDraftSection3_1Claims(t *testing.T) {
	k := newKit(t)
	g := grant(noon)
	g.Actors = []exchange.Actor{{Name: "k8s:prod:agents:helper", Proven: true}}
	g.MayAct = &exchange.MayAct{Issuer: "https://corp", ID: "helper"}
	secret, err := k.MintIDJAG(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	header, claims, err := verify(k.AccessJWKS(), secret)
	if err != nil {
		t.Fatal(err)
	}
	if header.ExtraHeaders[jose.HeaderType] != "oauth-id-jag+jwt" || header.KeyID == "" {
		t.Errorf("header %v", header)
	}
	want := map[string]any{
		"iss": "https://cambio.example", "sub": g.Subject, "aud": "https://as.wiki.example", "client_id": "agents", "jti": g.ID.String(),
		"iat": json.Number("1795262400"), "exp": json.Number("1795262700"), "resource": "https://wiki.example/mcp", "scope": "tools.read tools.call",
		"act":     map[string]any{"iss": "https://cambio.example", "sub": "k8s:prod:agents:helper"},
		"may_act": map[string]any{"iss": "https://corp", "sub": "helper"},
	}
	if !reflect.DeepEqual(claims, want) {
		t.Errorf("the claims are %v, want %v", claims, want)
	}
}

// TestS1GrantsAreNeitherTokensNorAssertions: a grant goes to a caller, so no key of
// the federation issuer signs it, and its audience is nobody who could take it for an
// access token or for an assertion.
func TestS1GrantsAreNeitherTokensNorAssertions(t *testing.T) {
	k := newKit(t)
	secret, err := k.MintIDJAG(t.Context(), grant(noon))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := verify(k.FederationJWKS(), secret); err == nil {
		t.Error("a key of the federation issuer signs it")
	}
	for _, audience := range []string{
		k.URL(), k.FederationURL(), "https://wiki.example/mcp", "sts.amazonaws.com", "https://STS.amazonaws.com/", "api://AzureADTokenExchange",
	} {
		g := grant(noon)
		g.Audience = audience
		if secret, err := k.MintIDJAG(t.Context(), g); exchange.KindOf(err) != exchange.KindMisconfigured || !secret.IsZero() {
			t.Errorf("for %q: %v", audience, err)
		}
	}
}

func TestMintIDJAGRefuses(t *testing.T) {
	k := newKit(t)
	for name, change := range map[string]func(*exchange.IDJAG){
		"no id":         func(g *exchange.IDJAG) { g.ID = exchange.ID{} },
		"no subject":    func(g *exchange.IDJAG) { g.Subject = "" },
		"no audience":   func(g *exchange.IDJAG) { g.Audience = "" },
		"no client":     func(g *exchange.IDJAG) { g.ClientID = "" },
		"two scopes":    func(g *exchange.IDJAG) { g.Scopes = []string{"a b"} },
		"a long life":   func(g *exchange.IDJAG) { g.Expires = noon.Add(exchange.MaxIDJAGLifetime + time.Second) },
		"no life":       func(g *exchange.IDJAG) { g.Expires = noon },
		"nobody's word": func(g *exchange.IDJAG) { g.Actors = []exchange.Actor{{Name: "bob"}} },
		"huge":          func(g *exchange.IDJAG) { g.Subject = strings.Repeat("x", 9<<10) },
	} {
		g := grant(noon)
		change(&g)
		if secret, err := k.MintIDJAG(t.Context(), g); err == nil || !secret.IsZero() {
			t.Errorf("%s: minted", name)
		}
	}
}
