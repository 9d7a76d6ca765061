package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/goccy/go-yaml"

	"github.com/cambio-sts/cambio/cmd/cambio/config"
	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider/anthropic/anthropicsandbox"
	"github.com/cambio-sts/cambio/exchange/provider/aws/awssandbox"
	"github.com/cambio-sts/cambio/exchange/provider/azure/azuresandbox"
	"github.com/cambio-sts/cambio/exchange/provider/gcp/gcpsandbox"
	"github.com/cambio-sts/cambio/exchange/provider/ibm/ibmsandbox"
	"github.com/cambio-sts/cambio/exchange/provider/oci/ocisandbox"
	"github.com/cambio-sts/cambio/exchange/provider/openai/openaisandbox"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
	"github.com/cambio-sts/cambio/store/sqlite"
)

// aheadClock is the machine's clock, which a test can put ahead.
type aheadClock struct{ by atomic.Int64 }

func (c *aheadClock) now() time.Time { return time.Now().Add(time.Duration(c.by.Load())) }

// models is a house under the policy of examples/llm-gateway, with a stand-in for each
// of its seven targets. All of them have one clock.
type models struct {
	testing.TB
	*house
	clock  *aheadClock
	log    *safeBuffer
	door   http.Handler
	web    *http.Client // that a gateway would use
	stands map[string]*stand
	aws    *awssandbox.Server

	signer        jose.Signer // of the cluster
	clusterIssuer string
	clusterKeys   []byte // its JWKS
}

// stand is one stand-in, served over TLS.
type stand struct {
	url     string
	weather *sandbox.Weather
	hold    atomic.Pointer[func()] // called by each call of the token endpoint
	under   atomic.Int64           // requests under way
	most    atomic.Int64           // of them, ever
}

// wrap counts around the stand-in.
func (s *stand) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := s.under.Add(1)
		defer s.under.Add(-1)
		for most := s.most.Load(); now > most && !s.most.CompareAndSwap(most, now); most = s.most.Load() {
		}
		if hold := s.hold.Load(); hold != nil {
			(*hold)()
		}
		next.ServeHTTP(w, r)
	})
}

const ownIssuer = "https://localhost" // stand-ins of this machine are for an issuer of it

// openModels opens the house. timeout is that of an exchange.
func openModels(t testing.TB, timeout time.Duration) *models {
	t.Helper()
	m := &models{TB: t, clock: &aheadClock{}, log: &safeBuffer{}, stands: map[string]*stand{}}
	p := gatewayPolicy(t)
	m.openCluster(p)
	m.openStands(p)
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	if err := os.Mkdir(filepath.Join(dir, "policy"), 0o700); err != nil {
		t.Fatal(err)
	}
	write("policy/keys.json", string(m.clusterKeys))
	p.set(t, "trusts.prod.kubernetes", "keys", map[string]any{"file": "keys.json"})
	delete(p["trusts"].(map[string]any), "corp") // whose keys are to be had from its issuer alone
	delete(p, "roles")
	text, err := yaml.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	write("policy/policy.yaml", string(text))
	seal := make([]byte, 32)
	_, _ = rand.Read(seal)
	oci, err := url.Parse(m.stands["oci-genai"].url)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(write("cambio.yaml", fmt.Sprintf(`issuer: %[2]s
listen: {address: "127.0.0.1:0"}
store: {sqlite: {path: %[1]s/cambio.db}}
seal: {key: "${secret:seal}"}
policy: {dir: %[1]s/policy}
outbound: {ca_file: %[1]s/ca.pem, allow: [127.0.0.1], stand_ins: [127.0.0.1]}
limits: {timeout: %[3]s, subject_per_second: 1000000}
secrets:
  seal: {env: SEAL}
  oci-app: {file: %[1]s/oci-app, hosts: ["%[4]s"]}
`, dir, ownIssuer, timeout, oci.Host)), []string{"SEAL=" + base64.StdEncoding.EncodeToString(seal)})
	if err != nil {
		t.Fatal(err)
	}
	write("oci-app", ociSecret)
	write("ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.web.Transport.(*caTransport).certificate})))
	if err := sqlite.Migrate(t.Context(), c.Store.SQLite.Path); err != nil {
		t.Fatal(err)
	}
	s, err := sqlite.Open(t.Context(), c.Store.SQLite.Path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h, err := newHouse(t.Context(), blueprint{config: c, sealKey: seal, store: s, log: slog.New(slog.NewJSONHandler(m.log, nil)), now: m.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	m.house, m.door = h, h.handler()
	h.start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.close(ctx); err != nil {
			t.Error(err)
		}
		if strings.Contains(m.log.String(), "eyJ") {
			t.Error("S39: the log holds a token")
		}
	})
	return m
}

// openCluster makes the cluster that the policy trusts.
func (m *models) openCluster(p tree) {
	m.Helper()
	m.clusterIssuer = p.at(m, "trusts.prod.kubernetes.issuer").(string)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		m.Fatal(err)
	}
	if m.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "c"}}, nil); err != nil {
		m.Fatal(err)
	}
	if m.clusterKeys, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "c", Algorithm: "RS256", Use: "sig"}}}); err != nil {
		m.Fatal(err)
	}
}

// token is a projected token of the service account, for an hour.
func (m *models) token(namespace, account, audience string) string {
	m.Helper()
	now := m.clock.now().Unix()
	claims, err := json.Marshal(map[string]any{
		"iss": m.clusterIssuer, "sub": "system:serviceaccount:" + namespace + ":" + account, "aud": audience,
		"iat": now, "nbf": now, "exp": now + 3600, "jti": rand.Text(),
		"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]string{"name": account, "uid": "0"}},
	})
	if err != nil {
		m.Fatal(err)
	}
	signed, err := m.signer.Sign(claims)
	if err != nil {
		m.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		m.Fatal(err)
	}
	return compact
}

const ociSecret = "of-the-application"

// caTransport is a client's transport, with the certificate that it trusts.
type caTransport struct {
	http.RoundTripper
	certificate []byte
}

// openStands sets each stand-in up as the driver's README says, for the values that the
// policy has, and points the policy at it.
func (m *models) openStands(p tree) {
	m.Helper()
	world := sandbox.World{
		Issuer: ownIssuer + "/federation", Keys: func() []byte { return m.house.issuer.FederationJWKS() }, Now: m.clock.now, Random: rand.Reader,
	}
	cluster := sandbox.World{Issuer: m.clusterIssuer, Keys: func() []byte { return m.clusterKeys }, Now: m.clock.now, Random: rand.Reader}
	text := func(path string) string {
		m.Helper()
		s, _ := p.at(m, "targets."+path).(string)
		return s
	}
	serve := func(target, driver string, build func(url string) (http.Handler, *sandbox.Weather, error), settings ...string) {
		m.Helper()
		s := &stand{}
		var next http.Handler
		server := httptest.NewTLSServer(s.wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(w, r) })))
		m.Cleanup(server.Close)
		s.url = server.URL
		var err error
		if next, s.weather, err = build(s.url); err != nil {
			m.Fatal(err)
		}
		for _, setting := range settings {
			p.set(m, "targets."+target+"."+driver, setting, s.url)
		}
		m.stands[target] = s
		m.web = server.Client()
		m.web.Transport = &caTransport{m.web.Transport, server.Certificate().Raw}
	}
	serve("bedrock", "aws", func(string) (http.Handler, *sandbox.Weather, error) {
		var err error
		m.aws, err = awssandbox.New(world, awssandbox.Setup{Region: text("bedrock.aws.region"), SingleUse: true, Roles: []awssandbox.Role{{
			Name: "llm", Trust: awssandbox.WebIdentityTrust(awssandbox.DefaultAccount, world.Issuer, awssandbox.DefaultAudience, "default:bedrock", true),
		}}})
		return m.aws, &m.aws.Weather, err
	}, "endpoint")

	serve("azure-openai", "azure", func(string) (http.Handler, *sandbox.Weather, error) {
		s, err := azuresandbox.New(azuresandbox.Options{World: world, TenantID: text("azure-openai.azure.tenant_id"), Apps: []azuresandbox.App{{
			ClientID:    text("azure-openai.azure.client_id"),
			Credentials: []azuresandbox.Credential{{Issuer: world.Issuer, Subject: "default:azure-openai", Audience: azuresandbox.Audience}},
		}}})
		return s, &s.Weather, err
	}, "authority")

	serve("vertex", "gcp", func(string) (http.Handler, *sandbox.Weather, error) {
		name := text("vertex.gcp.provider")
		pool, _, _ := strings.Cut(name, "/providers/")
		s, err := gcpsandbox.New(gcpsandbox.Options{
			World:     world,
			Providers: []gcpsandbox.Provider{{Name: name, Condition: func(c sandbox.Claims) bool { return c.Subject == "default:vertex" }}},
			Accounts:  []gcpsandbox.Account{{Email: text("vertex.gcp.service_account"), Users: []string{"principal://iam.googleapis.com/" + pool + "/subject/default:vertex"}}},
		})
		return s, &s.Weather, err
	}, "sts_url", "iam_url")

	serve("oci-genai", "oci", func(url string) (http.Handler, *sandbox.Weather, error) {
		s, err := ocisandbox.New(ocisandbox.Setup{
			World: world, ClientID: text("oci-genai.oci.client_id"), ClientSecret: ociSecret,
			Trust: ocisandbox.Trust{Audience: url, ImpersonatingResource: text("oci-genai.oci.res_type")},
		})
		return s, &s.Weather, err
	}, "domain")

	serve("watsonx", "ibm", func(string) (http.Handler, *sandbox.Weather, error) {
		s := ibmsandbox.New(cluster, ibmsandbox.Setup{Profiles: []ibmsandbox.Profile{{
			ID: text("watsonx.ibm.profile_id"), ComputeResources: []string{"system:serviceaccount:llm:gateway"},
		}}})
		return s, &s.Weather, nil
	}, "endpoint")

	serve("claude", "anthropic", func(url string) (http.Handler, *sandbox.Weather, error) {
		rule := text("claude.anthropic.federation_rule_id")
		s := anthropicsandbox.New(world, anthropicsandbox.Rule{
			ID: rule, OrganizationID: text("claude.anthropic.organization_id"), ServiceAccountID: "svac_01LLM",
			Audience: url + "/federation/" + rule, SubjectPrefix: "default:claude", Workspaces: []string{text("claude.anthropic.workspace_id")},
		})
		return s, &s.Weather, nil
	}, "endpoint")

	serve("gpt", "openai", func(url string) (http.Handler, *sandbox.Weather, error) {
		id := text("gpt.openai.identity_provider_id")
		s := openaisandbox.New(world, openaisandbox.Provider{
			ID: id, Audience: url + "/federation/" + id,
			Mappings: []openaisandbox.Mapping{{ServiceAccountID: text("gpt.openai.service_account_id"), Subject: "default:gpt"}},
		})
		return s, &s.Weather, nil
	}, "endpoint")
}

// told is what the token endpoint said.
type told struct {
	status int
	retry  string // Retry-After
	body   map[string]any
	at     time.Time
}

func (a told) text(member string) string {
	s, _ := a.body[member].(string)
	return s
}

// ask exchanges a token at the token endpoint.
func (m *models) ask(token, target string, more url.Values) told {
	form := url.Values{
		"grant_type": {exchange.GrantTokenExchange}, "subject_token": {token}, "subject_token_type": {string(exchange.TokenTypeJWT)}, "audience": {target},
	}
	for name, values := range more {
		form[name] = values
	}
	r := httptest.NewRequest(http.MethodPost, ownIssuer+"/oauth2/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	m.door.ServeHTTP(w, r)
	a := told{status: w.Code, retry: w.Header().Get("Retry-After"), at: m.clock.now()}
	if err := json.Unmarshal(w.Body.Bytes(), &a.body); err != nil {
		m.Errorf("the answer is no JSON: %v", err)
	}
	return a
}

// ahead puts the clock ahead, and has the house read anew what must be fresh.
func (m *models) ahead(d time.Duration) {
	m.Helper()
	m.clock.by.Add(int64(d))
	if err := m.policies.Refresh(m.Context()); err != nil {
		m.Fatal(err)
	}
	if err := m.house.issuer.Refresh(m.Context()); err != nil {
		m.Fatal(err)
	}
}
