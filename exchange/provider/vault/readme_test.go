package vault_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/vault"
	"github.com/cambio-sts/cambio/exchange/provider/vault/baotest"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// blocks are a README's blocks of one language, without their indentation.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile("(?ms)^( *)```"+language+"\n(.*?)^ *```$").FindAllStringSubmatch(string(text), -1) {
		lines := strings.Split(m[2], "\n")
		for i := range lines {
			lines[i] = strings.TrimPrefix(lines[i], m[1])
		}
		found = append(found, strings.Join(lines, "\n"))
	}
	return found
}

// TestREADME types what it says word for word, save for the hosts that nobody has, and
// has its targets vend.
func TestREADME(t *testing.T) {
	y := newYardOn(t, baotest.StartOwn(t), "")
	d := pgtest.Start(t).NewDatabase(t)
	keys := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write(y.federation.World().Keys())
	}))
	defer keys.Close()
	here := strings.NewReplacer(
		y.federation.Issuer+"/jwks", keys.URL, "@db.example:5432/app?sslmode=verify-full", "@"+d.Server.Address()+"/"+d.Name+"?sslmode=disable",
		"username=vault", "username="+pgtest.Superuser, `"$DB_PASSWORD"`, d.Server.Password(), `"$OPENAI_KEY"`, "vended-value-openai",
	)
	script := here.Replace(strings.Join(blocks(t, "sh"), "\n"))
	if out, err := y.bao.Shell(t.Context(), script); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var file struct {
		Targets map[string]struct{ Vault vault.Settings }
	}
	if err := yaml.UnmarshalWithOptions([]byte(blocks(t, "yaml")[0]), &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	for target, entry := range file.Targets {
		s := entry.Vault
		s.Address = y.front.URL
		named := func(g *exchange.Grant) { g.Target.Name = target }
		c := y.must(t, &s, named)
		if err := y.driver(t, &s).(provider.Checker).Check(t.Context()); err != nil {
			t.Errorf("%s: %v", target, err)
		}
		switch target {
		case "openai-key":
			if c.Value.Reveal() != "vended-value-openai" {
				t.Error("another value")
			}
		case "app-db":
			data := open(t, c.Value.Reveal()).Data
			if err := connect(t.Context(), d, data); err != nil {
				t.Error(err)
			}
			if err := y.driver(t, &s).(provider.Revoker).Revoke(t.Context(), nil, c.RevokeWith); err != nil || connect(t.Context(), d, data) == nil {
				t.Errorf("it lives on: %v", err)
			}
			_, err := y.vend(t, &s, func(g *exchange.Grant) { g.Target.Name = "openai-key" })
			refused(t, "another target", err, exchange.KindProviderRefused, "bound_claims")
		default:
			t.Errorf("nothing is known of the target %s", target)
		}
	}
	for _, block := range blocks(t, "yaml")[1:3] {
		var ways struct{ Auth vault.Auth }
		if err := yaml.UnmarshalWithOptions([]byte(block), &ways, yaml.Strict()); err != nil {
			t.Error(err)
		}
		s := file.Targets["app-db"].Vault
		s.Auth = ways.Auth
		if faults := s.Validate(); len(faults) > 0 {
			t.Errorf("%v", faults)
		}
	}
}
