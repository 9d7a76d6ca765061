package azure_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/azure"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

const (
	openai = "https://cognitiveservices.azure.com/.default"
	blobs  = "https://storage.azure.com/.default"
)

// entra is a target that gives tokens of a scope; they are known by the service.
type entra struct {
	mu    sync.Mutex
	good  map[string]string // token -> scope
	calls int
}

func (e *entra) target(scope string, life time.Duration) standin.Target {
	return func(url.Values, int) standin.Answer {
		token := standin.JWT(map[string]any{"aud": scope})
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.good == nil {
			e.good = map[string]string{}
		}
		e.good[token] = scope
		return standin.Answer{Value: token, Life: life, Scope: scope}
	}
}

// revoke has what was given up to now refused, and more claims asked for.
func (e *entra) revoke() {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.good)
}

// service takes tokens of a scope, as a resource with continuous access evaluation does.
func (e *entra) service(t *testing.T, scope string) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		e.mu.Lock()
		defer e.mu.Unlock()
		e.calls++
		if e.good[token] != scope {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="", error="insufficient_claims", claims="%s"`,
				base64.StdEncoding.EncodeToString([]byte(`{"access_token":{"nbf":{"essential":true}}}`))))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, "ok")
	}))
	t.Cleanup(server.Close)
	return server
}

// call sends a request through the SDK's pipeline.
func call(t *testing.T, server *httptest.Server, pipeline runtime.Pipeline) (int, error) {
	t.Helper()
	req, err := runtime.NewRequest(t.Context(), http.MethodGet, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := pipeline.Do(req)
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close()
	return resp.StatusCode, nil
}

func pipeline(server *httptest.Server, credential azcore.TokenCredential, scope string) runtime.Pipeline {
	return runtime.NewPipeline("cambio", "v1", runtime.PipelineOptions{
		PerRetry: []policy.Policy{runtime.NewBearerTokenPolicy(credential, []string{scope}, nil)},
	}, &policy.ClientOptions{Transport: server.Client(), Retry: policy.RetryOptions{MaxRetries: -1}})
}

func TestTheSDKSendsWhatTheTargetGives(t *testing.T) {
	server, e := standin.New(t), &entra{}
	server.Serve("openai", e.target(openai, time.Hour))
	server.Serve("blobs", e.target(blobs, time.Hour))
	client := server.Client()
	all, err := azure.NewCredentialFor(map[string]*cambio.TokenSource{
		openai: client.TokenSource(cambio.Request{Audience: "openai"}), "https://storage.azure.com/": client.TokenSource(cambio.Request{Audience: "blobs"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		credential azcore.TokenCredential
		scope      string
	}{
		"one source":     {azure.NewCredential(client.TokenSource(cambio.Request{Audience: "openai"})), openai},
		"first of many":  {all, openai},
		"second of many": {all, blobs},
	} {
		service := e.service(t, c.scope)
		p := pipeline(service, c.credential, c.scope)
		for range 5 {
			if status, err := call(t, service, p); err != nil || status != http.StatusOK {
				t.Errorf("%s: %d, %v", name, status, err)
			}
		}
	}
	if server.Exchanges("openai") != 1 || server.Exchanges("blobs") != 1 {
		t.Errorf("%d and %d exchanges", server.Exchanges("openai"), server.Exchanges("blobs"))
	}
}

func TestAStormOfClaimsCausesOneRenewal(t *testing.T) {
	server, e := standin.New(t), &entra{}
	server.Serve("openai", e.target(openai, time.Hour))
	service := e.service(t, openai)
	credential := azure.NewCredential(server.Client().TokenSource(cambio.Request{Audience: "openai"}))
	var pipelines []runtime.Pipeline
	for range 20 {
		p := pipeline(service, credential, openai)
		if status, err := call(t, service, p); err != nil || status != http.StatusOK {
			t.Fatalf("%d, %v", status, err)
		}
		pipelines = append(pipelines, p)
	}
	e.revoke()
	var all sync.WaitGroup
	for _, p := range pipelines {
		all.Go(func() {
			if status, err := call(t, service, p); err != nil || status != http.StatusOK {
				t.Errorf("%d, %v", status, err)
			}
		})
	}
	all.Wait()
	if n := server.Exchanges("openai"); n != 2 {
		t.Errorf("%d exchanges, want 2", n)
	}
	e.revoke()
	if status, err := call(t, service, pipelines[0]); err != nil || status != http.StatusUnauthorized {
		t.Errorf("a renewed token that is refused too: %d, %v", status, err)
	}
	if n := server.Exchanges("openai"); n != 2 {
		t.Errorf("%d exchanges, want 2", n)
	}
}

func TestTokensSayWhenToRenew(t *testing.T) {
	server, e := standin.New(t), &entra{}
	server.Serve("openai", e.target(openai, time.Hour))
	began := server.Clock.Now()
	got, err := azure.NewCredential(server.Client().TokenSource(cambio.Request{Audience: "openai"})).
		GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{openai}})
	if err != nil {
		t.Fatal(err)
	}
	if !got.ExpiresOn.Equal(began.Add(time.Hour)) || !got.RefreshOn.Equal(began.Add(55*time.Minute)) {
		t.Errorf("expires %v, refresh %v", got.ExpiresOn.Sub(began), got.RefreshOn.Sub(began))
	}
}

func TestATokenIsServedUntilItDies(t *testing.T) {
	server, e := standin.New(t), &entra{}
	server.Serve("openai", e.target(openai, time.Hour))
	credential := azure.NewCredential(server.Client().TokenSource(cambio.Request{Audience: "openai"}))
	get := func() error {
		_, err := credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{openai}})
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	server.Close()
	server.Clock.Advance(58 * time.Minute)
	if err := get(); err != nil {
		t.Errorf("two minutes before the end: %v", err)
	}
	server.Clock.Advance(2 * time.Minute)
	var refused *cambio.Error
	if err := get(); !errors.As(err, &refused) || refused.Code != cambio.CodeUnreachable {
		t.Errorf("after the end: %v", err)
	}
}

func TestOtherTokensSayWhatToChange(t *testing.T) {
	server, e := standin.New(t), &entra{}
	server.Serve("openai", e.target(openai, time.Hour))
	server.Serve("aws", func(url.Values, int) standin.Answer {
		return standin.Answer{Value: "vended-secret-a", Type: "N_A", IssuedTokenType: cambio.TokenTypeAWSCredentials, Life: time.Hour}
	})
	client := server.Client()
	source := client.TokenSource(cambio.Request{Audience: "openai"})
	many, err := azure.NewCredentialFor(map[string]*cambio.TokenSource{openai: source})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		credential azcore.TokenCredential
		scopes     []string
		want       string
	}{
		"another kind":     {azure.NewCredential(client.TokenSource(cambio.Request{Audience: "aws"})), []string{openai}, "name a target of provider azure"},
		"another resource": {azure.NewCredential(source), []string{blobs}, `gives tokens for "https://cognitiveservices.azure.com"`},
		"not in the map":   {many, []string{blobs}, `no target for "https://storage.azure.com"`},
		"no scope":         {azure.NewCredential(source), nil, "without a scope"},
		"two resources":    {many, []string{openai, blobs}, "of two resources"},
	} {
		_, err := c.credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: c.scopes})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "vended-secret-") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewCredentialForRefuses(t *testing.T) {
	source := standin.New(t).Client().TokenSource(cambio.Request{Audience: "a"})
	for name, sources := range map[string]map[string]*cambio.TokenSource{
		"nothing": nil, "no name": {"": source}, "no source": {openai: nil}, "twice": {openai: source, "https://cognitiveservices.azure.com": source},
	} {
		if c, err := azure.NewCredentialFor(sources); err == nil || c != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
