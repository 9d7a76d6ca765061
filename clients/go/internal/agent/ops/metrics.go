package ops

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/status"
)

// NewRegistry is the registry of one agent: its state as report has it, the process and
// the Go runtime. Rooms add what they count.
func NewRegistry(report func() status.Report) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&state{report: report},
	)
	return registry
}

// state reads the report when it is asked.
type state struct{ report func() status.Report }

var (
	readyDesc     = desc("ready", "Whether every target was had once and every file was written.")
	configDesc    = desc("config_fault", "Whether a newer configuration is not in force because of a fault.")
	loadedDesc    = desc("config_loaded_timestamp_seconds", "When the configuration in force was read.")
	buildDesc     = desc("build_info", "Which version this is.", "version")
	heldDesc      = desc("credential_held", "Whether there is a good credential.", "target", "source")
	expiryDesc    = desc("credential_expires_in_seconds", "How long the held credential lives; 0 without one.", "target", "source")
	exchangesDesc = desc("exchanges_total", "Exchanges that have ended, by outcome.", "target", "source", "outcome")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("cambio_agent_"+name, help, labels, nil)
}

// Describe is part of prometheus.Collector.
func (*state) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{readyDesc, configDesc, loadedDesc, buildDesc, heldDesc, expiryDesc, exchangesDesc} {
		out <- d
	}
}

// Collect is part of prometheus.Collector. Sources of one target are told apart by
// number.
func (s *state) Collect(out chan<- prometheus.Metric) {
	r := s.report()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(readyDesc, yes(r.Ready))
	gauge(configDesc, yes(r.Config.Fault != ""))
	gauge(loadedDesc, float64(r.Config.Loaded.UnixNano())/float64(time.Second))
	gauge(buildDesc, 1, r.Version)
	number := map[string]int{}
	for _, t := range r.Targets {
		if t.State == status.StatePerUser {
			continue
		}
		number[t.Name]++
		source := strconv.Itoa(number[t.Name])
		gauge(heldDesc, yes(t.State == status.StateHeld || t.State == status.StateAged), t.Name, source)
		gauge(expiryDesc, float64(t.ExpiresIn), t.Name, source)
		for outcome, count := range map[string]uint64{"issued": t.Exchanges, "failed": t.Failures} {
			out <- prometheus.MustNewConstMetric(exchangesDesc, prometheus.CounterValue, float64(count), t.Name, source, outcome)
		}
	}
}

func yes(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
