package proxy

import (
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// meters count what passes, by route and by the first digit of the status.
type meters struct {
	requests, renewals *prometheus.CounterVec
	under              *prometheus.GaugeVec
}

// newMeters registers the meters, or takes those that an earlier configuration of the
// same agent did.
func newMeters(registry prometheus.Registerer) (*meters, error) {
	m := &meters{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cambio_agent_proxy_requests_total", Help: "Requests, by route and class of status (499: the caller left).",
		}, []string{"route", "code"}),
		renewals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cambio_agent_proxy_renewals_total", Help: "Credentials that an upstream rejected, by whether there was another.",
		}, []string{"route", "result"}),
		under: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "cambio_agent_proxy_requests_under_way", Help: "Requests that are being answered.",
		}, []string{"route"}),
	}
	if registry == nil {
		return m, nil
	}
	var err error
	if m.requests, err = register(registry, m.requests); err != nil {
		return nil, err
	}
	if m.renewals, err = register(registry, m.renewals); err != nil {
		return nil, err
	}
	m.under, err = register(registry, m.under)
	return m, err
}

func register[C prometheus.Collector](registry prometheus.Registerer, c C) (C, error) {
	err := registry.Register(c)
	var known prometheus.AlreadyRegisteredError
	if errors.As(err, &known) {
		if before, ok := known.ExistingCollector.(C); ok {
			return before, nil
		}
	}
	return c, err
}

// routeMeter is the meters of one route; name is from the settings, never a caller's.
type routeMeter struct {
	*meters
	name  string
	under prometheus.Gauge
}

func (m *meters) route(name string) *routeMeter {
	return &routeMeter{m, name, m.under.WithLabelValues(name)}
}

func (m *routeMeter) answered(status int) {
	code := strconv.Itoa(status/100) + "xx"
	if status == statusLeft {
		code = "499"
	}
	m.requests.WithLabelValues(m.name, code).Inc()
}

func (m *routeMeter) renewed(ok bool) {
	result := "renewed"
	if !ok {
		result = "kept"
	}
	m.renewals.WithLabelValues(m.name, result).Inc()
}
