package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// cluster signs service-account tokens as a real cluster would, with a key of the
// test's own: serve takes none of dev's.
type cluster struct {
	t      *testing.T
	signer jose.Signer
}

const clusterIssuer = "https://oidc.prod.example"

// newCluster writes its key set into a folder.
func newCluster(t *testing.T, file string) *cluster {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "a"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "a", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, set, 0o600); err != nil {
		t.Fatal(err)
	}
	return &cluster{t: t, signer: signer}
}

// token is one for the service account, for an hour.
func (c *cluster) token(namespace, account string) string {
	c.t.Helper()
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{
		"iss": clusterIssuer, "sub": "system:serviceaccount:" + namespace + ":" + account, "aud": []string{"cambio"},
		"iat": now, "nbf": now, "exp": now + 3600, "jti": rand.Text(),
		"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]string{"name": account, "uid": "0"}},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	signed, err := c.signer.Sign(claims)
	if err != nil {
		c.t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		c.t.Fatal(err)
	}
	return compact
}

const realConfig = `issuer: https://cambio.example
listen: {address: "127.0.0.1:0"}
ops: {address: "127.0.0.1:0"}
store: {postgres: {dsn: "${secret:db}"}}
seal: {key: "${secret:seal}"}
secrets:
  db: {env: DATABASE_URL}
  seal: {env: SEAL}
`

const realPolicy = `trusts:
  prod: {kubernetes: {issuer: https://oidc.prod.example, keys: {file: keys.json}, audiences: [cambio], clientless: true}}
targets:
  mcp: {mcp: {resource: https://mcp.example/a, scopes: [read]}}
allow:
  - {name: gateways, subjects: [{trust: prod, namespace: llm}], targets: [mcp]}
roles:
  auditor: [{trust: prod, namespace: audit}]
`

// TestServeOnPostgres goes the whole way of an operator: migrate as the owner,
// serve as the service role, two replicas; the database dies and comes back.
func TestServeOnPostgres(t *testing.T) {
	database := pgtest.Start(t, pgtest.Durable()).NewDatabase(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "policy"), 0o700); err != nil {
		t.Fatal(err)
	}
	cluster := newCluster(t, filepath.Join(dir, "policy", "keys.json"))
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("cambio.yaml", realConfig)
	write("policy/policy.yaml", realPolicy)
	seal := make([]byte, 32)
	_, _ = rand.Read(seal)
	environ := func(dsn string) []string {
		return []string{"DATABASE_URL=" + dsn, "SEAL=" + base64.StdEncoding.EncodeToString(seal)}
	}
	run := func(environ []string, stdin string, args ...string) (stdout, stderr string, status int) {
		t.Helper()
		cmd := exec.Command("cambio", args...)
		cmd.Dir, cmd.Env, cmd.Stdin = dir, append(os.Environ(), environ...), strings.NewReader(stdin)
		var out, errs strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &errs
		_ = cmd.Run() // the status says it
		return out.String(), errs.String(), cmd.ProcessState.ExitCode()
	}
	service := environ(database.ServiceDSN())

	if _, stderr, status := run(service, "", "serve"); status != statusFault || !strings.Contains(stderr, "cambio migrate") {
		t.Errorf("before the migration: exit status %d, %s", status, stderr)
	}
	for range 2 { // the second changes nothing
		stdout, stderr, status := run(append(service, "CAMBIO_OWNER_DSN="+database.OwnerDSN()), "", "migrate")
		if status != 0 || !strings.Contains(stdout, "up to date") {
			t.Fatalf("migrate: exit status %d, %s%s", status, stdout, stderr)
		}
	}
	// S34: who could change the ledger does not serve it.
	if _, stderr, status := run(environ(database.OwnerDSN()), "", "serve"); status != statusFault || !strings.Contains(stderr, "refusing to serve") {
		t.Errorf("as the owner: exit status %d, %s", status, stderr)
	}

	one, other := start(t, dir, service, "serve"), start(t, dir, service, "serve")
	ask := func(p *process) (string, int) {
		stdout, stderr, status := run(nil, cluster.token("llm", "gateway"), "exchange", "--url", p.ready.URL, "--target", "mcp")
		return stdout + stderr, status
	}
	for _, p := range []*process{one, other, one} {
		if answer, status := ask(p); status != 0 || !strings.Contains(answer, `"scope":"read"`) {
			t.Fatalf("exit status %d, %s\n%s", status, answer, p.stderr.String())
		}
	}
	write("auditor.jwt", cluster.token("audit", "auditor"))
	rows := func(p *process) int {
		stdout, stderr, status := run(nil, "", "audit", "list", "--url", p.ready.URL, "--token-file", "auditor.jwt", "--output", "json",
			"--filter", `subject = "k8s:prod:llm:gateway" AND outcome = "issued"`)
		if status != 0 {
			t.Errorf("exit status %d, %s", status, stderr)
		}
		return strings.Count(stdout, "\n")
	}
	if n := rows(other); n != 3 {
		t.Errorf("the ledger has %d rows, want 3", n)
	}

	ready := func(p *process, want int) bool {
		return eventually(func() bool {
			resp, err := http.Get(p.ready.OpsURL + "/readyz")
			if err != nil {
				return false
			}
			resp.Body.Close()
			return resp.StatusCode == want
		})
	}
	database.Server.Kill(t)
	if answer, status := ask(one); status != statusUnreachable || !strings.Contains(answer, "temporarily_unavailable") {
		t.Errorf("without a database: exit status %d, %s", status, answer)
	}
	if !ready(one, http.StatusServiceUnavailable) {
		t.Error("ready without a database")
	}
	database.Server.Restart(t)
	if !ready(one, http.StatusOK) || !ready(other, http.StatusOK) {
		t.Fatalf("not ready with the database back\n%s", one.stderr.String())
	}
	if answer, status := ask(other); status != 0 {
		t.Errorf("with the database back: exit status %d, %s", status, answer)
	}
	if n := rows(one); n != 4 {
		t.Errorf("the ledger has %d rows, want 4", n)
	}
	one.stop()
	other.stop()
	for _, p := range []*process{one, other} {
		log := p.stderr.String()
		if strings.Contains(log, database.Server.Password()) || strings.Contains(log, "eyJ") {
			t.Error("S39: the log holds a password or a token")
		}
	}
}
