package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/subject"
)

func scrape(t *testing.T, m *meters) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// TestS32JunkMakesNoSeries: whatever names junk brings, the number of series
// stays what doors and kinds make it.
func TestS32JunkMakesNoSeries(t *testing.T) {
	m := newMeters(slog.New(slog.NewTextHandler(io.Discard, nil)))
	for i := range 1000 {
		m.Observe(context.Background(), exchange.Report{
			Door: "oauth", Subject: fmt.Sprint("subject", i), Target: fmt.Sprint("target", i),
			Err: exchange.Fault(exchange.KindInvalidSubject, fmt.Sprint("advice", i), nil),
		})
		m.Observe(context.Background(), exchange.Report{
			Door: "rest", Verified: true, Recorded: true, Outcome: exchange.EventDenied, Subject: fmt.Sprint("subject", i),
			Target: fmt.Sprint("target", i), Err: exchange.Fault(exchange.KindInvalidTarget, "", errors.New(fmt.Sprint("why", i))),
		})
	}
	text := scrape(t, m)
	for _, want := range []string{
		`cambio_unverified_total{door="oauth",kind="invalid_subject"} 1000`,
		`cambio_exchanges_total{door="rest",kind="invalid_target",outcome="denied"} 1000`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "\ncambio_"); n > 60 {
		t.Errorf("%d series", n)
	}
	for _, junk := range []string{"subject7", "target7", "advice7", "why7"} {
		if strings.Contains(text, junk) {
			t.Errorf("%q is in the metrics", junk)
		}
	}
}

// TestEveryMeterShows feeds each meter once.
func TestEveryMeterShows(t *testing.T) {
	var log strings.Builder
	m := newMeters(slog.New(slog.NewTextHandler(&log, nil)))
	failed := errors.New("no")
	m.Observe(context.Background(), exchange.Report{
		Door: "grpc", Verified: true, Recorded: true, Outcome: exchange.EventIssued, Provider: "mcp", Unrevoked: failed,
		Durations: exchange.Durations{Verify: 1, Decide: 2, Intend: 3, Vend: 4}, Total: time.Millisecond,
	})
	m.Observe(context.Background(), exchange.Report{Door: "grpc", Verified: true, Err: exchange.Fault(exchange.KindThrottled, "", nil)})
	m.Flushed(3, 400, time.Millisecond, nil)
	m.Flushed(3, 400, time.Millisecond, failed)
	m.Refused()
	m.Reserved("mcp", exchange.ModeUpstream, true)
	m.Reaped("aws", false)
	m.Failed(failed)
	v := verifierMeter{m}
	v.Fetched("default", "prod", failed)
	v.Fetched("default", "prod", nil)
	v.Looked(true)
	v.Looked(false)
	v.Reviewed("default", "prod", subject.Refused)
	v.Shared("default", "prod", "other")
	m.loaded("old")
	m.loaded("new")
	m.faulty()
	m.fault("keys")(failed)
	m.fault("keys")(context.Canceled)
	m.depth(func() int { return 7 })
	m.stray(func() int64 { return 3 })
	text := scrape(t, m)
	for _, want := range []string{
		`exchanges_total{door="grpc",kind="",outcome="issued"} 1`, `exchanges_total{door="grpc",kind="throttled",outcome="unrecorded"} 1`,
		`unrevoked_total{provider="mcp"} 1`, `exchange_seconds_count{outcome="issued"} 1`, `exchange_step_seconds_count{step="intend"} 1`,
		`ledger_flush_seconds_count{result="ok"} 1`, `ledger_flush_seconds_count{result="unknown"} 1`, `ledger_flush_bytes_total 800`,
		`ledger_queue_full_total 1`, `ledger_queue 7`, `ledger_stray_rows 3`, `vendings_total{mode="upstream",provider="mcp",waited="true"} 1`,
		`intents_reaped_total{provider="aws",revoked="false"} 1`, `reaper_faults_total 1`,
		`jwks_fetches_total{result="failed",trust="prod"} 1`, `jwks_fetches_total{result="ok",trust="prod"} 1`,
		`verified_token_lookups_total{result="hit"} 1`, `token_reviews_total{result="refused",trust="prod"} 1`,
		`shared_keys_total{trust="prod"} 1`, `policy_loads_total 2`, `policy_faulty 1`, `policy_faults_total 1`,
		`policy_info{revision="new"} 1`, `background_faults_total{work="keys"} 1`, `build_info{`,
	} {
		if !strings.Contains(text, "\ncambio_"+want) {
			t.Errorf("%s is not in the metrics", want)
		}
	}
	if strings.Contains(text, `revision="old"`) {
		t.Error("the old revision still shows")
	}
	if !strings.Contains(log.String(), "could not be revoked") {
		t.Errorf("the log says nothing of a credential that could not be revoked:\n%s", log.String())
	}
}
