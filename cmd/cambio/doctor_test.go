package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/cmd/cambio/clouds"
)

// clinicServer is a server's folder: its configuration, a policy with a target for each
// stand-in of a sandbox that trusts it, and its database with keys.
func clinicServer(t *testing.T) *process {
	t.Helper()
	p := &process{t: t, dir: t.TempDir()}
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(p.dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const settings = `issuer: http://127.0.0.1:1
listen: {address: "127.0.0.1:0"}
ops: {address: "127.0.0.1:0"}
store: {sqlite: {path: own.db}}
seal: {key: "${secret:seal}"}
policy: {dir: policy}
log: {level: warn, format: text}
`
	write("policy/policy.yaml", "targets: {tools: {mcp: {resource: https://mcp.example/tools}}}\n")
	write("cambio.yaml", settings+"secrets: {seal: {file: seal.key}}\n")
	if stdout, stderr, status := p.shell("head -c 32 /dev/urandom | base64 > seal.key && cambio migrate"); status != 0 {
		t.Fatal(stdout, stderr)
	}
	server := start(t, p.dir, nil, "serve")
	keys := get(t, server.ready.URL+"/federation/jwks", http.StatusOK)
	write("keys.json", keys)
	server.stop()

	box := start(t, p.dir, nil, "sandbox", "--issuer", "http://127.0.0.1:1/federation", "--jwks", "keys.json", "--listen", "127.0.0.1:0", "--output", "json")
	var said sandboxReady
	if err := json.Unmarshal([]byte(box.stdout.String()), &said); err != nil {
		t.Fatal(err)
	}
	var policy strings.Builder
	policy.WriteString("targets:\n  tools: {mcp: {resource: https://mcp.example/tools}}\n")
	oci := ""
	for _, c := range said.Clouds {
		fmt.Fprintf(&policy, "  the-%s:\n    %s:\n", c.Name, c.Name)
		for name, value := range c.Settings {
			fmt.Fprintf(&policy, "      %s: %s\n", name, value)
		}
		if c.Name == clouds.OCI {
			policy.WriteString("      client_secret: \"${secret:oci-client}\"\n")
			oci = strings.TrimPrefix(c.Endpoint, "https://")
		}
	}
	write("policy/policy.yaml", policy.String())
	write("cambio.yaml", settings+"outbound: {ca_file: cambio-sandbox/ca.pem, stand_ins: [127.0.0.1], allow: [127.0.0.1]}\n"+
		"secrets: {seal: {file: seal.key}, oci-client: {file: cambio-sandbox/oci-client.secret, hosts: [\""+oci+"\"]}}\n")
	return p
}

func readAll(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDoctorExaminesAConfiguration: what a server would ask its providers, without a
// server, and what to change where something is not set up.
func TestDoctorExaminesAConfiguration(t *testing.T) {
	p := clinicServer(t)
	stdout, stderr, status := p.shell("cambio doctor --output json")
	if status != 0 {
		t.Fatalf("exit status %d\n%s%s", status, stdout, stderr)
	}
	results := map[string]finding{}
	for line := range strings.Lines(stdout) {
		var f finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		results[f.Target] = f
	}
	for _, name := range clouds.Names() {
		if f := results["the-"+name]; f.Result != resultGood || f.Provider != name {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if f := results["tools"]; f.Result != resultUnknown || f.Change == "" {
		t.Errorf("a target that nobody is asked for: %+v", f)
	}
	for _, want := range []string{"1 of 8: ", "8 of 8: ", "outbound.stand_ins[0]: 127.0.0.1 is sent assertions"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q is not in %s", want, stderr)
		}
	}
	if strings.Contains(stdout+stderr, "eyJ") {
		t.Error("S39: it prints a token")
	}

	// Something that only the other side knows, and something that is only ours.
	policy := filepath.Join(p.dir, "policy", "policy.yaml")
	text := strings.NewReplacer("fdrl_cambiodev", "fdrl_other", "client_id: cambio", "client_id: other").Replace(readAll(t, policy))
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	stdout, _, status = p.shell("cambio doctor the-anthropic the-oci the-openai")
	if status != 1 {
		t.Errorf("exit status %d", status)
	}
	for _, want := range []string{
		"TARGET         PROVIDER   RESULT", "the-anthropic  anthropic  failed  ", "must check federation_rule_id", "the-oci        oci        failed ",
		"check client_id and client_secret", "the-openai     openai     ok",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is not in\n%s", want, stdout)
		}
	}
	if lines := strings.Count(stdout, "\n"); lines != 4 {
		t.Errorf("%d lines:\n%s", lines, stdout)
	}
	for line, want := range map[string]struct {
		status int
		says   string
	}{
		"cambio doctor nothing":                                 {statusUsage, `there is no target "nothing": the policy has the-anthropic`},
		"cambio doctor --output yaml":                           {statusUsage, "table or json"},
		"cambio doctor --config cambio.yaml --data .":           {statusUsage, "--config or --data"},
		"cambio doctor --data elsewhere":                        {statusUnreachable, "no cambio dev runs from elsewhere"},
		"cambio doctor --config absent.yaml":                    {statusFault, "absent.yaml"},
		"CAMBIO_STORE_SQLITE_PATH=absent.db cambio doctor":      {statusFault, "absent.db"},
		"CAMBIO_POLICY_DIR=absent cambio doctor":                {statusFault, "absent"},
		"CAMBIO_OUTBOUND_ALLOW=a.example cambio doctor the-ibm": {statusFault, ""},
	} {
		if _, stderr, status := p.shell(line); status != want.status || !strings.Contains(stderr, want.says) {
			t.Errorf("%s\nexit status %d, want %d; %q is not in %s", line, status, want.status, want.says, stderr)
		}
	}
}

// TestDevExaminesItself: its database serves one process, so that it is asked.
func TestDevExaminesItself(t *testing.T) {
	p := startDev(t)
	stdout, stderr, status := p.shell("cambio doctor")
	if status != 0 || strings.Count(stdout, " ok ") != 9 {
		t.Errorf("exit status %d\n%s%s", status, stdout, stderr)
	}
	if _, stderr, status := p.shell("cambio doctor nothing"); status != statusFault || !strings.Contains(stderr, `there is no target "nothing"`) {
		t.Errorf("exit status %d, %s", status, stderr)
	}
	get(t, p.ready.URL+doctorPath, http.StatusMethodNotAllowed)
	p.stop()
}

func get(t *testing.T, url string, want int) string {
	t.Helper()
	s, err := newClient("")
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return string(body)
}
