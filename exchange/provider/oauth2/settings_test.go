package oauth2_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/oauth2"
)

// good are settings without a fault.
func good(change func(*oauth2.Settings)) *oauth2.Settings {
	s := &oauth2.Settings{
		Server:   oauth2.Server{TokenURL: "https://as.example/token", Issuer: "https://as.example", ClientID: "c", ClientSecret: "${secret:x}"},
		Resource: "https://mcp.example/",
	}
	change(s)
	return s
}

// TestSettingsAreChecked: each fault begins with the setting to look at.
func TestSettingsAreChecked(t *testing.T) {
	key := func(s *oauth2.Settings) { s.Auth, s.ClientSecret = oauth2.AuthPrivateKeyJWT, "" }
	for name, c := range map[string]struct {
		change func(*oauth2.Settings)
		want   string // empty: no fault
	}{
		"good":                       {func(*oauth2.Settings) {}, ""},
		"nothing":                    {func(s *oauth2.Settings) { *s = oauth2.Settings{} }, "token_url: client_id: client_secret:"},
		"no resource":                {func(s *oauth2.Settings) { s.Resource = "" }, ""},
		"resource by http":           {func(s *oauth2.Settings) { s.Resource = "http://mcp.example" }, "resource:"},
		"resource with a fragment":   {func(s *oauth2.Settings) { s.Resource += "#x" }, "resource:"},
		"upper case":                 {func(s *oauth2.Settings) { s.TokenURL = "https://AS.example/token" }, "token_url:"},
		"a way up":                   {func(s *oauth2.Settings) { s.TokenURL = "https://as.example/a/../token" }, "token_url:"},
		"no path":                    {func(s *oauth2.Settings) { s.TokenURL = "https://as.example" }, "token_url:"},
		"with a query":               {func(s *oauth2.Settings) { s.TokenURL += "?p=policy" }, ""},
		"a user":                     {func(s *oauth2.Settings) { s.TokenURL = "https://u@as.example/token" }, "token_url:"},
		"an issuer with a query":     {func(s *oauth2.Settings) { s.Issuer += "?x" }, "issuer:"},
		"revocation by http":         {func(s *oauth2.Settings) { s.RevocationURL = "http://as.example/revoke" }, "revocation_url:"},
		"a secret in clear":          {func(s *oauth2.Settings) { s.ClientSecret = "hunter2" }, "client_secret:"},
		"no client":                  {func(s *oauth2.Settings) { s.ClientID = "" }, "client_id:"},
		"a client of two lines":      {func(s *oauth2.Settings) { s.ClientID = "a\nb" }, "client_id:"},
		"unknown auth":               {func(s *oauth2.Settings) { s.Auth = "client_secret_jwt" }, "auth:"},
		"none for oneself":           {func(s *oauth2.Settings) { s.Auth, s.ClientSecret = oauth2.AuthNone, "" }, "auth:"},
		"none for another":           {func(s *oauth2.Settings) { s.Auth, s.ClientSecret, s.Grant = oauth2.AuthNone, "", oauth2.GrantJWTBearer }, ""},
		"a key and a secret":         {func(s *oauth2.Settings) { s.Auth, s.KeyFile = oauth2.AuthPrivateKeyJWT, "/k" }, "client_secret:"},
		"a key":                      {func(s *oauth2.Settings) { key(s); s.KeyFile, s.KeyID = "/k", "1" }, ""},
		"the issuer's word":          {func(s *oauth2.Settings) { key(s); s.ClientID = "" }, ""},
		"a key without a client":     {func(s *oauth2.Settings) { key(s); s.ClientID, s.KeyFile = "", "/k" }, "client_id:"},
		"a kid without a key":        {func(s *oauth2.Settings) { key(s); s.KeyID = "1" }, "key_id:"},
		"a key for a secret":         {func(s *oauth2.Settings) { s.KeyFile = "/k" }, "key_file:"},
		"a certificate without key":  {func(s *oauth2.Settings) { s.Auth, s.ClientSecret, s.CertFile = oauth2.AuthTLS, "", "/c" }, "cert_file:"},
		"a certificate for a secret": {func(s *oauth2.Settings) { s.CertFile = "/c" }, "cert_file:"},
		"client_audience":            {func(s *oauth2.Settings) { s.ClientAudience = "x" }, "client_audience:"},
		"client_audience, found":     {func(s *oauth2.Settings) { key(s); s.ClientAudience, s.TokenURL, s.Issuer = "x", "", "" }, "issuer:"},
		"unknown grant":              {func(s *oauth2.Settings) { s.Grant = "password" }, "grant:"},
		"a subject for oneself":      {func(s *oauth2.Settings) { s.Subject = []string{"subject"} }, "grant:"},
		"idp for oneself":            {func(s *oauth2.Settings) { s.IDP = &oauth2.Server{} }, "idp:"},
		"idp for an exchange":        {func(s *oauth2.Settings) { s.Grant, s.IDP = oauth2.GrantTokenExchange, &oauth2.Server{} }, "idp:"},
		"id_jag":                     {func(s *oauth2.Settings) { s.Grant = oauth2.GrantIDJAG }, ""},
		"id_jag without issuer":      {func(s *oauth2.Settings) { s.Grant, s.Issuer = oauth2.GrantIDJAG, "" }, "issuer:"},
		"id_jag for itself":          {func(s *oauth2.Settings) { s.Grant, s.Resource = oauth2.GrantIDJAG, s.Issuer }, "issuer:"},
		"id_jag without resource":    {func(s *oauth2.Settings) { s.Grant, s.Resource = oauth2.GrantIDJAG, "" }, "client_id:"},
		"id_jag of ours of a token":  {func(s *oauth2.Settings) { s.Grant, s.SubjectToken = oauth2.GrantIDJAG, oauth2.ProofPassthrough }, "grant:"},
		"an idp that is nowhere": {func(s *oauth2.Settings) { s.Grant, s.IDP = oauth2.GrantIDJAG, &oauth2.Server{} },
			"idp: idp.client_id: idp.client_secret:"},
		"passthrough, found": {func(s *oauth2.Settings) {
			s.Grant, s.SubjectToken, s.TokenURL, s.Issuer = oauth2.GrantTokenExchange, oauth2.ProofPassthrough, "", ""
		}, "issuer:"},
		"passthrough with a subject": {func(s *oauth2.Settings) {
			s.Grant, s.SubjectToken, s.Subject = oauth2.GrantTokenExchange, oauth2.ProofPassthrough, []string{"subject"}
		}, "subject_token:"},
		"unknown proof": {func(s *oauth2.Settings) { s.Grant, s.SubjectToken = oauth2.GrantTokenExchange, "cookie" }, "subject_token:"},
		"an audience, found": {func(s *oauth2.Settings) {
			s.Grant, s.AssertionAudience, s.TokenURL, s.Issuer = oauth2.GrantTokenExchange, "x", "", ""
		}, "issuer:"},
		"a label that is none":         {func(s *oauth2.Settings) { s.Grant, s.SubjectTokenType = oauth2.GrantTokenExchange, "jwt" }, "subject_token_type:"},
		"a label for jwt_bearer":       {func(s *oauth2.Settings) { s.Grant, s.SubjectTokenType = oauth2.GrantJWTBearer, exchange.TokenTypeJWT }, "subject_token_type:"},
		"a subject that is no name":    {func(s *oauth2.Settings) { s.Grant, s.Subject = oauth2.GrantJWTBearer, []string{"a b"} }, "subject[0]:"},
		"two spaces":                   {func(s *oauth2.Settings) { s.Scope = "a  b" }, "scope:"},
		"a scope twice":                {func(s *oauth2.Settings) { s.Scope = "a a" }, "scope:"},
		"a scope of two":               {func(s *oauth2.Settings) { s.Scopes = []string{"a b"} }, "scopes:"},
		"a scope in both":              {func(s *oauth2.Settings) { s.Scope, s.Scopes = "a", []string{"a"} }, "scopes:"},
		"required and never asked for": {func(s *oauth2.Settings) { s.RequireScopes = []string{"a"} }, "require_scopes:"},
		"a parameter of ours":          {func(s *oauth2.Settings) { s.Parameters = map[string]string{"Grant_Type": "password"} }, "parameters:"},
		"a parameter that is no name":  {func(s *oauth2.Settings) { s.Parameters = map[string]string{"a b": "c"} }, "parameters:"},
		"a parameter that is a secret": {func(s *oauth2.Settings) { s.Parameters = map[string]string{"a": "${secret:x}"} }, "parameters:"},
		"a very long parameter":        {func(s *oauth2.Settings) { s.Parameters = map[string]string{"a": strings.Repeat("x", 5000)} }, "parameters:"},
		"an audience of two":           {func(s *oauth2.Settings) { s.Audience = "a b" }, "audience:"},
		"a life of a second":           {func(s *oauth2.Settings) { s.LongestLifetime = time.Second }, "longest_lifetime:"},
		"a default life of a year":     {func(s *oauth2.Settings) { s.DefaultLifetime = 365 * 24 * time.Hour }, "default_lifetime:"},
	} {
		t.Run(name, func(t *testing.T) {
			faults := good(c.change).Validate()
			want := strings.Fields(c.want)
			if len(faults) != len(want) {
				t.Fatalf("%q, want %q", faults, want)
			}
			for i, fault := range faults {
				if !strings.HasPrefix(fault.Error(), want[i]) {
					t.Errorf("%q, want %q", fault, want[i])
				}
			}
		})
	}
}

// TestOpenNeedsItsTools: what the house does not lend is said when the target is opened.
func TestOpenNeedsItsTools(t *testing.T) {
	y := newTown(t)
	tls := y.settings(func(s *oauth2.Settings) {
		s.Auth, s.ClientSecret, s.CertFile, s.KeyFile = oauth2.AuthTLS, "", y.shown.cert, y.shown.key
	})
	for name, c := range map[string]struct {
		settings *oauth2.Settings
		take     func(*provider.Deps)
	}{
		"a way out":      {y.settings(), func(d *provider.Deps) { d.HTTP = nil }},
		"secrets":        {y.settings(), func(d *provider.Deps) { d.Secret = nil }},
		"a certificate":  {tls, func(d *provider.Deps) { d.Client = nil }},
		"assertions":     {y.settings(func(s *oauth2.Settings) { s.Grant = oauth2.GrantJWTBearer }), func(d *provider.Deps) { d.Asserter = nil }},
		"identity grant": {y.settings(func(s *oauth2.Settings) { s.Grant = oauth2.GrantIDJAG }), func(d *provider.Deps) { d.Granter = nil }},
	} {
		deps := y.deps
		c.take(&deps)
		if _, err := c.settings.Open(deps); err == nil {
			t.Errorf("it opens without %s", name)
		}
	}
}
