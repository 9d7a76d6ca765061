//go:build mcp

package testmcp

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	tokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeJWT       = "urn:ietf:params:oauth:token-type:jwt"
	typeIDJAG     = "urn:ietf:params:oauth:token-type:id-jag"
)

// patience is how long a test waits for something that must happen.
const patience = 60 * time.Second

// house is a running cambio dev.
type house struct {
	dir string
	URL string `json:"url"`
	Dir string `json:"policy_dir"`
}

// tool is the path of something that run.sh built.
func tool(t *testing.T, name string) string {
	t.Helper()
	path := os.Getenv(name)
	if path == "" {
		t.Fatalf("%s is not set: run deploy/testmcp/run.sh", name)
	}
	return path
}

func startHouse(t *testing.T) *house {
	t.Helper()
	h := &house{dir: t.TempDir()}
	ready := filepath.Join(h.dir, "ready.json")
	log, err := os.Create(filepath.Join(h.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool(t, "CAMBIO_BINARY"), "dev", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--ready-file", ready)
	cmd.Dir, cmd.Stdout, cmd.Stderr = h.dir, log, log
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("the log of cambio dev:\n%s", tail(string(text), 40))
		}
	})
	run(t, cmd)
	eventually(t, "cambio dev is ready", func() bool {
		text, err := os.ReadFile(ready)
		return err == nil && json.Unmarshal(text, h) == nil
	})
	return h
}

// run starts a process that ends with the test.
func run(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// cambio runs the command line in the house's folder.
func (h *house) cambio(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(tool(t, "CAMBIO_BINARY"), args...)
	cmd.Dir = h.dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cambio %s: %v", args[0], err)
	}
	return strings.TrimSpace(string(out))
}

// pod is the token of a service account of the namespace agents.
func (h *house) pod(t *testing.T, account string) string {
	t.Helper()
	return h.cambio(t, "token", "--trust", "cluster", "--namespace", "agents", "--service-account", account)
}

// person is the token of an engineer.
func (h *house) person(t *testing.T, name string) string {
	t.Helper()
	return h.cambio(t, "token", "--trust", "corp", "--user", name, "--group", "engineering")
}

// secret makes a client's secret, and the line of policy that keeps its hash.
func (h *house) secret(t *testing.T) (secret, line string) {
	t.Helper()
	secret, line, _ = strings.Cut(h.cambio(t, "client", "secret"), "\n")
	return secret, line
}

// policy writes a file of policy, which is in force a moment later.
func (h *house) policy(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.Dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool(t, "CAMBIO_BINARY"), "policy", "check", "--policy", h.Dir).CombinedOutput(); err != nil {
		t.Fatalf("the policy: %v\n%s", err, out)
	}
}

// answer is what the token endpoint says.
type answer struct {
	Status      int
	Token       string `json:"access_token"`
	TokenType   string `json:"token_type"`
	IssuedType  string `json:"issued_token_type"`
	Scope       string `json:"scope"`
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// post asks the token endpoint. A client is its id and secret.
func (h *house) post(t *testing.T, form url.Values, client ...string) answer {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, h.URL+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if len(client) == 2 {
		r.SetBasicAuth(client[0], client[1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	a := answer{Status: response.StatusCode}
	if err := json.NewDecoder(io.LimitReader(response.Body, 1<<20)).Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

// vend exchanges a token for one of a resource, which must be granted within
// patience: a policy that was just written takes a moment.
func (h *house) vend(t *testing.T, resource, subject, actor, scope string) string {
	t.Helper()
	form := url.Values{
		"grant_type": {tokenExchange}, "resource": {resource}, "subject_token": {subject}, "subject_token_type": {typeJWT}, "scope": {scope},
	}
	if actor != "" {
		form.Set("actor_token", actor)
		form.Set("actor_token_type", typeJWT)
	}
	var a answer
	eventually(t, "a token for "+resource, func() bool {
		a = h.post(t, form)
		return a.Status == http.StatusOK
	}, func() string { return a.Error + ": " + a.Description })
	return a.Token
}

// eventually polls: policies reload and processes start in their own time.
func eventually(t *testing.T, what string, done func() bool, why ...func() string) {
	t.Helper()
	poll := time.NewTicker(50 * time.Millisecond)
	defer poll.Stop()
	late := time.After(patience)
	for !done() {
		select {
		case <-poll.C:
		case <-late:
			for _, w := range why {
				what += ": " + w()
			}
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// tail is the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
