package main

import (
	"bufio"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange/provider/oci/ocisandbox"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// chainedConfig is a service of this machine, which may so have stand-ins of this
// machine.
const chainedConfig = `issuer: http://127.0.0.1:1
listen: {address: "127.0.0.1:0"}
ops: {address: "127.0.0.1:0"}
store: {postgres: {dsn: "${secret:db}"}}
seal: {key: "${secret:seal}"}
limits: {subject_per_second: 100000}
outbound: {allow: [127.0.0.1], stand_ins: [127.0.0.1]}
secrets:
  db: {env: DATABASE_URL}
  seal: {env: SEAL}
`

// chainedPolicy lets a token for notes go on to the vault, and the vault's to a
// session at a stand-in of OCI, which the workload may have directly, too.
const chainedPolicy = `
trusts:
  prod: {kubernetes: {issuer: https://oidc.prod.example, keys: {file: keys.json}, audiences: [cambio], clientless: true}}
clients:
  chat:
    SECRET
  notes:
    SECRET
    serves: [https://mcp.example/notes]
  vault:
    SECRET
    serves: [https://mcp.example/vault]
targets:
  notes-mcp: {mcp: {resource: https://mcp.example/notes, scopes: [read]}}
  vault-mcp: {mcp: {resource: https://mcp.example/vault, scopes: [read]}}
  cloud:
    oci:
      domain: DOMAIN
      audience: http://OCI
      region: us-ashburn-1
      signed: resource
      res_type: llm
      signing: {hosts: ["HOST"], methods: [GET], paths: [/n/]}
allow:
  - {name: direct, subjects: [{trust: prod, namespace: llm}], targets: [notes-mcp, cloud]}
  - {name: notes-to-vault, subjects: [{trust: prod, namespace: llm}], actors: [{subject: "client:notes"}], targets: [vault-mcp]}
  - {name: vault-to-cloud, subjects: [{trust: prod, namespace: llm}], actors: [{subject: "client:vault"}], targets: [cloud]}
roles:
  operator: [{trust: prod, namespace: operations}]
  auditor: [{trust: prod, namespace: operations}]
`

// chainedWorld is two servers on one PostgreSQL with a cloud beside them, and an
// operator.
type chainedWorld struct {
	one, other *ownWorld
	cluster    *cluster
	run        func(args ...string) (out string, status int)
}

func openChainedWorld(t *testing.T) *chainedWorld {
	t.Helper()
	database := pgtest.Start(t, pgtest.Durable()).NewDatabase(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "policy"), 0o700); err != nil {
		t.Fatal(err)
	}
	seal := make([]byte, 32)
	_, _ = rand.Read(seal)
	tokenFile, keyFile := filepath.Join(dir, "rpst"), filepath.Join(dir, "key.pem")
	service := []string{
		"DATABASE_URL=" + database.ServiceDSN(), "SEAL=" + base64.StdEncoding.EncodeToString(seal),
		"OCI_RESOURCE_PRINCIPAL_VERSION=2.2", "OCI_RESOURCE_PRINCIPAL_REGION=us-ashburn-1",
		"OCI_RESOURCE_PRINCIPAL_RPST=" + tokenFile, "OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM=" + keyFile,
	}
	w := &chainedWorld{cluster: newCluster(t, filepath.Join(dir, "policy", "keys.json"))}
	w.run = func(args ...string) (string, int) {
		t.Helper()
		cmd := exec.Command("cambio", args...)
		cmd.Dir, cmd.Env = dir, append(append(os.Environ(), service...), "CAMBIO_OWNER_DSN="+database.OwnerDSN())
		text, _ := cmd.CombinedOutput() // the status says it
		return string(text), cmd.ProcessState.ExitCode()
	}
	made, status := w.run("client", "secret")
	secret, line, _ := strings.Cut(strings.TrimSpace(made), "\n")
	if status != 0 {
		t.Fatal("no secret was made")
	}
	var replica atomic.Pointer[process] // whose keys the cloud fetches
	cloud, err := ocisandbox.New(ocisandbox.Setup{
		World: sandbox.World{
			Issuer: "http://127.0.0.1:1/federation", Now: time.Now, Random: rand.Reader,
			Keys: func() []byte {
				resp, err := http.Get(replica.Load().ready.URL + "/federation/jwks")
				if err != nil {
					return nil
				}
				defer resp.Body.Close()
				keys, _ := io.ReadAll(resp.Body) // half a set verifies nothing
				return keys
			},
		},
		Trust: ocisandbox.Trust{Audience: "http://OCI", ImpersonatingResource: "llm"},
	})
	if err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	principal, err := cloud.Principal(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(cloud)
	t.Cleanup(server.Close)
	for file, text := range map[string]string{
		tokenFile:                         principal,
		keyFile:                           string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
		filepath.Join(dir, "cambio.yaml"): chainedConfig,
		filepath.Join(dir, "policy", "policy.yaml"): strings.NewReplacer(
			"SECRET", line, "DOMAIN", server.URL, "HOST", strings.TrimPrefix(server.URL, "http://")).Replace(chainedPolicy),
		filepath.Join(dir, "operator.jwt"): w.cluster.token("operations", "olga"),
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, status := w.run("migrate"); status != 0 {
		t.Fatal(out)
	}
	w.one = &ownWorld{T: t, p: start(t, dir, service, "serve"), secret: secret}
	w.other = &ownWorld{T: t, p: start(t, dir, service, "serve"), secret: secret}
	replica.Store(w.one.p)
	return w
}

// given is an exchange that succeeds: its token and its lease.
func (w *ownWorld) given(client, token, target string) (issued, lease string) {
	w.Helper()
	code, body := w.exchange(client, token, target)
	if code != http.StatusOK {
		w.Fatalf("%s to %s: %d %v", client, target, code, body["error_description"])
	}
	issued, _ = body["access_token"].(string)
	lease, _ = body["lease_id"].(string)
	return issued, lease
}

// revoke has the operator revoke a lease at a replica, and returns what becomes of
// each credential, by its lease.
func (w *chainedWorld) revoke(at *ownWorld, lease string) map[string]string {
	at.Helper()
	out, status := w.run("lease", "revoke", lease, "--reason", "INC-9", "--output", "json", "--url", at.p.ready.URL, "--token-file", "operator.jwt")
	if status != 0 {
		at.Fatalf("revoking: exit status %d, %s", status, out)
	}
	states := map[string]string{}
	lines := bufio.NewScanner(strings.NewReader(out))
	lines.Scan() // the lease itself
	for lines.Scan() {
		var row deniedRow
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			at.Fatalf("%v in %s", err, out)
		}
		states[row.Lease] = row.State
	}
	return states
}

// TestS26RevokedAtAnotherReplica: one replica has a credential in its cache, another
// revokes it, and the first hands out another one from then on, under load.
func TestS26RevokedAtAnotherReplica(t *testing.T) {
	w := openChainedWorld(t)
	workload := w.cluster.token("llm", "gateway")
	_, lease := w.one.given("chat", workload, "cloud")
	if _, again := w.one.given("chat", workload, "cloud"); again != lease {
		t.Fatal("the credential is not in the cache, so there is nothing to show")
	}
	var revoked atomic.Bool
	var late, before, after atomic.Int64
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				dead := revoked.Load()
				code, body := w.one.exchange("chat", workload, "cloud")
				switch {
				case code != http.StatusOK:
					t.Errorf("%d %v", code, body["error_description"])
					return
				case body["lease_id"] != lease:
					after.Add(1)
				case dead:
					late.Add(1)
				default:
					before.Add(1)
				}
			}
		})
	}
	if !eventually(func() bool { return before.Load() > 50 }) {
		t.Error("there is no load")
	}
	if states := w.revoke(w.other, lease); states[lease] != "STATE_REVOKED" || len(states) != 1 {
		t.Errorf("%v", states)
	}
	revoked.Store(true)
	if !eventually(func() bool { return after.Load() > 50 || t.Failed() }) {
		t.Error("nothing else is handed out after the revocation")
	}
	close(stop)
	load.Wait()
	if late.Load() > 0 {
		t.Errorf("what was revoked was handed out %d times by exchanges that began after the revocation", late.Load())
	}
	_, next := w.one.given("chat", workload, "cloud")
	if _, again := w.one.given("chat", workload, "cloud"); again != next || next == lease {
		t.Error("the cache does not go on with another credential")
	}
	t.Logf("%d exchanges before the revocation, %d after it, %d of them were given what was dead", before.Load(), after.Load(), late.Load())
}

// TestS26RevokedAtItsRoot: a token, the token that came of it, and the cloud
// credential that came of that. The first is revoked at one replica: each of them is
// listed with its fate, and nothing comes of any at the other.
func TestS26RevokedAtItsRoot(t *testing.T) {
	w := openChainedWorld(t)
	first, root := w.one.given("chat", w.cluster.token("llm", "gateway"), "notes-mcp")
	second, child := w.one.given("notes", first, "vault-mcp")
	_, credential := w.one.given("vault", second, "cloud")
	if _, again := w.one.given("vault", second, "cloud"); again != credential {
		t.Error("the credential is not in the cache")
	}
	_, beside := w.one.given("chat", w.cluster.token("llm", "gateway"), "cloud")

	states := w.revoke(w.other, root)
	want := map[string]string{root: "STATE_REFUSED", child: "STATE_REFUSED", credential: "STATE_REVOKED"}
	for lease, state := range want {
		if states[lease] != state {
			t.Errorf("%s: %q, want %q", lease, states[lease], state)
		}
	}
	if len(states) != len(want) {
		t.Errorf("%v", states)
	}
	for _, at := range []*ownWorld{w.one, w.other} {
		for client, token := range map[string]string{"chat": first, "notes": second, "vault": second} {
			if at.active(client, token) != nil {
				t.Errorf("%s sees it active", client)
			}
		}
		code, body := at.exchange("notes", first, "vault-mcp")
		at.refused("the first", code, body, http.StatusBadRequest, "invalid_request")
		code, body = at.exchange("vault", second, "cloud")
		at.refused("the second", code, body, http.StatusBadRequest, "invalid_request")
		code, body = at.ask("/oauth2/revoke", "chat", url.Values{"token": {first}})
		if code != http.StatusOK {
			t.Errorf("revoking once more: %d %v", code, body["error_description"])
		}
	}
	if _, again := w.one.given("chat", w.cluster.token("llm", "gateway"), "cloud"); again != beside {
		t.Error("what the same workload had beside them is gone")
	}
	if again := w.revoke(w.one, root); len(again) != 0 {
		t.Errorf("once more: %v", again)
	}
}
