package door

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/listen"
	"github.com/cambio-sts/cambio/clients/go/internal/origin"
)

// door is one way in. The guard sees to what is alike for all of them.
type door struct {
	name   string
	owns   func(path string) bool
	method string
	// head is a path that is asked by HEAD as well; empty: none is.
	head string
	// body is how many bytes of a body are read at most; 0: there is none.
	body int64
	// names are hosts by which SDKs know the listener, besides its own address.
	names []string
	// admit says who may come in; nothing has been told of targets by then.
	admit func(*http.Request) error
	// serve answers, or says why not before it has written anything.
	serve func(http.ResponseWriter, *http.Request) error
	// refuse writes a refusal as the SDK knows them.
	refuse func(http.ResponseWriter, *refusal)
}

// house is the doors of one listener.
type house struct {
	room  *Room
	doors []*door
}

// ServeHTTP lets a request in at one of the doors, or refuses it (S36).
func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	d := nowhere
	if i := slices.IndexFunc(h.doors, func(d *door) bool { return d.owns(r.URL.Path) }); i >= 0 {
		d = h.doors[i]
	}
	err := d.guard(r)
	if err == nil {
		err = d.read(w, r)
	}
	if err == nil {
		err = d.admit(r)
	}
	if err == nil {
		err = d.serve(w, r)
	}
	h.room.count(r, d, err)
	if err == nil {
		return
	}
	f := refusalOf(err)
	if r.ContentLength != 0 {
		listen.Unread(w, r)
	}
	if f.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.retryAfter))
	}
	if f.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", d.method)
	}
	d.refuse(w, f)
}

// guard refuses what no SDK sends: what comes by way of a browser or a proxy, and what
// can be read in two ways.
func (d *door) guard(r *http.Request) error {
	switch {
	case !strings.HasPrefix(r.RequestURI, "/") || r.URL.Host != "" || r.URL.RawPath != "" ||
		strings.Contains(r.URL.Path, "//"):
		return &refusal{status: http.StatusBadRequest, code: "invalid_request", text: "the request's target is a plain path"}
	case len(r.Header["Origin"]) > 0 || len(r.Header["Sec-Fetch-Site"]) > 0:
		return &refusal{status: http.StatusForbidden, code: "forbidden", text: "no browser is served here"}
	case !d.knows(r):
		return &refusal{status: http.StatusForbidden, code: "forbidden", text: "the Host is not this listener's: use its address, without a proxy"}
	case r.Method != d.method && (r.Method != http.MethodHead || d.head == "" || r.URL.Path != d.head):
		return &refusal{status: http.StatusMethodNotAllowed, code: "method_not_allowed", text: "the method is " + d.method}
	case r.ContentLength > d.body || d.body == 0 && r.ContentLength != 0:
		return &refusal{status: http.StatusRequestEntityTooLarge, code: "too_large", text: "the body is too large"}
	}
	return nil
}

// bodySilence is how long a caller, of whom nothing is known by then, is waited for to
// send the few bytes of a body: one who sends none would hold a connection for ever.
const bodySilence = 5 * time.Second

// read takes the body in, as a whole and in time.
func (d *door) read(w http.ResponseWriter, r *http.Request) error {
	if d.body == 0 {
		return nil
	}
	text, err := io.ReadAll(listen.Paced(w, http.MaxBytesReader(w, r.Body, d.body), bodySilence))
	var long *http.MaxBytesError
	switch {
	case errors.As(err, &long):
		return &refusal{status: http.StatusRequestEntityTooLarge, code: "too_large", text: "the body is too large"}
	case err != nil:
		return &refusal{status: http.StatusBadRequest, code: "invalid_request", text: "the body did not come whole, and in time"}
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	return nil
}

// knows reports whether the request was meant for this listener: a page whose name was
// made to resolve to loopback has its own name in Host (DNS rebinding).
func (d *door) knows(r *http.Request) bool {
	name, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		if name, port = r.Host, "80"; r.TLS != nil {
			port = "443"
		}
		if bare, ok := strings.CutPrefix(name, "["); ok {
			name = strings.TrimSuffix(bare, "]")
		}
	}
	ip, err := netip.ParseAddr(name)
	loopback := origin.Loopback(name)
	switch at := r.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.UnixAddr:
		return loopback // no browser gets there
	case *net.TCPAddr:
		own := at.AddrPort().Addr().Unmap()
		return port == strconv.Itoa(at.Port) &&
			(err == nil && ip.Unmap() == own || loopback && own.IsLoopback() || !own.IsLoopback() && slices.Contains(d.names, name))
	}
	return false
}

// nowhere is where no door is. It says as little as a wrong secret does.
var nowhere = &door{
	name: "none", method: http.MethodGet,
	admit: func(*http.Request) error {
		return &refusal{status: http.StatusNotFound, code: "not_found", text: "there is nothing here"}
	},
	refuse: plainly,
}

// plainly refuses in words.
func plainly(w http.ResponseWriter, f *refusal) {
	http.Error(w, f.text, f.status)
}
