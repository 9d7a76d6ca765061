package run

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"sync/atomic"
	"time"

	"github.com/google/renameio/v2"
	"github.com/prometheus/client_golang/prometheus"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/caller"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/config"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/listen"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/ops"
)

// Options of an agent.
type Options struct {
	File string // of the configuration; empty: the environment alone
	Env  config.Environment
	// Amend changes the configuration each time it was read, before it is checked; nil:
	// nothing does.
	Amend   func(*config.Config) error
	Log     *slog.Logger
	Version string
	// ReadyFile is written when every listener is bound; empty: none. It is JSON:
	// {"listeners": {"127.0.0.1:0": "127.0.0.1:41234"}}, configured and real.
	ReadyFile string
	// Drain is how long requests that are under way may go on at the end, or at an
	// address that is given up.
	Drain time.Duration
	// Poll is how often the configuration is looked at for changes.
	Poll time.Duration
	// Reload asks for the configuration to be read now, changed or not.
	Reload <-chan os.Signal
}

// Agent is an agent at work.
type Agent struct {
	o        Options
	started  time.Time
	registry *prometheus.Registry
	set      *listen.Set

	current atomic.Pointer[generation]
	fault   atomic.Pointer[string] // why a newer configuration is not in force

	seen [sha256.Size]byte // what was read last, good or not
}

// generation is one configuration in force.
type generation struct {
	rooms  *Rooms
	client *cambio.Client
	caller callerKey
	loaded time.Time
	stop   context.CancelFunc
	done   chan struct{}
}

// callerKey is all that the client depends on. A client lives on, and with it every
// credential that it holds, for as long as this is the same.
type callerKey struct {
	url, caFile string
	ca          [sha256.Size]byte
	identity    caller.Settings
	client      caller.Client
}

// Run is an agent from its start until ctx ends, and what was under way has ended. The
// error is that of the start: of a configuration that cannot be, or an address that
// cannot be bound. A server that cannot be reached is no error.
func Run(ctx context.Context, o Options) error {
	a := &Agent{o: o, started: time.Now(), set: listen.New(o.Log, o.Drain)}
	a.registry = ops.NewRegistry(a.Report)
	a.seen = a.digest()
	if err := a.load(ctx); err != nil {
		return err
	}
	if o.ReadyFile != "" {
		if err := a.sayReady(); err != nil {
			a.end()
			return fmt.Errorf("--ready-file: %w", err)
		}
	}
	o.Log.InfoContext(ctx, "agent serves", "server", a.current.Load().client.URL(), "listeners", a.set.Bound())
	a.watch(ctx)
	o.Log.Info("agent stops")
	a.end()
	return nil
}

// end gives up the listeners first, while the rooms still serve what is under way.
func (a *Agent) end() {
	a.set.Close()
	a.current.Load().end()
	if a.o.ReadyFile != "" {
		_ = os.Remove(a.o.ReadyFile)
	}
}

func (g *generation) end() {
	g.stop()
	<-g.done
}

func (a *Agent) sayReady() error {
	text, err := json.Marshal(map[string]any{"listeners": a.set.Bound()})
	if err != nil {
		return err
	}
	return renameio.WriteFile(a.o.ReadyFile, append(text, '\n'), 0o644, renameio.IgnoreUmask())
}

// watch reloads until ctx ends.
func (a *Agent) watch(ctx context.Context) {
	tick := time.NewTicker(a.o.Poll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.o.Reload:
			a.seen = a.digest()
		case <-tick.C:
			now := a.digest()
			if now == a.seen {
				continue
			}
			a.seen = now
		}
		a.reload(ctx)
	}
}

func (a *Agent) reload(ctx context.Context) {
	err := a.load(ctx)
	if err == nil {
		a.fault.Store(nil)
		a.o.Log.InfoContext(ctx, "configuration is in force", "file", a.o.File, "listeners", a.set.Bound())
		return
	}
	text := err.Error()
	a.fault.Store(&text)
	a.o.Log.ErrorContext(ctx, "configuration is not in force: the one before is", "file", a.o.File, "error", err)
}

// digest is of what the configuration is read from: the file, and the CAs it names.
func (a *Agent) digest() [sha256.Size]byte {
	sum := sha256.New()
	files := []string{a.o.File}
	if g := a.current.Load(); g != nil {
		files = append(files, g.caller.caFile)
	}
	for _, file := range files {
		if file == "" {
			continue
		}
		text, err := os.ReadFile(file)
		fmt.Fprintf(sum, "%t %d ", err == nil, len(text))
		sum.Write(text)
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

// load reads the configuration and puts it in force, or changes nothing.
func (a *Agent) load(ctx context.Context) error {
	c, err := a.o.read()
	if err != nil {
		return err
	}
	if len(c.Targets) == 0 {
		return errors.New("targets: there is none, so there is nothing to serve: name one, or set CAMBIO_TARGET")
	}
	before := a.current.Load()
	g := &generation{loaded: time.Now(), caller: keyOf(c), done: make(chan struct{})}
	var previous *Rooms
	if before != nil {
		previous = before.rooms
		if reflect.DeepEqual(before.caller, g.caller) {
			g.client = before.client
		}
	}
	if g.client == nil {
		if g.client, err = caller.Connect(c.URL, c.CAFile, c.Identity, c.Client); err != nil {
			return err
		}
	}
	if g.rooms, err = Open(c, g.client, a.o.Log, a.registry, previous); err != nil {
		return err
	}
	endpoints, err := g.rooms.Endpoints(ops.Handler(a.Report, a.registry))
	if err != nil {
		return err
	}
	if err := a.set.Update(endpoints); err != nil {
		return err
	}
	var work context.Context
	work, g.stop = context.WithCancel(context.WithoutCancel(ctx))
	a.current.Store(g)
	if before != nil {
		before.end() // two that write the same files would undo each other's work
	}
	// Who waits for the ready file reads these next. They are of the listeners that are
	// bound: a start that fails leaves another agent's alone.
	g.rooms.writeSecrets()
	go func() {
		defer close(g.done)
		g.rooms.Run(work, true)
	}()
	if before == nil {
		a.seen = a.digest() // by now it is known which CAs there are
	}
	return nil
}

func (o *Options) read() (*config.Config, error) {
	return config.Read(o.File, o.Env, o.Amend)
}

func keyOf(c *config.Config) callerKey {
	key := callerKey{url: c.URL, caFile: c.CAFile, identity: c.Identity, client: c.Client}
	if c.CAFile != "" {
		text, _ := os.ReadFile(c.CAFile) // what cannot be read fails where it is used
		key.ca = sha256.Sum256(text)
	}
	return key
}

// Once writes every file one time.
func Once(ctx context.Context, o Options) error {
	c, err := o.read()
	if err != nil {
		return err
	}
	client, err := caller.Connect(c.URL, c.CAFile, c.Identity, c.Client)
	if err != nil {
		return err
	}
	rooms, err := Open(c, client, o.Log, nil, nil)
	if err != nil {
		return err
	}
	if !rooms.writes() {
		return errors.New("nothing is to be written: give files, or doors that write some, or CAMBIO_TOKEN_OUTPUT_FILE")
	}
	return rooms.Once(ctx)
}

// writes reports whether there is a file that Once writes.
func (r *Rooms) writes() bool {
	d := r.Config.Doors
	return len(r.Config.Files) > 0 || d.OCI != nil || d.SecretFile != ""
}
