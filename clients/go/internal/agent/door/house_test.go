package door_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/door"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/listen"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// life is that of what the stand-in vends.
const life = time.Hour

// vended marks what logs must not have.
const vended = "vended-secret-"

// agent is a room whose doors are bound, before a server that vends to it.
type agent struct {
	*door.Room
	t        *testing.T
	cambio   *standin.Server
	targets  *target.Targets
	registry *prometheus.Registry
	bound    map[string]string
	log      *bytes.Buffer
}

var names = []string{"bedrock", "sagemaker", "vertex", "run-id", "azure-openai", "azure-search", "oci-genai", "watsonx", "db", "api-key"}

// newCambio is a server with a target of each kind.
func newCambio(t *testing.T) *standin.Server {
	t.Helper()
	s := standin.New(t)
	for _, name := range []string{"bedrock", "sagemaker"} {
		s.Serve(name, func(_ url.Values, n int) standin.Answer {
			text, _ := json.Marshal(map[string]any{
				"Version": 1, "AccessKeyId": "ASIA" + strings.ToUpper(name), "SecretAccessKey": vended + "key", "SessionToken": vended + name,
				"Expiration": "2001-01-01T00:00:00Z", // by a clock that is wrong: nobody looks at it
			})
			return standin.Answer{Value: string(text), Type: "N_A", IssuedTokenType: cambio.TokenTypeAWSCredentials, Life: life}
		})
	}
	s.Serve("watsonx", func(url.Values, int) standin.Answer {
		now := s.Clock.Now()
		return standin.Answer{Value: standin.JWT(map[string]any{"iat": now.Unix(), "exp": now.Add(life).Unix()}), Life: life}
	})
	for _, name := range []string{"vertex", "azure-openai", "azure-search"} {
		s.Serve(name, func(form url.Values, n int) standin.Answer {
			return standin.Answer{Value: vended + name + strings.ReplaceAll(form.Get("scope"), " ", "+"), Life: life}
		})
	}
	s.Serve("run-id", func(url.Values, int) standin.Answer {
		return standin.Answer{Value: standin.JWT(map[string]any{"aud": "https://run.example", "exp": s.Clock.Now().Add(life).Unix()}), Type: "N_A", IssuedTokenType: cambio.TokenTypeIDToken, Life: life}
	})
	s.Serve("db", func(_ url.Values, n int) standin.Answer {
		return standin.Answer{
			Value: `{"lease_id":"database/creds/app/1","renewable":true,"data":{"username":"v-app","password":"` + vended + `db"}}`,
			Type:  "N_A", IssuedTokenType: cambio.TokenTypeVaultLease, Life: life,
		}
	})
	s.Serve("api-key", func(url.Values, int) standin.Answer {
		return standin.Answer{Value: vended + "api-key", Type: "N_A", IssuedTokenType: cambio.TokenTypeSecret, Life: life}
	})
	s.Serve("oci-genai", func(form url.Values, n int) standin.Answer {
		der, err := base64.StdEncoding.DecodeString(form.Get("public_key"))
		key, err2 := x509.ParsePKIXPublicKey(der)
		public, ok := key.(*rsa.PublicKey)
		if err != nil || err2 != nil || !ok || public.N.BitLen() < 2048 {
			return standin.Answer{Status: http.StatusBadRequest, Code: "invalid_request", Description: "public_key is no RSA key"}
		}
		now := s.Clock.Now()
		token := standin.JWT(map[string]any{
			"sub": "ocid1.x", "res_tenant": "ocid1.tenancy.oc1..t", "iat": now.Unix(), "exp": now.Add(life).Unix(),
			"jwk": base64.RawURLEncoding.EncodeToString(public.N.Bytes()),
		})
		text, _ := json.Marshal(map[string]string{"token": token, "key_id": "ST$" + token, "region": "us-ashburn-1", "tenancy": "ocid1.tenancy.oc1..t", "expires_at": now.Add(life).Format(time.RFC3339)})
		return standin.Answer{Value: string(text), Type: "N_A", IssuedTokenType: cambio.TokenTypeOCIRPST, Life: life}
	})
	return s
}

// open makes the room of settings and binds it.
func open(t *testing.T, s *standin.Server, settings door.Settings, previous *door.Room) *agent {
	t.Helper()
	if faults := settings.Check(names); len(faults) > 0 {
		t.Fatal(faults)
	}
	known := map[string]target.Settings{}
	for _, name := range names {
		known[name] = target.Settings{}
	}
	a := &agent{t: t, cambio: s, registry: prometheus.NewRegistry(), bound: map[string]string{}, log: &bytes.Buffer{}}
	a.targets = target.New(s.Client(), known)
	log := &locked{to: a.log}
	room, err := door.New(settings, door.Deps{
		Targets: a.targets, Log: slog.New(slog.NewJSONHandler(log, nil)), Now: s.Clock.Now, Registry: a.registry, Previous: previous,
	})
	if err != nil {
		t.Fatal(err)
	}
	a.Room = room
	for address, handler := range room.Handlers() {
		network, at := "tcp", address
		if path, ok := strings.CutPrefix(address, "unix:"); ok {
			network, at = "unix", path
		}
		l, err := net.Listen(network, at)
		if err != nil {
			t.Fatal(err)
		}
		a.bound[address] = l.Addr().String()
		if config := room.TLS()[address]; config != nil {
			l = tls.NewListener(l, config)
		}
		server := &http.Server{Handler: handler, ConnContext: listen.WithConn, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(l) }()
		t.Cleanup(func() { _ = server.Close() })
	}
	t.Cleanup(func() {
		log.mu.Lock()
		defer log.mu.Unlock()
		text := a.log.String()
		for _, secret := range []string{vended, "eyJ", "PRIVATE KEY", a.Env(nil)["IDENTITY_HEADER"], a.Env(nil)["VAULT_TOKEN"]} {
			if secret != "" && strings.Contains(text, secret) {
				t.Error("the log holds a secret")
			}
		}
	})
	return a
}

// environment sets what an SDK's process is started with.
func (a *agent) environment() {
	a.t.Helper()
	if err := a.Once(a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
	for name, value := range a.Env(a.bound) {
		a.t.Setenv(name, value)
	}
}

type locked struct {
	mu sync.Mutex
	to *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(p)
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func mode(t *testing.T, path ...string) os.FileMode {
	t.Helper()
	info, err := os.Stat(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// until calls f for each wait of Run, and ends it when f says so.
func (a *agent) until(f func(n int, d time.Duration) bool) {
	a.t.Helper()
	ctx, cancel := context.WithCancel(a.t.Context())
	defer cancel()
	n := 0
	a.Waiting(func(_ context.Context, d time.Duration) bool {
		n++
		return f(n, d)
	})
	if err := a.Run(ctx); err != nil {
		a.t.Fatal(err)
	}
}
