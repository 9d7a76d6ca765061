package proxy_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/listen"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/proxy"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// house is an agent's proxy that listens, a Cambio server, and what the log says.
type house struct {
	room     *proxy.Room
	address  string // host:port
	url      string
	registry *prometheus.Registry
	log      *syncBuffer
	server   *http.Server
}

// settle takes nothing new, and waits for what is under way, its log included.
func (h *house) settle(t testing.TB) {
	t.Helper()
	if err := h.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// read decodes settings as the agent does: strictly.
func read(t testing.TB, text string) proxy.Settings {
	t.Helper()
	var s proxy.Settings
	if err := yaml.UnmarshalWithOptions([]byte(text), &s, yaml.Strict()); err != nil {
		t.Fatalf("settings: %v", err)
	}
	return s
}

// serve runs a proxy over real connections. Targets are called gpt, aws and oci.
func serve(t testing.TB, client *cambio.Client, now func() time.Time, settings string) *house {
	t.Helper()
	h := &house{registry: prometheus.NewRegistry(), log: &syncBuffer{}}
	s := read(t, settings)
	network, address := "tcp", "127.0.0.1:0"
	if path, ok := strings.CutPrefix(s.Listen, "unix:"); ok {
		network, address = "unix", path
	} else if s.Listen == "" {
		s.Listen = "127.0.0.1:0"
	}
	room, err := proxy.New(s, proxy.Deps{
		Targets: target.New(client, map[string]target.Settings{"gpt": {}, "aws": {}, "oci": {}}),
		Log:     slog.New(slog.NewJSONHandler(h.log, nil)), Now: now, Random: rand.Reader, Registry: h.registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.room = room
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	h.address = l.Addr().String()
	h.url = "http://" + h.address
	server := &http.Server{Handler: room.Handlers()[s.Listen], ConnContext: listen.WithConn, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	h.server = server
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l)
	}()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- room.Run(ctx) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		silent(t, h)
	})
	return h
}

var secretive = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}|vended-secret-|PRIVATE KEY|user-cookie-`)

// silent: whatever a test did, the log has no secret.
func silent(t testing.TB, h *house) {
	t.Helper()
	log := h.log.String()
	if found := secretive.FindString(log); found != "" || strings.Contains(log, h.room.Secret().Reveal()) {
		t.Errorf("the log has a secret (%.12s…)", found)
	}
}

// upstream is a TLS server whose CA is in a file.
type upstream struct {
	*httptest.Server
	ca string
}

func newUpstream(t testing.TB, handler http.HandlerFunc, options ...func(*httptest.Server)) *upstream {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	for _, option := range options {
		option(s)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return &upstream{s, ca}
}

// vend gives tokens "vended-secret-1" and on.
func vend(life time.Duration) standin.Target {
	return func(_ url.Values, n int) standin.Answer {
		return standin.Answer{Value: fmt.Sprintf("vended-secret-%d", n), Life: life}
	}
}

// ask sends one request, with the secret of the start, and reads the answer.
func (h *house) ask(t testing.TB, method, path string, body io.Reader, edit func(*http.Request)) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, h.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.room.Secret().Reveal())
	if edit != nil {
		edit(req)
	}
	resp, err := (&http.Transport{DisableKeepAlives: true, DisableCompression: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// raw sends bytes, and reads until the proxy closes the connection.
func (h *house) raw(t testing.TB, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", h.address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(c)
	return string(answer)
}
