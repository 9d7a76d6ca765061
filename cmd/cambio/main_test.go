package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
)

// raceOptions keep the race detector from sleeping for a second at the end of each
// of the hundreds of processes that these tests run.
const raceOptions = "atexit_sleep_ms=0"

// TestMain puts this test binary into $PATH as cambio: scripts, and the lines that
// dev prints, run the code under test.
func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" {
		_ = os.Setenv("GORACE", raceOptions)
	}
	testscript.Main(m, map[string]func(){"cambio": main})
}

// patience is how long a test waits for something that must happen.
const patience = 30 * time.Second

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", os.Getenv("GORACE"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exits,
			"waitfor": waitfor,
			"readyenv": func(ts *testscript.TestScript, _ bool, args []string) {
				var r devworld.Ready
				ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &r))
				ts.Setenv("URL", r.URL)
				ts.Setenv("OPS", r.OpsURL)
			},
		},
	})
}

// exits runs a command and holds its exit status: exits 2 cambio dev --nonsense.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	got := 0
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// waitfor waits until a file is there.
func waitfor(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	if !eventually(func() bool { _, err := os.Stat(file); return err == nil }) {
		ts.Fatalf("%s did not appear", file)
	}
}

// eventually asks until the answer is yes, or patience ends.
func eventually(ask func() bool) bool {
	end := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ask() {
		select {
		case <-end:
			return false
		case <-tick.C:
		}
	}
	return true
}

// process is a cambio that runs in the background of a test, in a folder of its
// own.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	dir    string
	ready  devworld.Ready
	stdout safeBuffer
	stderr safeBuffer
	done   chan error
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start runs a command that writes a ready file, and waits for it.
func start(t *testing.T, dir string, environ []string, args ...string) *process {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready.json")
	p := &process{t: t, dir: dir, done: make(chan error, 1)}
	p.cmd = exec.Command("cambio", append(args, "--ready-file", ready)...)
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), environ...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	up := eventually(func() bool {
		select {
		case err := <-p.done:
			t.Fatalf("ended before it was ready: %v\n%s", err, p.stderr.String())
		default:
		}
		text, err := os.ReadFile(ready)
		_ = json.Unmarshal(text, &p.ready) // a sandbox says other things of itself
		return err == nil && json.Valid(text)
	})
	if !up {
		t.Fatalf("not ready\n%s", p.stderr.String())
	}
	return p
}

func startDev(t *testing.T) *process {
	t.Helper()
	return start(t, t.TempDir(), nil, "dev", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0")
}

// stop sends SIGTERM and wants a clean end.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	select {
	case err := <-p.done:
		if err != nil {
			p.t.Errorf("SIGTERM: %v\n%s", err, p.stderr.String())
		}
	case <-time.After(patience):
		p.t.Error("SIGTERM did not end it")
	}
}

// shell runs one line as a person would paste it.
func (p *process) shell(line string) (stdout, stderr string, status int) {
	p.t.Helper()
	cmd := exec.Command("bash", "-c", line)
	cmd.Dir = p.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// TestEveryCommandHasExamples: each preceded by a line that says what it is for.
func TestEveryCommandHasExamples(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		said, shown := 0, 0
		previous := ""
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			line = strings.TrimSpace(line)
			switch {
			case strings.HasPrefix(line, "# "):
				said++
			case line != "" && strings.HasPrefix(previous, "# "):
				shown++
			}
			previous = line
		}
		if said == 0 || said != shown {
			t.Errorf("%s: %d intents, %d examples", cmd.CommandPath(), said, shown)
		}
		if cmd.Short == "" {
			t.Errorf("%s says nothing of itself", cmd.CommandPath())
		}
		for _, child := range cmd.Commands() {
			if child.Name() != "help" && child.Name() != "completion" {
				walk(child)
			}
		}
	}
	walk(newRoot())
}

// TestEveryPrintedLineWorks pastes each line that dev prints.
func TestEveryPrintedLineWorks(t *testing.T) {
	p := startDev(t)
	var intent string
	ran := 0
	outputs := map[string]string{}
	for line := range strings.SplitSeq(p.stdout.String(), "\n") {
		if rest, ok := strings.CutPrefix(line, "# "); ok {
			intent = rest
			continue
		}
		if line == "" || intent == "" {
			continue
		}
		wanted := 0
		if strings.Contains(intent, "is refused (") || strings.Contains(intent, "Why not") {
			wanted = 1
		}
		stdout, stderr, status := p.shell(line)
		if status != wanted {
			t.Errorf("%s\n$ %s\nexit status %d, want %d\n%s%s", intent, line, status, wanted, stdout, stderr)
		}
		outputs[intent] = stdout
		ran++
		intent = ""
	}
	if ran < 8 {
		t.Fatalf("only %d lines ran of:\n%s", ran, p.stdout.String())
	}
	for intent, wants := range map[string][]string{
		"Exchange a service account's token, with nothing but curl": {`"access_token":"ey`, `"scope":"tools.read"`, `"exchange_id":"`},
		"The same with this program":                                {`"access_token":"ey`, `"token_type":"Bearer"`},
		"An engineer may call tools":                                {`"scope":"tools.call"`},
		"An assistant may not: this is refused (invalid_scope)":     {`"error":"invalid_scope"`},
		"Why not?":                {"denied", "assistants-read", "scope"},
		"Allow it, and ask again": {`"scope":"tools.call"`},
		"Every cloud is played here too: exchange for AWS, and ask Bedrock who that is (docs/tour.md has the others)": {"aws says: You are arn:aws:sts::123456789012:assumed-role/llm/cambio-"},
		"All of it is in the ledger, what was refused too":                                                            {"issued", "denied", "k8s:cluster:agents:assistant", "oidc:corp:alice", "assistants-call-tools"},
	} {
		for _, want := range wants {
			if !strings.Contains(outputs[intent], want) {
				t.Errorf("%s: %q is not in\n%s", intent, want, outputs[intent])
			}
		}
	}
	if rows := strings.Count(outputs["All of it is in the ledger, what was refused too"], "\n"); rows != 7 {
		t.Errorf("the ledger shows %d lines, want a header and 6 exchanges", rows)
	}
	p.stop()
	for _, file := range []string{"dev.json", "tokens/auditor.jwt", "tokens/operator.jwt"} {
		if _, err := os.Stat(filepath.Join(p.dir, "cambio-dev", file)); err == nil {
			t.Errorf("%s is still there after the stop", file)
		}
	}
	if log := p.stderr.String(); strings.Contains(log, "eyJ") {
		t.Error("S39: the log holds a token")
	}
}

// TestBrokenPolicyKeepsTheOldOne: an edit with a fault changes no answer, is
// logged with file and line, counted, and can be mended.
func TestBrokenPolicyKeepsTheOldOne(t *testing.T) {
	p := startDev(t)
	ask := func(scope string) int {
		_, _, status := p.shell("cambio token --trust cluster --namespace agents --service-account assistant | cambio exchange --target github-mcp --scope " + scope)
		return status
	}
	metric := func(line string) bool {
		return eventually(func() bool {
			stdout, _, _ := p.shell("curl -sS " + p.ready.OpsURL + "/metrics")
			return strings.Contains(stdout, "\n"+line+"\n")
		})
	}
	file := filepath.Join(p.ready.PolicyDir, "more.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if ask("tools.read") != 0 || ask("tools.call") != 1 {
		t.Fatal("the sample policy answers otherwise")
	}
	write("allow:\n  - {name: x, subjcts: [{trust: cluster}], targets: [github-mcp]}\n")
	if !metric("cambio_policy_faulty 1") {
		t.Fatalf("the fault is not shown\n%s", p.stderr.String())
	}
	if ask("tools.read") != 0 || ask("tools.call") != 1 {
		t.Error("a broken edit changed the answers")
	}
	for _, want := range []string{"more.yaml:2:", "subjects"} {
		if !strings.Contains(p.stderr.String(), want) {
			t.Errorf("%q is not in the log:\n%s", want, p.stderr.String())
		}
	}
	// Taking the edit back loads nothing, and is good again all the same.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if !metric("cambio_policy_faulty 0") || !metric("cambio_policy_loads_total 1") || !metric("cambio_policy_faults_total 1") {
		t.Fatalf("the edit was taken back, and still shows\n%s", p.stderr.String())
	}
	write("allow:\n  - {name: x, subjects: [{trust: cluster}], targets: [github-mcp]}\n")
	if !metric("cambio_policy_faulty 0") || !metric("cambio_policy_loads_total 2") {
		t.Fatalf("the mended policy is not in force\n%s", p.stderr.String())
	}
	if ask("tools.call") != 0 {
		t.Error("the mended policy does not answer")
	}
	// Taking the file away brings back the very files of before: a change of mind,
	// which the order of revisions lets through (S21).
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if !metric("cambio_policy_loads_total 3") {
		t.Fatalf("the reverted policy is not in force\n%s", p.stderr.String())
	}
	if ask("tools.read") != 0 || ask("tools.call") != 1 {
		t.Error("the reverted policy does not answer as the sample did")
	}
	stdout, _, _ := p.shell("cambio audit list --output json --limit 1")
	var last struct{ Revision string }
	if err := json.Unmarshal([]byte(stdout), &last); err != nil || last.Revision == "" {
		t.Errorf("the last row names no revision: %v", err)
	}
	p.stop()
}

// TestS35DevRefusesWebPages asks the whole dev, both faces of it, as a page that
// has rebound its name would.
func TestS35DevRefusesWebPages(t *testing.T) {
	p := startDev(t)
	for _, url := range []string{
		p.ready.URL + "/oauth2/token", p.ready.URL + "/v1/exchanges", p.ready.URL + "/dev/cluster/jwks",
		p.ready.URL + "/.well-known/oauth-authorization-server", p.ready.OpsURL + "/metrics",
	} {
		for name, change := range map[string]func(*http.Request){
			"host":   func(r *http.Request) { r.Host = "evil.example" },
			"origin": func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		} {
			req, err := http.NewRequest(http.MethodGet, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			change(req)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("%s of %s: %s", name, url, resp.Status)
			}
		}
	}
	p.stop()
}

// TestDevStartsAgainFromItsFolder: what was recorded stays, keys stay, and the
// edited policy stays.
func TestDevStartsAgainFromItsFolder(t *testing.T) {
	dir := t.TempDir()
	args := []string{"dev", "--data", "here and there", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"}
	const ask = "cambio token --data 'here and there' --trust corp --user alice | cambio exchange --data 'here and there' --target github-mcp"
	first := start(t, dir, nil, args...)
	if stdout, stderr, status := first.shell(ask); status != 0 {
		t.Fatal(stdout, stderr)
	}
	first.stop()
	if _, stderr, status := first.shell("cambio audit list --data 'here and there'"); status != statusUnreachable || !strings.Contains(stderr, "no cambio dev runs") {
		t.Errorf("after the stop: exit status %d, %s", status, stderr)
	}
	second := start(t, dir, nil, args...)
	if stdout, stderr, status := second.shell(ask); status != 0 {
		t.Fatal(stdout, stderr)
	}
	stdout, stderr, status := second.shell("cambio audit list --data 'here and there' --output json")
	if status != 0 || strings.Count(stdout, "\n") != 2 {
		t.Errorf("exit status %d, %s\n%s", status, stdout, stderr)
	}
	for line := range strings.Lines(stdout) {
		var row auditRow
		if err := json.Unmarshal([]byte(line), &row); err != nil || row.Subject != "oidc:corp:alice" || row.Outcome != "issued" {
			t.Errorf("%s: %v", line, err)
		}
	}
	second.stop()
}
