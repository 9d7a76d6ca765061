package listen_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/listen"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// full is a log that hears when somebody waits for a place.
type full chan string

func (full) Enabled(context.Context, slog.Level) bool { return true }

func (f full) Handle(_ context.Context, r slog.Record) error {
	if r.Level == slog.LevelWarn {
		f <- r.Message
	}
	return nil
}

func (f full) WithAttrs([]slog.Attr) slog.Handler { return f }
func (f full) WithGroup(string) slog.Handler      { return f }

// door lets a request in by its path, and out when it is told to.
type door struct {
	in  chan string
	out map[string]chan struct{}
}

func newDoor(names ...string) *door {
	d := &door{in: make(chan string, len(names)), out: map[string]chan struct{}{}}
	for _, name := range names {
		d.out[name] = make(chan struct{})
	}
	return d
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.in <- r.URL.Path
	<-d.out[r.URL.Path]
	fmt.Fprint(w, r.URL.Path)
}

// visitor is one connection that asks for a path, and keeps it afterwards.
type visitor struct {
	net.Conn
	answers *bufio.Reader
}

func visit(t *testing.T, at, path string) *visitor {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	v := &visitor{c, bufio.NewReader(c)}
	v.ask(t, path)
	return v
}

func (v *visitor) ask(t *testing.T, path string) {
	t.Helper()
	if _, err := fmt.Fprintf(v, "GET %s HTTP/1.1\r\nHost: agent\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
}

func (v *visitor) hear(t *testing.T, want string) {
	t.Helper()
	resp, err := http.ReadResponse(v.answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil || string(text) != want {
		t.Fatalf("got %q, %v; want %q", text, err, want)
	}
}

// closed waits until the server has closed the connection.
func (v *visitor) closed(t *testing.T) {
	t.Helper()
	if _, err := v.answers.ReadByte(); !errors.Is(err, io.EOF) {
		t.Fatalf("not closed: %v", err)
	}
}

// While every place is taken those who have one are served, and who comes then waits until
// one of them is done.
func TestS36AFullListenerServesWhoIsIn(t *testing.T) {
	log, d := make(full, 1), newDoor("/1", "/2", "/3", "/4")
	s := listen.New(slog.New(log), time.Minute)
	defer s.Close()
	if err := s.Update(map[string]listen.Endpoint{anyPort: {Handler: d, Places: 2}}); err != nil {
		t.Fatal(err)
	}
	at := s.Bound()[anyPort]
	visitors := map[string]*visitor{}
	enter := func(want ...string) {
		t.Helper()
		for range want {
			if path := <-d.in; !strings.Contains(strings.Join(want, " "), path) {
				t.Fatalf("%s is in, not %v", path, want)
			}
		}
	}
	for _, path := range []string{"/1", "/2", "/3"} {
		visitors[path] = visit(t, at, path)
		if path != "/3" {
			enter(path)
		}
	}
	if said := <-log; !strings.Contains(said, "waits") {
		t.Errorf("the log has %q", said)
	}
	if len(d.in) > 0 {
		t.Fatal("a third is in")
	}
	visitors["/4"] = visit(t, at, "/4")
	for _, step := range []struct{ done, next string }{{"/2", "/3"}, {"/1", "/4"}} {
		close(d.out[step.done])
		visitors[step.done].hear(t, step.done)
		enter(step.next)
		visitors[step.done].closed(t)
	}
	for _, path := range []string{"/3", "/4"} {
		close(d.out[path])
		visitors[path].hear(t, path)
	}
}

// A connection that waits for its next request makes room for one that has a request.
func TestS36IdleConnectionsMakeRoom(t *testing.T) {
	s := newSet(t, time.Minute)
	model := httptest.NewTLSServer(says("x"))
	defer model.Close()
	for name, config := range map[string]*tls.Config{"plain": nil, "TLS": {Certificates: model.TLS.Certificates}} {
		t.Run(name, func(t *testing.T) {
			if err := s.Update(map[string]listen.Endpoint{anyPort: {Handler: says("in"), TLS: config, Places: 3}}); err != nil {
				t.Fatal(err)
			}
			dial := func() *visitor {
				c, err := net.Dial("tcp", s.Bound()[anyPort])
				if err != nil {
					t.Fatal(err)
				}
				if config != nil {
					c = tls.Client(c, &tls.Config{RootCAs: model.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"})
				}
				return &visitor{c, bufio.NewReader(c)}
			}
			for range 50 { // none of them leaves by itself
				v := dial()
				defer v.Close()
				v.ask(t, "/")
				v.hear(t, "in")
			}
		})
	}
}

// A reload changes how many places there are, and nobody loses his.
func TestPlacesAreAddedByAReload(t *testing.T) {
	log, d := make(full, 1), newDoor("/1", "/2", "/3")
	s := listen.New(slog.New(log), time.Minute)
	defer s.Close()
	update := func(places int) {
		if err := s.Update(map[string]listen.Endpoint{anyPort: {Handler: d, Places: places}}); err != nil {
			t.Fatal(err)
		}
	}
	update(1)
	at := s.Bound()[anyPort]
	one := visit(t, at, "/1")
	<-d.in
	two := visit(t, at, "/2")
	<-log
	update(2)
	if path := <-d.in; path != "/2" {
		t.Errorf("%s is in", path)
	}
	update(1)
	close(d.out["/1"])
	close(d.out["/2"])
	close(d.out["/3"])
	one.hear(t, "/1")
	two.hear(t, "/2")
	visit(t, at, "/3").hear(t, "/3")
}

// A connection that a handler took over has its place until it is closed.
func TestAnUpgradedConnectionKeepsItsPlace(t *testing.T) {
	log, taken := make(full, 1), make(chan net.Conn, 2)
	s := listen.New(slog.New(log), time.Minute)
	defer s.Close()
	if err := s.Update(map[string]listen.Endpoint{anyPort: {Places: 1, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
		}
		taken <- c
	})}}); err != nil {
		t.Fatal(err)
	}
	at := s.Bound()[anyPort]
	visit(t, at, "/")
	first := <-taken
	visit(t, at, "/")
	<-log
	if len(taken) > 0 {
		t.Error("a second is in")
	}
	_ = first.Close()
	_ = first.Close() // gives no second place back
	_ = (<-taken).Close()
}

// Nobody waits at an address that was given up.
func TestWhoWaitsIsLetGoAtTheEnd(t *testing.T) {
	log, d := make(full, 1), newDoor("/1", "/2")
	s := listen.New(slog.New(log), time.Minute)
	if err := s.Update(map[string]listen.Endpoint{anyPort: {Handler: d, Places: 1}}); err != nil {
		t.Fatal(err)
	}
	at := s.Bound()[anyPort]
	one := visit(t, at, "/1")
	<-d.in
	two := visit(t, at, "/2")
	<-log
	if err := s.Update(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := two.answers.ReadByte(); err == nil {
		t.Error("who waited has an answer")
	}
	close(d.out["/1"])
	one.hear(t, "/1")
	s.Close()
}

// Nobody holds a connection for ever, whatever is not sent.
func TestS36NobodyHoldsAPlaceForEver(t *testing.T) {
	const head = "GET / HTTP/1.1\r\nHost: " + standin.PipeHost + "\r\n"
	for name, c := range map[string]struct {
		endpoint listen.Endpoint
		send     string
		want     time.Duration
	}{
		"nothing is sent":         {listen.Endpoint{Handler: says("x")}, "", 10 * time.Second},
		"half a header":           {listen.Endpoint{Handler: says("x")}, head, 10 * time.Second},
		"half of the next header": {listen.Endpoint{Handler: says("x")}, head + "\r\n" + head, 10 * time.Second},
		"no next request":         {listen.Endpoint{Handler: says("x")}, head + "\r\n", 2 * time.Minute},
		"none of a body":          {listen.Endpoint{Handler: says("x"), Within: time.Hour}, head + "Content-Length: 9\r\n\r\n", time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			if held, _ := standin.HeldFor(t, listen.Served(c.endpoint), c.send); held < c.want || held > c.want+3*time.Second {
				t.Errorf("held for %v, want %v", held, c.want)
			}
		})
	}
}

// single is a listener of one connection.
type single struct {
	conns chan net.Conn
	net.Listener
}

func (l *single) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (l *single) Addr() net.Addr { return &net.UnixAddr{} }
func (l *single) Close() error   { return nil }

// Who asks and does not read the answer is let go, unless the answer may be a stream.
func TestS36AnAnswerThatNobodyReadsEnds(t *testing.T) {
	for within, want := range map[time.Duration]time.Duration{time.Hour: time.Hour, 0: 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			client, conn := net.Pipe()
			wrote := make(chan error, 1)
			server := listen.Served(listen.Endpoint{Within: within, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, err := io.Copy(w, strings.NewReader(strings.Repeat("x", 64<<10)))
				wrote <- err
			})})
			l := &single{conns: make(chan net.Conn, 1)}
			l.conns <- conn
			began := time.Now()
			go func() { _ = server.Serve(l) }()
			if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: agent\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			wakes := time.AfterFunc(24*time.Hour, func() { _, _ = io.Copy(io.Discard, client) })
			err := <-wrote
			wakes.Stop()
			if took := time.Since(began); took != want || (err == nil) != (within == 0) {
				t.Errorf("within %v: ended after %v, %v", within, took, err)
			}
			close(l.conns)
			_ = server.Close()
			synctest.Wait()
		})
	}
}
