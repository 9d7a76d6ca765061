package door

import (
	"errors"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
)

// requestsCounter is the one of a registry, whichever room made it.
func requestsCounter(registry prometheus.Registerer) *prometheus.CounterVec {
	counter := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cambio_agent_door_requests_total",
		Help: "Requests at the doors: answered, refused (the caller's fault), failed (no credential).",
	}, []string{"door", "outcome"})
	if registry == nil {
		return counter
	}
	var known prometheus.AlreadyRegisteredError
	if err := registry.Register(counter); errors.As(err, &known) {
		if earlier, ok := known.ExistingCollector.(*prometheus.CounterVec); ok {
			return earlier
		}
	}
	return counter
}

// count counts a request, and logs what went wrong with it.
func (r *Room) count(req *http.Request, d *door, err error) {
	outcome := "answered"
	var f *refusal
	switch {
	case errors.As(err, &f):
		outcome = "refused"
	case err != nil:
		outcome = "failed"
	}
	r.requests.WithLabelValues(d.name, outcome).Inc()
	if err != nil && req.Context().Err() == nil {
		r.log.WarnContext(req.Context(), "request at a door was not answered", "door", d.name, "outcome", outcome, "error", err)
	}
}
