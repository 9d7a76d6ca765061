package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	connections   = 32
	rounds        = 20
	roundTime     = time.Second
	latencyTime   = 8 * time.Second
	distinctCount = 200_000 // tokens made beforehand, each used once
	accounts      = 2000
	benchRules    = 1000
)

// figure is one line of bench/latest.txt.
type figure struct {
	name  string
	value float64
	unit  string
	note  string
}

// bench is one run's machinery.
type bench struct {
	dir      string
	binary   string
	postgres *server
	dsn      string // of the service role
	owner    string
	super    string
	tokens   []string
	floor    *process
	bare     string // URL of the floor
	server   *cambio
	next     func() (string, bool) // each token once
	used     *atomic.Int64
}

func runTable(ctx context.Context) error {
	b, closeAll, err := prepare(ctx, distinctCount)
	if err != nil {
		return err
	}
	defer closeAll()
	var figures []figure
	for _, step := range []func(context.Context) ([]figure, error){b.rates, b.latency, b.memory, b.start, decide} {
		more, err := step(ctx)
		if err != nil {
			return err
		}
		figures = append(figures, more...)
	}
	return report(os.Stdout, figures)
}

// rates measures floor and exchange in turn, in many short rounds, each of which begins
// with another one, every other in reverse: a machine whose speed drifts does it to all,
// and the median of the rounds is of no moment in particular.
func (b *bench) rates(ctx context.Context) ([]figure, error) {
	say("filling PostgreSQL's log")
	if err := b.recycleLog(ctx); err != nil {
		return nil, err
	}
	runs := []*struct {
		name    string
		process *process
		load    load
		rps     []float64
		answers int
		server  time.Duration // processor time
		ledger  time.Duration // that of PostgreSQL
	}{
		{name: "floor", process: b.floor, load: load{b.bare, connections, nil}},
		{name: "exchange", process: b.server.process, load: load{b.server.url + "/oauth2/token", connections, b.next}},
		{name: "token repeated", process: b.server.process, load: load{b.server.url + "/oauth2/token", connections, repeat(b.tokens[len(b.tokens)-1])}},
	}
	for i := range rounds + 1 { // the first round warms up and does not count
		runs[0].load.next, _ = supply(b.tokens)
		order := slices.Concat(runs[i%len(runs):], runs[:i%len(runs)])
		if i%2 == 1 {
			slices.Reverse(order)
		}
		for _, r := range order {
			server, ledger := r.process.processors(), b.postgres.Processors()
			m, err := clean(r.name, r.load.closed(ctx, roundTime, nil))
			if err != nil {
				return nil, err
			}
			if i > 0 {
				r.rps, r.answers = append(r.rps, m.rps()), r.answers+m.answers
				r.server += r.process.processors() - server
				r.ledger += b.postgres.Processors() - ledger
			}
		}
		if i > 0 {
			say("round %d: floor %.0f/s, exchange %.0f/s, token repeated %.0f/s", i, runs[0].rps[i-1], runs[1].rps[i-1], runs[2].rps[i-1])
		}
	}
	floors, exchanges, repeats := runs[0].rps, runs[1].rps, runs[2].rps
	ratio := func(of []float64) float64 {
		ratios := make([]float64, len(of))
		for i := range of {
			ratios[i] = of[i] / floors[i]
		}
		return median(ratios)
	}
	exchangeRatio, repeatRatio := ratio(exchanges), ratio(repeats) // before median sorts
	figures := []figure{
		{"floor_rps", median(floors), "1/s", "bare RS256 verify, ES256 sign, HTTP, one committed row"},
		{"exchange_rps", median(exchanges), "1/s", fmt.Sprintf("distinct subject tokens, %d rules, %d connections", benchRules, connections)},
		{"exchange_ratio", exchangeRatio, "1", "exchange to floor, the median of the rounds; goal 0.7"},
		{"exchange_repeated_rps", median(repeats), "1/s", "one subject token again and again"},
		{"exchange_repeated_ratio", repeatRatio, "1", "goal 1"},
	}
	for _, r := range runs[:2] {
		figures = append(figures,
			figure{r.name + "_server_us", us(r.server) / float64(r.answers), "us", "processor time of the server for one answer"},
			figure{r.name + "_postgres_us", us(r.ledger) / float64(r.answers), "us", "the same, of PostgreSQL"})
	}
	return figures, nil
}

func (b *bench) latency(ctx context.Context) ([]figure, error) {
	if err := b.recycleLog(ctx); err != nil {
		return nil, err
	}
	l := load{b.server.url + "/oauth2/token", connections, b.next}
	probe, err := clean("exchange", l.closed(ctx, 2*time.Second, nil))
	if err != nil {
		return nil, err
	}
	rate := probe.rps() / 2
	m, err := clean("exchange at half load", l.open(ctx, rate, latencyTime))
	if err != nil {
		return nil, err
	}
	say("half load: %.0f/s, %d answers", rate, m.answers)
	note := fmt.Sprintf("at %.0f/s, open loop", rate)
	return []figure{
		{"exchange_p50_ms", ms(m.percentile(0.50)), "ms", note},
		{"exchange_p99_ms", ms(m.percentile(0.99)), "ms", note},
	}, nil
}

// memory asks after the load, so that the greatest resident set covers it.
func (b *bench) memory(ctx context.Context) ([]figure, error) {
	_, peak, err := b.server.memory()
	if err != nil {
		return nil, err
	}
	leases, err := b.liveLeases(ctx)
	if err != nil {
		return nil, err
	}
	return []figure{
		{"rss_load_mb", peak, "MB", fmt.Sprintf("greatest, with %d live leases in the database", leases)},
	}, nil
}

func (b *bench) start(ctx context.Context) ([]figure, error) {
	start, idle, err := devStart(ctx, b.binary, b.dir)
	if err != nil {
		return nil, err
	}
	return []figure{
		{"start_ms", ms(start), "ms", "cambio dev on SQLite, data folder there, process start to ready"},
		{"rss_idle_mb", idle, "MB", "the same, two seconds later"},
	}, nil
}

// clean refuses a measurement in which anything failed.
func clean(what string, m measured) (measured, error) {
	if m.failures > 0 || m.answers == 0 {
		return m, fmt.Errorf("%s: %d answers, %d failures, the first: %s", what, m.answers, m.failures, m.firstFail)
	}
	return m, nil
}

// show prints figures for people.
func show(w io.Writer, figures []figure) {
	fmt.Fprintf(w, "\n%-26s %12s %-4s  %s\n", "figure", "value", "unit", "what it is")
	for _, f := range figures {
		fmt.Fprintf(w, "%-26s %12.4g %-4s  %s\n", f.name, f.value, f.unit, f.note)
	}
}

func report(w io.Writer, figures []figure) error {
	var lines strings.Builder
	show(w, figures)
	for _, f := range figures {
		fmt.Fprintf(&lines, "%s %.6g %s\n", f.name, f.value, f.unit)
	}
	machine := fmt.Sprintf("%s, %d cores, %s", runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	fmt.Fprintf(w, "\n%s, %s, PostgreSQL durable, generator beside it: go run ./bench\n", time.Now().UTC().Format(time.DateOnly), machine)
	return os.WriteFile(filepath.Join("bench", "latest.txt"), []byte(lines.String()), 0o644)
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// waitFor polls until a server of ours answers anything at all.
func waitFor(ctx context.Context, url string, p *process) error {
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		if response, err := http.Get(url); err == nil {
			_ = response.Body.Close()
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended:\n%s", p.tail())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return errors.New("no answer in 20 s")
}
