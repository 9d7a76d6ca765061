package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cambio-sts/cambio/store/postgres/pgtest"
)

// process is a program under measurement, started from here and stopped by its
// own process id.
type process struct {
	cmd  *exec.Cmd
	log  *os.File
	done chan struct{} // closed when it has ended
}

func startProcess(logFile string, env []string, name string, args ...string) (*process, error) {
	log, err := os.Create(logFile)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{cmd: cmd, log: log, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// stop asks, waits, then insists.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(20 * time.Second):
		p.kill()
	}
	_ = p.log.Close()
}

// kill is kill -9.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// tail is the end of what the process wrote, for a failure's message.
func (p *process) tail() string {
	b, err := os.ReadFile(p.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4096):])
}

// memory reads the resident set now and at its greatest, in megabytes (10^6).
func (p *process) memory() (now, peak float64, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[0], 64)
		switch name {
		case "VmRSS":
			now = kib * 1024 / 1e6
		case "VmHWM":
			peak = kib * 1024 / 1e6
		}
	}
	return now, peak, nil
}

// processors is the processor time that the process has used so far.
func (p *process) processors() time.Duration {
	own, _ := pgtest.Processors(p.cmd.Process.Pid)
	return own
}

// cambio is one running server.
type cambio struct {
	*process
	url, ops string
}

// serveConfig is the cambio.yaml of the benchmark.
func serveConfig(dir, store, listen, ops string) string {
	return fmt.Sprintf(`issuer: http://%[3]s
listen: {address: "%[3]s"}
ops: {address: "%[4]s"}
store: %[2]s
seal: {key: "${secret:seal}"}
policy: {dir: %[1]s/policy, reload: 5s}
secrets:
  seal: {env: BENCH_SEAL_KEY}
  db: {env: BENCH_DATABASE_URL}
limits: {subject_per_second: 1000000}
log: {level: warn, format: json}
`, dir, store, listen, ops)
}

// startCambio starts `cambio serve` and waits until it is ready.
func startCambio(ctx context.Context, binary, dir, dsn string) (*cambio, error) {
	listen, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return startCambioAt(ctx, listen, binary, dir, dsn, "")
}

// startCambioAt is startCambio at an address, with more lines in its cambio.yaml.
func startCambioAt(ctx context.Context, listen, binary, dir, dsn, more string) (*cambio, error) {
	ops, err := freeAddress()
	if err != nil {
		return nil, err
	}
	store := `{postgres: {dsn: "${secret:db}"}}`
	config := filepath.Join(dir, "cambio.yaml")
	if err := os.WriteFile(config, []byte(serveConfig(dir, store, listen, ops)+more), 0o600); err != nil {
		return nil, err
	}
	p, err := startProcess(filepath.Join(dir, "cambio.log"), []string{
		"BENCH_DATABASE_URL=" + dsn, "BENCH_SEAL_KEY=YmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtYmVuY2gtMDE=",
	}, binary, "serve", "--config", config)
	if err != nil {
		return nil, err
	}
	c := &cambio{process: p, url: "http://" + listen, ops: "http://" + ops}
	if err := c.waitReady(ctx); err != nil {
		p.kill()
		return nil, err
	}
	return c, nil
}

func (c *cambio) waitReady(ctx context.Context) error {
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		select {
		case <-c.done:
			return fmt.Errorf("cambio ended before it was ready:\n%s", c.tail())
		default:
		}
		if ready(c.ops + "/readyz") {
			return nil
		}
		time.Sleep(2 * time.Millisecond)
	}
	return fmt.Errorf("cambio was not ready in 30 s:\n%s", c.tail())
}

func ready(url string) bool {
	response, err := http.Get(url)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// freeAddress is a loopback address that nobody listens on now.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// buildCambio builds the binary that is measured, as it is released.
func buildCambio(dir string) (string, error) {
	binary := filepath.Join(dir, "cambio")
	return binary, build(".", binary, "./cmd/cambio")
}

// build builds a program of the module in a folder, as it is released.
func build(folder, binary, program string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, program)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", program, err, out)
	}
	return nil
}

// devStart measures start to ready on the embedded store: `cambio dev` in a data
// folder that an earlier start has made.
func devStart(ctx context.Context, binary, dir string) (start time.Duration, idleMB float64, err error) {
	data, readyFile := filepath.Join(dir, "dev"), filepath.Join(dir, "dev-ready.json")
	for range 2 { // the first start makes the data folder and is not counted
		_ = os.Remove(readyFile)
		begun := time.Now()
		p, err := startProcess(filepath.Join(dir, "dev.log"), nil, binary, "dev", "--data", data,
			"--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--ready-file", readyFile)
		if err != nil {
			return 0, 0, err
		}
		at, err := waitReadyFile(ctx, p, readyFile)
		for err == nil && !ready(at.OpsURL+"/readyz") && time.Since(begun) < 30*time.Second {
			time.Sleep(time.Millisecond)
		}
		start = time.Since(begun)
		if err == nil {
			time.Sleep(2 * time.Second) // idle: what start-up needed has been given back
			idleMB, _, err = p.memory()
		}
		p.stop()
		if err != nil {
			return 0, 0, err
		}
	}
	return start, idleMB, nil
}

// addresses are where a dev that is ready answers.
type addresses struct {
	URL    string `json:"url"`
	OpsURL string `json:"ops_url"`
}

func waitReadyFile(ctx context.Context, p *process, file string) (addresses, error) {
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		select {
		case <-p.done:
			return addresses{}, fmt.Errorf("cambio dev ended:\n%s", p.tail())
		default:
		}
		if b, err := os.ReadFile(file); err == nil {
			var r addresses
			if json.Unmarshal(b, &r) == nil && r.URL != "" && r.OpsURL != "" {
				return r, nil
			}
		}
		time.Sleep(time.Millisecond)
	}
	return addresses{}, errors.New("cambio dev wrote no ready file in 30 s")
}
