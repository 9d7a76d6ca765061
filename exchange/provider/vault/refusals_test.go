package vault_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
	"github.com/cambio-sts/cambio/exchange/provider/vault"
	"github.com/cambio-sts/cambio/exchange/provider/vault/baotest"
)

// aToken is what a login looks like, of OpenBao and of Vault, and an assertion.
var aToken = regexp.MustCompile(`\b(s|hvs|hvb)\.[A-Za-z0-9_-]{16,}|eyJ[A-Za-z0-9_-]{8,}|vended-value`)

// refused holds an error to its kind and to the word that says what to look at.
func refused(t *testing.T, name string, err error, kind exchange.Kind, words string) {
	t.Helper()
	var e *exchange.Error
	if !errors.As(err, &e) || e.Kind != kind || !strings.Contains(e.Advice, words) {
		t.Errorf("%s: want %v with %q: %v", name, kind, words, err)
	}
	if err != nil && aToken.MatchString(err.Error()) {
		t.Errorf("%s: a secret is told", name)
	}
}

// TestLoginRefused: each thing that may be wrong with a login, in words that name the
// setting to look at.
func TestLoginRefused(t *testing.T) {
	y := newYard(t)
	s := y.kv(t, 2, map[string]any{"key": "vended-value-one"})
	empty := y.name + "-empty"
	y.write(t, "sys/auth/"+empty, map[string]any{"type": "jwt"})
	for name, k := range map[string]struct {
		settings func(*vault.Settings)
		grant    func(*exchange.Grant)
		kind     exchange.Kind
		words    string
	}{
		"no such role":      {settings: func(s *vault.Settings) { s.Auth.Role = "none" }, kind: exchange.KindMisconfigured, words: "auth.role"},
		"another audience":  {settings: func(s *vault.Settings) { s.Auth.Audience = "another" }, kind: exchange.KindMisconfigured, words: "auth.audience"},
		"another target":    {grant: func(g *exchange.Grant) { g.Target.Name = "another" }, kind: exchange.KindProviderRefused, words: "bound_claims"},
		"no such mount":     {settings: func(s *vault.Settings) { s.Auth.Mount = "none" }, kind: exchange.KindMisconfigured, words: "auth.mount"},
		"not configured":    {settings: func(s *vault.Settings) { s.Auth.Mount = empty }, kind: exchange.KindMisconfigured, words: "auth/" + empty + "/config"},
		"no such namespace": {settings: func(s *vault.Settings) { s.Namespace = "none" }, kind: exchange.KindMisconfigured, words: "namespace"},
		"scopes":            {grant: func(g *exchange.Grant) { g.Scopes = []string{"read"} }, kind: exchange.KindInvalidScope, words: "no scopes"},
	} {
		t.Run(name, func(t *testing.T) {
			changed, grant := *s, func(*exchange.Grant) {}
			if k.settings != nil {
				k.settings(&changed)
			}
			if k.grant != nil {
				grant = k.grant
			}
			_, err := y.vend(t, &changed, grant)
			refused(t, name, err, k.kind, k.words)
		})
	}
	t.Run("another issuer", func(t *testing.T) {
		y.federation.Issuer = "https://another.example/federation"
		_, err := y.vend(t, s)
		refused(t, "another issuer", err, exchange.KindMisconfigured, "issuer")
	})
}

// TestPathRefused: each thing that may be wrong with a path, after a login that is
// good; and none leaves its login behind.
func TestPathRefused(t *testing.T) {
	y := newYard(t)
	kv := y.kv(t, 2, map[string]any{"key": "vended-value-one", "empty": ""})
	db, _ := y.database(t)
	y.policy(t, `path "*" { capabilities = ["create", "read", "update"] }`)
	y.role(t, "once", map[string]any{"token_num_uses": 1})
	mount, _, _ := strings.Cut(kv.Path, "/")
	for _, name := range []string{"deleted", "destroyed"} {
		y.write(t, mount+"/data/"+name, map[string]any{"data": map[string]string{"key": "x"}})
	}
	if _, err := y.bao.Try(t.Context(), "", http.MethodDelete, mount+"/data/deleted", nil); err != nil {
		t.Fatal(err)
	}
	y.write(t, mount+"/destroy/destroyed", map[string]any{"versions": []int{1}})
	for name, k := range map[string]struct {
		base   *vault.Settings
		change func(*vault.Settings)
		kind   exchange.Kind
		words  string
	}{
		"no such secret":    {kv, func(s *vault.Settings) { s.Path = mount + "/data/none" }, exchange.KindMisconfigured, "no secret at the target's path"},
		"deleted":           {kv, func(s *vault.Settings) { s.Path = mount + "/data/deleted" }, exchange.KindMisconfigured, "is deleted"},
		"destroyed":         {kv, func(s *vault.Settings) { s.Path = mount + "/data/destroyed" }, exchange.KindMisconfigured, "is deleted"},
		"no such engine":    {kv, func(s *vault.Settings) { s.Path = "none/data/app" }, exchange.KindMisconfigured, "no secrets engine"},
		"another version":   {kv, func(s *vault.Settings) { s.Path, s.Version = mount+"/app", 1 }, exchange.KindMisconfigured, "path"},
		"no such field":     {kv, func(s *vault.Settings) { s.Field = "none" }, exchange.KindMisconfigured, `no field "none"`},
		"an empty field":    {kv, func(s *vault.Settings) { s.Field = "empty" }, exchange.KindMisconfigured, `field "empty"`},
		"login has expired": {kv, func(s *vault.Settings) { s.Auth.Role = "once" }, 0, ""},
		"kv as dynamic":     {kv, func(s *vault.Settings) { s.Kind, s.Version = vault.KindDynamic, 0 }, exchange.KindMisconfigured, "kind"},
		"no such role":      {db, func(s *vault.Settings) { s.Path = strings.Replace(s.Path, "app", "none", 1) }, exchange.KindMisconfigured, "path, method and parameters"},
		"written":           {db, func(s *vault.Settings) { s.Method = vault.WritePath }, exchange.KindMisconfigured, "method"},
	} {
		t.Run(name, func(t *testing.T) {
			s := *k.base
			k.change(&s)
			c, err := y.vend(t, &s)
			if k.words == "" { // one use is enough to read; only the logout has none left
				if err != nil {
					t.Error(err)
				}
				return
			}
			refused(t, name, err, k.kind, k.words)
			if !c.RevokeWith.IsZero() {
				if err := y.driver(t, &s).(provider.Revoker).Revoke(t.Context(), nil, c.RevokeWith); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if n := y.tokens(t); n != 0 {
		t.Errorf("%d logins live on", n)
	}
	y.policy(t, `path "none" { capabilities = ["deny"] }`)
	_, err := y.vend(t, kv)
	refused(t, "no policy", err, exchange.KindMisconfigured, "do not allow "+kv.Path)
}

// TestExpiredLogin: a login that is too short for its path, and a lease whose login is
// dead, which is dead as well.
func TestExpiredLogin(t *testing.T) {
	y := newYard(t)
	s, _ := y.database(t)
	c := y.must(t, s)
	y.write(t, "auth/token/revoke", map[string]any{"token": hungOn(c)})
	_, err := y.driver(t, s).(provider.Renewer).Renew(t.Context(), nil, c.RevokeWith, time.Now().Add(time.Hour))
	refused(t, "dead", err, exchange.KindProviderRefused, "login that the lease hangs on has ended")
	y.role(t, "once", map[string]any{"token_num_uses": 1})
	s.Auth.Role = "once"
	_, err = y.vend(t, s)
	refused(t, "used up", err, exchange.KindMisconfigured, "token_num_uses")
}

// TestSealed: nobody's fault here, and told apart from Vault being down.
func TestSealed(t *testing.T) {
	y := newYardOn(t, baotest.StartOwn(t), "")
	s, _ := y.database(t)
	c := y.must(t, s)
	unseal := y.bao.Seal(t)
	driver := y.driver(t, s)
	_, err := y.vend(t, s)
	refused(t, "vend", err, exchange.KindUnavailable, "sealed")
	_, err = driver.(provider.Renewer).Renew(t.Context(), nil, c.RevokeWith, time.Now().Add(time.Hour))
	refused(t, "renew", err, exchange.KindUnavailable, "sealed")
	refused(t, "revoke", driver.(provider.Revoker).Revoke(t.Context(), nil, c.RevokeWith), exchange.KindUnavailable, "sealed")
	refused(t, "check", driver.(provider.Checker).Check(t.Context()), exchange.KindUnavailable, "sealed")
	unseal()
	if err := driver.(provider.Revoker).Revoke(t.Context(), nil, c.RevokeWith); err != nil {
		t.Errorf("unsealed: %v", err)
	}
}

// TestEngineDown: a database that is gone is not a fault of the settings, and a lease
// that could not be ended is not said to be.
func TestEngineDown(t *testing.T) {
	y := newYard(t)
	s, d := y.database(t)
	c := y.must(t, s)
	role := func(statement map[string]any) {
		t.Helper()
		statement["db_name"] = "pg"
		y.write(t, y.name+"-db/roles/app", statement)
	}
	broken := []string{"this is no SQL"}
	role(map[string]any{"creation_statements": broken, "revocation_statements": broken})
	_, err := y.vend(t, s)
	refused(t, "vend", err, exchange.KindUnavailable, "try again")
	revoker, data := y.driver(t, s).(provider.Revoker), open(t, c.Value.Reveal()).Data
	refused(t, "revoke", revoker.Revoke(t.Context(), nil, c.RevokeWith), exchange.KindUnavailable, "could not end the lease")
	if err := connect(t.Context(), d, data); err != nil {
		t.Error(err)
	}
	role(map[string]any{"creation_statements": broken, "revocation_statements": []string{`drop role "{{name}}"`}})
	if err := revoker.Revoke(t.Context(), nil, c.RevokeWith); err != nil || connect(t.Context(), d, data) == nil {
		t.Errorf("mended: %v", err)
	}
}

// TestWeather: what comes from in front of Vault, or from no Vault at all.
func TestWeather(t *testing.T) {
	y := newYard(t)
	kv := y.kv(t, 2, map[string]any{"key": "vended-value-one"})
	db, _ := y.database(t)
	for _, s := range []*vault.Settings{kv, db} {
		for mood, kind := range map[sandbox.Mood]exchange.Kind{
			sandbox.Down: exchange.KindUnavailable, sandbox.HTML: exchange.KindUnavailable, sandbox.Huge: exchange.KindUnavailable,
			sandbox.Redirecting: exchange.KindUnavailable, sandbox.Throttling: exchange.KindThrottled,
		} {
			restore := y.Set(mood)
			_, err := y.vend(t, s)
			restore()
			refused(t, fmt.Sprint("mood ", mood), err, kind, "try again")
			var e *exchange.Error
			if mood == sandbox.Throttling && (!errors.As(err, &e) || e.RetryAfter != 7*time.Second) {
				t.Errorf("%v", err)
			}
		}
	}
	y.front.Close()
	_, err := y.vend(t, kv)
	refused(t, "gone", err, exchange.KindUnavailable, "could not be reached")
}

// TestAnswers that no Vault should give, or a Vault in a state that a test cannot put
// one into.
func TestAnswers(t *testing.T) {
	const token = `{"auth": {"client_token": "s.vended-value-login", "lease_duration": 60, "renewable": true}}`
	y := newYard(t)
	for name, k := range map[string]struct {
		login, path string
		status      int
		kind        exchange.Kind
		words       string
	}{
		"no active node":     {login: token, path: `{"errors": ["local node not active but active cluster node not found"]}`, status: 500, kind: exchange.KindUnavailable, words: "active node"},
		"not initialized":    {login: token, path: `{"errors": ["Vault is not initialized"]}`, status: 503, kind: exchange.KindUnavailable, words: "not initialized"},
		"behind":             {login: token, path: `{"errors": ["required index state not present"]}`, status: 412, kind: exchange.KindUnavailable, words: "behind"},
		"login expired":      {login: token, path: `{"errors": ["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}`, status: 403, kind: exchange.KindMisconfigured, words: "token_ttl"},
		"login has no token": {login: `{"auth": null}`, kind: exchange.KindUnavailable, words: "cannot be used"},
		"second factor":      {login: `{"auth": {"client_token": "", "mfa_requirement": {"mfa_request_id": "x"}}}`, kind: exchange.KindMisconfigured, words: "second factor"},
		"life of a login":    {login: `{"auth": {"client_token": "x", "lease_duration": -1}}`, kind: exchange.KindUnavailable, words: "cannot be used"},
		"no data":            {login: token, path: `{"lease_id": "x/1", "lease_duration": 10}`, status: 200, kind: exchange.KindUnavailable, words: "cannot be used"},
		"life of a lease":    {login: token, path: `{"lease_id": "x/1", "lease_duration": -10, "data": {}}`, status: 200, kind: exchange.KindUnavailable, words: "cannot be used"},
		"no JSON object":     {login: token, path: `[]`, status: 200, kind: exchange.KindUnavailable, words: "cannot be used"},
		"no end":             {login: token, path: `{"data": {"expiration": "soon"}}`, status: 200, kind: exchange.KindMisconfigured, words: "neither a lease nor an expiration"},
		"large": {login: token, path: `{"lease_id": "x/1", "lease_duration": 10, "data": {"key": "` + strings.Repeat("x", 70<<10) + `"}}`, status: 200,
			kind: exchange.KindMisconfigured, words: "name a field"},
	} {
		t.Run(name, func(t *testing.T) {
			fake := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Content-Type", "application/json")
				switch {
				case strings.HasSuffix(r.URL.Path, "/login"):
					_, _ = rw.Write([]byte(k.login))
				case strings.HasPrefix(r.URL.Path, "/v1/auth/token/"):
					_, _ = rw.Write([]byte(token))
				default:
					rw.WriteHeader(k.status)
					_, _ = rw.Write([]byte(k.path))
				}
			}))
			defer fake.Close()
			s := y.settings("engine/creds/app", func(s *vault.Settings) { s.Kind, s.Address = vault.KindDynamic, fake.URL })
			deps := y.deps
			deps.HTTP = fake.Client()
			d, err := s.Open(deps)
			if err != nil {
				t.Fatal(err)
			}
			_, err = d.Vend(t.Context(), y.grant(t, s))
			refused(t, name, err, k.kind, k.words)
		})
	}
	t.Run("no Vault", func(t *testing.T) {
		web := httptest.NewTLSServer(http.NotFoundHandler())
		defer web.Close()
		s := y.settings("engine/creds/app", func(s *vault.Settings) { s.Kind, s.Address = vault.KindDynamic, web.URL })
		deps := y.deps
		deps.HTTP = web.Client()
		d, err := s.Open(deps)
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Vend(t.Context(), y.grant(t, s))
		refused(t, "no Vault", err, exchange.KindMisconfigured, "address")
	})
}
