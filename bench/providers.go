package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

const (
	crowdCallers   = 10_000
	pairSubjects   = 2000
	pairRounds     = 3
	outageFresh    = 2000
	outageTime     = 4 * time.Second
	throttledFresh = 4000
	throttledTime  = 16 * time.Second
	bears          = 50 // calls a second that the throttling provider takes
)

// runProviders measures what stands between callers and a provider, on the program as it
// is released, and fails where a promise of docs/operations.md is not kept.
func runProviders(ctx context.Context) error {
	p, err := openProviders(ctx, pairSubjects+2*outageFresh+throttledFresh+1000)
	if err != nil {
		return err
	}
	defer p.host.close()
	for _, step := range []func(context.Context) error{p.crowd, p.pairs, p.down, p.silent, p.throttled} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("\n%s, %s, %d cores, %s, PostgreSQL durable, provider and generator beside it: go run ./bench providers\n",
		time.Now().UTC().Format(time.DateOnly), runtime.GOARCH, runtime.NumCPU(), runtime.Version())
	return nil
}

// seen is what callers saw: how many got each status, and how long they took.
type seen struct {
	mu       sync.Mutex
	statuses map[int]int
	took     map[int][]time.Duration // by status
	firsts   map[int]string          // the first body of each status
	elapsed  time.Duration
}

func (s *seen) at(status int, p float64) time.Duration {
	took := s.took[status]
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(len(took)-1, int(p*float64(len(took))))]
}

func (s *seen) only(want int) error {
	if len(s.statuses) == 1 && s.statuses[want] > 0 {
		return nil
	}
	return fmt.Errorf("the answers are %v, not %d alone: %v", s.statuses, want, s.firsts)
}

// ask sends one exchange for each token: all in one moment, or so many at a time.
func (p *providers) ask(ctx context.Context, tokens []string, atATime int) *seen {
	s := &seen{statuses: map[int]int{}, took: map[int][]time.Duration{}, firsts: map[int]string{}}
	transport := &http.Transport{MaxIdleConnsPerHost: atATime, MaxConnsPerHost: atATime}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: time.Minute}
	var next atomic.Int64
	start := make(chan struct{})
	var ready, done sync.WaitGroup
	ready.Add(atATime)
	for range atATime {
		done.Go(func() {
			ready.Done()
			<-start
			for {
				i := int(next.Add(1) - 1)
				if i >= len(tokens) || ctx.Err() != nil {
					return
				}
				begun := time.Now()
				status, body := p.one(ctx, client, tokens[i])
				took := time.Since(begun)
				s.mu.Lock()
				s.statuses[status]++
				s.took[status] = append(s.took[status], took)
				if s.firsts[status] == "" && status != http.StatusOK {
					s.firsts[status] = body
				}
				s.mu.Unlock()
			}
		})
	}
	ready.Wait()
	begun := time.Now()
	close(start)
	done.Wait()
	s.elapsed = time.Since(begun)
	return s
}

// one is the status of one exchange, 0 where there was no answer, and what a refusal
// said.
func (p *providers) one(ctx context.Context, client *http.Client, token string) (int, string) {
	const fixed = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token_type=urn:ietf:params:oauth:token-type:jwt&audience=bench&subject_token="
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.server.url+"/oauth2/token", strings.NewReader(fixed+token))
	if err != nil {
		return 0, err.Error()
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, err.Error()
	}
	if resp.StatusCode == http.StatusOK {
		return resp.StatusCode, ""
	}
	return resp.StatusCode, strings.TrimSpace(string(text))
}

// line prints one figure.
func line(name, format string, args ...any) {
	fmt.Printf("%-34s %s\n", name, fmt.Sprintf(format, args...))
}

// crowd: one subject, one target, one moment.
func (p *providers) crowd(ctx context.Context) error {
	before := p.standIn.Calls()
	token := p.fresh(1)[0]
	s := p.ask(ctx, slices.Repeat([]string{token}, crowdCallers), crowdCallers)
	calls := p.standIn.Calls() - before
	line("one credential, at once", "%d callers, %d call of the provider, all answered in %v; p50 %v, p99 %v",
		crowdCallers, calls, round(s.elapsed), round(s.at(200, 0.5)), round(s.at(200, 0.99)))
	if calls != 1 {
		return fmt.Errorf("a crowd for one credential made %d calls", calls)
	}
	return s.only(http.StatusOK)
}

// pairs: as many calls as there are subjects, however often they come.
func (p *providers) pairs(ctx context.Context) error {
	before := p.standIn.Calls()
	tokens := p.fresh(pairSubjects)
	first := p.ask(ctx, tokens, 64)
	again := p.ask(ctx, slices.Repeat(tokens, pairRounds-1), 64)
	calls := p.standIn.Calls() - before
	line("distinct subjects, one target", "%d subjects, each %d times: %d calls; vended %.0f/s, p50 %v, p99 %v; cached %.0f/s, p50 %v, p99 %v",
		pairSubjects, pairRounds, calls, float64(pairSubjects)/first.elapsed.Seconds(), round(first.at(200, 0.5)), round(first.at(200, 0.99)),
		float64(pairSubjects*(pairRounds-1))/again.elapsed.Seconds(), round(again.at(200, 0.5)), round(again.at(200, 0.99)))
	if calls != pairSubjects {
		return fmt.Errorf("%d subjects made %d calls", pairSubjects, calls)
	}
	return errors.Join(first.only(http.StatusOK), again.only(http.StatusOK))
}

// down: the provider says 503.
func (p *providers) down(ctx context.Context) error {
	cached := p.tokens[1 : 1+pairSubjects]
	restore := p.standIn.Set(sandbox.Down)
	defer restore()
	before := p.standIn.Calls()
	var hits *seen
	var wait sync.WaitGroup
	wait.Go(func() { hits = p.ask(ctx, cached, 16) })
	misses := p.ask(ctx, p.fresh(outageFresh), 64)
	wait.Wait()
	calls := p.standIn.Calls() - before
	line("down: with a credential", "%d asked, %d served; p50 %v, p99 %v", len(cached), hits.statuses[200], round(hits.at(200, 0.5)), round(hits.at(200, 0.99)))
	line("down: without", "%d asked, %d told 503, the provider was called %d times; p50 %v, longest %v",
		outageFresh, misses.statuses[503], calls, round(misses.at(503, 0.5)), round(misses.at(503, 1)))
	restore()
	back, err := p.recovery(ctx)
	if err != nil {
		return err
	}
	line("down: back again", "the first is served after %v", round(back))
	return errors.Join(hits.only(http.StatusOK), misses.only(http.StatusServiceUnavailable))
}

// recovery is how long it takes until a caller without a credential is served.
func (p *providers) recovery(ctx context.Context) (time.Duration, error) {
	begun := time.Now()
	client := &http.Client{Timeout: time.Minute}
	defer client.CloseIdleConnections()
	token := p.fresh(1)[0]
	for time.Since(begun) < 30*time.Second && ctx.Err() == nil {
		if status, _ := p.one(ctx, client, token); status == http.StatusOK {
			return time.Since(begun), nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return 0, errors.New("nobody was served within 30 s of the provider's return")
}

// silent: the provider takes calls and never answers.
func (p *providers) silent(ctx context.Context) error {
	quiet, err := p.goroutines()
	if err != nil {
		return err
	}
	p.standIn.most.Store(0)
	restore := p.standIn.Set(sandbox.Slow)
	defer restore()
	during := make(chan float64, 1)
	time.AfterFunc(outageTime, func() {
		n, _ := p.goroutines() // 0 shows that it could not be read
		during <- n
	})
	s := p.ask(ctx, p.fresh(outageFresh), outageFresh)
	peak := <-during
	after, err := p.goroutines()
	if err != nil {
		return err
	}
	line("silent: without a credential", "%d asked at once, %d told 503, %d calls under way at most; p50 %v, longest %v",
		outageFresh, s.statuses[503], p.standIn.most.Load(), round(s.at(503, 0.5)), round(s.at(503, 1)))
	line("silent: goroutines", "%.0f before, %.0f meanwhile, %.0f after", quiet, peak, after)
	restore()
	back, err := p.recovery(ctx)
	if err != nil {
		return err
	}
	line("silent: back again", "the first is served after %v", round(back))
	if longest := s.at(503, 1); longest > 11*time.Second {
		return fmt.Errorf("somebody waited %v for a refusal", longest)
	}
	return s.only(http.StatusServiceUnavailable)
}

// goroutines is how many the server has, by its own metrics.
func (p *providers) goroutines() (float64, error) {
	for lines := bufio.NewScanner(bytes.NewReader(get(p.server.ops + "/metrics"))); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			return strconv.ParseFloat(text, 64)
		}
	}
	return 0, errors.New("the server does not tell its goroutines")
}

// throttled: more callers than the provider bears, for a while.
func (p *providers) throttled(ctx context.Context) error {
	p.standIn.bears.Store(bears)
	defer p.standIn.bears.Store(0)
	half := func() (calls, over int64) {
		calls, over = p.standIn.Calls(), p.standIn.over.Load()
		end := time.Now().Add(throttledTime / 2)
		for time.Now().Before(end) && ctx.Err() == nil && p.next+32 < len(p.tokens) {
			p.ask(ctx, p.fresh(32), 32)
			time.Sleep(100 * time.Millisecond) // some 300 callers a second
		}
		return p.standIn.Calls() - calls, p.standIn.over.Load() - over
	}
	served, over := half()
	servedLater, overLater := half()
	line("throttling at "+strconv.Itoa(bears)+"/s", "in %v: %d calls served, %d refused; in the %v after: %d served, %d refused",
		throttledTime/2, served, over, throttledTime/2, servedLater, overLater)
	if servedLater == 0 {
		return errors.New("a provider that throttles is not asked any more")
	}
	return nil
}

func round(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(100 * time.Microsecond)
}
