package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// obedient is a command that says that it is up, and ends with 50 and the number of the
// first signal that it gets; or, told "mortal", as the signal has it.
func obedient() {
	signals := make(chan os.Signal, 1)
	if len(os.Args) < 2 || os.Args[1] != "mortal" {
		signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH)
	}
	fmt.Println("up")
	s := <-signals
	os.Exit(50 + int(s.(syscall.Signal)))
}

// TestSignalsAreTheChilds: each that arrives is handed on, and the child decides.
func TestSignalsAreTheChilds(t *testing.T) {
	server := newServer(t)
	for _, test := range []struct {
		mode   string
		signal syscall.Signal
		want   int
	}{
		{"", syscall.SIGTERM, 65}, {"", syscall.SIGINT, 52}, {"", syscall.SIGHUP, 51}, {"", syscall.SIGQUIT, 53},
		{"", syscall.SIGUSR1, 60}, {"", syscall.SIGUSR2, 62}, {"", syscall.SIGWINCH, 78},
		{"mortal", syscall.SIGTERM, 143}, {"mortal", syscall.SIGHUP, 129}, {"mortal", syscall.SIGINT, 130},
	} {
		t.Run(strings.TrimSpace(test.mode+" "+unix.SignalName(test.signal)), func(t *testing.T) {
			t.Parallel()
			p := start(t, []string{"CAMBIO_URL=" + server.URL(), "CAMBIO_TOKEN=x"}, "cambio-agent", "exec", "--aws", "bedrock", "--", "obedient", test.mode)
			eventually(t, "the child is up", func() bool { return p.stdout.String() == "up\n" })
			if err := p.cmd.Process.Signal(test.signal); err != nil {
				t.Fatal(err)
			}
			if got := p.status(); got != test.want {
				t.Errorf("exit status %d, want %d", got, test.want)
			}
		})
	}
}

// TestExecLeavesNothing: the folder of a start ends with it.
func TestExecLeavesNothing(t *testing.T) {
	server := newServer(t)
	dir := t.TempDir()
	p := start(t, []string{"CAMBIO_URL=" + server.URL(), "CAMBIO_TOKEN=x", "XDG_RUNTIME_DIR=" + dir}, "cambio-agent",
		"exec", "--aws", "bedrock", "--", "sh", "-c", `stat -c %a "$XDG_RUNTIME_DIR"/cambio-agent-* "$AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"`)
	if got := p.status(); got != 0 || p.stdout.String() != "700\n600\n" {
		t.Errorf("status %d, modes %q: %s", got, p.stdout.String(), p.stderr.String())
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// heir makes itself the one that orphans are handed to, as the first process of a
// container is, and becomes the agent.
func heir() {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	path, err := exec.LookPath("cambio-agent")
	if err != nil {
		panic(err)
	}
	panic(syscall.Exec(path, append([]string{"cambio-agent"}, os.Args[1:]...), os.Environ()))
}

// orphans is a command that leaves an orphan behind, and ends with 7 when it was buried.
func orphans() {
	parent := exec.Command("orphan-parent")
	parent.Stderr = os.Stderr
	out, err := parent.Output()
	if err != nil {
		panic(err)
	}
	pid := strings.TrimSpace(string(out))
	end := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	for {
		if _, err := os.Stat("/proc/" + pid); err != nil {
			os.Exit(7)
		}
		select {
		case <-end:
			os.Exit(8)
		case <-tick.C:
		}
	}
}

// orphanParent starts an orphan, tells its number, and ends before it.
func orphanParent() {
	child := exec.Command("orphan", strconv.Itoa(os.Getpid()))
	if err := child.Start(); err != nil {
		panic(err)
	}
	fmt.Println(child.Process.Pid)
}

// orphan ends when its parent has.
func orphan() {
	tick := time.NewTicker(time.Millisecond)
	for strconv.Itoa(os.Getppid()) == os.Args[1] {
		<-tick.C
	}
}

func TestOrphansAreBuried(t *testing.T) {
	server := newServer(t)
	p := start(t, []string{"CAMBIO_URL=" + server.URL(), "CAMBIO_TOKEN=x"}, "heir", "exec", "--aws", "bedrock", "--", "orphans")
	if got := p.status(); got != 7 {
		t.Errorf("exit status %d, want 7: %s", got, p.stderr.String())
	}
}

// TestExecCredentials: variables, files and doors in one start; the door is asked by the
// child, and what would win over it is gone.
func TestExecCredentials(t *testing.T) {
	server := newServer(t)
	dir := t.TempDir()
	subject := filepath.Join(dir, "subject")
	write(t, subject, server.Subject())
	out := filepath.Join(dir, "out")
	p := start(t, []string{"CAMBIO_URL=" + server.URL(), "CAMBIO_TOKEN_FILE=" + subject, "AWS_ACCESS_KEY_ID=own", "OUT=" + out}, "cambio-agent",
		"exec", "--aws", "bedrock", "--vault", "gpt", "--env", "GPT_KEY=gpt", "--file", filepath.Join(dir, "gpt")+"=gpt", "--", "sh", "-c",
		`env > "$OUT"; cat "$AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE" > "$OUT.secret"; test -s "`+filepath.Join(dir, "gpt")+`" && exit 3`)
	if got := p.status(); got != 3 {
		t.Fatalf("exit status %d: %s", got, p.stderr.String())
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	env := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "=")
		env[name] = value
	}
	if env["GPT_KEY"] != vended+"gpt-1" || env["VAULT_ADDR"] == "" || !strings.HasSuffix(env["AWS_CONTAINER_CREDENTIALS_FULL_URI"], "/aws/bedrock") {
		t.Error("the environment is not what was asked for")
	}
	if _, ok := env["AWS_ACCESS_KEY_ID"]; ok || !strings.Contains(p.stderr.String(), "AWS_ACCESS_KEY_ID is not handed on") {
		t.Errorf("AWS_ACCESS_KEY_ID: there %t, %s", ok, p.stderr.String())
	}
	if n := server.Exchanges("gpt"); n != 1 {
		t.Errorf("%d exchanges for variable, file and door", n)
	}
}
