package azure_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/azure"
	"github.com/cambio-sts/cambio/exchange/provider/azure/azuresandbox"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// weather makes the stand-in's mood a failure of the suite's.
func (k *kit) weather(m sandbox.Mood) func(*testing.T) func() {
	return func(*testing.T) func() { return k.sandbox.Weather.Set(m) }
}

func TestSuite(t *testing.T) {
	subjects := []string{"k8s:prod:llm:gateway", "oidc:corp:alice", "oidc:other:alice"}
	for n := range 16 {
		subjects = append(subjects, fmt.Sprintf("k8s:prod:llm:s%d", n))
	}
	k := newKit(t, func(o *azuresandbox.Options) { o.Apps[0].Credentials = credentialsFor(o.World.Issuer, subjects...) })
	k.settings.Subject = []string{"subject"}
	h := k.harness()
	h.Fail = map[exchange.Kind]func(*testing.T) func(){
		exchange.KindUnavailable:     k.weather(sandbox.Down),
		exchange.KindThrottled:       k.weather(sandbox.Throttling),
		exchange.KindProviderRefused: k.weather(sandbox.Refusing),
		exchange.KindMisconfigured: func(*testing.T) func() {
			k.issuer.Bend = func(c map[string]any) { c["sub"] = "default:another" }
			return func() { k.issuer.Bend = nil }
		},
	}
	h.Hang = k.weather(sandbox.Slow)
	providertest.Run(t, h)
}

// TestWeather: on every bad day the answer is of the right kind, soon, and without a
// credential; and nothing is kept of it.
func TestWeather(t *testing.T) {
	k := newKit(t, nil)
	for mood, want := range map[sandbox.Mood]exchange.Kind{
		sandbox.Down: exchange.KindUnavailable, sandbox.HTML: exchange.KindUnavailable, sandbox.Huge: exchange.KindUnavailable,
		sandbox.Redirecting: exchange.KindUnavailable, sandbox.Throttling: exchange.KindThrottled,
		sandbox.Refusing: exchange.KindProviderRefused, sandbox.WithoutExpiry: exchange.KindUnavailable, sandbox.PastExpiry: exchange.KindUnavailable,
	} {
		restore := k.sandbox.Weather.Set(mood)
		before := k.sandbox.Weather.Calls()
		c, err := k.vend(t, nil)
		restore()
		var e *exchange.Error
		if exchange.KindOf(err) != want || !c.Value.IsZero() {
			t.Errorf("mood %d: %v, want %v", mood, err, want)
		}
		if e, _ = err.(*exchange.Error); e == nil || e.Advice == "" {
			t.Errorf("mood %d: nobody is told what to do: %v", mood, err)
		} else if mood == sandbox.Throttling && e.RetryAfter != 7*time.Second {
			t.Errorf("throttled until %v", e.RetryAfter)
		}
		if calls := k.sandbox.Weather.Calls() - before; calls != 1 {
			t.Errorf("mood %d: %d calls: only the vendor tries again", mood, calls)
		}
		if _, err := k.vend(t, nil); err != nil {
			t.Errorf("after mood %d: %v", mood, err)
		}
	}
}

// TestTrustFaultsNameTheSetting: what is not set up on Entra's side is told apart,
// in words that name what to change.
func TestTrustFaultsNameTheSetting(t *testing.T) {
	for name, c := range map[string]struct {
		directory func(*azuresandbox.Options)
		settings  func(*azure.Settings)
		bend      func(map[string]any)
		advice    string
		cause     string
	}{
		"no credential":    {directory: func(o *azuresandbox.Options) { o.Apps[0].Credentials = nil }, advice: "client_id", cause: "AADSTS70025"},
		"another issuer":   {directory: func(o *azuresandbox.Options) { o.Apps[0].Credentials[0].Issuer += "/" }, advice: "federated credential", cause: "AADSTS700211"},
		"another subject":  {directory: func(o *azuresandbox.Options) { o.Apps[0].Credentials[0].Subject += "x" }, advice: "federated credential", cause: `subject "default:suite"`},
		"another audience": {settings: func(s *azure.Settings) { s.Audience = "api://other" }, advice: "federated credential", cause: "AADSTS700212"},
		"the tenant":       {settings: func(s *azure.Settings) { s.TenantID = other }, advice: "tenant_id", cause: "AADSTS90002"},
		"the application":  {settings: func(s *azure.Settings) { s.ClientID = other }, advice: "client_id", cause: "AADSTS700016"},
		"the resource":     {settings: func(s *azure.Settings) { s.Scope = "https://none.example/.default" }, advice: "scope", cause: "AADSTS500011"},
		"the keys": {directory: func(o *azuresandbox.Options) { o.World.Keys = func() []byte { return []byte(`{"keys":[]}`) } },
			advice: "keys", cause: "AADSTS5000811"},
		"the signature": {directory: func(o *azuresandbox.Options) {
			o.World.Keys = func() []byte { return []byte(`{"keys":[{}]`) }
		}, advice: "keys", cause: "AADSTS5000811"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, c.directory)
			if c.settings != nil {
				c.settings(&k.settings)
			}
			k.issuer.Bend = c.bend
			_, err := k.vend(t, func(g *exchange.Grant) { g.Scopes = []string{k.settings.Scope} })
			e, _ := err.(*exchange.Error)
			if e == nil || e.Kind != exchange.KindMisconfigured || !strings.Contains(e.Advice, c.advice) || !strings.Contains(err.Error(), c.cause) {
				t.Errorf("%v", err)
			}
		})
	}
	k := newKit(t, nil)
	k.issuer.Bend = func(c map[string]any) { c["exp"] = time.Now().Add(-time.Minute).Unix() }
	if _, err := k.vend(t, nil); exchange.KindOf(err) != exchange.KindUnavailable || !strings.Contains(err.Error(), "clock") {
		t.Errorf("a clock that is off: %v", err)
	}
}

// TestS5WhatEntraCannotShorten: without may_outlive nothing is even asked for that
// might live too long; with it the true expiry is told.
func TestS5WhatEntraCannotShorten(t *testing.T) {
	k := newKit(t, nil)
	k.settings.MayOutlive = false
	for caps, want := range map[time.Duration]bool{15 * time.Minute: false, 90*time.Minute - time.Second: false, 90 * time.Minute: true, 12 * time.Hour: true} {
		before := k.sandbox.Weather.Calls()
		c, err := k.vend(t, func(g *exchange.Grant) { g.NotAfter = g.Now.Add(caps) })
		if want {
			if err != nil || c.Expires.Before(time.Now().Add(59*time.Minute)) || c.Expires.After(time.Now().Add(91*time.Minute)) {
				t.Errorf("%v: until %v: %v", caps, c.Expires, err)
			}
			continue
		}
		if exchange.KindOf(err) != exchange.KindInvalidLifetime || k.sandbox.Weather.Calls() != before {
			t.Errorf("%v: %v, after %d calls", caps, err, k.sandbox.Weather.Calls()-before)
		}
	}
	if f := k.settings.Facts(); f.MinTTL != 90*time.Minute || f.MaxTTL != 90*time.Minute || f.MayOutlive {
		t.Errorf("%+v", f)
	}
	k.settings.LongestLifetime = 10 * time.Minute
	if f := k.settings.Facts(); f.MinTTL != 10*time.Minute {
		t.Errorf("%+v", f)
	}
}

// TestS2TheTargetIsTheSubject: `sub` is the target's by default, so that one
// federated credential serves every caller, and the fixed audience goes to the
// authority's host.
func TestS2TheTargetIsTheSubject(t *testing.T) {
	k := newKit(t, nil)
	for _, subject := range []string{"k8s:prod:llm:gateway", "oidc:corp:alice"} {
		if _, err := k.vend(t, func(g *exchange.Grant) { g.Subject.Name = subject }); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range k.issuer.Asked() {
		if len(a.Values) != 0 || a.Endpoint != "127.0.0.1" || a.Audience != azuresandbox.Audience || a.Expires.Sub(a.Issued) > 10*time.Minute {
			t.Errorf("%+v", a)
		}
	}
	k.settings.Subject = []string{"namespace"}
	if _, err := k.vend(t, nil); exchange.KindOf(err) != exchange.KindMisconfigured {
		t.Errorf("an attribute that is missing: %v", err)
	}
	k.settings.Subject = []string{"subject"}
	if _, err := k.vend(t, func(g *exchange.Grant) { g.Subject.Name = strings.Repeat("x", 120) }); exchange.KindOf(err) != exchange.KindMisconfigured {
		t.Errorf("a subject that is too long: %v", err)
	}
}

// TestS1AssertionsGoToTheAuthorityAlone, whatever its discovery document says.
func TestS1AssertionsGoToTheAuthorityAlone(t *testing.T) {
	k := newKit(t, nil)
	stolen := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s is asked", r.URL.Path)
	}))
	defer stolen.Close()
	elsewhere := stolen.URL
	liar := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"issuer":"https://%s/x/v2.0","authorization_endpoint":"https://%s/a","token_endpoint":"%s/token"}`, r.Host, r.Host, elsewhere)
	}))
	defer liar.Close()
	k.settings.Authority, k.client = liar.URL, liar.Client()
	for range 2 {
		if _, err := k.vend(t, nil); exchange.KindOf(err) != exchange.KindUnavailable || !strings.Contains(err.Error(), "alone") {
			t.Errorf("%v", err)
		}
	}
	elsewhere = "http://" + strings.TrimPrefix(liar.URL, "https://")
	if _, err := k.vend(t, nil); exchange.KindOf(err) != exchange.KindUnavailable {
		t.Errorf("plain http: %v", err)
	}
}

// TestEnvironmentDoesNotLeakIn: what azidentity reads elsewhere changes nothing.
func TestEnvironmentDoesNotLeakIn(t *testing.T) {
	t.Setenv("AZURE_AUTHORITY_HOST", "https://nowhere.example")
	t.Setenv("AZURE_TENANT_ID", other)
	t.Setenv("AZURE_CLIENT_ID", other)
	k := newKit(t, nil)
	if _, err := k.vend(t, nil); err != nil {
		t.Error(err)
	}
	t.Setenv("AZURE_REGIONAL_AUTHORITY_NAME", "westus")
	if _, err := k.settings.Open(k.deps()); err == nil || !strings.Contains(err.Error(), "AZURE_REGIONAL_AUTHORITY_NAME") {
		t.Errorf("%v", err)
	}
}

// TestOneDiscoveryForMany: a fresh credential for each vending does not mean a fetch
// for each; and the exchange id reaches Entra as the correlation id.
func TestOneDiscoveryForMany(t *testing.T) {
	k := newKit(t, nil)
	var mu sync.Mutex
	seen := map[string]int{}
	var correlations []string
	inner := k.client.Transport
	k.client.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		seen[r.Method]++
		if r.Method == http.MethodPost {
			correlations = append(correlations, r.Header.Get("client-request-id"))
		}
		mu.Unlock()
		return inner.RoundTrip(r)
	})
	d, err := k.settings.Open(k.deps())
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for range 3 {
		g := k.harness().Grant(t, "k8s:prod:llm:gateway")
		ids = append(ids, g.Exchange.String())
		if _, err := d.Vend(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	if seen[http.MethodGet] != 1 || seen[http.MethodPost] != 3 || strings.Join(correlations, " ") != strings.Join(ids, " ") {
		t.Errorf("%v, correlated by %q, want %q", seen, correlations, ids)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestScopeIsTheTargets(t *testing.T) {
	k := newKit(t, nil)
	for _, scopes := range [][]string{nil, {}, {"https://graph.microsoft.com/.default"}, {scope, scope}} {
		if _, err := k.vend(t, func(g *exchange.Grant) { g.Scopes = scopes }); exchange.KindOf(err) != exchange.KindInvalidScope {
			t.Errorf("%q: %v", scopes, err)
		}
	}
}

// TestOnBehalfOf: the user's own Entra token buys a token of that user.
func TestOnBehalfOf(t *testing.T) {
	k := newKit(t, func(o *azuresandbox.Options) {
		o.Blocked = []string{"mallory@contoso.example"}
		o.Apps = append(o.Apps, azuresandbox.App{ClientID: other, NoConsent: true, Credentials: credentialsFor(o.World.Issuer)})
	})
	k.settings.Method = azure.MethodOnBehalfOf
	bring := func(user, client string, life time.Duration) func(*exchange.Grant) {
		token, err := k.sandbox.UserToken(user, client, life)
		if err != nil {
			t.Fatal(err)
		}
		return func(g *exchange.Grant) {
			g.Passthrough = exchange.Token{Value: token, Type: exchange.TokenTypeAccessToken}
		}
	}
	c, err := k.vend(t, bring("alice@contoso.example", app, time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := k.ask(t, c.Value); err != nil || !strings.HasPrefix(text, "You are the user alice@contoso.example") {
		t.Errorf("%q: %v", text, err)
	}
	for name, tc := range map[string]struct {
		change func(*exchange.Grant)
		kind   exchange.Kind
		cause  string
	}{
		"nobody's token":            {func(*exchange.Grant) {}, exchange.KindInvalidRequest, "passthrough_token"},
		"for another application":   {bring("alice@contoso.example", other, time.Hour), exchange.KindProviderRefused, "AADSTS500131"},
		"expired":                   {bring("alice@contoso.example", app, -time.Minute), exchange.KindProviderRefused, "AADSTS500133"},
		"blocked":                   {bring("mallory@contoso.example", app, time.Hour), exchange.KindProviderRefused, "AADSTS53003"},
		"not of Entra":              {func(g *exchange.Grant) { g.Passthrough.Value = exchange.NewSecret("a.b.c") }, exchange.KindProviderRefused, "AADSTS50013"},
		"the application's own one": {func(g *exchange.Grant) { g.Passthrough.Value = c.Value }, exchange.KindProviderRefused, "AADSTS500131"},
	} {
		if _, err := k.vend(t, tc.change); exchange.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.cause) {
			t.Errorf("%s: %v", name, err)
		}
	}
	k.settings.ClientID = other
	if _, err := k.vend(t, bring("alice@contoso.example", other, time.Hour)); exchange.KindOf(err) != exchange.KindMisconfigured || !strings.Contains(err.Error(), "AADSTS65001") {
		t.Errorf("without consent: %v", err)
	}
}

// TestCheck: the tenant and the application are proven, and nothing is handed out.
func TestCheck(t *testing.T) {
	k := newKit(t, nil)
	check := func() error {
		d, err := k.settings.Open(k.deps())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		return d.(provider.Checker).Check(ctx)
	}
	good := k.settings
	for _, method := range []azure.Method{azure.MethodClientAssertion, azure.MethodOnBehalfOf} {
		k.settings.Method = method
		if err := check(); err != nil {
			t.Error(err)
		}
	}
	for name, change := range map[string]func(*azure.Settings){
		"tenant_id": func(s *azure.Settings) { s.TenantID = other },
		"client_id": func(s *azure.Settings) { s.ClientID = other },
	} {
		k.settings = good
		change(&k.settings)
		if err := check(); exchange.KindOf(err) != exchange.KindMisconfigured || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	k.settings = good
	defer k.sandbox.Weather.Set(sandbox.Down)()
	if err := check(); exchange.KindOf(err) != exchange.KindUnavailable {
		t.Errorf("%v", err)
	}
	if len(k.issuer.Asked()) != 0 {
		t.Error("a check mints assertions")
	}
}
