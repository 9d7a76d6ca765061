// Package status is the state of an agent: what it holds, what it serves, and what is
// wrong. It holds no secret.
package status

import (
	"errors"
	"fmt"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
)

// Report is the state at one moment.
type Report struct {
	Version string    `json:"version"`
	Server  string    `json:"server"`
	Time    time.Time `json:"time"`
	Started time.Time `json:"started"`
	Ready   bool      `json:"ready"`
	// Waiting says what readiness waits for, each in one line.
	Waiting []string `json:"waiting,omitempty"`
	Config  Config   `json:"config"`
	Targets []Target `json:"targets"`
	Doors   []Door   `json:"doors,omitempty"`
	Files   []File   `json:"files,omitempty"`
	Routes  []Route  `json:"routes,omitempty"`
}

// Config is where the configuration came from.
type Config struct {
	File   string    `json:"file,omitempty"` // empty: the environment alone
	Loaded time.Time `json:"loaded"`
	// Fault is why a newer configuration is not in force.
	Fault string `json:"fault,omitempty"`
}

// State is that of a credential.
type State string

// The states of a target.
const (
	StateHeld    State = "held"     // good
	StateAged    State = "aged"     // good still, and the last renewal failed
	StateMissing State = "missing"  // not there, and asking for it failed
	StateWaiting State = "waiting"  // asked for the first time
	StatePerUser State = "per user" // asked for the user of each request
)

// Target is one credential: a target that is asked for in several ways has several.
type Target struct {
	Name       string    `json:"name"`
	State      State     `json:"state"`
	Expires    time.Time `json:"expires,omitzero"`
	ExpiresIn  int64     `json:"expires_in,omitempty"` // seconds
	Renews     time.Time `json:"renews,omitzero"`
	ExchangeID string    `json:"exchange_id,omitempty"`
	LeaseID    string    `json:"lease_id,omitempty"`
	Exchanges  uint64    `json:"exchanges"` // that gave a credential
	Failures   uint64    `json:"failures"`
	Error      *Error    `json:"error,omitempty"`
}

// Error is the last failure.
type Error struct {
	Code       string `json:"code,omitempty"`
	Message    string `json:"message"`
	ExchangeID string `json:"exchange_id,omitempty"`
}

// Door is something that an SDK speaks to.
type Door struct {
	Name    string   `json:"name"`
	Address string   `json:"address"`
	Targets []string `json:"targets"`
}

// File is a file that is written.
type File struct {
	Path    string    `json:"path"`
	Targets []string  `json:"targets"`
	Written time.Time `json:"written,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
	Fault   string    `json:"fault,omitempty"`
}

// Route is a way through the proxy.
type Route struct {
	Name     string `json:"name"`
	Address  string `json:"address"`
	Upstream string `json:"upstream,omitempty"`
	Target   string `json:"target"`
}

// Of is the state of the targets, at now.
func Of(targets *target.Targets, now time.Time) []Target {
	list := []Target{}
	for _, name := range targets.Names() {
		sources := targets.Watched(name)
		if len(sources) == 0 {
			list = append(list, Target{Name: name, State: StatePerUser})
		}
		for _, source := range sources {
			list = append(list, of(name, source, now))
		}
	}
	return list
}

func of(name string, source *cambio.TokenSource, now time.Time) Target {
	t := Target{Name: name}
	t.Exchanges, t.Failures = source.Exchanges()
	held, err := source.Held()
	good := held != nil && now.Before(held.Expires)
	switch {
	case good && err == nil:
		t.State = StateHeld
	case good:
		t.State = StateAged
	case err != nil:
		t.State = StateMissing
	default:
		t.State = StateWaiting
	}
	if held != nil {
		t.ExchangeID, t.LeaseID = held.ExchangeID, held.LeaseID
		// UTC drops the monotonic reading, which means nothing to a reader.
		t.Expires, t.Renews = held.Expires.UTC().Truncate(time.Second), held.Refresh.UTC().Truncate(time.Second)
		t.ExpiresIn = int64(max(held.Expires.Sub(now), 0) / time.Second)
	}
	if err != nil {
		t.Error = &Error{Message: err.Error()}
		var known *cambio.Error
		if errors.As(err, &known) {
			t.Error.Code, t.Error.ExchangeID = known.Code, known.ExchangeID
		}
	}
	return t
}

// Lacking says which targets were never had, each in one line. A target that was had
// once and is not now does not count: what holds a workload up is the start.
func Lacking(targets []Target) []string {
	var lines []string
	for _, t := range targets {
		switch {
		case t.State == StatePerUser || t.Exchanges > 0:
		case t.Error != nil:
			lines = append(lines, fmt.Sprintf("target %s: %s", t.Name, t.Error.Message))
		default:
			lines = append(lines, fmt.Sprintf("target %s: asked, no answer yet", t.Name))
		}
	}
	return lines
}
