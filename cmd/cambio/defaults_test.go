package main

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cambio-sts/cambio/exchange/policy"
	"github.com/cambio-sts/cambio/exchange/provider/all"
	"github.com/cambio-sts/cambio/exchange/provider/oauth2"
)

// loadOAuth2 loads one default and one target of provider oauth2, on lines 2 and 4.
func loadOAuth2(defaults, target string) (*policy.Revision, error) {
	text := "defaults:\n  oauth2: " + defaults + "\ntargets:\n  legacy: {oauth2: " + target + "}\n"
	if defaults == "" {
		text = "\n\ntargets:\n  legacy: {oauth2: " + target + "}\n"
	}
	return policy.Load(fstest.MapFS{"policy.yaml": {Data: []byte(text)}}, policy.Options{Providers: all.Registry(), SecretNames: []string{"as", "legacy"}})
}

// TestOAuth2PageLoads: the policy on the provider's page is one, and each setting stands
// in its table.
func TestOAuth2PageLoads(t *testing.T) {
	text, err := os.ReadFile("../../exchange/provider/oauth2/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n# policy\n")
	block, _, found := strings.Cut(rest, "```")
	if !found {
		t.Fatal("there is no policy on the page")
	}
	r, err := policy.Load(fstest.MapFS{"policy.yaml": {Data: []byte(block)}}, policy.Options{Providers: all.Registry(), SecretNames: []string{"auth"}})
	if err != nil || len(r.Targets()) != 2 {
		t.Fatal(err)
	}
	for _, of := range []reflect.Type{reflect.TypeFor[oauth2.Settings](), reflect.TypeFor[oauth2.Server]()} {
		for i := range of.NumField() {
			if name, _, _ := strings.Cut(of.Field(i).Tag.Get("yaml"), ","); name != "" && !strings.Contains(string(text), "`"+name+"`") {
				t.Errorf("the page does not tell of %s", name)
			}
		}
	}
}

// TestDefaultsOfOAuth2: what a target does not say it inherits, setting by setting, and
// a fault is shown where it is written.
func TestDefaultsOfOAuth2(t *testing.T) {
	const usual = `{token_url: https://auth.example/oauth2/token, issuer: https://auth.example, client_id: gw, client_secret: "${secret:as}", scope: "mcp:read", parameters: {a: x, b: y}}`
	for name, c := range map[string]struct {
		target string
		read   func(*oauth2.Settings) string
		want   string
	}{
		"everything":             {`{resource: https://a.example/mcp}`, func(s *oauth2.Settings) string { return s.TokenURL + " " + s.Scope + " " + s.ClientID }, "https://auth.example/oauth2/token mcp:read gw"},
		"save one":               {`{resource: https://a.example/mcp, scope: "other"}`, func(s *oauth2.Settings) string { return s.TokenURL + " " + s.Scope }, "https://auth.example/oauth2/token other"},
		"its own client":         {`{resource: https://a.example/mcp, client_id: me, client_secret: "${secret:legacy}"}`, func(s *oauth2.Settings) string { return s.ClientID + " " + string(s.ClientSecret) }, "me ${secret:legacy}"},
		"nothing in its place":   {`{resource: https://a.example/mcp, token_url: "", scope: ""}`, func(s *oauth2.Settings) string { return s.TokenURL + s.Scope + s.Issuer }, "https://auth.example"},
		"a map as a whole":       {`{resource: https://a.example/mcp, parameters: {c: z}}`, func(s *oauth2.Settings) string { return fmt.Sprint(s.Parameters) }, "map[c:z]"},
		"a list beside":          {`{resource: https://a.example/mcp, scopes: [call]}`, func(s *oauth2.Settings) string { return fmt.Sprintf("%s %s", s.Scopes, s.Scope) }, "[call] mcp:read"},
		"a duration that is not": {`{resource: https://a.example/mcp, default_lifetime: 5m}`, func(s *oauth2.Settings) string { return s.DefaultLifetime.String() + s.LongestLifetime.String() }, "5m0s0s"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := loadOAuth2(usual, c.target)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.read(r.Target("legacy").Settings.(*oauth2.Settings)); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}

	hash := func(defaults, target string) [32]byte {
		t.Helper()
		r, err := loadOAuth2(defaults, target)
		if err != nil {
			t.Fatal(err)
		}
		return r.Target("legacy").Hash
	}
	const own = `{resource: https://a.example/mcp, token_url: https://auth.example/t, client_id: gw, client_secret: "${secret:as}"}`
	if hash("", own) != hash(`{token_url: https://other.example/t}`, own) {
		t.Error("a default that the target does not take changes it")
	}
	if hash("", own) == hash(`{scope: more}`, own) {
		t.Error("a default that the target takes does not change it")
	}

	for name, c := range map[string]struct {
		defaults, target string
		line, column     int
	}{
		"an unknown default":                {`{token_uri: https://a.example/t}`, own, 2, 12},
		"a default of another type":         {`{scope: [a]}`, own, 2, 19},
		"a default that cannot be":          {`{audience: "a b"}`, own, 2, 22},
		"a default's secret in clear":       {`{client_secret: hunter2}`, `{resource: https://a.example/mcp, token_url: https://auth.example/t, client_id: gw}`, 2, 27},
		"a default's secret that is not":    {`{client_secret: "${secret:none}"}`, own, 2, 27},
		"a target's own, in spite of these": {`{audience: fine}`, `{resource: https://a.example/mcp, token_url: https://auth.example/t, client_id: gw, client_secret: "${secret:as}", audience: "a b"}`, 4, 145},
		"what is missing everywhere":        {`{scope: a}`, `{resource: https://a.example/mcp, token_url: https://auth.example/t, client_secret: "${secret:as}"}`, 4, 12},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadOAuth2(c.defaults, c.target)
			var faults policy.Faults
			if !errors.As(err, &faults) || len(faults) != 1 || faults[0].Line != c.line || faults[0].Column != c.column {
				t.Errorf("want one fault at %d:%d\n%v", c.line, c.column, err)
			}
		})
	}
}
