package gcp_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/gcp"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// authority is what Google's clients trust here: they clone the default transport.
var authority = x509.NewCertPool()

func TestMain(m *testing.M) {
	server := httptest.NewTLSServer(nil)
	authority.AddCert(server.Certificate()) // httptest has one for all its servers
	server.Close()
	http.DefaultTransport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: authority, MinVersion: tls.VersionTLS12}
	os.Exit(m.Run())
}

// google has a target that gives tokens, and a service that takes them.
type google struct {
	mu   sync.Mutex
	good map[string]int // token -> which it is, from 1
	last int
}

func (g *google) target(life time.Duration) standin.Target {
	return func(_ url.Values, n int) standin.Answer {
		token := standin.JWT(map[string]any{"n": n})
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.good == nil {
			g.good = map[string]int{}
		}
		g.good[token] = n
		return standin.Answer{Value: token, Life: life, Scope: "https://www.googleapis.com/auth/cloud-platform"}
	}
}

func (g *google) revoke() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.good)
}

func (g *google) sent() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}

func (g *google) service(t testing.TB) *httptest.Server {
	t.Helper()
	server := g.start()
	t.Cleanup(server.Close)
	return server
}

func (g *google) start() *httptest.Server {
	return httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		g.mu.Lock()
		defer g.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if g.last = g.good[token]; g.last == 0 || r.URL.Path != "/b/reports" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":{"code":401,"message":"Invalid Credentials"}}`)
			return
		}
		_, _ = io.WriteString(w, `{"name":"reports"}`)
	}))
}

func get(t *testing.T, service *storage.Service) error {
	t.Helper()
	_, err := service.Buckets.Get("reports").Context(t.Context()).Do()
	return err
}

func TestGooglesClientSendsWhatTheTargetGives(t *testing.T) {
	server, g := standin.New(t), &google{}
	server.Serve("gcs", g.target(time.Hour))
	tokens := gcp.NewTokenSource(server.Client().TokenSource(cambio.Request{Audience: "gcs"}))
	service, err := storage.NewService(t.Context(), option.WithTokenSource(tokens), option.WithEndpoint(g.service(t).URL+"/"))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := get(t, service); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := server.Exchanges("gcs"); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

// x/oauth2 puts a cache around each source; it asks ours in time.
func TestTheOAuthClientAsksAgainInTime(t *testing.T) {
	server, g := standin.New(t), &google{}
	renewed := make(chan struct{})
	give := g.target(10 * time.Minute)
	server.Serve("gcs", func(form url.Values, n int) standin.Answer {
		if n == 2 {
			defer close(renewed)
		}
		return give(form, n)
	})
	source := server.Client().TokenSource(cambio.Request{Audience: "gcs"})
	tokens := gcp.NewTokenSource(source)
	first, err := tokens.Token()
	if err != nil {
		t.Fatal(err)
	}
	if left := first.Expiry.Sub(server.Clock.Now()); left != 8*time.Minute || first.ExpiresIn != 480 {
		t.Errorf("the first token is to be kept for %v", left)
	}
	server.Clock.Advance(8*time.Minute + time.Second)
	due, err := tokens.Token()
	if err != nil || due.AccessToken != first.AccessToken {
		t.Errorf("nobody waits for what is renewed ahead: %v", err)
	}
	<-renewed
	client := oauth2.NewClient(t.Context(), tokens)
	resp, err := client.Get(g.service(t).URL + "/b/reports")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || g.sent() == 0 {
		t.Errorf("status %d", resp.StatusCode)
	}
	if n := server.Exchanges("gcs"); n != 2 {
		t.Errorf("%d exchanges, want 2", n)
	}
}

func TestAStormOfRefusalsCausesOneRenewal(t *testing.T) {
	server, g := standin.New(t), &google{}
	server.Serve("gcs", g.target(time.Hour))
	source := server.Client().TokenSource(cambio.Request{Audience: "gcs"})
	service, err := storage.NewService(t.Context(),
		option.WithHTTPClient(&http.Client{Transport: source.Transport(nil)}), option.WithEndpoint(g.service(t).URL+"/"))
	if err != nil {
		t.Fatal(err)
	}
	if err := get(t, service); err != nil {
		t.Fatal(err)
	}
	g.revoke()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := get(t, service); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := server.Exchanges("gcs"); n != 2 {
		t.Errorf("%d exchanges, want 2", n)
	}
}

func TestATokenIsServedUntilItDies(t *testing.T) {
	server, g := standin.New(t), &google{}
	server.Serve("gcs", g.target(time.Hour))
	tokens := gcp.NewTokenSource(server.Client().TokenSource(cambio.Request{Audience: "gcs"}))
	if _, err := tokens.Token(); err != nil {
		t.Fatal(err)
	}
	server.Close()
	server.Clock.Advance(58 * time.Minute)
	last, err := tokens.Token()
	if err != nil {
		t.Fatal(err)
	}
	if left := last.Expiry.Sub(server.Clock.Now()); left != 30*time.Second {
		t.Errorf("to be kept for %v", left)
	}
	server.Clock.Advance(2 * time.Minute)
	var refused *cambio.Error
	if _, err := tokens.Token(); !errors.As(err, &refused) || refused.Code != cambio.CodeUnreachable {
		t.Errorf("after the end: %v", err)
	}
}

func TestOtherCredentialsSayWhatToChange(t *testing.T) {
	server := standin.New(t)
	server.Serve("aws", func(url.Values, int) standin.Answer {
		return standin.Answer{Value: "vended-secret-a", Type: "N_A", IssuedTokenType: cambio.TokenTypeAWSCredentials, Life: time.Hour}
	})
	_, err := gcp.NewTokenSource(server.Client().TokenSource(cambio.Request{Audience: "aws"})).Token()
	if err == nil || !strings.Contains(err.Error(), "name a target of provider gcp") || strings.Contains(err.Error(), "vended-secret-") {
		t.Errorf("error %v", err)
	}
}
