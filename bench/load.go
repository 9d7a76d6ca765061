package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load drives one token endpoint over loopback from this process: the generator
// stands beside what it measures and shares its cores.
type load struct {
	endpoint    string
	connections int
	next        func() (token string, ok bool)
}

// measured is what a run of the generator saw.
type measured struct {
	answers   int
	failures  int
	firstFail string
	elapsed   time.Duration
	latencies []time.Duration // from when the request was due
}

func (m measured) rps() float64 { return float64(m.answers) / m.elapsed.Seconds() }

func (m measured) percentile(p float64) time.Duration {
	if len(m.latencies) == 0 {
		return 0
	}
	slices.Sort(m.latencies)
	return m.latencies[min(len(m.latencies)-1, int(p*float64(len(m.latencies))))]
}

// closed sends as fast as the answers come, for the time given or until the
// tokens run out.
func (l load) closed(ctx context.Context, d time.Duration, saw func(token, body string)) measured {
	start := time.Now()
	end := start.Add(d)
	return l.run(ctx, start, saw, func(int) (due time.Time, more bool) {
		now := time.Now()
		return now, now.Before(end)
	})
}

// open sends at a fixed rate, whether or not answers come: a request's latency
// runs from the moment it was due, so that queueing shows.
func (l load) open(ctx context.Context, rate float64, d time.Duration) measured {
	start := time.Now()
	total := int(rate * d.Seconds())
	return l.run(ctx, start, nil, func(i int) (time.Time, bool) {
		due := start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
		}
		return due, i < total
	})
}

func (l load) run(ctx context.Context, start time.Time, saw func(token, body string), schedule func(int) (time.Time, bool)) measured {
	transport := &http.Transport{MaxIdleConns: l.connections, MaxIdleConnsPerHost: l.connections, MaxConnsPerHost: l.connections}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 15 * time.Second}
	var (
		mu       sync.Mutex
		total    measured
		sequence atomic.Int64
		wg       sync.WaitGroup
	)
	for range l.connections {
		wg.Go(func() {
			var mine measured
			for ctx.Err() == nil {
				due, more := schedule(int(sequence.Add(1) - 1))
				if !more {
					break
				}
				token, ok := l.next()
				if !ok {
					break
				}
				body, err := l.exchange(ctx, client, token)
				if err != nil {
					mine.failures++
					if mine.firstFail == "" {
						mine.firstFail = err.Error()
					}
					time.Sleep(20 * time.Millisecond) // a server that is down refuses at once: do not spend the tokens on it
					continue
				}
				mine.answers++
				mine.latencies = append(mine.latencies, time.Since(due))
				if saw != nil {
					saw(token, body)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			total.answers += mine.answers
			total.failures += mine.failures
			total.latencies = append(total.latencies, mine.latencies...)
			if total.firstFail == "" {
				total.firstFail = mine.firstFail
			}
		})
	}
	wg.Wait()
	total.elapsed = time.Since(start)
	return total
}

// form is the fixed part of every request.
var form = url.Values{
	"grant_type":         {"urn:ietf:params:oauth:grant-type:token-exchange"},
	"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"},
	"audience":           {"bench"},
	"scope":              {"tools.read"},
}.Encode()

func (l load) exchange(ctx context.Context, client *http.Client, token string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.endpoint, strings.NewReader(form+"&subject_token="+token))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: %s", response.Status, strings.TrimSpace(string(body)))
	}
	return string(body), nil
}
