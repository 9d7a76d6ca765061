package server_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/server"
)

// open runs a server whose stop is the test's own business.
func open(t *testing.T, h http.Handler) (*server.Server, <-chan error) {
	t.Helper()
	s, err := server.Listen(context.Background(), server.Options{Address: "127.0.0.1:0", Handler: h, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	return s, served
}

func patience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestStoppingLetsAnswersOut(t *testing.T) {
	for name, set := range map[string]func(*http.Protocols){"HTTP/1.1": http1, "HTTP/2": h2c} {
		t.Run(name, func(t *testing.T) {
			arrived, release := make(chan struct{}), make(chan struct{})
			s, served := open(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				close(arrived)
				<-release
				_, _ = io.WriteString(w, "issued")
			}))
			c, got := dial(t, nil, set), make(chan string, 1)
			go func() {
				response, err := c.Get(s.URL())
				if err != nil {
					got <- err.Error()
					return
				}
				defer response.Body.Close()
				b, _ := io.ReadAll(response.Body)
				got <- string(b)
			}()
			<-arrived
			stopped := make(chan error, 1)
			go func() { stopped <- s.Shutdown(patience(t)) }()
			if err := <-served; err != nil { // accepting has ended
				t.Errorf("serving: %v", err)
			}
			if _, err := dial(t, nil, set).Get(s.URL()); err == nil {
				t.Error("a new caller was let in")
			}
			select {
			case err := <-stopped:
				t.Fatalf("stopped with an answer outstanding: %v", err)
			default:
			}
			close(release)
			if err := <-stopped; err != nil {
				t.Errorf("stopping: %v", err)
			}
			if text := <-got; text != "issued" {
				t.Errorf("the caller got %q", text)
			}
		})
	}
}

// A caller who hangs up leaves work behind: its exchange is settled before the
// process goes.
func TestStoppingWaitsForWorkWhoseCallerHungUp(t *testing.T) {
	for name, set := range map[string]func(*http.Protocols){"HTTP/1.1": http1, "HTTP/2": h2c} {
		t.Run(name, func(t *testing.T) {
			arrived, gone, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
			var settled atomic.Bool
			s, served := open(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				close(arrived)
				<-r.Context().Done()
				close(gone)
				<-release
				settled.Store(true)
			}))
			ctx, hangUp := context.WithCancel(context.Background())
			c := dial(t, nil, set)
			go func() {
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL(), nil)
				if err == nil {
					_, err = c.Do(r)
				}
				if !errors.Is(err, context.Canceled) {
					t.Errorf("%v", err)
				}
				c.CloseIdleConnections()
			}()
			<-arrived
			hangUp()
			<-gone
			stopped := make(chan error, 1)
			go func() { stopped <- s.Shutdown(patience(t)) }()
			<-served
			select {
			case err := <-stopped:
				t.Fatalf("stopped before the work was done: %v", err)
			default:
			}
			close(release)
			if err := <-stopped; err != nil || !settled.Load() {
				t.Errorf("stopping: %v, settled %v", err, settled.Load())
			}
		})
	}
}

// What does not end in time is cut, counted and said.
func TestStoppingGivesUpInTheEnd(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	s, served := open(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-release
	}))
	c := dial(t, nil, http1)
	cut := make(chan error, 1)
	go func() {
		_, err := c.Get(s.URL())
		cut <- err
	}()
	<-arrived
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "1 requests") {
		t.Errorf("stopping: %v", err)
	}
	if err := <-cut; err == nil {
		t.Error("the caller was answered")
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	close(release)
}

func TestStoppingWhatNeverServed(t *testing.T) {
	s, err := server.Listen(context.Background(), server.Options{Address: "127.0.0.1:0", Handler: protocol, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if again, err := server.Listen(context.Background(), server.Options{Address: s.Addr().String(), Handler: protocol, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Errorf("the port is still taken: %v", err)
	} else if err := again.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
