package door

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/disk"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/keep"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/secret"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
)

// again is how long it takes until files that could not be written are tried once more.
const again = 5 * time.Second

// Deps are what the doors lean on.
type Deps struct {
	Targets  *target.Targets
	Log      *slog.Logger          // nil: nothing is logged
	Now      func() time.Time      // nil: time.Now
	Random   io.Reader             // nil: that of the machine
	Registry prometheus.Registerer // may be nil, and the same for each New
	// Previous is the room before a reload: what its callers hold goes on, which is
	// the secret and the CA. nil at the start.
	Previous *Room
}

// Room is the doors of one configuration.
type Room struct {
	settings Settings
	targets  *target.Targets
	log      *slog.Logger
	now      func() time.Time
	wait     func(context.Context, time.Duration) bool
	requests *prometheus.CounterVec

	secret    cambio.Secret
	houses    map[string]*house
	authority *authority // of proxymux; nil without it
	files     *ociFiles  // nil without them

	writing sync.Mutex // Once and Run
}

// New makes the doors of settings that Check has nothing against. It binds and writes
// nothing.
func New(s Settings, d Deps) (*Room, error) {
	r := &Room{
		settings: s, targets: d.Targets, log: d.Log, now: d.Now, wait: keep.Timer,
		requests: requestsCounter(d.Registry), houses: map[string]*house{},
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.now == nil {
		r.now = time.Now
	}
	if d.Random == nil {
		d.Random = rand.Reader
	}
	previous := d.Previous
	if previous == nil {
		previous = &Room{}
	}
	var err error
	switch {
	case s.SecretFrom != "":
		if r.secret, err = secret.Read(s.SecretFrom); err != nil {
			err = fmt.Errorf("secret_from: %w", err)
		}
	case previous.settings.SecretFrom == "" && !previous.secret.IsZero():
		r.secret = previous.secret
	default:
		r.secret, err = secret.New(d.Random)
	}
	if err != nil {
		return nil, err
	}
	if err := r.open(d.Random, previous); err != nil {
		return nil, err
	}
	return r, nil
}

// open makes each door that the settings have.
func (r *Room) open(random io.Reader, previous *Room) error {
	s := &r.settings
	var faults []error
	add := func(address string) func(*door, error) {
		return func(d *door, err error) {
			if err != nil {
				faults = append(faults, err)
				return
			}
			if r.houses[address] == nil {
				r.houses[address] = &house{room: r}
			}
			r.houses[address].doors = append(r.houses[address].doors, d)
		}
	}
	if s.AWS != nil {
		add(s.listen())(r.awsDoor(s.AWS))
	}
	if s.GCE != nil {
		add(s.GCE.listen(s))(r.gceDoor(s.GCE))
	}
	if s.Azure != nil {
		add(s.listen())(r.azureDoor(s.Azure))
	}
	if s.IBM != nil {
		add(s.listen())(r.ibmDoor(s.IBM))
	}
	if s.Vault != nil {
		add(s.listen())(r.vaultDoor(s.Vault))
	}
	if s.OCI != nil && s.OCI.Proxymux != nil {
		p := s.OCI.Proxymux
		add(p.listen())(r.proxymuxDoor(p))
		var err error
		if r.authority = previous.authority; r.authority == nil || r.authority.listen != p.listen() {
			if r.authority, err = newAuthority(p.listen(), r.now(), random); err != nil {
				faults = append(faults, fmt.Errorf("oci.proxymux: %w", err))
			}
		}
	}
	if s.OCI != nil && s.OCI.Files != nil {
		var err error
		if r.files, err = r.ociFiles(s.OCI.Files, random, previous.files); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// sources are those of targets, by name.
func (r *Room) sources(names []string) (map[string]*cambio.TokenSource, error) {
	sources := map[string]*cambio.TokenSource{}
	for _, name := range names {
		source, err := r.targets.Source(name)
		if err != nil {
			return nil, err
		}
		sources[name] = source
	}
	return sources, nil
}

// Handlers are the doors by the address that they are to be bound at.
func (r *Room) Handlers() map[string]http.Handler {
	handlers := map[string]http.Handler{}
	for address, h := range r.houses {
		handlers[address] = h
	}
	return handlers
}

// TLS is how the addresses of Handlers that speak TLS do so; the others do not.
func (r *Room) TLS() map[string]*tls.Config {
	if r.authority == nil {
		return nil
	}
	return map[string]*tls.Config{r.authority.listen: r.authority.config}
}

// Run writes the files of the doors and keeps them fresh until ctx ends. What cannot be
// written is in the log, and tried again.
func (r *Room) Run(ctx context.Context) error {
	said := ""
	for {
		err := r.write(ctx)
		pause := ociLook
		if err != nil {
			pause = again
			if err.Error() != said && ctx.Err() == nil {
				r.log.WarnContext(ctx, "files of the doors cannot be written", "error", err)
			}
			said = err.Error()
		} else {
			said = ""
		}
		if err == nil && r.files == nil {
			<-ctx.Done()
			return nil
		}
		if !r.wait(ctx, pause) {
			return nil
		}
	}
}

// Once writes every file of the doors. Only those of OCI want the server.
func (r *Room) Once(ctx context.Context) error { return r.write(ctx) }

// WriteSecret writes the secret's file, if there is to be one and it is not in place.
func (r *Room) WriteSecret() error {
	r.writing.Lock()
	defer r.writing.Unlock()
	return r.writeSecret()
}

func (r *Room) writeSecret() error {
	if path := r.settings.SecretFile; path != "" {
		if err := secret.Keep(path, r.secret); err != nil {
			return fmt.Errorf("secret_file: %w", err)
		}
	}
	return nil
}

func (r *Room) write(ctx context.Context) error {
	r.writing.Lock()
	defer r.writing.Unlock()
	if err := r.writeSecret(); err != nil {
		return err
	}
	if r.authority != nil {
		if err := disk.Keep(r.settings.OCI.Proxymux.CAFile, string(r.authority.ca), 0o644); err != nil {
			return fmt.Errorf("oci.proxymux.ca_file: %w", err)
		}
	}
	if r.files != nil {
		if err := r.files.write(ctx); err != nil {
			return fmt.Errorf("oci.files: %w", err)
		}
	}
	return nil
}
