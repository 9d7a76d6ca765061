package file

import "github.com/prometheus/client_golang/prometheus"

// metrics are a room's, registered while it runs. Paths are configured, so there are few.
type metrics struct {
	writes, faults *prometheus.CounterVec
	expires        *prometheus.GaugeVec
}

func newMetrics() *metrics {
	label := []string{"path"}
	return &metrics{
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cambio_agent_file_writes_total", Help: "Times that a file got another content.",
		}, label),
		faults: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cambio_agent_file_faults_total", Help: "Times that a file could not be renewed or written, or its change not be told.",
		}, label),
		expires: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "cambio_agent_file_expires_timestamp_seconds", Help: "When the credential in a file dies, in Unix time.",
		}, label),
	}
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.writes, m.faults, m.expires}
}
