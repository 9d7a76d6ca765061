package listen_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/listen"
)

const anyPort = "127.0.0.1:0"

func newSet(t *testing.T, drain time.Duration) *listen.Set {
	s := listen.New(slog.New(slog.DiscardHandler), drain)
	t.Cleanup(s.Close)
	return s
}

func says(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
}

func ask(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestExchangeUnderLoad exchanges the handler two hundred times while eight clients ask:
// each request is answered.
func TestExchangeUnderLoad(t *testing.T) {
	s := newSet(t, time.Minute)
	if err := s.Update(map[string]listen.Endpoint{anyPort: {Handler: says("0")}}); err != nil {
		t.Fatal(err)
	}
	url := "http://" + s.Bound()[anyPort]
	var stop atomic.Bool
	var asked, failed atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for !stop.Load() {
				resp, err := http.Get(url)
				asked.Add(1)
				if err != nil {
					failed.Add(1)
					continue
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
					failed.Add(1)
				}
				_ = resp.Body.Close()
			}
		})
	}
	for i := range 200 {
		if err := s.Update(map[string]listen.Endpoint{anyPort: {Handler: says(fmt.Sprint(i))}}); err != nil {
			t.Error(err)
		}
		before := asked.Load()
		for asked.Load() == before { // somebody asked this one
			if resp, err := http.Get(url); err == nil {
				_ = resp.Body.Close()
			}
		}
	}
	stop.Store(true)
	clients.Wait()
	if failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), asked.Load())
	}
}

// TestDrain: an address that is given up takes nothing new, and what is under way ends
// well, with the handler that it began with.
func TestDrain(t *testing.T) {
	s := newSet(t, time.Minute)
	arrived, goOn := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-goOn
		fmt.Fprint(w, "whole")
	})
	if err := s.Update(map[string]listen.Endpoint{anyPort: {Handler: slow}}); err != nil {
		t.Fatal(err)
	}
	at := s.Bound()[anyPort]
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + at)
		if err != nil {
			answer <- err.Error()
			return
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		answer <- string(text)
	}()
	<-arrived
	if err := s.Update(nil); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", at); err == nil {
		_ = c.Close()
		t.Error("the address that was given up takes connections")
	}
	if err := s.Update(map[string]listen.Endpoint{at: {Handler: says("next")}}); err != nil {
		t.Errorf("the address cannot be taken again: %v", err)
	}
	close(goOn)
	if got := <-answer; got != "whole" {
		t.Errorf("the request under way got %q", got)
	}
	if got := ask(t, http.DefaultClient, "http://"+at); got != "next" {
		t.Errorf("got %q", got)
	}
}

// TestDrainEnds: what does not end in time is cut off.
func TestDrainEnds(t *testing.T) {
	s := newSet(t, time.Millisecond)
	arrived := make(chan struct{})
	if err := s.Update(map[string]listen.Endpoint{anyPort: {Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})}}); err != nil {
		t.Fatal(err)
	}
	at := s.Bound()[anyPort]
	ended := make(chan error, 1)
	go func() {
		resp, err := http.Get("http://" + at)
		if err == nil {
			_ = resp.Body.Close()
		}
		ended <- err
	}()
	<-arrived
	s.Close()
	if err := <-ended; err == nil {
		t.Error("a request without end was answered")
	}
}

// TestAllOrNothing: if one address is taken, what was served is served on.
func TestAllOrNothing(t *testing.T) {
	s := newSet(t, time.Minute)
	taken, err := net.Listen("tcp", anyPort)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := s.Update(map[string]listen.Endpoint{anyPort: {Handler: says("old")}}); err != nil {
		t.Fatal(err)
	}
	url := "http://" + s.Bound()[anyPort]
	free := "unix:" + filepath.Join(t.TempDir(), "s")
	err = s.Update(map[string]listen.Endpoint{anyPort: {Handler: says("new")}, free: {Handler: says("new")}, taken.Addr().String(): {Handler: says("new")}})
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) || !strings.Contains(err.Error(), "free the address") {
		t.Errorf("got %v", err)
	}
	if got := ask(t, http.DefaultClient, url); got != "old" {
		t.Errorf("got %q", got)
	}
	if len(s.Bound()) != 1 {
		t.Errorf("bound: %v", s.Bound())
	}
	if _, err := os.Lstat(strings.TrimPrefix(free, "unix:")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a socket was left: %v", err)
	}
}

func TestTLSComesAndGoes(t *testing.T) {
	s := newSet(t, time.Minute)
	model := httptest.NewTLSServer(says("x"))
	defer model.Close()
	config := &tls.Config{Certificates: model.TLS.Certificates}
	var conn net.Conn
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn = listen.Conn(r.Context())
		fmt.Fprint(w, r.TLS != nil)
	})
	for _, test := range []struct {
		config *tls.Config
		scheme string
		want   string
	}{{config, "https", "true"}, {nil, "http", "false"}, {config, "https", "true"}} {
		if err := s.Update(map[string]listen.Endpoint{anyPort: {Handler: handler, TLS: test.config}}); err != nil {
			t.Fatal(err)
		}
		model.Client().CloseIdleConnections()
		if got := ask(t, model.Client(), test.scheme+"://"+s.Bound()[anyPort]); got != test.want {
			t.Errorf("%s: got %s", test.scheme, got)
		}
		if conn == nil {
			t.Error("the handler sees no connection")
		}
	}
	if listen.Conn(context.Background()) != nil {
		t.Error("a connection from nowhere")
	}
}

// TestS36SocketsAreTheirOwners: no moment at which others may connect.
func TestS36SocketsAreTheirOwners(t *testing.T) {
	s := newSet(t, time.Minute)
	dir := t.TempDir()
	path := filepath.Join(dir, "agent.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	_ = dead.Close() // its socket stays, as after a crash
	if err := s.Update(map[string]listen.Endpoint{"unix:" + path: {Handler: says("unix")}}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	if got := ask(t, client, "http://agent/"); got != "unix" {
		t.Errorf("got %q", got)
	}
	client.CloseIdleConnections()
	if got := s.Bound()["unix:"+path]; got != "unix:"+path {
		t.Errorf("bound at %q", got)
	}
	other := newSet(t, time.Minute)
	for at, want := range map[string]string{
		path:                              "somebody listens there",
		"relative":                        "absolute path",
		dir:                               "no socket",
		"/" + strings.Repeat("long/", 40): "at most",
		filepath.Join(dir, "absent", "s"): "no such file",
	} {
		if err := other.Update(map[string]listen.Endpoint{"unix:" + at: {Handler: says("x")}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", at, err, want)
		}
	}
	if err := s.Update(map[string]listen.Endpoint{"unix:" + path + "2": {Handler: says("x"), Mode: 0o666}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket that was given up is there: %v", err)
	}
	if info, err := os.Lstat(path + "2"); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("mode %v, %v", info, err)
	}
}
