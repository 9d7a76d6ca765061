// Package target is what an agent may ask the server for, by name.
package target

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// Settings of one target; what is left out follows from its name.
type Settings struct {
	Audience string        `yaml:"audience"` // name of the target at the server; default: the name here, unless there is a resource
	Resource string        `yaml:"resource"` // URI of the target, in place of a name
	Scopes   []string      `yaml:"scopes"`   // default: what the policy gives
	Lifetime time.Duration `yaml:"lifetime"` // whole seconds; default: what the server gives
	Reason   string        `yaml:"reason"`   // for the ledger, at most 512 bytes
	// PassthroughFile holds a second token of the workload, which the target hands on.
	PassthroughFile string `yaml:"passthrough_file"`
}

// Targets are the targets of one configuration. They are safe for concurrent use.
type Targets struct {
	client   *cambio.Client
	settings map[string]Settings
	requests map[string]cambio.Request
	sources  map[string]*cambio.TokenSource

	mu      sync.Mutex
	watched map[string][]*cambio.TokenSource // in place of the one in sources
}

// New makes the targets of a client. Nothing is asked yet.
func New(client *cambio.Client, settings map[string]Settings) *Targets {
	t := &Targets{
		client: client, settings: maps.Clone(settings), requests: map[string]cambio.Request{}, sources: map[string]*cambio.TokenSource{},
		watched: map[string][]*cambio.TokenSource{},
	}
	for name, s := range settings {
		request := cambio.Request{
			Audience: s.Audience, Resource: s.Resource, Scopes: s.Scopes, Lifetime: s.Lifetime, Reason: s.Reason,
		}
		if request.Audience == "" && request.Resource == "" {
			request.Audience = name
		}
		if s.PassthroughFile != "" {
			request.Passthrough = cambio.File(s.PassthroughFile)
		}
		t.requests[name] = request
		t.sources[name] = client.TokenSource(request)
	}
	return t
}

// Client is the client that the targets are asked through.
func (t *Targets) Client() *cambio.Client { return t.client }

// Same reports whether a target is asked for as it was before a reload: through the same
// client, for the same. What is held of it then is as good as it was.
func (t *Targets) Same(name string, before *Targets) bool {
	now, ok := t.settings[name]
	was, had := before.settings[name]
	return ok && had && t.client == before.client && reflect.DeepEqual(now, was)
}

// Names are in alphabetical order.
func (t *Targets) Names() []string { return slices.Sorted(maps.Keys(t.requests)) }

// Request is what is asked for a target, to which a room adds what it needs, such as
// a public key or the user of the moment.
func (t *Targets) Request(name string) (cambio.Request, error) {
	request, ok := t.requests[name]
	if !ok {
		return cambio.Request{}, fmt.Errorf("no target is called %q", name)
	}
	return request, nil
}

// Source is the one source of a target in this agent.
func (t *Targets) Source(name string) (*cambio.TokenSource, error) {
	source, ok := t.sources[name]
	if !ok {
		return nil, fmt.Errorf("no target is called %q", name)
	}
	return source, nil
}

// Track says that a target is asked by this source, not by the plain one: with a key of
// its own, say. The agent then keeps and shows this one. Several rooms may each track
// theirs.
func (t *Targets) Track(name string, source *cambio.TokenSource) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.requests[name]; ok && !slices.Contains(t.watched[name], source) {
		t.watched[name] = append(t.watched[name], source)
	}
}

// PerUser says that a target is asked for the user of the moment, so that there is
// nothing for the agent to keep, unless a room tracks a source as well.
func (t *Targets) PerUser(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.requests[name]; ok && t.watched[name] == nil {
		t.watched[name] = []*cambio.TokenSource{}
	}
}

// Watched are the sources of a target that the agent keeps: the plain one, unless a room
// said otherwise.
func (t *Targets) Watched(name string) []*cambio.TokenSource {
	t.mu.Lock()
	defer t.mu.Unlock()
	if sources, ok := t.watched[name]; ok {
		return slices.Clone(sources)
	}
	if source, ok := t.sources[name]; ok {
		return []*cambio.TokenSource{source}
	}
	return nil
}
