package openai_test

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
	"github.com/cambio-sts/cambio/exchange/provider/openai"
	"github.com/cambio-sts/cambio/exchange/provider/openai/openaisandbox"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

const (
	idp     = "idp_01TEST"
	account = "svc_01TEST"
)

// api is the stand-in with a driver that asks it.
type api struct {
	*openaisandbox.Server
	http       *httptest.Server
	federation *providertest.Federation
	settings   *openai.Settings
	deps       provider.Deps
}

func newAPI(t testing.TB, federation *providertest.Federation, change ...func(*openaisandbox.Provider)) *api {
	t.Helper()
	r := openaisandbox.Provider{
		ID: idp, Audience: "https://cambio.example/openai",
		Mappings: []openaisandbox.Mapping{{ServiceAccountID: account, Subject: "default:suite:*"}},
	}
	for _, c := range change {
		c(&r)
	}
	a := &api{Server: openaisandbox.New(federation.World(), r), federation: federation}
	a.http = httptest.NewTLSServer(a.Server)
	t.Cleanup(a.http.Close)
	client := a.http.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	a.settings = &openai.Settings{
		IdentityProviderID: idp, ServiceAccountID: account, Endpoint: a.http.URL, Audience: "https://cambio.example/openai",
		Subject: []string{"subject"}, MayOutlive: true,
	}
	a.deps = provider.Deps{HTTP: client, Asserter: federation, Now: time.Now, Random: rand.Reader}
	return a
}

// chat asks the chat endpoint as a client would, and returns who it says the caller
// is.
func (a *api) chat(t *testing.T, c exchange.Credential) (string, []string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.http.URL+"/v1/chat/completions",
		strings.NewReader(`{"model":"gpt","messages":[{"role":"user","content":"who am I"}]}`))
	if err != nil {
		return "", nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.Value.Reveal())
	answer, err := a.http.Client().Do(r)
	if err != nil {
		return "", nil, err
	}
	defer answer.Body.Close()
	var m struct {
		Choices []struct {
			Message struct{ Content string }
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&m); err != nil || answer.StatusCode != http.StatusOK || len(m.Choices) != 1 {
		return "", nil, errors.New(answer.Status)
	}
	escaped, ok := strings.CutPrefix(m.Choices[0].Message.Content, "You are default:suite:")
	if !ok {
		return "", nil, errors.New(m.Choices[0].Message.Content)
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
				Provider: "openai", Config: a.settings, Deps: a.deps, Type: exchange.TokenTypeAccessToken, Honour: a.chat,
				Fail: map[exchange.Kind]func(*testing.T) func(){
					exchange.KindUnavailable: a.mood(unavailable), exchange.KindThrottled: a.mood(sandbox.Throttling),
					exchange.KindMisconfigured: a.mood(sandbox.Refusing),
				},
				Hang: a.mood(sandbox.Slow),
			})
		})
	}
}

// TestS5LongLivesNeedConsent: OpenAI gives an hour, whatever is asked. Without
// may_outlive nothing shorter is promised, and nothing is minted in vain.
func TestS5LongLivesNeedConsent(t *testing.T) {
	a := newAPI(t, providertest.NewFederation(t))
	h := providertest.Harness{Provider: "openai", Config: a.settings, Deps: a.deps}
	for _, c := range []struct {
		may  bool
		life time.Duration
		want bool
	}{{true, time.Minute, true}, {false, time.Minute, false}, {false, time.Hour - time.Second, false}, {false, time.Hour + time.Minute, true}} {
		a.settings.MayOutlive = c.may
		d, err := a.settings.Open(a.deps)
		if err != nil {
			t.Fatal(err)
		}
		g := h.Grant(t, "k8s:prod:llm:gateway")
		g.Lifetime, g.NotAfter = c.life, g.Now.Add(c.life)
		before := a.Calls()
		_, err = d.Vend(t.Context(), g)
		switch {
		case c.want && err != nil:
			t.Errorf("%+v: %v", c, err)
		case !c.want && (exchange.KindOf(err) != exchange.KindInvalidLifetime || a.Calls() != before):
			t.Errorf("%+v: %v after %d calls", c, err, a.Calls()-before)
		}
	}
}

// TestNotSetUp: each thing that may be wrong on the other side is said in words that
// name the setting to look at.
func TestNotSetUp(t *testing.T) {
	for name, c := range map[string]struct {
		rule     func(*openaisandbox.Provider)
		settings func(*openai.Settings)
		bend     func(map[string]any)
		words    string
	}{
		"no such provider": {settings: func(s *openai.Settings) { s.IdentityProviderID = "idp_02NONE" }, words: "identity_provider_id"},
		"another audience": {settings: func(s *openai.Settings) { s.Audience = "https://elsewhere.example" }, words: "audience"},
		"another subject":  {rule: func(p *openaisandbox.Provider) { p.Mappings[0].Subject = "default:other" }, words: "subject"},
		"another account":  {settings: func(s *openai.Settings) { s.ServiceAccountID = "svc_02OTHER" }, words: "service_account_id"},
		"too many mappings": {rule: func(p *openaisandbox.Provider) {
			p.Mappings = append(p.Mappings, make([]openaisandbox.Mapping, openaisandbox.MaxMappings)...)
		}, words: "mapping"},
		"another issuer": {bend: func(c map[string]any) { c["iss"] = "https://evil.example" }, words: "issuer"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPI(t, providertest.NewFederation(t), func(r *openaisandbox.Provider) {
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
			_, err = d.Vend(t.Context(), providertest.Harness{Provider: "openai", Config: a.settings, Deps: a.deps}.Grant(t, "k8s:prod:llm:gateway"))
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
	providertest.Harness{Provider: "openai", Config: a.settings, Deps: a.deps}.NeverShare(t, []string{"oidc:corp:alice", "oidc:corp:bob"}, nil,
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
	faults := (&openai.Settings{
		IdentityProviderID: "a b", Endpoint: "http://auth.openai.com", Audience: "a b", TokenType: "saml", LongestLifetime: time.Second,
		Subject: []string{"Groups!"},
	}).Validate()
	want := []string{"identity_provider_id: ", "service_account_id: ", "endpoint: ", "audience: ", "token_type: ", "longest_lifetime: ", "subject[0]: "}
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
	a.settings.IdentityProviderID = "idp_02NONE"
	if err := check(); exchange.KindOf(err) != exchange.KindMisconfigured {
		t.Errorf("no such provider: %v", err)
	}
}
