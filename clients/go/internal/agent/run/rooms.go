// Package run is the agent at work: the rooms of one configuration, their exchange for
// those of the next while requests are under way, and the end.
package run

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/config"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/door"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/file"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/keep"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/listen"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/proxy"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
)

// answerTime bounds a request to a door or for the state: answers are short, and wait for
// one exchange at most. What goes through the proxy may stream for hours.
const answerTime = 2 * time.Minute

// Rooms are what one configuration opens.
type Rooms struct {
	Config  *config.Config
	Targets *target.Targets
	Door    *door.Room
	File    *file.Room
	Proxy   *proxy.Room

	log *slog.Logger
}

// Open makes the rooms of a configuration. Nothing is bound, written or asked. previous
// is nil at the start; later its secrets go on, so that who has them is let in still.
func Open(c *config.Config, client *cambio.Client, log *slog.Logger, registry prometheus.Registerer, previous *Rooms) (*Rooms, error) {
	r := &Rooms{Config: c, Targets: target.New(client, c.Targets), log: log}
	var doors *door.Room
	var proxies *proxy.Room
	if previous != nil {
		doors, proxies = previous.Door, previous.Proxy
	}
	var err error
	if r.Door, err = door.New(c.Doors, door.Deps{
		Targets: r.Targets, Log: log, Now: time.Now, Random: rand.Reader, Registry: registry, Previous: doors,
	}); err != nil {
		return nil, fmt.Errorf("doors: %w", err)
	}
	if r.File, err = file.New(c.Files, file.Deps{
		Targets: r.Targets, Log: log, Now: time.Now, Random: rand.Reader, Registry: registry,
	}); err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	if r.Proxy, err = proxy.New(c.Proxy, proxy.Deps{
		Targets: r.Targets, Log: log, Now: time.Now, Random: rand.Reader, Registry: registry, Previous: proxies,
	}); err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	return r, nil
}

// Endpoints are what is served where. ops may be nil. Two rooms at one address are a
// fault.
func (r *Rooms) Endpoints(ops http.Handler) (map[string]listen.Endpoint, error) {
	all := map[string]listen.Endpoint{}
	owner := map[string]string{}
	var faults []error
	add := func(room string, endpoints map[string]listen.Endpoint) {
		for address, e := range endpoints {
			if other, taken := owner[address]; taken {
				faults = append(faults, fmt.Errorf("%s.listen: %s is that of %s already: give it another address", room, address, other))
				continue
			}
			all[address], owner[address] = e, room
		}
	}
	add("doors", r.DoorEndpoints())
	add("proxy", r.ProxyEndpoints())
	if at := r.Config.Ops.Listen; ops != nil && at != config.Off {
		add("ops", map[string]listen.Endpoint{at: {Handler: ops, Within: answerTime}})
	}
	return all, errors.Join(faults...)
}

// DoorEndpoints are those of the doors.
func (r *Rooms) DoorEndpoints() map[string]listen.Endpoint {
	endpoints := map[string]listen.Endpoint{}
	secured := r.Door.TLS()
	for address, handler := range r.Door.Handlers() {
		endpoints[address] = listen.Endpoint{Handler: handler, TLS: secured[address], Within: answerTime}
	}
	return endpoints
}

// ProxyEndpoints are those of the proxy. Its socket is open to whom it checks.
func (r *Rooms) ProxyEndpoints() map[string]listen.Endpoint {
	endpoints := map[string]listen.Endpoint{}
	for address, handler := range r.Proxy.Handlers() {
		endpoints[address] = listen.Endpoint{Handler: handler, Mode: r.Proxy.SocketMode(), Places: r.Proxy.Places()}
	}
	return endpoints
}

// writeSecrets writes the files with the secrets that callers send. What fails is tried
// again by Run, and said there.
func (r *Rooms) writeSecrets() {
	_ = r.Door.WriteSecret()
	_ = r.Proxy.WriteSecret()
}

// Run is the background work of the rooms, until ctx ends. keepers says whether
// credentials are held ready that nobody asks for.
func (r *Rooms) Run(ctx context.Context, keepers bool) {
	var all sync.WaitGroup
	for name, work := range map[string]func(context.Context) error{"doors": r.Door.Run, "files": r.File.Run, "proxy": r.Proxy.Run} {
		all.Go(func() {
			if err := work(ctx); err != nil && ctx.Err() == nil {
				r.log.ErrorContext(ctx, "room has stopped", "room", name, "error", err)
			}
		})
	}
	if keepers {
		k := keep.Keeper{Targets: r.Targets, Log: r.log, Now: time.Now, Wait: keep.Timer}
		all.Go(func() { k.Run(ctx) })
	}
	all.Wait()
}

// Once writes every file one time, for an init container.
func (r *Rooms) Once(ctx context.Context) error {
	return errors.Join(r.Door.Once(ctx), r.File.Once(ctx))
}
