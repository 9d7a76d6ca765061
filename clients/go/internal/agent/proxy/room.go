package proxy

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/listen"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/secret"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
	"github.com/cambio-sts/cambio/clients/go/oci"
)

// sweepEvery is how often connections and credentials of users who are away are looked
// for.
const sweepEvery = 30 * time.Second

// Deps are what a room needs of its agent.
type Deps struct {
	Targets  *target.Targets
	Log      *slog.Logger
	Now      func() time.Time
	Random   io.Reader             // nil: the machine's
	Registry prometheus.Registerer // nil: nothing is counted
	// Previous is the room before a reload: the secret that callers hold goes on, the key
	// that tokens of OCI are bound to, and users' credentials that would be asked for in
	// the same way. nil at the start.
	Previous *Room
}

// Room is the proxy of one configuration.
type Room struct {
	settings Settings
	targets  *target.Targets
	filled   []Route
	hosts    []string
	routes   []*route // a longer prefix before a shorter one
	secret   cambio.Secret
	key      *rsa.PrivateKey // of OCI signatures; nil: no route wants it
	log      *slog.Logger
	now      func() time.Time
	meters   *meters
}

// New makes the proxy. It binds nothing, and asks nothing of the network; CA files are
// read.
func New(s Settings, d Deps) (*Room, error) {
	if faults := s.Check(d.Targets.Names()); len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	random := d.Random
	if random == nil {
		random = rand.Reader
	}
	m, err := newMeters(d.Registry)
	if err != nil {
		return nil, err
	}
	r := &Room{settings: s, targets: d.Targets, log: d.Log, now: d.Now, meters: m}
	if d.Previous != nil {
		r.secret, r.key = d.Previous.secret, d.Previous.key
	} else if r.secret, err = secret.New(random); err != nil {
		return nil, err
	}
	for _, host := range s.Hosts {
		r.hosts = append(r.hosts, strings.ToLower(host))
	}
	room := int64(maxHeld)
	for _, given := range s.Routes {
		room = max(room, given.filled().Limits.Buffer)
	}
	memory := semaphore.NewWeighted(room)
	for i, given := range s.Routes {
		filled := given.filled()
		t, err := newRoute(filled, s.callersOf(filled), d, m)
		if err == nil && filled.Auth.OCI != nil {
			if r.key == nil { // one for all: the servers' tokens are bound to it, and it never leaves
				r.key, err = oci.NewKey(random)
			}
		}
		if err == nil {
			t.memory = memory
			err = t.issue(filled, d, r.key)
		}
		if err != nil {
			return nil, fmt.Errorf("routes[%d]: %w", i, err)
		}
		r.routes, r.filled = append(r.routes, t), append(r.filled, filled)
	}
	slices.SortStableFunc(r.routes, func(a, b *route) int {
		if (a.host != "") != (b.host != "") {
			return len(b.host) - len(a.host)
		}
		return len(b.prefix) - len(a.prefix)
	})
	return r, nil
}

// personsFor are those of the route of the same name, if it asks for what t asks for; nil
// if there are none.
func (r *Room) personsFor(t *route, targets *target.Targets) *persons {
	if r == nil || !targets.Same(t.target, r.targets) {
		return nil
	}
	for _, was := range r.routes {
		if was.name == t.name && was.target == t.target && was.act == t.act && reflect.DeepEqual(was.auth, t.auth) {
			return was.persons
		}
	}
	return nil
}

// Secret is what callers send as their API key.
func (r *Room) Secret() cambio.Secret { return r.secret }

// Handlers serve the address of the settings; there is none without routes.
func (r *Room) Handlers() map[string]http.Handler {
	if len(r.routes) == 0 {
		return nil
	}
	return map[string]http.Handler{r.settings.Listen: handler{r}}
}

// SocketMode is who may reach a unix socket: the agent's own user, and everybody where
// some route tells users apart by uid. What each may do is for the routes.
func (r *Room) SocketMode() fs.FileMode {
	if slices.ContainsFunc(r.routes, func(t *route) bool { return t.callers.others() }) {
		return 0o666
	}
	return 0o600
}

// Places is how many connections there may be at a time: twice what the routes serve, for
// between two requests a connection waits.
func (r *Room) Places() int {
	under := 0
	for _, t := range r.routes {
		under += cap(t.slots)
	}
	return max(listen.DefaultPlaces, 2*under)
}

// WriteSecret writes the secret's file, if there is to be one and it is not in place.
func (r *Room) WriteSecret() error {
	if r.settings.SecretFile == "" || len(r.routes) == 0 {
		return nil
	}
	if err := secret.Keep(r.settings.SecretFile, r.secret); err != nil {
		return fmt.Errorf("proxy.secret_file: %w", err)
	}
	return nil
}

// Run keeps the secret's file in place, and gives up connections that nobody uses, until
// ctx ends. What cannot be written is in the log, and tried again.
func (r *Room) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	said := ""
	for {
		if err := r.WriteSecret(); err == nil {
			said = ""
		} else if text := err.Error(); text != said {
			r.log.WarnContext(ctx, "the proxy's secret cannot be written", "error", err)
			said = text
		}
		select {
		case <-ctx.Done():
			for _, t := range r.routes {
				t.close()
			}
			return nil
		case <-tick.C:
			r.sweep()
		}
	}
}

func (r *Room) sweep() {
	for _, t := range r.routes {
		if t.users != nil {
			t.users.sweep(false)
		}
		if t.persons != nil {
			t.persons.sweep()
		}
	}
}

// example is a path that is served.
func (r *Room) example() string { return "/" + strings.TrimPrefix(r.routes[0].prefixText(), "/") }

// handler is the room as it is served.
type handler struct{ *Room }

// ServeHTTP finds the route, and sends what is let through to its upstream.
func (h handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	began := h.now()
	seen := &writer{ResponseWriter: w}
	t, failure := (*route)(nil), error(nil)
	defer func() {
		broken := recover() // an answer that broke off half way (http.ErrAbortHandler)
		if broken != nil && failure == nil {
			failure = errBroken
		}
		h.record(req, t, seen.status, h.now().Sub(began), failure)
		if broken != nil {
			panic(broken)
		}
	}()
	refused := h.foreign(req)
	var p place
	if refused == nil {
		t, p, refused = h.find(req)
	}
	var o *order
	if refused == nil {
		t.meter.under.Inc()
		defer t.meter.under.Dec()
		o, refused = t.read(req, p, h.secret)
	}
	if refused != nil {
		failure = refused
		listen.Unread(w, req)
		refused.write(seen)
		return
	}
	failure = t.serve(seen, req, o, h.secret)
}

var errBroken = errors.New("the answer broke off: the upstream, or the caller, ended it")

// find is the route of a request, and its path there. The path is that of the request
// line, byte for byte.
func (h handler) find(req *http.Request) (*route, place, *refusal) {
	sent, _, _ := strings.Cut(req.RequestURI, "?")
	if sent != req.URL.EscapedPath() {
		return nil, place{}, refuse(http.StatusBadRequest, "bad_path", "the path has characters that are to be escaped")
	}
	p, err := readPath(sent, true)
	if err != nil {
		return nil, place{}, refuse(http.StatusBadRequest, "bad_path", "%v", err)
	}
	for _, t := range h.routes {
		if rest, ok := t.takes(req.Host, p); ok {
			return t, rest, nil
		}
	}
	return nil, place{}, refuse(http.StatusNotFound, "no_route", "no route begins so: see prefix and host of the routes")
}

// record logs one request: no query, no header, nothing of a body.
func (h handler) record(req *http.Request, t *route, status int, took time.Duration, failure error) {
	if status == 0 {
		status = http.StatusOK
	}
	name := ""
	if t != nil {
		name = t.name
		t.meter.answered(status)
	} else {
		h.meters.requests.WithLabelValues("", fmt.Sprintf("%dxx", status/100)).Inc()
	}
	path := req.URL.EscapedPath()
	if len(path) > 256 {
		path = path[:256]
	}
	if strings.Contains(path, h.secret.Reveal()) {
		path = ""
	}
	attrs := []slog.Attr{
		slog.String("route", name), slog.String("method", req.Method), slog.String("path", path),
		slog.Int("status", status), slog.Duration("took", took),
	}
	level := slog.LevelInfo
	if failure != nil {
		attrs = append(attrs, slog.String("error", failure.Error()))
		if status >= 500 && status != statusLeft {
			level = slog.LevelWarn
		}
	}
	h.log.LogAttrs(context.WithoutCancel(req.Context()), level, "proxied a request", attrs...)
}
