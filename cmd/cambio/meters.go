package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/subject"
)

// meters counts what the rooms tell it, for /metrics. Labels come from closed sets
// and from policy, never from a request, so that nobody outside can make them many
// (S32).
type meters struct {
	log      *slog.Logger
	registry *prometheus.Registry

	exchanges  *prometheus.CounterVec
	unverified *prometheus.CounterVec
	refused    *prometheus.CounterVec
	unrevoked  *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	steps      *prometheus.HistogramVec

	flushes      *prometheus.HistogramVec
	flushEntries prometheus.Histogram
	flushBytes   prometheus.Counter
	queueFull    prometheus.Counter

	fetches     *prometheus.CounterVec
	tokenCache  *prometheus.CounterVec
	reviews     *prometheus.CounterVec
	sharedKeys  *prometheus.CounterVec
	reservings  *prometheus.CounterVec
	refreshes   *prometheus.CounterVec
	ages        *prometheus.HistogramVec
	vends       *prometheus.HistogramVec
	reaped      *prometheus.CounterVec
	reapFaults  prometheus.Counter
	pruned      prometheus.Counter
	policyLoads prometheus.Counter
	policyFault prometheus.Counter
	policyBad   prometheus.Gauge
	policyNow   *prometheus.GaugeVec
	background  *prometheus.CounterVec
	signatures  *prometheus.CounterVec

	sessionRenewals *prometheus.CounterVec
}

func newMeters(log *slog.Logger) *meters {
	m := &meters{log: log, registry: prometheus.NewRegistry()}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "cambio", Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "cambio", Name: name, Help: help, Buckets: buckets}, labels)
		m.registry.MustRegister(h)
		return h
	}
	latency := prometheus.ExponentialBuckets(0.00025, 2, 16) // 0.25 ms to 8 s

	m.exchanges = counter("exchanges_total", "Exchanges of verified subjects, by door, outcome and kind of refusal or failure.", "door", "outcome", "kind")
	m.unverified = counter("unverified_total", "Requests whose token did not verify; they leave no row in the ledger.", "door", "kind")
	m.refused = counter("refused_total", "Requests that a door refused before any exchange began.", "kind")
	m.signatures = counter("signatures_total", "Requests to sign in held sessions.", "target", "status")
	m.sessionRenewals = counter("session_renewals_total", "Renewals of held sessions ahead of their end.", "target", "status")
	m.unrevoked = counter("unrevoked_total", "Credentials that were minted, withheld, and could not be revoked.", "provider")
	m.seconds = histogram("exchange_seconds", "Duration of exchanges of verified subjects.", latency, "outcome")
	m.steps = histogram("exchange_step_seconds", "Duration of the steps of an exchange.", prometheus.ExponentialBuckets(0.00001, 4, 12), "step")

	m.flushes = histogram("ledger_flush_seconds", "Duration of the ledger's group commits.", latency, "result")
	m.flushEntries = histogram("ledger_flush_entries", "Events in one group commit.", prometheus.ExponentialBuckets(1, 2, 10)).WithLabelValues().(prometheus.Histogram)
	m.flushBytes = counter("ledger_flush_bytes_total", "Bytes of records handed to the database.").WithLabelValues()
	m.queueFull = counter("ledger_queue_full_total", "Events that found the ledger's queue full; their exchanges failed.").WithLabelValues()

	m.fetches = counter("jwks_fetches_total", "Attempts to read a trust's keys.", "trust", "result")
	m.tokenCache = counter("verified_token_lookups_total", "Lookups in the cache of verified tokens.", "result")
	m.reviews = counter("token_reviews_total", "Kubernetes TokenReviews.", "trust", "result")
	m.sharedKeys = counter("shared_keys_total", "Findings that two trusts of one issuer hold one key, so that neither is used.", "trust")
	m.reservings = counter("vendings_total", "Grants by how they are served; waited: behind another's flight.", "provider", "mode", "waited")
	m.refreshes = counter("credential_refresh_total", "Calls of providers for a credential, by the kind of failure or ok.", "provider", "method", "status")
	m.ages = histogram("credential_age_seconds", "Age of credentials that served again.", prometheus.ExponentialBuckets(1, 3, 10), "provider", "method")
	m.vends = histogram("vend_duration_seconds", "Duration of calls of providers.", latency, "provider")
	m.reaped = counter("intents_reaped_total", "Intents without an outcome that ended as unknown.", "provider", "revoked")
	m.pruned = counter("leases_pruned_total", "Leases that ended long ago and were forgotten.").WithLabelValues()
	m.reapFaults = counter("reaper_faults_total", "Rounds of the reaper that could not finish.").WithLabelValues()
	m.policyLoads = counter("policy_loads_total", "Policy revisions put in force by this process.").WithLabelValues()
	m.policyFault = counter("policy_faults_total", "Edits of the policy that were refused; the old revision stayed.").WithLabelValues()
	m.background = counter("background_faults_total", "Faults of background work, by what it was about.", "work")

	m.policyBad = prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "cambio", Name: "policy_faulty", Help: "1 while the policy folder holds an edit that was refused."})
	m.policyNow = prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "cambio", Name: "policy_info", Help: "The revision in force."}, []string{"revision"})
	b := thisBuild()
	info := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "cambio", Name: "build_info", Help: "What this binary was built from.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "go": b.Go}})
	info.Set(1)
	m.registry.MustRegister(m.policyBad, m.policyNow, info, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// handler serves /metrics.
func (m *meters) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(m.log.Handler(), slog.LevelError)})
}

// depth shows how many events wait for the ledger.
func (m *meters) depth(read func() int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "cambio", Name: "ledger_queue", Help: "Events that wait for a group commit.",
	}, func() float64 { return float64(read()) }))
}

// stray shows what stands in the ledger's default partition.
func (m *meters) stray(read func() int64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "cambio", Name: "ledger_stray_rows", Help: "Events of no known month, as of the last hourly look.",
	}, func() float64 { return float64(read()) }))
}

// Observe implements exchange.Observer.
func (m *meters) Observe(ctx context.Context, r exchange.Report) {
	kind := ""
	if r.Err != nil {
		kind = exchange.KindOf(r.Err).String()
	}
	if r.Unrevoked != nil {
		m.unrevoked.WithLabelValues(r.Provider).Inc()
		m.log.ErrorContext(ctx, "a credential was minted and withheld, and could not be revoked",
			"exchange", r.Exchange.String(), "target", r.Target, "provider", r.Provider, "err", r.Unrevoked)
	}
	if !r.Verified {
		m.unverified.WithLabelValues(r.Door, kind).Inc()
		return
	}
	outcome := "unrecorded" // over its rate, or the ledger is down
	if r.Recorded {
		outcome = r.Outcome.String()
	}
	m.exchanges.WithLabelValues(r.Door, outcome, kind).Inc()
	m.seconds.WithLabelValues(outcome).Observe(r.Total.Seconds())
	for _, step := range [...]struct {
		name string
		us   int64
	}{{"verify", r.Durations.Verify}, {"decide", r.Durations.Decide}, {"intend", r.Durations.Intend}, {"vend", r.Durations.Vend}} {
		if step.us > 0 {
			m.steps.WithLabelValues(step.name).Observe(float64(step.us) / 1e6)
		}
	}
}

// Flushed implements ledger.Meter.
func (m *meters) Flushed(entries, bytes int, took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "unknown"
		m.log.Warn("a flush of the ledger failed; its fate is asked for again", "entries", entries, "err", err)
	}
	m.flushes.WithLabelValues(result).Observe(took.Seconds())
	m.flushEntries.Observe(float64(entries))
	m.flushBytes.Add(float64(bytes))
}

// Refused implements ledger.Meter.
func (m *meters) Refused() { m.queueFull.Inc() }

// Reserved implements provider.Meter.
func (m *meters) Reserved(provider string, mode exchange.Mode, waited bool) {
	name := map[exchange.Mode]string{exchange.ModeHit: "hit", exchange.ModeLocal: "local", exchange.ModeUpstream: "upstream"}[mode]
	m.reservings.WithLabelValues(provider, name, strconv.FormatBool(waited)).Inc()
}

// Vended implements provider.Meter.
func (m *meters) Vended(provider, method string, took time.Duration, err error) {
	status := "ok"
	if err != nil {
		status = exchange.KindOf(err).String()
	}
	m.refreshes.WithLabelValues(provider, method, status).Inc()
	m.vends.WithLabelValues(provider).Observe(took.Seconds())
}

// Served implements provider.Meter.
func (m *meters) Served(provider, method string, age time.Duration) {
	m.ages.WithLabelValues(provider, method).Observe(age.Seconds())
}

// Reaped implements lease.Meter.
func (m *meters) Reaped(provider string, revoked bool) {
	m.reaped.WithLabelValues(provider, strconv.FormatBool(revoked)).Inc()
	m.log.Warn("an intent without an outcome ended as unknown", "provider", provider, "revoked", revoked)
}

// Pruned implements lease.Meter.
func (m *meters) Pruned(leases int) { m.pruned.Add(float64(leases)) }

// Failed implements lease.Meter.
func (m *meters) Failed(err error) {
	m.reapFaults.Inc()
	m.log.Error("the reaper could not finish its round", "err", err)
}

// verifierMeter is the meter of subject.Verifier.
type verifierMeter struct{ *meters }

// Fetched implements subject.Meter.
func (m verifierMeter) Fetched(_, trust string, err error) {
	result := "ok"
	if err != nil {
		result = "failed"
		m.log.Warn("the keys of a trust could not be read", "trust", trust, "err", err)
	}
	m.fetches.WithLabelValues(trust, result).Inc()
}

// Looked implements subject.Meter.
func (m verifierMeter) Looked(hit bool) {
	result := "miss"
	if hit {
		result = "hit"
	}
	m.tokenCache.WithLabelValues(result).Inc()
}

// Reviewed implements subject.Meter.
func (m verifierMeter) Reviewed(_, trust string, result subject.ReviewResult) {
	m.reviews.WithLabelValues(trust, string(result)).Inc()
}

// Shared implements subject.Meter.
func (m verifierMeter) Shared(_, trust, other string) {
	m.sharedKeys.WithLabelValues(trust).Inc()
	m.log.Error("two trusts of one issuer hold the same key, so neither is used: pin disjoint keys", "trust", trust, "other", other)
}

// loaded and faulty tell of the policy folder.
func (m *meters) loaded(revision string) {
	m.policyLoads.Inc()
	m.policyBad.Set(0)
	m.policyNow.Reset()
	m.policyNow.WithLabelValues(revision).Set(1)
}

func (m *meters) faulty() {
	m.policyFault.Inc()
	m.policyBad.Set(1)
}

func (m *meters) mended() { m.policyBad.Set(0) }

// fault counts and logs what went wrong behind the scenes.
func (m *meters) fault(work string) func(error) {
	return func(err error) {
		if errors.Is(err, context.Canceled) {
			return
		}
		m.background.WithLabelValues(work).Inc()
		m.log.Error("background work failed", "work", work, "err", err)
	}
}
