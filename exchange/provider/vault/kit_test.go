package vault_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
	"github.com/cambio-sts/cambio/exchange/provider/vault"
	"github.com/cambio-sts/cambio/exchange/provider/vault/baotest"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

const audience = "vault-of-the-test"

var places atomic.Int64

// yard is a real OpenBao with mounts of the test's own, which trusts a federation
// issuer, behind a front that can be put into a mood.
type yard struct {
	sandbox.Weather
	bao        *baotest.Server
	namespace  string
	name       string // of mounts, roles and policies
	federation *providertest.Federation
	front      *httptest.Server
	deps       provider.Deps
	secrets    map[string]string
}

func newYard(t testing.TB) *yard { return newYardOn(t, baotest.Start(t), "") }

func newYardOn(t testing.TB, bao *baotest.Server, namespace string) *yard {
	t.Helper()
	y := &yard{
		bao: bao, namespace: namespace, name: fmt.Sprintf("t%d", places.Add(1)), federation: providertest.NewFederation(t),
		secrets: map[string]string{},
	}
	behind, err := url.Parse(bao.Address)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(behind)
	y.front = httptest.NewTLSServer(y.Wrap(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if y.Mood() == sandbox.Throttling {
			rw.Header().Set("Content-Type", "application/json")
			rw.Header().Set("Retry-After", "7")
			rw.WriteHeader(http.StatusTooManyRequests)
			_, _ = rw.Write([]byte(`{"errors":["request path \"x\": rate limit quota exceeded"]}`))
			return
		}
		proxy.ServeHTTP(rw, r)
	})))
	t.Cleanup(y.front.Close)
	client := y.front.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	y.deps = provider.Deps{
		HTTP: client, Asserter: y.federation, Now: time.Now, Random: rand.Reader,
		Secret: func(ref provider.SecretRef, host string) (exchange.Secret, error) {
			name, _ := ref.Name()
			if y.secrets[name] == "" || "https://"+host != y.front.URL {
				return exchange.Secret{}, errors.New("no such secret for this host")
			}
			return exchange.NewSecret(y.secrets[name]), nil
		},
	}
	y.trust(t)
	return y
}

// write is an administrator's POST.
func (y *yard) write(t testing.TB, path string, body map[string]any) map[string]any {
	t.Helper()
	return y.bao.WriteIn(t, y.namespace, path, body)
}

func (y *yard) policy(t testing.TB, rules string) {
	t.Helper()
	y.bao.Policy(t, y.namespace, y.name, rules)
}

// trust has OpenBao take assertions of the federation for targets of the suite.
func (y *yard) trust(t testing.TB) {
	t.Helper()
	keys := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write(y.federation.World().Keys())
	}))
	t.Cleanup(keys.Close)
	y.write(t, "sys/auth/"+y.name, map[string]any{"type": "jwt"})
	y.write(t, "auth/"+y.name+"/config", map[string]any{"jwks_url": keys.URL, "bound_issuer": y.federation.Issuer})
	y.role(t, "suite", nil)
}

// role makes a role for targets of the suite, with changes.
func (y *yard) role(t testing.TB, name string, changes map[string]any) {
	t.Helper()
	role := map[string]any{
		"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{audience},
		"bound_claims_type": "glob", "bound_claims": map[string]string{"sub": "default:suite:*"},
		"token_policies": []string{y.name}, "token_ttl": "20m",
	}
	for k, v := range changes {
		role[k] = v
	}
	y.write(t, "auth/"+y.name+"/role/"+name, role)
}

// settings are good ones for a path, by a minted assertion.
func (y *yard) settings(path string, changes ...func(*vault.Settings)) *vault.Settings {
	s := &vault.Settings{
		Address: y.front.URL, Namespace: y.namespace, Path: path,
		Auth: vault.Auth{Mount: y.name, Role: "suite", Audience: audience},
	}
	for _, change := range changes {
		change(s)
	}
	return s
}

// kv mounts a KV engine and writes fields into it.
func (y *yard) kv(t testing.TB, version int, fields map[string]any) *vault.Settings {
	t.Helper()
	mount := y.name + "-kv" + fmt.Sprint(version)
	y.write(t, "sys/mounts/"+mount, map[string]any{"type": "kv", "options": map[string]string{"version": fmt.Sprint(version)}})
	s := y.settings(mount+"/app", func(s *vault.Settings) { s.Version, s.MayOutlive = version, true })
	if version == 2 {
		s.Path = mount + "/data/app"
	}
	y.put(t, s, fields)
	y.policy(t, fmt.Sprintf(`path "%s/*" { capabilities = ["read"] }`, mount))
	return s
}

// put writes a new version of the value that a target hands out.
func (y *yard) put(t testing.TB, s *vault.Settings, fields map[string]any) {
	t.Helper()
	if s.Version != 1 {
		fields = map[string]any{"data": fields}
	}
	// A new engine of version 2 takes a moment to be ready.
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		_, err := y.bao.Try(t.Context(), y.namespace, http.MethodPost, s.Path, fields)
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), "Upgrading") {
			t.Fatal(err)
		}
		<-look.C
	}
}

// database mounts a database engine over a real PostgreSQL, with a role whose leases
// live an hour and may be renewed up to a day.
func (y *yard) database(t testing.TB) (*vault.Settings, *pgtest.Database) {
	t.Helper()
	d := pgtest.Start(t).NewDatabase(t)
	mount := y.name + "-db"
	y.write(t, "sys/mounts/"+mount, map[string]any{"type": "database"})
	y.write(t, mount+"/config/pg", map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "*",
		"connection_url": fmt.Sprintf("postgresql://{{username}}:{{password}}@%s/%s?sslmode=disable", d.Server.Address(), d.Name),
		"username":       pgtest.Superuser, "password": d.Server.Password(),
	})
	y.write(t, mount+"/roles/app", map[string]any{
		"db_name": "pg", "default_ttl": "1h", "max_ttl": "24h",
		"creation_statements": []string{`create role "{{name}}" login password '{{password}}' valid until '{{expiration}}'`},
	})
	y.databasePolicy(t)
	return y.settings(mount+"/creds/app", func(s *vault.Settings) { s.Kind = vault.KindDynamic }), d
}

// databasePolicy lets logins have credentials of the database, and end their leases.
func (y *yard) databasePolicy(t testing.TB) {
	t.Helper()
	y.policy(t, strings.ReplaceAll(`path "MOUNT/creds/app" { capabilities = ["read"] }
path "sys/leases/revoke" {
  capabilities = ["update"]
  allowed_parameters = { "lease_id" = ["MOUNT/creds/app/*"], "sync" = [] }
}`, "MOUNT", y.name+"-db"))
}

// handed is what a target without a field hands out.
type handed struct {
	LeaseID   string `json:"lease_id"`
	Renewable bool
	Data      map[string]any
}

func open(t testing.TB, value string) handed {
	t.Helper()
	var h handed
	if err := json.Unmarshal([]byte(value), &h); err != nil {
		t.Fatal("what was handed out is no JSON")
	}
	return h
}

// connect logs into PostgreSQL with credentials of the database engine.
func connect(ctx context.Context, d *pgtest.Database, data map[string]any) error {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(fmt.Sprint(data["username"]), fmt.Sprint(data["password"])),
		Host: d.Server.Address(), Path: "/" + d.Name, RawQuery: "sslmode=disable",
	}
	conn, err := pgx.Connect(ctx, u.String())
	if err != nil {
		return errors.New("PostgreSQL does not let it in")
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var who string
	if err := conn.QueryRow(ctx, "select current_user").Scan(&who); err != nil || who != data["username"] {
		return errors.New("PostgreSQL takes it for somebody else")
	}
	return nil
}

// ends is when OpenBao itself says that a lease ends.
func (y *yard) ends(t testing.TB, lease string) (time.Time, error) {
	t.Helper()
	a, err := y.bao.Try(t.Context(), y.namespace, http.MethodPost, "sys/leases/lookup", map[string]any{"lease_id": lease})
	if err != nil {
		return time.Time{}, err
	}
	return time.Parse(time.RFC3339Nano, a["data"].(map[string]any)["expire_time"].(string))
}

// tokens counts the logins that live.
func (y *yard) tokens(t testing.TB) int {
	t.Helper()
	a, err := y.bao.Try(t.Context(), y.namespace, "LIST", "auth/token/accessors", nil)
	if err != nil {
		t.Fatal(err)
	}
	live := 0
	for _, accessor := range a["data"].(map[string]any)["keys"].([]any) {
		found, err := y.bao.Try(t.Context(), y.namespace, http.MethodPost, "auth/token/lookup-accessor", map[string]any{"accessor": accessor})
		if err == nil && strings.HasPrefix(fmt.Sprint(found["data"].(map[string]any)["path"]), "auth/"+y.name) {
			live++
		}
	}
	return live
}

func (y *yard) driver(t testing.TB, s *vault.Settings) provider.Driver {
	t.Helper()
	if faults := s.Validate(); len(faults) > 0 {
		t.Fatal(faults)
	}
	d, err := s.Open(y.deps)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (y *yard) grant(t *testing.T, s *vault.Settings, changes ...func(*exchange.Grant)) exchange.Grant {
	t.Helper()
	g := providertest.Harness{Provider: "vault", Config: s, Deps: y.deps}.Grant(t, "k8s:prod:llm:gateway")
	for _, change := range changes {
		change(&g)
	}
	return g
}

func (y *yard) vend(t *testing.T, s *vault.Settings, changes ...func(*exchange.Grant)) (exchange.Credential, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return y.driver(t, s).Vend(ctx, y.grant(t, s, changes...))
}

func (y *yard) must(t *testing.T, s *vault.Settings, changes ...func(*exchange.Grant)) exchange.Credential {
	t.Helper()
	c, err := y.vend(t, s, changes...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// within gives an exchange so much life.
func within(life time.Duration) func(*exchange.Grant) {
	return func(g *exchange.Grant) { g.Lifetime, g.NotAfter = life, g.Now.Add(life) }
}
