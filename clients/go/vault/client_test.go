package vault_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/vault"
)

func get(t *testing.T, c *api.Client) error {
	t.Helper()
	secret, err := c.KVv2("secret").Get(t.Context(), "app")
	if err == nil && secret.Data["key"] != "value" {
		t.Errorf("the value is %v", secret.Data)
	}
	return err
}

func TestTheClientsTokenIsTheTargets(t *testing.T) {
	server, b, at := house(t)
	server.Serve("token", b.token)
	t.Setenv("VAULT_TOKEN", "hvs.of-somebody-else")
	c, err := vault.NewClient(config(at.URL), server.Client().TokenSource(cambio.Request{Audience: "token"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := get(t, c); err != nil {
		t.Fatal(err)
	}
	b.set(func() { clear(b.tokens) })
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := get(t, c); err != nil {
				t.Error(err)
			}
			if _, err := c.Logical().Write("secret/data/app", map[string]any{"a": 1}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := server.Exchanges("token"); n != 2 {
		t.Errorf("%d exchanges, want 2", n)
	}
}

func TestWhatATokenMayNotIsNoReasonToRenew(t *testing.T) {
	server, b, at := house(t)
	server.Serve("token", b.token)
	c, err := vault.NewClient(config(at.URL), server.Client().TokenSource(cambio.Request{Audience: "token"}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Logical().ReadWithContext(t.Context(), "secret/data/closed")
	var refused *api.ResponseError
	if !errors.As(err, &refused) || refused.StatusCode != http.StatusForbidden || refused.Errors[0] != "permission denied" {
		t.Errorf("error %v", err)
	}
	if n := server.Exchanges("token"); n != 1 {
		t.Errorf("%d exchanges, want 1", n)
	}
}

func TestTheTokenGoesNowhereElse(t *testing.T) {
	server, b, at := house(t)
	server.Serve("token", b.token)
	other := newBank()
	elsewhere := other.start()
	defer elsewhere.Close()
	b.set(func() { b.redirect = elsewhere.URL; other.tokens = b.tokens })
	c, err := vault.NewClient(config(at.URL), server.Client().TokenSource(cambio.Request{Audience: "token"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := get(t, c); err == nil || !strings.Contains(err.Error(), "invalid token") {
		t.Errorf("elsewhere: %v", err)
	}
	if _, err := vault.NewClient(config("http://vault.example:8200"), server.Client().TokenSource(cambio.Request{Audience: "token"})); err == nil {
		t.Error("plain HTTP was taken")
	}
}

func TestAClientWithoutCambio(t *testing.T) {
	server, b, at := house(t)
	server.Serve("token", b.token)
	c, err := vault.NewClient(config(at.URL), server.Client().TokenSource(cambio.Request{Audience: "token"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := get(t, c); err != nil {
		t.Fatal(err)
	}
	server.Close()
	server.Clock.Advance(58 * time.Minute)
	if err := get(t, c); err != nil {
		t.Errorf("two minutes before the end: %v", err)
	}
	server.Clock.Advance(2 * time.Minute)
	var refused *cambio.Error
	if err := get(t, c); !errors.As(err, &refused) || refused.Code != cambio.CodeUnreachable {
		t.Errorf("after the end: %v", err)
	}
}

func TestALoginByJWT(t *testing.T) {
	server, b, at := house(t)
	server.Serve("login", b.jwt)
	source := server.Client().TokenSource(cambio.Request{Audience: "login"})
	method, err := vault.NewLogin(source, "", "app")
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, at.URL)
	secret, err := c.Auth().Login(t.Context(), method)
	if err != nil || secret.Auth.LeaseDuration != 900 {
		t.Fatal(err)
	}
	if err := get(t, c); err != nil {
		t.Errorf("with the login's token: %v", err)
	}
	server.Serve("token", b.token)
	wrong, err := vault.NewLogin(server.Client().TokenSource(cambio.Request{Audience: "token"}), "jwt", "app")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, at.URL).Auth().Login(t.Context(), wrong); err == nil || !strings.Contains(err.Error(), "no JWT to log in with") {
		t.Errorf("with another kind: %v", err)
	}
	other := newBank()
	elsewhere := other.start()
	defer elsewhere.Close()
	b.set(func() { b.redirect = elsewhere.URL; other.jwts = b.jwts })
	if _, err := client(t, at.URL).Auth().Login(t.Context(), method); err == nil {
		t.Error("the redirect was followed")
	}
	for _, mount := range []string{"../sys", "a b", "jwt?x"} {
		if _, err := vault.NewLogin(source, mount, "app"); err == nil {
			t.Errorf("mount %q was taken", mount)
		}
	}
}
