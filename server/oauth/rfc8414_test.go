package oauth_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/server"
	"github.com/cambio-sts/cambio/server/oauth"
)

func (d *door) get(path string) answer {
	d.t.Helper()
	r, err := http.NewRequest(http.MethodGet, d.url+path, nil)
	if err != nil {
		d.t.Fatal(err)
	}
	return d.do(r)
}

func list(a answer, name string) []string {
	var out []string
	members, _ := a.body[name].([]any)
	for _, m := range members {
		s, _ := m.(string)
		out = append(out, s)
	}
	return out
}

func TestRFC8414Section2Metadata(t *testing.T) {
	d := openDoor(t)
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		a := d.get(path)
		if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" || !strings.HasPrefix(a.header.Get("Cache-Control"), "public, max-age=") {
			t.Fatalf("%s: %d %v", path, a.status, a.header)
		}
		if a.body["issuer"] != issuer { // exactly, without a slash behind it
			t.Errorf("issuer %v", a.body["issuer"])
		}
		for name, want := range map[string][]string{
			"grant_types_supported":                 {server.GrantTokenExchange, "client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"},
			"response_types_supported":              {"code"},
			"code_challenge_methods_supported":      {"S256"},
			"token_endpoint_auth_methods_supported": {"none", "client_secret_basic", "client_secret_post", "private_key_jwt"},
			"subject_types_supported":               {"public"},
			// Identity assertion grant draft §7: given to other servers, and taken.
			"identity_chaining_requested_token_types_supported": {"urn:ietf:params:oauth:token-type:id-jag"},
			"authorization_grant_profiles_supported":            {"urn:ietf:params:oauth:grant-profile:id-jag"},
			"id_token_signing_alg_values_supported":             {"ES256", "RS256"},
		} {
			if got := list(a, name); !slices.Equal(got, want) {
				t.Errorf("%s is %v", name, got)
			}
		}
		for _, absent := range []string{"introspection_endpoint", "revocation_endpoint", "registration_endpoint", "userinfo_endpoint"} {
			if a.body[absent] != nil {
				t.Errorf("%s is listed and is not there", absent)
			}
		}
		for name := range a.body {
			if strings.HasSuffix(name, "_alg_values_supported") && slices.Contains(list(a, name), "none") {
				t.Errorf("%s lists none", name)
			}
		}
	}
}

// The SDKs of MCP refuse a document, or the server behind it, for reasons of their own:
// what each wants, whichever of the three places it reads.
func TestRFC8414Section2WhatMCPClientsInsistOn(t *testing.T) {
	for _, at := range []string{issuer, issuer + "/tenants/a"} {
		d := openDoor(t, func(o *oauth.Options) { o.Issuer = at })
		base := strings.TrimPrefix(at, issuer)
		for _, path := range []string{"/.well-known/oauth-authorization-server" + base, "/.well-known/openid-configuration" + base, base + "/.well-known/openid-configuration"} {
			a := d.get(path)
			text := func(name string) string { s, _ := a.body[name].(string); return s }
			for what, holds := range map[string]bool{
				"all: the issuer is the one that was asked for, to the byte":     text("issuer") == at,
				"Python, TypeScript: there is an authorization endpoint":         strings.HasPrefix(text("authorization_endpoint"), at+"/"),
				"Python, TypeScript: code is among the response types":           slices.Contains(list(a, "response_types_supported"), "code"),
				"Go, TypeScript: S256 is among the challenge methods":            slices.Contains(list(a, "code_challenge_methods_supported"), "S256"),
				"Python: the token endpoint is on the issuer's origin":           strings.HasPrefix(text("token_endpoint"), at+"/"),
				"TypeScript: OpenID Connect has keys, subject types, algorithms": text("jwks_uri") != "" && len(list(a, "subject_types_supported")) > 0 && len(list(a, "id_token_signing_alg_values_supported")) > 0,
				"Python: secrets are taken in the header":                        slices.Contains(list(a, "token_endpoint_auth_methods_supported"), "client_secret_basic"),
				"Go: secrets are taken in the body":                              slices.Contains(list(a, "token_endpoint_auth_methods_supported"), "client_secret_post"),
				"Go: a public client is taken, too":                              slices.Contains(list(a, "token_endpoint_auth_methods_supported"), "none"),
				"all: clients may be named by their metadata documents":          a.body["client_id_metadata_document_supported"] == true,
				"all: nobody registers by themselves":                            a.body["registration_endpoint"] == nil,
				"all: browsers may read it":                                      a.header.Get("Access-Control-Allow-Origin") == "*",
			} {
				if !holds {
					t.Errorf("%s: %s: %s", path, what, a.text)
				}
			}
		}
	}
}

// Every endpoint that the metadata lists answers, on the issuer's origin.
func TestRFC8414Section2EveryListedEndpointAnswers(t *testing.T) {
	for _, base := range []string{"", "/tenants/a"} {
		d := openDoor(t, func(o *oauth.Options) { o.Issuer = issuer + base })
		a := d.get("/.well-known/oauth-authorization-server" + base)
		for name, value := range a.body {
			if !strings.HasSuffix(name, "_endpoint") && name != "jwks_uri" {
				continue
			}
			location, _ := value.(string)
			u, err := url.Parse(location)
			if err != nil || u.Scheme+"://"+u.Host != issuer || !strings.HasPrefix(u.Path, base) {
				t.Errorf("%s is %q", name, location)
				continue
			}
			if got := d.get(u.Path); got.status == http.StatusNotFound {
				t.Errorf("%s: nothing at %s", name, u.Path)
			}
		}
	}
}

func TestRFC8414Section3IssuerWithAPath(t *testing.T) {
	for _, configured := range []string{issuer + "/tenants/a", issuer + "/tenants/a/"} {
		d := openDoor(t, func(o *oauth.Options) { o.Issuer = configured })
		for _, path := range []string{
			"/.well-known/oauth-authorization-server/tenants/a", // RFC 8414 §3.1
			"/.well-known/openid-configuration/tenants/a",       // RFC 8414 §5
			"/tenants/a/.well-known/openid-configuration",       // OpenID Connect Discovery 1.0 §4.1
		} {
			if a := d.get(path); a.body["issuer"] != issuer+"/tenants/a" {
				t.Errorf("%s: %s", path, a.text)
			}
		}
		// Another identifier's documents must not be answered with ours (RFC 8414 §3.3).
		for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/oauth2/token", "/.well-known/oauth-authorization-server/tenants/b"} {
			d.get(path).wantFailure(t, http.StatusNotFound, "invalid_request")
		}
		r, err := http.NewRequest(http.MethodPost, d.url+"/tenants/a/oauth2/token", strings.NewReader(with()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		d.do(r).wantIssued(t)
		if a := d.get("/tenants/a/federation/.well-known/openid-configuration"); a.status != http.StatusOK {
			t.Errorf("federation: %d", a.status)
		}
	}
}

func TestRFC7517Section5KeySets(t *testing.T) {
	d := openDoor(t)
	for path, want := range map[string]string{
		"/oauth2/jwks":     string(fixedKeys{}.AccessJWKS()),
		"/federation/jwks": string(fixedKeys{}.FederationJWKS()), // the two issuers share no key (S1)
		"/federation/.well-known/openid-configuration": string(fixedKeys{}.FederationDiscovery()),
	} {
		a := d.get(path)
		if a.text != want || !json.Valid([]byte(a.text)) {
			t.Errorf("%s: %s", path, a.text)
		}
		if !strings.HasPrefix(a.header.Get("Cache-Control"), "public, max-age=") || a.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s: %v", path, a.header)
		}
		r, err := http.NewRequest(http.MethodHead, d.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a := d.do(r); a.status != http.StatusOK || a.text != "" {
			t.Errorf("HEAD %s: %d %q", path, a.status, a.text)
		}
		r, err = http.NewRequest(http.MethodPost, d.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		a = d.do(r)
		a.wantFailure(t, http.StatusMethodNotAllowed, "invalid_request")
		if a.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("Allow %q", a.header.Get("Allow"))
		}
	}
}

// The authorization endpoint is listed for clients that insist on one. It never
// redirects: no client has registered where to.
func TestRFC6749Section4_1_2_1AuthorizeGrantsNothing(t *testing.T) {
	d := openDoor(t)
	d.client.CheckRedirect = func(*http.Request, []*http.Request) error { t.Error("redirected"); return http.ErrUseLastResponse }
	d.get("/oauth2/authorize?response_type=code&client_id=x&redirect_uri=https://evil.example").wantFailure(t, http.StatusBadRequest, "unsupported_response_type")
}

func TestPathsAreWhatIsServed(t *testing.T) {
	h := oauth.New(oauth.Options{Issuer: issuer + "/x", Keys: fixedKeys{}})
	if !slices.IsSorted(h.Paths()) || len(h.Paths()) != 8 {
		t.Errorf("%q", h.Paths())
	}
	d := openDoor(t)
	for _, p := range oauth.New(oauth.Options{Issuer: issuer, Keys: fixedKeys{}}).Paths() {
		if a := d.get(p); a.status == http.StatusNotFound {
			t.Errorf("%s is listed and not served", p)
		}
	}
}
