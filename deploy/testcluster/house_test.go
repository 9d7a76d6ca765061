//go:build cluster

package testcluster

import (
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
)

// wholeHouse builds the binary, serves with a trust in this cluster on SQLite, and
// exchanges a pod's token over HTTP.
func (c *cluster) wholeHouse(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "cambio")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/cambio").CombinedOutput(); err != nil {
		t.Fatalf("building cambio: %v\n%s", err, out)
	}
	if err := os.Mkdir(filepath.Join(dir, "policy"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "policy", "policy.yaml"), fmt.Sprintf(`
trusts:
  prod:
    kubernetes:
      issuer: %[1]s
      audiences: [cambio]
      clientless: true
      ca_file: %[2]s
      review: {server: "%[1]s", ca_file: %[2]s, token_file: %[3]s, mode: always}
targets:
  github-mcp: {mcp: {resource: https://mcp.example/github, scopes: [tools.read]}}
allow:
  - {name: workers, subjects: [{trust: prod, namespace: payments, pod: "web-*"}], targets: [github-mcp]}
`, c.url, c.ca, filepath.Join(c.dir, "admin-token")))
	listen, ops := freeAddress(t), freeAddress(t)
	write(t, filepath.Join(dir, "cambio.yaml"), fmt.Sprintf(`
issuer: http://%[2]s
listen: {address: "%[2]s"}
ops: {address: "%[3]s"}
store: {sqlite: {path: %[1]s/cambio.db}}
seal: {key: "${secret:seal}"}
policy: {dir: %[1]s/policy}
secrets: {seal: {env: SEAL_KEY}}
outbound: {allow: ["127.0.0.1"]}
`, dir, listen, ops))
	environment := append(os.Environ(), "SEAL_KEY=dGhlLXRlc3QtY2x1c3Rlci1zZWFsaW5nLWtleS0wMDE=")
	migrate := exec.Command(binary, "migrate", "--config", filepath.Join(dir, "cambio.yaml"))
	migrate.Env = environment
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("cambio migrate: %v\n%s", err, out)
	}
	serve := exec.Command(binary, "serve", "--config", filepath.Join(dir, "cambio.yaml"))
	serve.Env = environment
	log, err := os.Create(filepath.Join(dir, "serve.log"))
	if err != nil {
		t.Fatal(err)
	}
	serve.Stdout, serve.Stderr = log, log
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = serve.Process.Kill()
		_, _ = serve.Process.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the server's log:\n%s", text)
		}
	})
	eventually(t, "cambio serve is ready", 20*time.Second, func() bool {
		response, err := http.Get("http://" + ops + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})

	uid := c.pod(t, "web-1")
	answer, status := post(t, "http://"+listen, c.token(t, "cambio", "web-1", uid))
	if status != http.StatusOK || answer["access_token"] == "" || answer["exchange_id"] == "" {
		t.Fatalf("exchange: %d, %v", status, answer["error_description"])
	}
	claims := decode(t, answer["access_token"].(string))
	if claims["sub"] != "k8s:prod:payments:worker" || claims["aud"] != "https://mcp.example/github" {
		t.Errorf("claims %v", claims)
	}
	if answer, status = post(t, "http://"+listen, c.token(t, "cambio", "", "")); status != http.StatusBadRequest || answer["error"] != "invalid_target" {
		t.Errorf("a token that is not bound to such a pod: %d, %v", status, answer["error"])
	}
}

func post(t *testing.T, base, token string) (map[string]any, int) {
	t.Helper()
	response, err := http.Post(base+"/oauth2/token", "application/x-www-form-urlencoded", strings.NewReader(url.Values{
		"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
		"subject_token":      {token},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
		"audience":           {"github-mcp"},
	}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer, response.StatusCode
}
