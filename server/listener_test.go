package server_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/cambio-sts/cambio/server"
)

// listen runs a server until the test ends.
func listen(t *testing.T, o server.Options) *server.Server {
	t.Helper()
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s, err := server.Listen(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("stopping: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("serving: %v", err)
		}
	})
	return s
}

// dial is a client that speaks exactly the protocols named.
func dial(t *testing.T, config *tls.Config, set func(*http.Protocols)) *http.Client {
	t.Helper()
	p := new(http.Protocols)
	set(p)
	transport := &http.Transport{TLSClientConfig: config.Clone(), Protocols: p} // it writes into its configuration
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func http1(p *http.Protocols) { p.SetHTTP1(true) }
func http2(p *http.Protocols) { p.SetHTTP2(true) }
func h2c(p *http.Protocols)   { p.SetUnencryptedHTTP2(true) }

var protocol = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) })

func body(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	response, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestOnePortSpeaksEverything(t *testing.T) {
	files := newCertificate(t, "cambio")
	services := grpc.NewServer()
	healthpb.RegisterHealthServer(services, health.NewServer())
	plain := listen(t, server.Options{Handler: protocol, GRPC: services})
	secure := listen(t, server.Options{Handler: protocol, GRPC: services, CertFile: files.certFile, KeyFile: files.keyFile})
	t.Cleanup(services.Stop)
	config := &tls.Config{RootCAs: files.roots}

	for name, c := range map[string]struct {
		s    *server.Server
		set  func(*http.Protocols)
		want string
	}{
		"HTTP/1.1 in the clear": {plain, http1, "HTTP/1.1"}, "HTTP/2 in the clear": {plain, h2c, "HTTP/2.0"},
		"HTTP/1.1 over TLS": {secure, http1, "HTTP/1.1"}, "HTTP/2 over TLS": {secure, http2, "HTTP/2.0"},
	} {
		if got := body(t, dial(t, config, c.set), c.s.URL()); got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
	for name, c := range map[string]struct {
		s    *server.Server
		with credentials.TransportCredentials
	}{"gRPC in the clear": {plain, insecure.NewCredentials()}, "gRPC over TLS": {secure, credentials.NewTLS(config)}} {
		conn, err := grpc.NewClient(c.s.Addr().String(), grpc.WithTransportCredentials(c.with))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		answer, err := healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{})
		if err != nil || answer.Status != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("%s: %v %v", name, answer, err)
		}
		if _, err := healthpb.NewHealthClient(conn).Check(context.Background(), &healthpb.HealthCheckRequest{Service: "absent"}); status.Code(err) != codes.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	// gRPC needs HTTP/2; gRPC-Web is another protocol.
	for _, media := range []string{"application/grpc", "application/grpc-web+proto", "application/json"} {
		c, want := dial(t, config, http1), "HTTP/1.1"
		if media != "application/grpc" {
			c, want = dial(t, config, http2), "HTTP/2.0"
		}
		response, err := c.Post(secure.URL(), media, strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if string(b) != want {
			t.Errorf("%s: %q", media, b)
		}
	}
}

func TestPlaintextNeedsLoopbackOrAWord(t *testing.T) {
	for _, address := range []string{":0", "0.0.0.0:0", "[::]:0"} {
		if s, err := server.Listen(context.Background(), server.Options{Address: address, Handler: protocol}); err == nil || !strings.Contains(err.Error(), "plaintext: true") {
			t.Errorf("%s: %v %v", address, s, err)
		}
		listen(t, server.Options{Address: address, Handler: protocol, Plaintext: true})
	}
	listen(t, server.Options{Address: "localhost:0", Handler: protocol})
	files := newCertificate(t, "cambio")
	listen(t, server.Options{Address: ":0", Handler: protocol, CertFile: files.certFile, KeyFile: files.keyFile})
	for _, o := range []server.Options{
		{CertFile: files.certFile}, {KeyFile: files.keyFile}, {CertFile: files.keyFile, KeyFile: files.certFile},
		{CertFile: files.certFile + ".absent", KeyFile: files.keyFile},
	} {
		o.Address, o.Handler = "127.0.0.1:0", protocol
		if _, err := server.Listen(context.Background(), o); err == nil {
			t.Errorf("%+v listens", o)
		}
	}
	if _, err := server.Listen(context.Background(), server.Options{Address: "203.0.113.1:1", Handler: protocol}); err == nil {
		t.Error("listens on a neighbour's address")
	}
}

func TestTLSIsModern(t *testing.T) {
	files := newCertificate(t, "cambio")
	s := listen(t, server.Options{Handler: protocol, CertFile: files.certFile, KeyFile: files.keyFile})
	for version, ok := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", s.Addr().String(), &tls.Config{RootCAs: files.roots, MinVersion: tls.VersionTLS10, MaxVersion: version})
		if (err == nil) != ok {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

// The listener serves a renewed certificate, without a restart, and says so.
func TestTheListenerTakesARenewedCertificate(t *testing.T) {
	files := newCertificate(t, "first")
	said := make(chan string, 16)
	s := listen(t, server.Options{
		Handler: protocol, CertFile: files.certFile, KeyFile: files.keyFile, ReloadEvery: time.Millisecond,
		Logger: slog.New(lines{said}),
	})
	presented := func() string {
		conn, err := tls.Dial("tcp", s.Addr().String(), &tls.Config{RootCAs: files.roots})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := presented(); got != "first" {
		t.Errorf("serves %s", got)
	}
	files.write(files.certFile, []byte("garbage"))
	if got := <-said; !strings.Contains(got, "the old one stays") || presented() != "first" {
		t.Errorf("%s, and serves %s", got, presented())
	}
	files.renew("second")
	for got := range said { // a half-written pair may be complained of in between
		if strings.Contains(got, "was reloaded") {
			break
		}
	}
	if got := presented(); got != "second" {
		t.Errorf("serves %s", got)
	}
}

// lines is a log handler that sends on what was said.
type lines struct{ out chan<- string }

func (l lines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l lines) Handle(_ context.Context, r slog.Record) error    { l.out <- r.Message; return nil }
func (l lines) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l lines) WithGroup(string) slog.Handler                    { return l }

// Whoever opens a connection and says nothing, or says it slowly, is cut off.
func TestSlowHeadersAreCut(t *testing.T) {
	s := listen(t, server.Options{Handler: protocol, ReadHeaderTimeout: 30 * time.Millisecond})
	for _, begun := range []string{"", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow:"} {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, begun); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.ReadAll(conn); err != nil {
			t.Errorf("after %q: %v", begun, err) // a timeout of ours: it was not cut
		}
		_ = conn.Close()
	}
}

func TestHugeHeadersAreRefused(t *testing.T) {
	s := listen(t, server.Options{Handler: protocol})
	r, err := http.NewRequest(http.MethodGet, s.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Filler", strings.Repeat("a", 64<<10))
	response, err := dial(t, nil, http1).Do(r)
	if err == nil {
		defer response.Body.Close()
		if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%d", response.StatusCode)
		}
	}
}
