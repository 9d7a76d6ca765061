package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	agentStarts   = 5
	agentRounds   = 5
	agentCalls    = 2000   // one after the other, each way, in a round
	agentRequests = 10_000 // by many connections, each way
)

// agentRun is an agent between a caller here and a server here, and a cambio dev that
// gives it credentials.
type agentRun struct {
	dir, binary, config   string
	direct, proxied, door string // URLs
	secret                string // of the door
	url, token            string // of the dev, and the file of a workload's token
	ops                   string
}

// runAgent measures the workload's side: the agent's size, start and memory, its proxy
// beside the same call without it, and what a held credential costs in each client.
func runAgent(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "cambio-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	say("building cambio and cambio-agent")
	cambio, err := buildCambio(dir)
	if err != nil {
		return err
	}
	r := &agentRun{dir: dir, binary: filepath.Join(dir, "cambio-agent"), config: filepath.Join(dir, "agent.yaml")}
	if err := build("clients/go", r.binary, "./cmd/cambio-agent"); err != nil {
		return err
	}
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(answer)}
	go func() { _ = server.Serve(upstream) }()
	defer func() { _ = server.Close() }()
	r.direct = "http://" + upstream.Addr().String() + "/v1/models"

	readyFile := filepath.Join(dir, "dev-ready.json")
	dev, err := startProcess(filepath.Join(dir, "dev.log"), nil, cambio, "dev", "--data", filepath.Join(dir, "dev"),
		"--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--ready-file", readyFile)
	if err != nil {
		return err
	}
	defer dev.stop()
	address, err := waitReadyFile(ctx, dev, readyFile)
	if err != nil {
		return err
	}
	if err := r.configure(cambio, address.URL, upstream.Addr().String()); err != nil {
		return err
	}
	var figures []figure
	for _, step := range []func(context.Context) ([]figure, error){r.start, r.work, r.crowd, held} {
		more, err := step(ctx)
		if err != nil {
			return err
		}
		figures = append(figures, more...)
	}
	show(os.Stdout, figures)
	fmt.Printf("\n%s, %s, %d cores, %s, everything on this machine: go run ./bench agent\n",
		time.Now().UTC().Format(time.DateOnly), runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	return nil
}

// answer is a server's of a thousand bytes, to who has a bearer token or asks directly.
func answer(w http.ResponseWriter, r *http.Request) {
	if via := r.Header.Get("Authorization"); via != "" && !strings.HasPrefix(via, "Bearer ") {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"object":"list","data":"`+strings.Repeat("x", 1000)+`"}`)
}

func (r *agentRun) configure(cambio, url, upstream string) error {
	token := filepath.Join(r.dir, "token.jwt")
	r.url, r.token = url, token
	text, err := exec.Command(cambio, "token", "--data", filepath.Join(r.dir, "dev"), "--trust", "cluster", "--namespace", "llm", "--service-account", "gateway").Output()
	if err != nil {
		return fmt.Errorf("making a token: %w", err)
	}
	if err := os.WriteFile(token, text, 0o600); err != nil {
		return err
	}
	var free [3]string
	for i := range free {
		if free[i], err = freeAddress(); err != nil {
			return err
		}
	}
	r.ops, r.door, r.proxied = "http://"+free[0], "http://"+free[1]+"/aws/bedrock", "http://"+free[2]+"/upstream/v1/models"
	r.secret = filepath.Join(r.dir, "secret")
	return os.WriteFile(r.config, fmt.Appendf(nil, `url: %s
identity: {file: %s}
ops: {listen: "%s"}
targets: {gpt: {}, bedrock: {}}
doors: {listen: "%s", secret_file: %s, aws: {target: bedrock}}
proxy:
  listen: "%s"
  callers: any
  routes: [{name: upstream, upstream: "http://%s", target: gpt, auth: bearer, methods: [GET], paths: [/v1/**]}]
`, url, token, free[0], free[1], r.secret, free[2], upstream), 0o600)
}

func (r *agentRun) open(ctx context.Context) (*process, time.Duration, error) {
	begun := time.Now()
	p, err := startProcess(filepath.Join(r.dir, "agent.log"), nil, r.binary, "run", "--config", r.config)
	if err != nil {
		return nil, 0, err
	}
	for time.Since(begun) < 30*time.Second && ctx.Err() == nil {
		if ready(r.ops + "/readyz") {
			return p, time.Since(begun), nil
		}
		select {
		case <-p.done:
			return nil, 0, fmt.Errorf("the agent ended:\n%s", p.tail())
		case <-time.After(500 * time.Microsecond):
		}
	}
	p.stop()
	return nil, 0, fmt.Errorf("the agent was not ready in 30 s:\n%s", p.tail())
}

// start is the process, from its start until it has its credentials.
func (r *agentRun) start(ctx context.Context) ([]figure, error) {
	info, err := os.Stat(r.binary)
	if err != nil {
		return nil, err
	}
	var starts, idles []float64
	for range agentStarts {
		p, took, err := r.open(ctx)
		if err != nil {
			return nil, err
		}
		time.Sleep(2 * time.Second) // idle: what start-up needed has been given back
		now, _, err := p.memory()
		p.stop()
		if err != nil {
			return nil, err
		}
		starts, idles = append(starts, ms(took)), append(idles, now)
	}
	return []figure{
		{"agent_size_mb", float64(info.Size()) / 1e6, "MB", "on disk; goal under 20"},
		{"agent_start_ms", median(starts), "ms", "process start to both credentials held"},
		{"agent_rss_idle_mb", median(idles), "MB", "two seconds later; goal under 25"},
	}, nil
}

// work drives proxy and door, and the same call without them, in turn.
func (r *agentRun) work(ctx context.Context) ([]figure, error) {
	p, _, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	secret, err := os.ReadFile(r.secret)
	if err != nil {
		return nil, err
	}
	var direct, proxied []float64
	var rates [2]float64
	for i := range agentRounds + 1 { // the first warms up
		d, err := calls(ctx, r.direct, "", agentCalls, 1)
		if err != nil {
			return nil, err
		}
		v, err := calls(ctx, r.proxied, "", agentCalls, 1)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			say("round %d: direct %.0f us, by the proxy %.0f us", i, us(d.percentile(0.5)), us(v.percentile(0.5)))
			direct, proxied = append(direct, us(d.percentile(0.5))), append(proxied, us(v.percentile(0.5)))
		}
	}
	for i, url := range []string{r.direct, r.proxied} {
		m, err := calls(ctx, url, "", agentRequests, connections)
		if err != nil {
			return nil, err
		}
		rates[i] = m.rps()
	}
	if _, err := calls(ctx, r.door, string(secret), agentRequests, connections); err != nil {
		return nil, err
	}
	now, peak, err := p.memory()
	if err != nil {
		return nil, err
	}
	return []figure{
		{"call_direct_us", median(direct), "us", "median, one connection, a loopback server of 1 KB answers"},
		{"call_proxied_us", median(proxied), "us", "the same by the agent, which puts the token on it"},
		{"proxy_overhead_us", median(proxied) - median(direct), "us", "what the agent adds"},
		{"direct_rps", rates[0], "1/s", fmt.Sprintf("%d connections; server, caller and agent share the cores", connections)},
		{"proxied_rps", rates[1], "1/s", "the same by the agent"},
		{"agent_rss_mb", now, "MB", fmt.Sprintf("after %d requests by the proxy and %d at a door; goal under 25", agentRequests+agentCalls*(agentRounds+1), agentRequests)},
		{"agent_rss_peak_mb", peak, "MB", "greatest"},
	}, nil
}

// calls asks so many times, by so many connections.
func calls(ctx context.Context, url, authorization string, count, connections int) (measured, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 15 * time.Second}
	var mu sync.Mutex
	var group sync.WaitGroup
	var total measured
	var first error
	start := time.Now()
	for range connections {
		group.Go(func() {
			var latencies []time.Duration
			var err error
			for i := 0; i < count/connections && err == nil; i++ {
				begun := time.Now()
				err = call(ctx, client, url, authorization)
				latencies = append(latencies, time.Since(begun))
			}
			mu.Lock()
			defer mu.Unlock()
			total.answers += len(latencies)
			total.latencies = append(total.latencies, latencies...)
			first = errors.Join(first, err)
		})
	}
	group.Wait()
	total.elapsed = time.Since(start)
	return total, first
}

func call(ctx context.Context, client *http.Client, url, authorization string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(io.Discard, response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, response.Status)
	}
	return err
}

// crowd is how often a crowd that has no credential yet asks the server for it.
func (r *agentRun) crowd(ctx context.Context) ([]figure, error) {
	cmd := exec.CommandContext(ctx, "python3", "bench_crowd.py", "gpt")
	cmd.Dir = "clients/python"
	cmd.Env = append(os.Environ(), "PYTHONPATH=src", "PYTHONDONTWRITEBYTECODE=1", "CAMBIO_URL="+r.url, "CAMBIO_TOKEN_FILE="+r.token)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("a cold crowd: %w\n%s", err, out)
	}
	var figures []figure
	for line := range strings.Lines(string(out)) {
		name, rest, _ := strings.Cut(line, "  ")
		var sent float64
		if n, _ := fmt.Sscanf(rest, "%f sent", &sent); n != 1 {
			return nil, fmt.Errorf("a cold crowd says something else:\n%s", out)
		}
		_, kind, _ := strings.Cut(name, " ")
		figures = append(figures, figure{"python_cold_" + kind, sent, "1", "exchanges that " + name + " cause, none of which has a credential; goal 1"})
	}
	return figures, nil
}

// held is what each client asks of a program that has its credential already.
func held(ctx context.Context) ([]figure, error) {
	goCmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkHeld$", "-count", "3", ".")
	goCmd.Dir = "clients/go"
	out, err := goCmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("the Go client: %w\n%s", err, out)
	}
	var ns []float64
	for line := range strings.Lines(string(out)) {
		var name string
		var count int
		var each float64
		if n, _ := fmt.Sscanf(line, "%s %d %f ns/op", &name, &count, &each); n == 3 {
			ns = append(ns, each)
		}
	}
	if len(ns) == 0 {
		return nil, fmt.Errorf("the Go client's benchmark says nothing:\n%s", out)
	}
	pyCmd := exec.CommandContext(ctx, "python3", "bench_cached.py")
	pyCmd.Dir, pyCmd.Env = "clients/python", append(os.Environ(), "PYTHONPATH=src", "PYTHONDONTWRITEBYTECODE=1")
	if out, err = pyCmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("the Python client: %w\n%s", err, out)
	}
	figures := []figure{{"go_held_us", slices.Min(ns) / 1000, "us", "TokenSource.AtLeast, a credential that is held; goal under 2"}}
	for line := range strings.Lines(string(out)) {
		name, rest, ok := strings.Cut(line, "  ")
		var each float64
		if n, _ := fmt.Sscanf(rest, "%f", &each); !ok || n != 1 {
			continue
		}
		key := map[string]string{"token()": "python_held_us", "await atoken(min_left=60)": "python_held_async_us"}[strings.TrimSpace(name)]
		if key != "" {
			figures = append(figures, figure{key, each, "us", strings.TrimSpace(name) + "; goal under 20"})
		}
	}
	if len(figures) != 3 {
		return nil, fmt.Errorf("the Python client's benchmark says something else:\n%s", out)
	}
	return figures, nil
}

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
