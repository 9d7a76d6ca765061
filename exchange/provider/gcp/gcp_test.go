package gcp_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/gcp"
	"github.com/cambio-sts/cambio/exchange/provider/gcp/gcpsandbox"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

func (k *kit) weather(m sandbox.Mood) func(*testing.T) func() {
	return func(*testing.T) func() { return k.sandbox.Weather.Set(m) }
}

var models = []gcp.Rule{{
	AvailableResource: "//storage.googleapis.com/projects/_/buckets/models", AvailablePermissions: []string{"inRole:roles/storage.objectViewer"},
}}

// kinds are the ways to a token.
var kinds = map[string]func(*gcp.Settings){
	"impersonated": func(s *gcp.Settings) { s.Scopes = []string{gcpsandbox.CloudPlatform, readOnly} },
	"direct":       func(s *gcp.Settings) { s.ServiceAccount, s.MayOutlive = "", true },
	"id token": func(s *gcp.Settings) {
		s.Token, s.Audience, s.IncludeEmail, s.MayOutlive = gcp.TokenID, "https://run.example", true, true
	},
	"bounded": func(s *gcp.Settings) { s.AccessBoundary = models },
}

func TestSuite(t *testing.T) {
	for kind, change := range kinds {
		t.Run(kind, func(t *testing.T) {
			k := newKit(t, nil)
			change(&k.settings)
			h := k.harness()
			h.Fail = map[exchange.Kind]func(*testing.T) func(){
				exchange.KindUnavailable:     k.weather(sandbox.Down),
				exchange.KindThrottled:       k.weather(sandbox.Throttling),
				exchange.KindProviderRefused: k.weather(sandbox.Refusing),
				exchange.KindMisconfigured: func(*testing.T) func() {
					k.issuer.Bend = func(c map[string]any) { c["aud"] = "https://iam.googleapis.com/another" }
					return func() { k.issuer.Bend = nil }
				},
			}
			h.Hang = k.weather(sandbox.Slow)
			providertest.Run(t, h)
		})
	}
}

// TestWeather: on every bad day of either service the answer is of the right kind,
// soon, and without a credential.
func TestWeather(t *testing.T) {
	want := map[sandbox.Mood]exchange.Kind{
		sandbox.Down: exchange.KindUnavailable, sandbox.HTML: exchange.KindUnavailable, sandbox.Huge: exchange.KindUnavailable,
		sandbox.Redirecting: exchange.KindUnavailable, sandbox.Throttling: exchange.KindThrottled,
		sandbox.Refusing: exchange.KindProviderRefused, sandbox.WithoutExpiry: exchange.KindUnavailable, sandbox.PastExpiry: exchange.KindUnavailable,
	}
	for kind, change := range kinds {
		k := newKit(t, nil)
		change(&k.settings)
		for service, weather := range map[string]*sandbox.Weather{"sts": &k.sandbox.Weather, "iam": &k.sandbox.IAM} {
			if service == "iam" && k.settings.ServiceAccount == "" {
				continue
			}
			for mood, want := range want {
				if service == "iam" && mood == sandbox.Refusing {
					want = exchange.KindMisconfigured // a role is missing
				}
				before := weather.Calls()
				restore := weather.Set(mood)
				c, err := k.vend(t, nil)
				restore()
				e, _ := err.(*exchange.Error)
				if exchange.KindOf(err) != want || !c.Value.IsZero() || e == nil || e.Advice == "" || weather.Calls() != before+1 {
					t.Errorf("%s, %s, mood %d: %v, want %v", kind, service, mood, err, want)
				} else if mood == sandbox.Throttling && e.RetryAfter != 7*time.Second {
					t.Errorf("%s, %s: throttled until %v", kind, service, e.RetryAfter)
				}
				if _, err := k.vend(t, nil); err != nil {
					t.Errorf("%s, %s, after mood %d: %v", kind, service, mood, err)
				}
			}
		}
	}
}

// TestTrustFaultsNameTheSetting: what is not set up on Google's side is told apart,
// in words that name what to change.
func TestTrustFaultsNameTheSetting(t *testing.T) {
	for fault, c := range map[string]struct {
		cloud    func(*gcpsandbox.Options)
		settings func(*gcp.Settings)
		kind     exchange.Kind
		advice   string
		cause    string
	}{
		"no provider": {settings: func(s *gcp.Settings) { s.Provider = pool + "/providers/none" }, advice: "check provider", cause: "invalid_target"},
		"a disabled provider": {cloud: func(o *gcpsandbox.Options) { o.Providers[0].Disabled = true },
			advice: "check provider", cause: "disabled"},
		"the audience": {cloud: func(o *gcpsandbox.Options) { o.Providers[0].Audiences = []string{"cambio"} },
			advice: "audiences", cause: "assertion_audience"},
		"the issuer": {cloud: func(o *gcpsandbox.Options) { o.World.Issuer += "/" }, advice: "issuer", cause: "issuer URI"},
		"the keys": {cloud: func(o *gcpsandbox.Options) { o.World.Keys = func() []byte { return []byte(`{"keys":[]}`) } },
			kind: exchange.KindUnavailable, advice: "cannot reach", cause: "public, or uploaded"},
		"the condition": {cloud: func(o *gcpsandbox.Options) { o.Providers[0].Condition = func(sandbox.Claims) bool { return false } },
			kind: exchange.KindProviderRefused, advice: "attribute condition", cause: "unauthorized_client"},
		"no account": {settings: func(s *gcp.Settings) { s.ServiceAccount = "none@p.iam.gserviceaccount.com" },
			advice: "service_account", cause: "no such service account"},
		"no role": {cloud: func(o *gcpsandbox.Options) { o.Accounts[0].Users = nil },
			advice: "who may impersonate", cause: "roles/iam.workloadIdentityUser"},
		"too long": {settings: func(s *gcp.Settings) { s.Extended = true }, advice: "extended", cause: "over what the organization allows"},
	} {
		t.Run(fault, func(t *testing.T) {
			k := newKit(t, c.cloud)
			if c.settings != nil {
				c.settings(&k.settings)
			}
			if c.kind == 0 {
				c.kind = exchange.KindMisconfigured
			}
			_, err := k.vend(t, func(g *exchange.Grant) { g.Lifetime, g.NotAfter = 2*time.Hour, g.Now.Add(2*time.Hour) })
			e, _ := err.(*exchange.Error)
			if e == nil || e.Kind != c.kind || !strings.Contains(e.Advice, c.advice) || !strings.Contains(err.Error(), c.cause) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestS5LifetimeIsAskedFor: an impersonated token never lives past its caps, by
// Google's clock neither; what Google gives a fixed life is refused, unless the
// target may outlive.
func TestS5LifetimeIsAskedFor(t *testing.T) {
	k := newKit(t, func(o *gcpsandbox.Options) { o.Accounts[0].Extended = true })
	for _, c := range []struct {
		extended       bool
		wish, cap, max time.Duration
	}{
		{false, 15 * time.Minute, 15 * time.Minute, 15 * time.Minute},
		{false, 0, 20 * time.Minute, 20 * time.Minute},
		{false, 6 * time.Hour, 6 * time.Hour, time.Hour},
		{true, 6 * time.Hour, 6 * time.Hour, 6 * time.Hour},
		{true, 24 * time.Hour, 24 * time.Hour, 12 * time.Hour},
		{false, time.Hour, 12 * time.Second, 12 * time.Second},
	} {
		k.settings.Extended = c.extended
		before := time.Now()
		got, err := k.vend(t, func(g *exchange.Grant) { g.Lifetime, g.NotAfter = c.wish, g.Now.Add(c.cap) })
		if err != nil || got.Expires.After(before.Add(c.max)) || got.Expires.Before(before.Add(c.max-12*time.Second)) {
			t.Errorf("%+v: %v: %v", c, got.Expires.Sub(before), err)
		}
	}
	if _, err := k.vend(t, func(g *exchange.Grant) { g.NotAfter = g.Now.Add(9 * time.Second) }); exchange.KindOf(err) != exchange.KindInvalidLifetime {
		t.Errorf("with no life left: %v", err)
	}
	for _, kind := range []string{"direct", "id token"} {
		k := newKit(t, nil)
		kinds[kind](&k.settings)
		k.settings.MayOutlive = false
		if f := k.settings.Facts(); f.MinTTL != time.Hour || f.MaxTTL != time.Hour {
			t.Errorf("%s: %+v", kind, f)
		}
		if _, err := k.vend(t, nil); exchange.KindOf(err) != exchange.KindInvalidLifetime || k.sandbox.Weather.Calls() != 0 {
			t.Errorf("%s: %v, after %d calls", kind, err, k.sandbox.Weather.Calls())
		}
		c, err := k.vend(t, func(g *exchange.Grant) { g.NotAfter = g.Now.Add(2 * time.Hour) })
		if err != nil || c.Expires.Before(time.Now().Add(59*time.Minute)) {
			t.Errorf("%s: until %v: %v", kind, c.Expires, err)
		}
	}
}

// TestS2EachProviderHasItsAudience, and the target is the beginning of `sub`.
func TestS2EachProviderHasItsAudience(t *testing.T) {
	k := newKit(t, nil)
	k.settings.Subject = nil
	if _, err := k.vend(t, nil); err != nil {
		t.Fatal(err)
	}
	a := k.issuer.Asked()[0]
	if a.Audience != "https://iam.googleapis.com/"+name || a.Endpoint != "127.0.0.1" || len(a.Values) != 0 || a.Tenant != "default" || a.Target != "suite" {
		t.Errorf("%+v", a)
	}
}

// TestRFC8693Section2_1ActorToken: an actor that was proven goes along as an actor
// token, where the target says so; one that was only asserted never does.
func TestRFC8693Section2_1ActorToken(t *testing.T) {
	k := newKit(t, func(o *gcpsandbox.Options) { o.Providers[0].Actors = []string{actors} })
	with := func(proven bool) func(*exchange.Grant) {
		return func(g *exchange.Grant) {
			g.Actors = []exchange.Actor{{Name: "k8s:prod:agents:helper", Proven: proven}}
		}
	}
	for _, c := range []struct {
		provider string
		proven   bool
		acting   bool
	}{{"", true, false}, {actors, false, false}, {actors, true, true}} {
		k.settings.ActorProvider = c.provider
		got, err := k.vend(t, with(c.proven))
		if err != nil {
			t.Fatal(err)
		}
		text, err := k.ask(t, got.Value)
		if err != nil || strings.Contains(text, "with default:suite:k8s%3Aprod%3Aagents%3Ahelper acting") != c.acting {
			t.Errorf("%+v: %q: %v", c, text, err)
		}
	}
	k.settings.ActorProvider = pool + "/providers/unlisted"
	if _, err := k.vend(t, with(true)); exchange.KindOf(err) != exchange.KindMisconfigured || !strings.Contains(err.Error(), "actor_provider") {
		t.Errorf("%v", err)
	}
}

func TestDelegates(t *testing.T) {
	k := newKit(t, func(o *gcpsandbox.Options) {
		o.Accounts[0].Users, o.Accounts[0].Creators = nil, []string{hop}
		o.Accounts[1].Users = []string{"principalSet://iam.googleapis.com/" + pool + "/*"}
	})
	if _, err := k.vend(t, nil); exchange.KindOf(err) != exchange.KindMisconfigured {
		t.Errorf("without delegates: %v", err)
	}
	k.settings.Delegates = []string{hop}
	c, err := k.vend(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := k.ask(t, c.Value); err != nil || !strings.Contains(text, account) {
		t.Errorf("%q: %v", text, err)
	}
}

// TestAccessBoundary: the token opens the bucket and nothing else.
func TestAccessBoundary(t *testing.T) {
	k := newKit(t, nil)
	k.settings.AccessBoundary = models
	c, err := k.vend(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	var any struct{}
	if err := k.call(t, http.MethodGet, "/storage/v1/b/models/o", "", c.Value, &any); err != nil {
		t.Error(err)
	}
	if err := k.call(t, http.MethodGet, "/storage/v1/b/other/o", "", c.Value, &any); err == nil {
		t.Error("another bucket opens")
	}
	if text, err := k.ask(t, c.Value); err == nil {
		t.Errorf("Vertex answers %q", text)
	}
}

// TestExchangeIsInTheAuditLog: each request gives the exchange as its reason, which
// Google logs, and the handle is that id.
func TestExchangeIsInTheAuditLog(t *testing.T) {
	k := newKit(t, nil)
	var mu sync.Mutex
	var reasons []string
	inner := k.client.Transport
	k.client.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		reasons = append(reasons, r.Header.Get("X-Goog-Request-Reason"))
		return inner.RoundTrip(r)
	})
	var id string
	c, err := k.vend(t, func(g *exchange.Grant) { id = g.Exchange.String() })
	if want := "cambio exchange " + id; err != nil || len(reasons) != 2 || reasons[0] != want || reasons[1] != want || c.Handle != id {
		t.Errorf("%q, handle %s: %v", reasons, c.Handle, err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestCheck: pool and provider are proven, and nothing is handed out.
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
	if err := check(); err != nil {
		t.Error(err)
	}
	k.settings.Provider = pool + "/providers/none"
	if err := check(); exchange.KindOf(err) != exchange.KindMisconfigured || !strings.Contains(err.Error(), "provider") {
		t.Errorf("%v", err)
	}
	k.settings.Provider = name
	defer k.sandbox.Weather.Set(sandbox.Down)()
	if err := check(); exchange.KindOf(err) != exchange.KindUnavailable {
		t.Errorf("%v", err)
	}
	if len(k.issuer.Asked()) != 0 {
		t.Error("a check mints assertions")
	}
}
