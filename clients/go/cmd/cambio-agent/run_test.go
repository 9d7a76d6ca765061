package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/status"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

const sidecar = `
ops: {listen: "127.0.0.1:0"}
targets: {gpt: {}, bedrock: {}}
doors:
  listen: "127.0.0.1:0"
  secret_file: HERE/secret
  vault: {targets: [gpt]}
files:
  - {path: HERE/gpt, target: gpt}
`

// addresses of an agent whose rooms each have a port of their own: 127.0.0.1:0 is one
// address, so the ops listener is at [::1]:0 or this machine's other loopback.
func (a *agent) at(t *testing.T, configured string) string {
	t.Helper()
	bound, ok := a.listeners[configured]
	if !ok {
		t.Fatalf("nothing is bound at %s: %v", configured, a.listeners)
	}
	return "http://" + bound
}

const opsAt = "localhost:0"

func (a *agent) report(t *testing.T) status.Report {
	t.Helper()
	code, text := get(t, a.at(t, opsAt)+"/status")
	var r status.Report
	if err := json.Unmarshal([]byte(text), &r); err != nil || code != http.StatusOK {
		t.Fatalf("status %d, %v", code, err)
	}
	holdsNoSecret(t, text)
	return r
}

func newServer(t *testing.T) *standin.Server {
	server := standin.New(t)
	serve(server)
	return server
}

func here(text string) string {
	return strings.Replace(text, `ops: {listen: "127.0.0.1:0"}`, `ops: {listen: "`+opsAt+`"}`, 1)
}

// TestSidecar: doors, files, state, and the end.
func TestSidecar(t *testing.T) {
	server := newServer(t)
	a := configured(t, server, here(sidecar))
	eventually(t, "the agent is ready", func() bool { return a.report(t).Ready })
	if code, text := get(t, a.at(t, opsAt)+"/readyz"); code != http.StatusOK || text != "ok\n" {
		t.Errorf("readyz: %d %q", code, text)
	}
	if code, _ := get(t, a.at(t, opsAt)+"/livez"); code != http.StatusOK {
		t.Errorf("livez: %d", code)
	}
	secret, err := os.ReadFile(filepath.Join(a.dir, "secret"))
	if err != nil {
		t.Fatal(err)
	}
	door := a.at(t, "127.0.0.1:0") + "/v1/secret/data/gpt"
	if code, text := get(t, door, "X-Vault-Token", string(secret)); code != http.StatusOK || !strings.Contains(text, vended+"gpt-1") {
		t.Errorf("the door answers %d", code)
	}
	if code, _ := get(t, door, "X-Vault-Token", "another"); code != http.StatusForbidden {
		t.Errorf("without the secret the door answers %d", code)
	}
	if text, err := os.ReadFile(filepath.Join(a.dir, "gpt")); err != nil || string(text) != vended+"gpt-1" {
		t.Errorf("the file: %v", err)
	}
	if n := server.Exchanges("gpt"); n != 1 {
		t.Errorf("%d exchanges for door and file", n)
	}
	r := a.report(t)
	if len(r.Targets) != 2 || r.Targets[1].Name != "gpt" || r.Targets[1].State != status.StateHeld || r.Targets[1].ExchangeID != "exchange-1" ||
		len(r.Doors) != 1 || r.Doors[0].Address == "127.0.0.1:0" || len(r.Files) != 1 {
		t.Errorf("%+v", r)
	}
	code, metrics := get(t, a.at(t, opsAt)+"/metrics")
	for _, want := range []string{
		"cambio_agent_ready 1", `cambio_agent_credential_held{source="1",target="gpt"} 1`, `cambio_agent_exchanges_total{outcome="issued",source="1",target="bedrock"} 1`,
		"process_resident_memory_bytes", "go_goroutines",
	} {
		if code != http.StatusOK || !strings.Contains(metrics, want) {
			t.Errorf("metrics (%d): no %q", code, want)
		}
	}
	holdsNoSecret(t, metrics)
	a.stop()
}

// TestS36OpsAreForThisMachine: a web page, or a name that was pointed here, gets nothing.
func TestS36OpsAreForThisMachine(t *testing.T) {
	a := configured(t, newServer(t), here(sidecar))
	for _, header := range [][2]string{{"Origin", "https://evil.example"}, {"Host", "evil.example"}, {"Host", "127.0.0.1.evil.example:80"}, {"Origin", "null"}} {
		for _, path := range []string{"/status", "/metrics", "/readyz", "/livez"} {
			if code, _ := get(t, a.at(t, opsAt)+path, header[0], header[1]); code != http.StatusForbidden {
				t.Errorf("%s with %s %s: %d", path, header[0], header[1], code)
			}
		}
	}
	resp, err := http.Post(a.at(t, opsAt)+"/status", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", resp.StatusCode)
	}
}

// TestReloadUnderLoad changes the configuration while four clients ask: every request is
// answered, nobody's secret changes, and no credential is asked for again.
func TestReloadUnderLoad(t *testing.T) {
	server := newServer(t)
	a := configured(t, server, here(sidecar))
	eventually(t, "the agent is ready", func() bool { return a.report(t).Ready })
	secret, err := os.ReadFile(filepath.Join(a.dir, "secret"))
	if err != nil {
		t.Fatal(err)
	}
	door := a.at(t, "127.0.0.1:0") + "/v1/secret/data/gpt"
	var stop atomic.Bool
	var asked, failed atomic.Int64
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for !stop.Load() {
				req, _ := http.NewRequest(http.MethodGet, door, nil)
				req.Header.Set("X-Vault-Token", string(secret))
				resp, err := http.DefaultClient.Do(req)
				asked.Add(1)
				if err != nil || resp.StatusCode != http.StatusOK {
					failed.Add(1)
				}
				if err == nil {
					_ = resp.Body.Close()
				}
			}
		})
	}
	for i := range 10 {
		loaded := a.report(t).Config.Loaded
		text := strings.ReplaceAll(here(sidecar), "HERE", a.dir) + fmt.Sprintf("# %d\n", i)
		if i%2 == 0 {
			text = strings.Replace(text, "targets: [gpt]", "targets: [gpt, bedrock]", 1)
		}
		write(t, filepath.Join(a.dir, "agent.yaml"), text)
		_ = a.cmd.Process.Signal(syscall.SIGHUP)
		eventually(t, "the configuration is in force", func() bool { return a.report(t).Config.Loaded.After(loaded) })
	}
	stop.Store(true)
	clients.Wait()
	if failed.Load() > 0 || asked.Load() == 0 {
		t.Errorf("%d of %d requests failed:\n%s", failed.Load(), asked.Load(), a.stderr.String())
	}
	if n := server.Exchanges("gpt"); n != 1 {
		t.Errorf("%d exchanges", n)
	}
	a.stop()
}

// TestBadReload: a file with a fault changes nothing, and the fault is told with its
// place; the file is noticed without a signal.
func TestBadReload(t *testing.T) {
	a := configured(t, newServer(t), here(sidecar))
	eventually(t, "the agent is ready", func() bool { return a.report(t).Ready })
	file := filepath.Join(a.dir, "agent.yaml")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	good := strings.ReplaceAll(here(sidecar), "HERE", a.dir)
	for want, text := range map[string]string{
		file + ":2:1: opps: no such key; did you mean ops?": strings.Replace(good, "ops:", "opps:", 1),
		file + ":7:21: doors.vault.targets[0]: ":            strings.Replace(good, "targets: [gpt]", "targets: [gtp]", 1),
		"free the address, or give another":                 strings.Replace(good, `listen: "127.0.0.1:0"`, `listen: "`+taken.Addr().String()+`"`, 1),
	} {
		write(t, file, text)
		eventually(t, want, func() bool { return strings.Contains(a.report(t).Config.Fault, want) })
		if r := a.report(t); !r.Ready || len(r.Doors) != 1 {
			t.Errorf("%+v", r)
		}
	}
	if code, text := get(t, a.at(t, opsAt)+"/metrics"); code != http.StatusOK || !strings.Contains(text, "cambio_agent_config_fault 1") {
		t.Error("the metrics do not tell")
	}
	write(t, file, strings.Replace(good, "targets: {gpt: {}, bedrock: {}}", "targets: {gpt: {}, bedrock: {}, short: {}}", 1))
	eventually(t, "the good file is in force", func() bool { r := a.report(t); return r.Config.Fault == "" && len(r.Targets) == 3 && r.Ready })
	a.stop()
}

// TestEnvironmentAlone: one container with variables is enough.
func TestEnvironmentAlone(t *testing.T) {
	dir := t.TempDir()
	port := freePort(t)
	a := running(t, newServer(t), []string{
		"CAMBIO_TARGET=gpt", "CAMBIO_TOKEN_OUTPUT_FILE=" + filepath.Join(dir, "gpt"), "CAMBIO_DIR=" + dir, "CAMBIO_OPS_LISTEN=" + opsAt,
		"CAMBIO_PROXY_UPSTREAM=http://" + port, "CAMBIO_PROXY_PRESET=openai",
	}, dir)
	eventually(t, "the agent is ready", func() bool { return a.report(t).Ready })
	if text, err := os.ReadFile(filepath.Join(dir, "gpt")); err != nil || string(text) != vended+"gpt-1" {
		t.Errorf("the file: %v", err)
	}
	if r := a.report(t); len(r.Routes) != 1 || r.Routes[0].Target != "gpt" || r.Config.File != "" {
		t.Errorf("%+v", r)
	}
	a.stop()
}

// TestServerComesLater: the agent starts without it, says so, and heals by itself.
func TestServerComesLater(t *testing.T) {
	server := newServer(t)
	at := freePort(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "agent.yaml")
	write(t, file, "url: http://"+at+"\n"+strings.ReplaceAll(here(sidecar), "HERE", dir))
	a := running(t, server, nil, dir, "--config", file)
	eventually(t, "the failure is told", func() bool {
		_, text := get(t, a.at(t, opsAt)+"/readyz")
		return strings.Contains(text, "target gpt: cambio: unreachable")
	})
	if code, _ := get(t, a.at(t, opsAt)+"/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("readyz: %d", code)
	}
	if code, _ := get(t, a.at(t, opsAt)+"/livez"); code != http.StatusOK {
		t.Errorf("livez: %d", code)
	}
	secret, err := os.ReadFile(filepath.Join(dir, "secret"))
	if err != nil {
		t.Fatal(err)
	}
	if code, text := get(t, a.at(t, "127.0.0.1:0")+"/v1/secret/data/gpt", "X-Vault-Token", string(secret)); code < 500 {
		t.Errorf("the door answers %d %q", code, text)
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	here := &http.Server{Handler: server.Mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = here.Serve(l) }()
	defer here.Close()
	eventually(t, "the agent is ready", func() bool { return a.report(t).Ready })
	a.stop()
}

// TestOnce is an init container: the file is there when it has ended.
func TestOnce(t *testing.T) {
	server := newServer(t)
	dir := t.TempDir()
	subject, file := filepath.Join(dir, "subject"), filepath.Join(dir, "gpt")
	write(t, subject, server.Subject())
	env := []string{"CAMBIO_URL=" + server.URL(), "CAMBIO_TOKEN_FILE=" + subject, "CAMBIO_TARGET=gpt", "CAMBIO_TOKEN_OUTPUT_FILE=" + file}
	for _, test := range []struct {
		env  []string
		want int
		said string
	}{
		{nil, 0, ""},
		{[]string{"CAMBIO_TARGET=unknown"}, 1, "invalid_target"},
		{[]string{"CAMBIO_URL=http://" + freePort(t)}, 3, "unreachable"},
		{[]string{"CAMBIO_TOKEN_OUTPUT_FILE="}, 1, "nothing is to be written"},
		{[]string{"CAMBIO_TOKEN_FILE=" + filepath.Join(dir, "absent")}, 1, "mount the service account token"},
	} {
		p := start(t, append(env, test.env...), "cambio-agent", "run", "--once")
		if got := p.status(); got != test.want || !strings.Contains(p.stderr.String(), test.said) {
			t.Errorf("%v: status %d: %s", test.env, got, p.stderr.String())
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != vended+"gpt-1" {
		t.Errorf("the file: %v", err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info)
	}
}

// freePort is an address that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
