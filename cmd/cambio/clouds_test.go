package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/cmd/cambio/clouds"
	"github.com/cambio-sts/cambio/exchange"
)

// gateway is the workload that the sample policy lets use every model.
const gateway = "cambio token --trust cluster --namespace llm --service-account gateway"

// TestTour runs the tour's document: each block and each line of its table, in one
// shell, as somebody who reads it would.
func TestTour(t *testing.T) {
	p := startDev(t)
	text := page(t, "tour.md")
	blocks := fenced(text, "sh")
	if len(blocks) < 3 {
		t.Fatalf("the tour has %d blocks", len(blocks))
	}
	script := "set -eu\n" + blocks[0]
	lines := rows(t, text, "## One exchange, one call")
	seen := map[string]bool{}
	for _, row := range lines {
		if len(row) != 4 {
			t.Fatalf("a line of the table has %d cells: %q", len(row), row)
		}
		exchanged, called, says := words(row[1]), words(row[2]), words(row[3])
		if len(exchanged) != 1 || len(called) != 1 || len(says) != 1 {
			t.Fatalf("%s: a cell holds one command", row[0])
		}
		seen[strings.Fields(exchanged[0])[3]] = true
		stdout, stderr, status := p.shell(script + exchanged[0] + "\n" + called[0])
		if status != 0 || !strings.Contains(stdout, says[0]) {
			t.Errorf("%s: exit status %d, and %q is not in\n%s%s", row[0], status, says[0], stdout, stderr)
		}
		if strings.Contains(stdout+stderr, "eyJ") {
			t.Errorf("%s prints a token", row[0])
		}
		_ = os.Remove(filepath.Join(p.dir, "oci.pem")) // --new-key overwrites nothing
	}
	for _, target := range sampleTargets(t, p) {
		if !seen[target] {
			t.Errorf("the tour does not go to %s", target)
		}
	}
	for i, want := range []string{"AWS_ACCESS_KEY_ID=", "oci-genai", "gateway-uses-models"} {
		if stdout, stderr, status := p.shell("set -eu\n" + blocks[i+1]); status != 0 || !strings.Contains(stdout, want) {
			t.Errorf("%s\nexit status %d, and %q is not in\n%s%s", blocks[i+1], status, want, stdout, stderr)
		}
	}
	p.stop()
	if strings.Contains(p.stderr.String(), "eyJ") {
		t.Error("S39: the log holds a token")
	}
}

// sampleTargets are those of the stand-ins.
func sampleTargets(t *testing.T, p *process) []string {
	t.Helper()
	l, err := (&policyFlags{dir: p.ready.PolicyDir}).load()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range l.revision.Targets() {
		if l.revision.Target(name).Provider != "mcp" {
			names = append(names, name)
		}
	}
	if len(names) < len(clouds.Names()) {
		t.Fatalf("the sample policy has the targets %q", names)
	}
	return names
}

// TestWhatOneVendedOpensNoOther: each credential opens its own provider's door alone,
// and nobody else's token opens any.
func TestWhatOneVendedOpensNoOther(t *testing.T) {
	p := startDev(t)
	client := trusting(t, p.ready.CAFile)
	ask := func(door string, bearer exchange.Secret) int {
		r, _, err := clouds.Chat(t.Context(), door, p.ready.Clouds[door])
		if err != nil {
			t.Fatal(err)
		}
		if !bearer.IsZero() {
			r.Header.Set("Authorization", "Bearer "+bearer.Reveal())
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	vended := map[string]exchange.Secret{}
	for provider, target := range map[string]string{
		clouds.AWS: "bedrock-key", clouds.Azure: "azure-openai", clouds.GCP: "vertex", clouds.IBM: "watsonx", clouds.Anthropic: "claude", clouds.OpenAI: "gpt",
	} {
		stdout, stderr, status := p.shell(gateway + " | cambio exchange --target " + target + " --passthrough-token-file <(" + gateway + " --audience iam) --output token")
		if status != 0 {
			t.Fatalf("%s: %s", target, stderr)
		}
		vended[provider] = exchange.NewSecret(strings.TrimSpace(stdout))
	}
	stdout, _, _ := p.shell(gateway)
	vended["cluster"], vended["nobody"] = exchange.NewSecret(strings.TrimSpace(stdout)), exchange.Secret{}
	for from, bearer := range vended {
		for _, door := range clouds.Names() {
			if status := ask(door, bearer); (status == http.StatusOK) != (from == door) {
				t.Errorf("what %s vended got %d from %s", from, status, door)
			}
		}
	}
	for _, target := range sampleTargets(t, p) { // others get nothing
		_, stderr, status := p.shell("cambio token --trust cluster --namespace agents --service-account assistant | cambio call --target " + target)
		if status != 1 || !strings.Contains(stderr, "invalid_target") {
			t.Errorf("%s for somebody else: exit status %d, %s", target, status, stderr)
		}
	}
	p.stop()
}

func trusting(t *testing.T, caFile string) *http.Client {
	t.Helper()
	client, err := newClient(caFile)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// TestS35StandInsAreForThisMachine: loopback only, no page of a browser, and
// certificates that are made at each start, by an authority whose key nobody has.
func TestS35StandInsAreForThisMachine(t *testing.T) {
	dir := t.TempDir()
	args := []string{"dev", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"}
	p := start(t, dir, nil, args...)
	client := trusting(t, p.ready.CAFile)
	if got := slices.Sorted(maps.Keys(p.ready.Clouds)); !slices.Equal(got, slices.Sorted(slices.Values(clouds.Names()))) {
		t.Fatalf("dev plays %q", got)
	}
	for name, endpoint := range p.ready.Clouds {
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "https" || !net.ParseIP(u.Hostname()).IsLoopback() {
			t.Errorf("%s is at %s", name, endpoint)
		}
		if _, err := http.Get(endpoint); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s is trusted by whoever did not ask for it: %v", name, err)
		}
		for fault, change := range map[string]func(*http.Request){
			"host":      func(r *http.Request) { r.Host = "evil.example" },
			"host port": func(r *http.Request) { r.Host = "127.0.0.1:1" },
			"origin":    func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
			"plain":     func(r *http.Request) { r.Header.Set("Origin", "http://"+u.Host) },
		} {
			r, err := http.NewRequest(http.MethodPost, endpoint+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			change(r)
			resp, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s, %s: %s", name, fault, resp.Status)
			}
		}
	}
	before := authority(t, p.ready.CAFile)
	p.stop()
	again := start(t, dir, nil, args...)
	after := authority(t, again.ready.CAFile)
	if before.Equal(after) {
		t.Error("the authority is that of the start before")
	}
	if !reflect.DeepEqual(again.ready.Clouds, p.ready.Clouds) {
		t.Errorf("the stand-ins moved from %v to %v", p.ready.Clouds, again.ready.Clouds)
	}
	again.stop()
}

func authority(t *testing.T, file string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" || len(rest) > 0 {
		t.Fatalf("%s holds something else than one certificate", file)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTakenPortIsTold: the stand-in moves, and the policy with it.
func TestTakenPortIsTold(t *testing.T) {
	dir := t.TempDir()
	args := []string{"dev", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"}
	p := start(t, dir, nil, args...)
	old := strings.TrimPrefix(p.ready.Clouds[clouds.OpenAI], "https://")
	p.stop()
	l, err := net.Listen("tcp", old)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	again := start(t, dir, nil, args...)
	if again.ready.Clouds[clouds.OpenAI] == "https://"+old {
		t.Fatal("it took a port that was taken")
	}
	if !strings.Contains(again.stderr.String(), "they moved, and policy/clouds.yaml says where to") {
		t.Errorf("nothing is said of it:\n%s", again.stderr.String())
	}
	for _, target := range []string{"gpt", "claude"} {
		if stdout, stderr, status := again.shell(gateway + " | cambio call --target " + target + " --output json"); status != 0 {
			t.Errorf("exit status %d, %s%s", status, stdout, stderr)
		}
	}
	again.stop()
}

// TestS35ServeRefusesWhatSandboxesTrust: neither its stand-ins for an issuer that
// clouds may know, nor the trusts of dev's policy.
func TestS35ServeRefusesWhatSandboxesTrust(t *testing.T) {
	p := startDev(t)
	p.stop()
	file := filepath.Join(p.dir, "cambio.yaml")
	write := func(issuer, outbound string) {
		t.Helper()
		text := "issuer: " + issuer + "\nlisten: {address: \"127.0.0.1:0\"}\nops: {address: \"127.0.0.1:0\"}\nstore: {sqlite: {path: own.db}}\n" +
			"seal: {key: \"${secret:seal}\"}\npolicy: {dir: cambio-dev/policy}\n" + outbound +
			"secrets: {seal: {file: cambio-dev/seal.key}, oci-client: {file: cambio-dev/world/oci-client.secret, hosts: [\"" +
			strings.TrimPrefix(p.ready.Clouds[clouds.OCI], "https://") + "\"]}}\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("https://cambio.example", "outbound: {stand_ins: [127.0.0.1]}\n")
	if _, stderr, status := p.shell("cambio serve"); status != 1 || !strings.Contains(stderr, "outbound.stand_ins[0]") || !strings.Contains(stderr, "(S35)") {
		t.Errorf("exit status %d, %s", status, stderr)
	}
	write("https://cambio.example", "")
	if _, stderr, status := p.shell("cambio migrate && cambio serve"); status != 1 || !strings.Contains(stderr, "played by cambio dev") || !strings.Contains(stderr, "(S35)") {
		t.Errorf("exit status %d, %s", status, stderr)
	}
}

// TestCallOutput: for programs, and for people.
func TestCallOutput(t *testing.T) {
	p := startDev(t)
	stdout, stderr, status := p.shell(gateway + " | cambio call --target oci-genai --output json")
	var said struct{ Target, Provider, Endpoint, Says string }
	if err := json.Unmarshal([]byte(stdout), &said); err != nil || status != 0 {
		t.Fatalf("exit status %d, %v, %s%s", status, err, stdout, stderr)
	}
	if said.Target != "oci-genai" || said.Provider != clouds.OCI || said.Endpoint != p.ready.Clouds[clouds.OCI] || !strings.Contains(said.Says, "You are default:oci-genai:") {
		t.Errorf("%+v", said)
	}
	for line, want := range map[string]string{
		gateway + " | cambio call":                                                  "name the target",
		gateway + " | cambio call --target bedrock --output yaml":                   "text or json",
		gateway + " | cambio call --target oci-genai --new-key k.pem":               "unknown flag: --new-key",
		gateway + " | cambio call --target github-mcp":                              "does not play",
		gateway + " | cambio call --target watsonx":                                 "passthrough_token",
		gateway + " | cambio call --target nowhere":                                 "invalid_target",
		gateway + " | cambio call --target bedrock --data elsewhere":                "no cambio dev runs from elsewhere",
		gateway + " | cambio exchange --target bedrock --new-key cambio-dev/ca.pem": "is there already",
	} {
		if _, stderr, status := p.shell(line); status == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%s\nexit status %d, and %q is not in %s", line, status, want, stderr)
		}
	}
	// A stand-in speaks TLS 1.2 and later.
	_, err := tls.Dial("tcp", strings.TrimPrefix(p.ready.Clouds[clouds.AWS], "https://"), &tls.Config{MaxVersion: tls.VersionTLS11, InsecureSkipVerify: true}) //nolint:gosec // it must fail
	if err == nil {
		t.Error("TLS 1.1 was spoken")
	}
	p.stop()
}
