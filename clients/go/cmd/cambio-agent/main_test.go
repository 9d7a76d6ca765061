package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// TestMain puts this test binary into $PATH as the agent, and as the commands that it
// starts.
func TestMain(m *testing.M) {
	if os.Getenv("GORACE") == "" {
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	testscript.Main(m, map[string]func(){
		"cambio-agent": main, "obedient": obedient, "orphans": orphans, "orphan-parent": orphanParent, "orphan": orphan, "heir": heir,
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "", RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			server := standin.Start()
			e.Defer(server.Close)
			serve(server)
			e.Setenv("CAMBIO_URL", server.URL())
			e.Setenv("CAMBIO_TOKEN_FILE", filepath.Join(e.WorkDir, "subject"))
			e.Setenv("GORACE", os.Getenv("GORACE"))
			return os.WriteFile(filepath.Join(e.WorkDir, "subject"), []byte(server.Subject()), 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits runs a command and holds its exit status: exits 2 cambio-agent run --nonsense.
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

// vended is how a credential of the stand-in begins, which no log may hold.
const vended = "vended-secret-"

// serve gives a stand-in its targets.
func serve(server *standin.Server) {
	server.Serve("gpt", token("gpt", time.Hour))
	server.Serve("short", token("short", 2*time.Minute))
	server.Serve("bedrock", func(_ url.Values, n int) standin.Answer {
		keys, _ := json.Marshal(map[string]any{
			"Version": 1, "AccessKeyId": fmt.Sprintf("ASIA%012d", n), "SecretAccessKey": vended + "key", "SessionToken": vended + "session",
			"Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		})
		return standin.Answer{Value: string(keys), Type: "N_A", IssuedTokenType: cambio.TokenTypeAWSCredentials, Life: time.Hour}
	})
}

// token gives vended-secret-NAME-1 and on.
func token(name string, life time.Duration) standin.Target {
	return func(_ url.Values, n int) standin.Answer {
		return standin.Answer{Value: fmt.Sprintf("%s%s-%d", vended, name, n), Life: life}
	}
}

// patience is how long a test waits for something that must happen.
const patience = 30 * time.Second

// eventually asks until the answer is yes, or patience ends.
func eventually(t *testing.T, what string, ask func() bool) {
	t.Helper()
	end := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ask() {
		select {
		case <-end:
			t.Fatalf("did not happen: %s", what)
		case <-tick.C:
		}
	}
}

// safeBuffer is written by a process while a test reads it.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// process is a command in the background of a test, in a folder of its own.
type process struct {
	t              *testing.T
	cmd            *exec.Cmd
	dir            string
	stdout, stderr safeBuffer
	ended          chan struct{}
}

// start runs a command with these variables besides those of the test.
func start(t *testing.T, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(name, args...), dir: t.TempDir(), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = p.dir, &p.stdout, &p.stderr
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "CAMBIO_") {
			p.cmd.Env = append(p.cmd.Env, pair)
		}
	}
	p.cmd.Env = append(p.cmd.Env, env...)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the status is asked for below
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.ended
		holdsNoSecret(t, p.stdout.String()+p.stderr.String())
	})
	return p
}

// status waits for the end.
func (p *process) status() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("%s does not end:\n%s", p.cmd, p.stderr.String())
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop ends a process as Kubernetes does, and wants status 0.
func (p *process) stop() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(os.Interrupt)
	if status := p.status(); status != 0 {
		p.t.Errorf("exit status %d:\n%s", status, p.stderr.String())
	}
}

var secretText = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8}|PRIVATE KEY|` + vended)

// holdsNoSecret searches what a process wrote (S39).
func holdsNoSecret(t *testing.T, text string) {
	t.Helper()
	if at := secretText.FindStringIndex(text); at != nil {
		t.Errorf("a secret is written at byte %d of %d", at[0], len(text))
	}
}

// agent is a `cambio-agent run` that is bound.
type agent struct {
	*process
	listeners map[string]string
}

// configured starts an agent with a configuration; HERE in it is the agent's folder.
func configured(t *testing.T, server *standin.Server, text string, args ...string) *agent {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "agent.yaml")
	write(t, file, strings.ReplaceAll(text, "HERE", dir))
	a := running(t, server, nil, dir, append([]string{"--config", file}, args...)...)
	a.dir = dir
	return a
}

func running(t *testing.T, server *standin.Server, env []string, dir string, args ...string) *agent {
	t.Helper()
	ready := filepath.Join(dir, "ready.json")
	subject := filepath.Join(dir, "subject")
	write(t, subject, server.Subject())
	env = append([]string{"CAMBIO_URL=" + server.URL(), "CAMBIO_TOKEN_FILE=" + subject}, env...)
	a := &agent{process: start(t, env, "cambio-agent", append([]string{"run", "--ready-file", ready}, args...)...)}
	eventually(t, "the agent says that it is bound", func() bool {
		select {
		case <-a.ended:
			t.Fatalf("the agent has ended:\n%s", a.stderr.String())
		default:
		}
		text, err := os.ReadFile(ready)
		said := struct{ Listeners *map[string]string }{&a.listeners}
		return err == nil && json.Unmarshal(text, &said) == nil
	})
	return a
}

func write(t *testing.T, path, text string) {
	t.Helper()
	next := path + "~"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

// get asks by HTTP, with a header or none.
func get(t *testing.T, url string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
