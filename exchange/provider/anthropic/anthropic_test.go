package anthropic_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/anthropic"
	"github.com/cambio-sts/cambio/exchange/provider/anthropic/anthropicsandbox"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

const (
	rule         = "fdrl_01TEST"
	organization = "11111111-2222-4333-8444-555555555555"
)

// api is the stand-in with a driver that asks it.
type api struct {
	*anthropicsandbox.Server
	http       *httptest.Server
	federation *providertest.Federation
	settings   *anthropic.Settings
	deps       provider.Deps
}

func newAPI(t testing.TB, federation *providertest.Federation, change ...func(*anthropicsandbox.Rule)) *api {
	t.Helper()
	r := anthropicsandbox.Rule{
		ID: rule, OrganizationID: organization, ServiceAccountID: "svac_01TEST", Audience: "https://cambio.example/anthropic",
		SubjectPrefix: "default:suite:*", Workspaces: []string{"wrkspc_01A"},
	}
	for _, c := range change {
		c(&r)
	}
	a := &api{Server: anthropicsandbox.New(federation.World(), r), federation: federation}
	a.http = httptest.NewTLSServer(a.Server)
	t.Cleanup(a.http.Close)
	client := a.http.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	a.settings = &anthropic.Settings{
		FederationRuleID: rule, OrganizationID: organization, Endpoint: a.http.URL, Audience: "https://cambio.example/anthropic",
		Subject: []string{"subject"},
	}
	a.deps = provider.Deps{HTTP: client, Asserter: federation, Now: time.Now, Random: rand.Reader}
	return a
}

// message asks the messages endpoint as a client would, and returns who it says the
// caller is.
func (a *api) message(t *testing.T, c exchange.Credential) (string, []string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.http.URL+"/v1/messages",
		strings.NewReader(`{"model":"claude","max_tokens":16,"messages":[{"role":"user","content":"who am I"}]}`))
	if err != nil {
		return "", nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.Value.Reveal())
	r.Header.Set("Anthropic-Beta", "oauth-2025-04-20")
	r.Header.Set("Anthropic-Version", "2023-06-01")
	answer, err := a.http.Client().Do(r)
	if err != nil {
		return "", nil, err
	}
	defer answer.Body.Close()
	var m struct {
		Content []struct{ Text string }
	}
	if err := json.NewDecoder(answer.Body).Decode(&m); err != nil || answer.StatusCode != http.StatusOK || len(m.Content) != 1 {
		return "", nil, errors.New(answer.Status)
	}
	escaped, ok := strings.CutPrefix(m.Content[0].Text, "You are default:suite:")
	if !ok {
		return "", nil, errors.New(m.Content[0].Text)
	}
	subject, err := url.PathUnescape(escaped)
	return subject, nil, err
}

func (a *api) mood(m sandbox.Mood) func(*testing.T) func() {
	return func(*testing.T) func() { return a.Set(m) }
}

func TestSuite(t *testing.T) {
	a := newAPI(t, providertest.NewFederation(t))
	for name, unavailable := range map[string]sandbox.Mood{
		"Down": sandbox.Down, "HTML": sandbox.HTML, "Huge": sandbox.Huge, "Redirecting": sandbox.Redirecting,
		"WithoutExpiry": sandbox.WithoutExpiry, "PastExpiry": sandbox.PastExpiry,
	} {
		t.Run(name, func(t *testing.T) {
			providertest.Run(t, providertest.Harness{
				Provider: "anthropic", Config: a.settings, Deps: a.deps, Type: exchange.TokenTypeAccessToken, Honour: a.message,
				Fail: map[exchange.Kind]func(*testing.T) func(){
					exchange.KindUnavailable: a.mood(unavailable), exchange.KindThrottled: a.mood(sandbox.Throttling),
					exchange.KindMisconfigured: a.mood(sandbox.Refusing),
				},
				Hang: a.mood(sandbox.Slow),
			})
		})
	}
}

// TestS5TokensAreAsShortAsAsked: the assertion's life steers the token's, whatever
// the rule would give.
func TestS5TokensAreAsShortAsAsked(t *testing.T) {
	a := newAPI(t, providertest.NewFederation(t))
	d, err := a.settings.Open(a.deps)
	if err != nil {
		t.Fatal(err)
	}
	h := providertest.Harness{Provider: "anthropic", Config: a.settings, Deps: a.deps}
	for _, life := range []time.Duration{66 * time.Second, 5 * time.Minute, 15 * time.Minute, 20 * time.Minute} {
		g := h.Grant(t, "k8s:prod:llm:gateway")
		g.Lifetime, g.NotAfter = life, g.Now.Add(life)
		c, err := d.Vend(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		if c.Expires.After(g.NotAfter) || c.Expires.Sub(g.Now) < life-3*time.Second {
			t.Errorf("asked for %s, got %s", life, c.Expires.Sub(g.Now))
		}
	}
	g := h.Grant(t, "k8s:prod:llm:gateway")
	g.Lifetime, g.NotAfter = 30*time.Second, g.Now.Add(30*time.Second)
	if _, err := d.Vend(t.Context(), g); exchange.KindOf(err) != exchange.KindInvalidLifetime {
		t.Errorf("thirty seconds: %v", err)
	}
}

// TestNotSetUp: each thing that may be wrong on the other side is said in words that
// name the setting to look at.
func TestNotSetUp(t *testing.T) {
	for name, c := range map[string]struct {
		rule     func(*anthropicsandbox.Rule)
		settings func(*anthropic.Settings)
		bend     func(map[string]any)
		words    string
	}{
		"no such rule":         {settings: func(s *anthropic.Settings) { s.FederationRuleID = "fdrl_02NONE" }, words: "federation_rule_id"},
		"another organization": {settings: func(s *anthropic.Settings) { s.OrganizationID = strings.Replace(organization, "1", "2", 1) }, words: "organization_id"},
		"another audience":     {settings: func(s *anthropic.Settings) { s.Audience = "https://elsewhere.example" }, words: "audience"},
		"another subject":      {rule: func(r *anthropicsandbox.Rule) { r.SubjectPrefix = "default:other" }, words: "subject"},
		"several workspaces":   {rule: func(r *anthropicsandbox.Rule) { r.Workspaces = []string{"wrkspc_01A", "wrkspc_01B"} }, words: "workspace_id"},
		"another account":      {settings: func(s *anthropic.Settings) { s.ServiceAccountID = "svac_02OTHER" }, words: "does not match"},
		"another issuer":       {bend: func(c map[string]any) { c["iss"] = "https://evil.example" }, words: "issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, providertest.NewFederation(t), func(r *anthropicsandbox.Rule) {
				if c.rule != nil {
					c.rule(r)
				}
			})
			if c.settings != nil {
				c.settings(a.settings)
			}
			a.federation.Bend = c.bend
			d, err := a.settings.Open(a.deps)
			if err != nil {
				t.Fatal(err)
			}
			_, err = d.Vend(t.Context(), providertest.Harness{Provider: "anthropic", Config: a.settings, Deps: a.deps}.Grant(t, "k8s:prod:llm:gateway"))
			var e *exchange.Error
			if !errors.As(err, &e) || e.Kind != exchange.KindMisconfigured || !strings.Contains(e.Advice, c.words) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestS23SubjectsNeverShare over ten thousand exchanges of two subjects at once.
func TestS23SubjectsNeverShare(t *testing.T) {
	a := newAPI(t, providertest.NewQuickFederation(t))
	a.deps.HTTP = providertest.Inside(a.Server)
	providertest.Harness{Provider: "anthropic", Config: a.settings, Deps: a.deps}.NeverShare(t, []string{"oidc:corp:alice", "oidc:corp:bob"}, nil,
		func(c exchange.Credential) string {
			who, _ := a.Whoami(c.Value.Reveal())
			subject, err := url.PathUnescape(strings.TrimPrefix(who, "default:suite:"))
			if err != nil {
				t.Error(err)
			}
			return subject
		})
}

func TestSettingsAreChecked(t *testing.T) {
	faults := (&anthropic.Settings{
		FederationRuleID: "rule", OrganizationID: "org", ServiceAccountID: "account", WorkspaceID: "space",
		Endpoint: "http://api.anthropic.com", Audience: "a b", Subject: []string{"Groups!"},
	}).Validate()
	want := []string{"federation_rule_id: ", "organization_id: ", "service_account_id: ", "workspace_id: ", "endpoint: ", "audience: ", "subject[0]: "}
	if len(faults) != len(want) {
		t.Fatalf("%v", faults)
	}
	for i, fault := range faults {
		if !strings.HasPrefix(fault.Error(), want[i]) {
			t.Errorf("%v, want %s", fault, want[i])
		}
	}
}

// TestCheck finds what is not set up, and hands nothing out.
func TestCheck(t *testing.T) {
	a := newAPI(t, providertest.NewFederation(t))
	check := func() error {
		d, err := a.settings.Open(a.deps)
		if err != nil {
			t.Fatal(err)
		}
		return d.(provider.Checker).Check(t.Context())
	}
	if err := check(); err != nil {
		t.Error(err)
	}
	restore := a.Set(sandbox.Down)
	if err := check(); exchange.KindOf(err) != exchange.KindUnavailable {
		t.Errorf("down: %v", err)
	}
	restore()
	a.settings.FederationRuleID = "fdrl_02NONE"
	if err := check(); exchange.KindOf(err) != exchange.KindMisconfigured {
		t.Errorf("no such rule: %v", err)
	}
}
