package ibm_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/ibm"
	"github.com/cambio-sts/cambio/exchange/provider/ibm/ibmsandbox"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

const (
	profile  = "Profile-11111111-2222-4333-8444-555555555555"
	ownPod   = "Profile-99999999-2222-4333-8444-555555555555"
	account  = "0123456789abcdef0123456789abcdef"
	crn      = "crn:v1:bluemix:public:iam-identity::a/" + account + "::profile:" + profile
	apiKey   = "api-key-of-the-test"
	identity = "iam-ServiceId-cambio"
)

// cloud is the stand-in with the linked cluster, and a driver's dependencies.
type cloud struct {
	*ibmsandbox.Server
	http    *httptest.Server
	cluster *providertest.Federation
	deps    provider.Deps
	known   map[string]string // secret → what it holds
}

func newCloud(t testing.TB, cluster *providertest.Federation) *cloud {
	t.Helper()
	cluster.Bend = func(claims map[string]any) { // it signs service-account tokens
		parts := strings.SplitN(claims["sub"].(string), ":", 3)
		claims["sub"] = "system:serviceaccount:llm:" + strings.NewReplacer("%3A", ".", ":", ".").Replace(parts[2])
	}
	c := &cloud{cluster: cluster, known: map[string]string{"ibm": apiKey}}
	c.Server = ibmsandbox.New(cluster.World(), ibmsandbox.Setup{
		APIKeys: map[string]string{apiKey: identity},
		Profiles: []ibmsandbox.Profile{
			{ID: profile, CRN: crn, Name: "llm", Account: account, ComputeResources: []string{"system:serviceaccount:llm:*"}, Identities: []string{identity, "iam-" + ownPod}},
			{ID: ownPod, ComputeResources: []string{"system:serviceaccount:llm:cambio"}},
		},
	})
	c.http = httptest.NewTLSServer(c.Server)
	t.Cleanup(c.http.Close)
	client := c.http.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.deps = provider.Deps{
		HTTP: client, Now: time.Now, Random: rand.Reader,
		Secret: func(ref provider.SecretRef, host string) (exchange.Secret, error) {
			name, _ := ref.Name()
			if c.known[name] == "" || "https://"+host != c.http.URL {
				return exchange.Secret{}, errors.New("no such secret for this host")
			}
			return exchange.NewSecret(c.known[name]), nil
		},
	}
	return c
}

// token is a token of a workload of the linked cluster.
func (c *cloud) token(t testing.TB, workload string) exchange.Token {
	t.Helper()
	now := time.Now()
	value, err := c.cluster.Assert(t.Context(), exchange.Assertion{
		Tenant: "default", Target: "x", Values: []string{workload}, Audience: "iam", Endpoint: "iam.cloud.ibm.com",
		Issued: now.Truncate(time.Second), Expires: now.Add(5 * time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	return exchange.Token{Value: value, Type: exchange.TokenTypeJWT}
}

func (c *cloud) computeResource() *ibm.Settings {
	return &ibm.Settings{ProfileID: profile, Endpoint: c.http.URL, MayOutlive: true}
}

func (c *cloud) assume() *ibm.Settings {
	return &ibm.Settings{Method: ibm.MethodAssume, ProfileID: profile, APIKey: "${secret:ibm}", Endpoint: c.http.URL, MayOutlive: true}
}

// recording remembers for whom each credential was vended, since a profile does not
// tell, and has each subject bring a token of its own where the method takes one.
type recording struct {
	*ibm.Settings
	t     *testing.T
	cloud *cloud

	mu     sync.Mutex
	owners map[[sha256.Size]byte]string // by hash: the suite looks at what is printed
}

type recorder struct {
	provider.Driver
	*recording
}

func (r *recording) Open(d provider.Deps) (provider.Driver, error) {
	driver, err := r.Settings.Open(d)
	return recorder{driver, r}, err
}

func (r recorder) Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error) {
	if r.Settings.Method != ibm.MethodAssume {
		g.Passthrough = r.cloud.token(r.t, g.Subject.Name)
	}
	c, err := r.Driver.Vend(ctx, g)
	if err == nil {
		r.mu.Lock()
		r.owners[sha256.Sum256([]byte(c.Value.Reveal()))] = g.Subject.Name
		r.mu.Unlock()
	}
	return c, err
}

// chat asks watsonx as a client would.
func (r *recording) chat(t *testing.T, c exchange.Credential) (string, []string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.cloud.http.URL+"/ml/v1/text/chat?version=2026-01-01",
		strings.NewReader(`{"model_id":"granite","project_id":"p","messages":[{"role":"user","content":"who am I"}]}`))
	if err != nil {
		return "", nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.Value.Reveal())
	answer, err := r.cloud.http.Client().Do(request)
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
	r.mu.Lock()
	defer r.mu.Unlock()
	subject := r.owners[sha256.Sum256([]byte(c.Value.Reveal()))]
	want := "You are iam-" + profile
	if r.Settings.Method != ibm.MethodAssume {
		want += " by system:serviceaccount:llm:" + strings.ReplaceAll(subject, ":", ".")
	}
	if said := m.Choices[0].Message.Content; said != want {
		return "", nil, errors.New(said + ", want " + want)
	}
	return subject, nil, nil
}

func TestSuite(t *testing.T) {
	c := newCloud(t, providertest.NewFederation(t))
	for name, settings := range map[string]*ibm.Settings{"compute resource": c.computeResource(), "assume": c.assume()} {
		for mood, unavailable := range map[string]sandbox.Mood{
			"Down": sandbox.Down, "HTML": sandbox.HTML, "Huge": sandbox.Huge, "Redirecting": sandbox.Redirecting,
			"WithoutExpiry": sandbox.WithoutExpiry, "PastExpiry": sandbox.PastExpiry,
		} {
			t.Run(name+"/"+mood, func(t *testing.T) {
				r := &recording{Settings: settings, t: t, cloud: c, owners: map[[sha256.Size]byte]string{}}
				set := func(m sandbox.Mood) func(*testing.T) func() {
					return func(*testing.T) func() { return c.Set(m) }
				}
				providertest.Run(t, providertest.Harness{
					Provider: "ibm", Config: r, Deps: c.deps, Type: exchange.TokenTypeAccessToken, Honour: r.chat,
					Fail: map[exchange.Kind]func(*testing.T) func(){
						exchange.KindUnavailable: set(unavailable), exchange.KindThrottled: set(sandbox.Throttling),
						exchange.KindMisconfigured: set(sandbox.Refusing),
					},
					Hang: set(sandbox.Slow),
				})
			})
		}
	}
}

func (c *cloud) vend(t *testing.T, s *ibm.Settings, change ...func(*exchange.Grant)) (exchange.Credential, error) {
	t.Helper()
	d, err := s.Open(c.deps)
	if err != nil {
		t.Fatal(err)
	}
	g := providertest.Harness{Provider: "ibm", Config: s, Deps: c.deps}.Grant(t, "k8s:prod:llm:gateway")
	for _, f := range change {
		f(&g)
	}
	return d.Vend(t.Context(), g)
}

// TestNotSetUp: each thing that may be wrong on the other side, or in what the caller
// brings, is said in words that name what to look at.
func TestNotSetUp(t *testing.T) {
	c := newCloud(t, providertest.NewFederation(t))
	with := func(s *ibm.Settings, change func(*ibm.Settings)) *ibm.Settings {
		change(s)
		return s
	}
	for name, k := range map[string]struct {
		settings *ibm.Settings
		token    exchange.Token
		kind     exchange.Kind
		words    string
	}{
		"no token":        {settings: c.computeResource(), kind: exchange.KindInvalidRequest, words: "passthrough_token"},
		"a bad token":     {settings: c.computeResource(), token: exchange.Token{Value: exchange.NewSecret("e30.e30.x")}, kind: exchange.KindProviderRefused, words: "audience iam"},
		"no such profile": {settings: with(c.computeResource(), func(s *ibm.Settings) { s.ProfileID = strings.Replace(profile, "1", "2", 1) }), token: c.token(t, "gateway"), kind: exchange.KindMisconfigured, words: "profile_id"},
		"not linked":      {settings: with(c.computeResource(), func(s *ibm.Settings) { s.ProfileID = ownPod }), token: c.token(t, "gateway"), kind: exchange.KindMisconfigured, words: "service account"},
		"unknown key":     {settings: with(c.assume(), func(s *ibm.Settings) { s.APIKey = "${secret:wrong}" }), kind: exchange.KindMisconfigured, words: "api_key"},
		"no such secret":  {settings: with(c.assume(), func(s *ibm.Settings) { s.APIKey = "${secret:none}" }), kind: exchange.KindMisconfigured, words: "api_key"},
		"may not assume":  {settings: with(c.assume(), func(s *ibm.Settings) { s.ProfileID = ownPod }), kind: exchange.KindMisconfigured, words: "service id"},
		"no file": {settings: with(c.assume(), func(s *ibm.Settings) {
			s.APIKey, s.CRTokenFile, s.CRProfileID = "", filepath.Join(t.TempDir(), "none"), ownPod
		}), kind: exchange.KindMisconfigured, words: "cr_token_file"},
		"by name elsewhere": {settings: with(c.assume(), func(s *ibm.Settings) { s.ProfileID, s.ProfileName, s.Account = "", "llm", strings.Repeat("f", 32) }), kind: exchange.KindMisconfigured, words: "profile_name"},
	} {
		t.Run(name, func(t *testing.T) {
			c.known["wrong"] = "another-key"
			_, err := c.vend(t, k.settings, func(g *exchange.Grant) { g.Passthrough = k.token })
			var e *exchange.Error
			if !errors.As(err, &e) || e.Kind != k.kind || !strings.Contains(e.Advice, k.words) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestOwnIdentity: this house's own token is bought once and kept, by either way, and
// bought anew when it no longer serves.
func TestOwnIdentity(t *testing.T) {
	c := newCloud(t, providertest.NewFederation(t))
	file := filepath.Join(t.TempDir(), "token")
	own := c.token(t, "cambio")
	if err := os.WriteFile(file, []byte(own.Value.Reveal()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	byFile := &ibm.Settings{Method: ibm.MethodAssume, ProfileCRN: crn, CRTokenFile: file, CRProfileID: ownPod, Endpoint: c.http.URL, MayOutlive: true}
	if faults := byFile.Validate(); len(faults) > 0 {
		t.Fatal(faults)
	}
	for name, settings := range map[string]*ibm.Settings{"api key": c.assume(), "file": byFile} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			deps := c.deps
			deps.Now = func() time.Time { return now }
			d, err := settings.Open(deps)
			if err != nil {
				t.Fatal(err)
			}
			vend := func() int64 {
				t.Helper()
				before := c.Calls()
				g := providertest.Harness{Provider: "ibm", Config: settings, Deps: deps}.Grant(t, "k8s:prod:llm:gateway")
				if _, err := d.Vend(t.Context(), g); err != nil {
					t.Fatal(err)
				}
				return c.Calls() - before
			}
			if first, second := vend(), vend(); first != 2 || second != 1 {
				t.Errorf("%d calls, then %d", first, second)
			}
			now = now.Add(48 * time.Minute)
			if calls := vend(); calls != 2 {
				t.Errorf("%d calls at four fifths of its life", calls)
			}
		})
	}
}

// TestS5LongLivesNeedConsent: IAM gives an hour, whatever is asked.
func TestS5LongLivesNeedConsent(t *testing.T) {
	c := newCloud(t, providertest.NewFederation(t))
	s := c.assume()
	s.MayOutlive = false
	short := func(g *exchange.Grant) { g.Lifetime, g.NotAfter = 15*time.Minute, g.Now.Add(15*time.Minute) }
	before := c.Calls()
	if _, err := c.vend(t, s, short); exchange.KindOf(err) != exchange.KindInvalidLifetime || c.Calls() != before {
		t.Errorf("%v after %d calls", err, c.Calls()-before)
	}
	s.MayOutlive = true
	if got, err := c.vend(t, s, short); err != nil || got.Handle == "" {
		t.Errorf("%v", err)
	}
}

// TestS23SubjectsNeverShare over ten thousand exchanges of two workloads at once.
func TestS23SubjectsNeverShare(t *testing.T) {
	c := newCloud(t, providertest.NewQuickFederation(t))
	c.deps.HTTP = providertest.Inside(c.Server)
	tokens := map[string]exchange.Token{"alice": c.token(t, "alice"), "bob": c.token(t, "bob")}
	providertest.Harness{Provider: "ibm", Config: c.computeResource(), Deps: c.deps}.NeverShare(t, []string{"alice", "bob"},
		func(g *exchange.Grant) { g.Passthrough = tokens[g.Subject.Name] },
		func(got exchange.Credential) string {
			_, by, _ := c.Whoami(got.Value.Reveal())
			return strings.TrimPrefix(by, "system:serviceaccount:llm:")
		})
}

func TestSettingsAreChecked(t *testing.T) {
	for _, c := range []struct {
		settings ibm.Settings
		want     []string
	}{
		{ibm.Settings{}, []string{"profile_id: "}},
		{ibm.Settings{ProfileID: profile, ProfileName: "llm"}, []string{"profile_id: "}},
		{ibm.Settings{ProfileID: "llm", Endpoint: "http://iam", LongestLifetime: time.Second}, []string{"profile_id: ", "endpoint: ", "longest_lifetime: "}},
		{ibm.Settings{ProfileCRN: "crn:v1:x"}, []string{"profile_crn: "}},
		{ibm.Settings{ProfileName: "a\nb"}, []string{"profile_name: "}},
		{ibm.Settings{ProfileID: profile, APIKey: "${secret:x}"}, []string{"method: "}},
		{ibm.Settings{ProfileID: profile, Method: "key"}, []string{"method: "}},
		{ibm.Settings{ProfileID: profile, Method: ibm.MethodAssume}, []string{"api_key: "}},
		{ibm.Settings{ProfileID: profile, Method: ibm.MethodAssume, APIKey: "the key itself"}, []string{"api_key: "}},
		{ibm.Settings{ProfileName: "llm", Method: ibm.MethodAssume, APIKey: "${secret:x}"}, []string{"account: "}},
		{ibm.Settings{ProfileID: profile, Method: ibm.MethodAssume, CRTokenFile: "/token"}, []string{"cr_profile_id: "}},
	} {
		faults := c.settings.Validate()
		if len(faults) != len(c.want) {
			t.Errorf("%+v: %v", c.settings, faults)
			continue
		}
		for i, fault := range faults {
			if !strings.HasPrefix(fault.Error(), c.want[i]) {
				t.Errorf("%v, want %s", fault, c.want[i])
			}
		}
	}
}

// TestCheck finds what is not set up, and hands nothing out.
func TestCheck(t *testing.T) {
	c := newCloud(t, providertest.NewFederation(t))
	for name, settings := range map[string]*ibm.Settings{"compute resource": c.computeResource(), "assume": c.assume()} {
		d, err := settings.Open(c.deps)
		if err != nil {
			t.Fatal(err)
		}
		restore := c.Set(sandbox.Down)
		if err := d.(provider.Checker).Check(t.Context()); exchange.KindOf(err) != exchange.KindUnavailable {
			t.Errorf("%s: down: %v", name, err)
		}
		restore()
		if err := d.(provider.Checker).Check(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
