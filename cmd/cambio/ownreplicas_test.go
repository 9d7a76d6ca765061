package main

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// TestS31RevocationIsSeenByEveryReplica: two servers on one database. What is
// revoked or denied at one of them is inactive at the other with the next question,
// and with the database gone nobody is told that a token is active.
func TestS31RevocationIsSeenByEveryReplica(t *testing.T) {
	server := pgtest.Start(t, pgtest.Durable())
	database := server.NewDatabase(t)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "policy"), 0o700); err != nil {
		t.Fatal(err)
	}
	seal := make([]byte, 32)
	_, _ = rand.Read(seal)
	service := []string{"DATABASE_URL=" + database.ServiceDSN(), "SEAL=" + base64.StdEncoding.EncodeToString(seal)}
	run := func(args ...string) (out string, status int) {
		t.Helper()
		cmd := exec.Command("cambio", args...)
		cmd.Dir, cmd.Env = dir, append(append(os.Environ(), service...), "CAMBIO_OWNER_DSN="+database.OwnerDSN())
		text, _ := cmd.CombinedOutput() // the status says it
		return string(text), cmd.ProcessState.ExitCode()
	}
	made, status := run("client", "secret")
	secret, line, _ := strings.Cut(strings.TrimSpace(made), "\n")
	if status != 0 {
		t.Fatal("no secret was made")
	}
	cluster := newCluster(t, filepath.Join(dir, "policy", "keys.json"))
	for name, text := range map[string]string{
		"cambio.yaml": realConfig,
		"policy/policy.yaml": realPolicy + "  operator: [{trust: prod, namespace: operations}]\nclients:\n" +
			"  chat:\n    " + line + "\n  a:\n    " + line + "\n    serves: [https://mcp.example/a]\n",
		"operator.jwt": cluster.token("operations", "olga"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, status := run("migrate"); status != 0 {
		t.Fatal(out)
	}
	one := &ownWorld{T: t, p: start(t, dir, service, "serve"), secret: secret}
	other := &ownWorld{T: t, p: start(t, dir, service, "serve"), secret: secret}
	given, stolen, kept := one.must("chat", cluster.token("llm", "giver"), "mcp"), one.must("chat", cluster.token("llm", "thief"), "mcp"), one.must("chat", cluster.token("llm", "keeper"), "mcp")
	for _, token := range []string{given, stolen, kept} {
		if other.active("a", token) == nil || one.active("a", token) == nil {
			t.Fatal("a token that was just issued is inactive")
		}
	}
	if code, body := one.ask("/oauth2/revoke", "chat", url.Values{"token": {given}}); code != http.StatusOK {
		t.Fatalf("%d %v", code, body["error_description"])
	}
	if other.active("a", given) != nil || one.active("a", given) != nil {
		t.Error("it is active after it was revoked")
	}
	if out, status := run("deny", "add", "--subject", "k8s:prod:llm:thief", "--reason", "INC-8", "--url", one.p.ready.URL, "--token-file", "operator.jwt"); status != 0 {
		t.Fatal(out)
	}
	if other.active("a", stolen) != nil || one.active("a", stolen) != nil {
		t.Error("it is active after the deny")
	}
	if other.active("a", kept) == nil {
		t.Error("a token that nothing covers is inactive")
	}
	server.Kill(t)
	begun := time.Now()
	for _, w := range []*ownWorld{one, other} {
		for path, client := range map[string]string{"/oauth2/introspect": "a", "/oauth2/revoke": "chat"} {
			code, body := w.ask(path, client, url.Values{"token": {kept}})
			w.refused(path+" without the database", code, body, http.StatusServiceUnavailable, "temporarily_unavailable")
		}
	}
	t.Logf("four refusals in %v", time.Since(begun).Round(time.Millisecond))
	server.Restart(t)
	if !eventually(func() bool {
		code, body := other.ask("/oauth2/introspect", "a", url.Values{"token": {kept}})
		return code == http.StatusOK && body["active"] == true
	}) {
		t.Error("it does not come back with the database")
	}
}
