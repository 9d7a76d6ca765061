package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange"
	vaultdriver "github.com/cambio-sts/cambio/exchange/provider/vault"
	"github.com/cambio-sts/cambio/exchange/provider/vault/baotest"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// vaultPolicy lets agents have a role in a database, and a value that somebody keeps.
const vaultPolicy = `
targets:
  app-db:
    vault:
      address: ADDRESS
      auth: {mount: cambio, role: app-db, audience: vault-of-the-test}
      kind: dynamic
      path: app/creds/app
  key:
    vault:
      address: ADDRESS
      auth: {mount: cambio, role: key, audience: vault-of-the-test}
      path: secret/data/cambio
      field: key
      refresh: 1h
      may_outlive: true
allow:
  - {name: agents-use-vault, subjects: [{trust: cluster, namespace: agents}], targets: [app-db, key]}
`

// vaultWorld is a running server beside an OpenBao that trusts it, and a PostgreSQL
// that OpenBao makes roles in.
type vaultWorld struct {
	*testing.T
	p        *process
	bao      *baotest.Server
	database *pgtest.Database
	world    *devworld.World
}

func openVaultWorld(t *testing.T) *vaultWorld {
	t.Helper()
	w := &vaultWorld{T: t, p: startDev(t), bao: baotest.StartOwn(t), database: pgtest.Start(t).NewDatabase(t)}
	var err error
	if w.world, err = devworld.Open(w.p.ready.DataDir); err != nil {
		t.Fatal(err)
	}
	w.bao.Write(t, "sys/auth/cambio", map[string]any{"type": "jwt"})
	w.bao.Write(t, "auth/cambio/config", map[string]any{"jwks_url": w.p.ready.URL + "/federation/jwks", "bound_issuer": w.p.ready.URL + "/federation"})
	for _, target := range []string{"app-db", "key"} {
		w.bao.Write(t, "auth/cambio/role/"+target, map[string]any{
			"role_type": "jwt", "user_claim": "sub", "bound_audiences": []string{"vault-of-the-test"}, "bound_claims_type": "glob",
			"bound_claims": map[string]string{"sub": "default:" + target + ":k8s%3Acluster%3Aagents%3A*"}, "token_policies": []string{target},
		})
	}
	w.bao.Policy(t, "", "key", `path "secret/data/cambio" { capabilities = ["read"] }`)
	w.bao.Policy(t, "", "app-db", `path "app/creds/app" { capabilities = ["read"] }
path "sys/leases/revoke" { capabilities = ["update"] }`)
	w.bao.Write(t, "sys/mounts/app", map[string]any{"type": "database"})
	w.bao.Write(t, "app/config/pg", map[string]any{
		"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username": pgtest.Superuser, "password": w.database.Server.Password(),
		"connection_url": fmt.Sprintf("postgresql://{{username}}:{{password}}@%s/%s?sslmode=disable", w.database.Server.Address(), w.database.Name),
	})
	w.bao.Write(t, "app/roles/app", map[string]any{
		"db_name": "pg", "creation_statements": []string{`create role "{{name}}" login password '{{password}}' valid until '{{expiration}}'`},
	})
	w.put("vended-value-1")
	policy := strings.ReplaceAll(vaultPolicy, "ADDRESS", w.bao.Address)
	if err := os.WriteFile(filepath.Join(w.p.ready.PolicyDir, "vault.yaml"), []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *vaultWorld) put(value string) {
	w.Helper()
	w.bao.Write(w.T, "secret/data/cambio", map[string]any{"data": map[string]string{"key": value}})
}

// token is a workload's, with so much life left.
func (w *vaultWorld) token(left time.Duration) string {
	w.Helper()
	token, err := w.world.ServiceAccount(time.Now().Add(left-devworld.Lifetime), "agents", "assistant", devworld.Audience)
	if err != nil {
		w.Fatal(err)
	}
	return token.Reveal()
}

// exchange is a credential for a target, with its type and its lease.
func (w *vaultWorld) exchange(token, target string) (value, kind, lease string) {
	w.Helper()
	var body map[string]any
	ask := func() bool {
		resp, err := http.PostForm(w.p.ready.URL+"/oauth2/token", url.Values{
			"grant_type": {exchange.GrantTokenExchange}, "subject_token": {token}, "subject_token_type": {string(exchange.TokenTypeJWT)}, "audience": {target},
		})
		if err != nil {
			w.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
			w.Fatal(err)
		}
		return resp.StatusCode == http.StatusOK
	}
	if !eventually(ask) { // the policy is not in force at once
		w.Fatalf("no credential: %v\n%s", body["error_description"], w.p.stderr.String())
	}
	value, _ = body["access_token"].(string)
	kind, _ = body["issued_token_type"].(string)
	lease, _ = body["lease_id"].(string)
	return value, kind, lease
}

// cambio runs a command as the workload itself.
func (w *vaultWorld) cambio(arguments ...string) (string, error) {
	w.Helper()
	file := filepath.Join(w.TempDir(), "me.jwt")
	if err := os.WriteFile(file, []byte(w.token(devworld.Lifetime)), 0o600); err != nil {
		w.Fatal(err)
	}
	out, err := exec.Command("cambio", append(arguments, "--token-file", file, "--url", w.p.ready.URL)...).CombinedOutput()
	return string(out), err
}

// logsIn says whether PostgreSQL honours what was handed out.
func (w *vaultWorld) logsIn(value string) bool {
	w.Helper()
	var handed struct {
		Data struct{ Username, Password string }
	}
	if err := json.Unmarshal([]byte(value), &handed); err != nil || handed.Data.Username == "" {
		w.Fatal("what was handed out has no user name")
	}
	dsn := url.URL{
		Scheme: "postgres", User: url.UserPassword(handed.Data.Username, handed.Data.Password), Host: w.database.Server.Address(),
		Path: "/" + w.database.Name, RawQuery: "sslmode=disable",
	}
	conn, err := pgx.Connect(w.Context(), dsn.String())
	if err != nil {
		return false
	}
	return conn.Close(context.WithoutCancel(w.Context())) == nil
}

// TestS26VaultLeasesThroughTheDoors: a role in a database works, lives longer by its
// holder's command, and is gone by another. A value that stays is served until it is
// due, and a changed one at once after the command that says that the old one lives on.
func TestS26VaultLeasesThroughTheDoors(t *testing.T) {
	w := openVaultWorld(t)
	value, kind, _ := w.exchange(w.token(devworld.Lifetime), "key")
	if value != "vended-value-1" || kind != string(vaultdriver.TokenTypeSecret) {
		t.Errorf("another value, or of type %s", kind)
	}

	role, kind, lease := w.exchange(w.token(2*time.Minute), "app-db")
	if kind != string(vaultdriver.TokenTypeLease) || !w.logsIn(role) {
		t.Fatalf("PostgreSQL does not take what is of type %s", kind)
	}
	ends := func() time.Time {
		t.Helper()
		a, err := w.bao.Try(t.Context(), "", "LIST", "sys/leases/lookup/app/creds/app", nil)
		if err != nil {
			t.Fatal(err)
		}
		key := a["data"].(map[string]any)["keys"].([]any)[0].(string)
		found := w.bao.Write(t, "sys/leases/lookup", map[string]any{"lease_id": "app/creds/app/" + key})
		at, err := time.Parse(time.RFC3339Nano, found["data"].(map[string]any)["expire_time"].(string))
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	if left := time.Until(ends()); left > 2*time.Minute {
		t.Errorf("OpenBao lets it live %v, and the workload's token %v", left, 2*time.Minute)
	}
	if out, err := w.cambio("lease", "renew", lease); err != nil || time.Until(ends()) < 5*time.Minute {
		t.Errorf("renewed until %v: %v\n%s", ends(), err, out)
	}
	if out, err := w.cambio("lease", "revoke", lease); err != nil || w.logsIn(role) {
		t.Errorf("it lives on: %v\n%s", err, out)
	}
	if again, _, another := w.exchange(w.token(devworld.Lifetime), "app-db"); another == lease || !w.logsIn(again) {
		t.Error("what was revoked is served again")
	}

	w.put("vended-value-2")
	value, _, lease = w.exchange(w.token(devworld.Lifetime), "key")
	if value != "vended-value-1" {
		t.Error("it is read again before it is due")
	}
	if out, err := w.cambio("lease", "revoke", lease); err != nil || !strings.Contains(out, "until it is changed where it is kept") {
		t.Errorf("that the old value lives on is not said: %v\n%s", err, out)
	}
	if value, _, _ = w.exchange(w.token(devworld.Lifetime), "key"); value != "vended-value-2" {
		t.Error("the changed value is not served")
	}
	if text := w.p.stdout.String() + w.p.stderr.String(); strings.Contains(text, "vended-value") || strings.Contains(text, role) {
		t.Error("the log has a secret")
	}
}
