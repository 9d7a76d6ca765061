package gcpsandbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google/externalaccount"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider/gcp/gcpsandbox"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
)

const (
	pool    = "projects/1/locations/global/workloadIdentityPools/cambio"
	name    = pool + "/providers/prod"
	account = "llm@p.iam.gserviceaccount.com"
	idle    = "idle@p.iam.gserviceaccount.com"
)

type kit struct {
	issuer *providertest.Federation
	url    string
	client *http.Client
}

func newKit(t *testing.T) *kit {
	t.Helper()
	issuer := providertest.NewFederation(t)
	everybody := []string{"principalSet://iam.googleapis.com/" + pool + "/*"}
	s, err := gcpsandbox.New(gcpsandbox.Options{
		World: issuer.World(), Providers: []gcpsandbox.Provider{{Name: name}},
		Accounts: []gcpsandbox.Account{
			{Email: account, Users: []string{"principal://iam.googleapis.com/" + pool + "/subject/default:vertex"}},
			{Email: idle, Users: everybody, NoVertex: true},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(s)
	t.Cleanup(server.Close)
	return &kit{issuer, server.URL, server.Client()}
}

func (k *kit) assertion(ctx context.Context) (string, error) {
	now := time.Now().Truncate(time.Second)
	secret, err := k.issuer.Assert(ctx, exchange.Assertion{
		Tenant: "default", Target: "vertex", Audience: "https://iam.googleapis.com/" + name, Endpoint: "127.0.0.1", Issued: now, Expires: now.Add(5 * time.Minute),
	})
	return secret.Reveal(), err
}

// SubjectToken is externalaccount.SubjectTokenSupplier.
func (k *kit) SubjectToken(ctx context.Context, _ externalaccount.SupplierOptions) (string, error) {
	return k.assertion(ctx)
}

// source is Google's own client for external accounts.
func (k *kit) source(t *testing.T, impersonate string) oauth2.TokenSource {
	t.Helper()
	c := externalaccount.Config{
		Audience: "//iam.googleapis.com/" + name, SubjectTokenType: "urn:ietf:params:oauth:token-type:jwt",
		TokenURL: k.url + "/v1/token", Scopes: []string{gcpsandbox.CloudPlatform}, SubjectTokenSupplier: k,
	}
	if impersonate != "" {
		c.ServiceAccountImpersonationURL = k.url + "/v1/projects/-/serviceAccounts/" + impersonate + ":generateAccessToken"
		c.ServiceAccountImpersonationLifetimeSeconds = 900
	}
	source, err := externalaccount.NewTokenSource(context.WithValue(t.Context(), oauth2.HTTPClient, k.client), c)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

func (k *kit) post(t *testing.T, path, bearer, body string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, k.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	answer, err := k.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

const (
	model    = "/v1/projects/p/locations/us-central1/publishers/google/models/gemini-3-pro:"
	question = `{"contents":[{"role":"user","parts":[{"text":"Who am I?"}]}]}`
)

type answer struct {
	Candidates []struct {
		FinishReason string
		Content      struct {
			Role  string
			Parts []struct{ Text string }
		}
	}
	UsageMetadata map[string]int
	ModelVersion  string
}

// TestExternalAccountIsServed: Google's own client takes what the stand-in says, with
// impersonation and without.
func TestExternalAccountIsServed(t *testing.T) {
	k := newKit(t)
	for impersonate, c := range map[string]struct {
		who  string
		life time.Duration
	}{
		"":      {"You are principal://iam.googleapis.com/" + pool + "/subject/default:vertex.", time.Hour},
		account: {"You are " + account + ", by an assertion of default:vertex.", 15 * time.Minute},
	} {
		token, err := k.source(t, impersonate).Token()
		if err != nil {
			t.Fatal(err)
		}
		if off := time.Until(token.Expiry) - c.life; off.Abs() > 10*time.Second {
			t.Errorf("%q: expires at %v", impersonate, token.Expiry)
		}
		for method, stream := range map[string]bool{"generateContent": false, "streamGenerateContent": true} {
			got := k.post(t, model+method, token.AccessToken, question)
			var one answer
			if stream {
				var all []answer
				if err := json.NewDecoder(got.Body).Decode(&all); err != nil || len(all) != 1 {
					t.Fatal(err)
				}
				one = all[0]
			} else if err := json.NewDecoder(got.Body).Decode(&one); err != nil {
				t.Fatal(err)
			}
			if got.StatusCode != http.StatusOK || len(one.Candidates) != 1 || one.Candidates[0].Content.Parts[0].Text != c.who || one.ModelVersion != "gemini-3-pro" {
				t.Errorf("%q: %d %+v", impersonate, got.StatusCode, one)
			}
		}
	}
	if _, err := k.source(t, "none@p.iam.gserviceaccount.com").Token(); err == nil {
		t.Error("an account that is not there is impersonated")
	}
}

// TestSTSRefuses in the words of the Security Token Service.
func TestSTSRefuses(t *testing.T) {
	k := newKit(t)
	good := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "audience": {"//iam.googleapis.com/" + name},
		"scope": {gcpsandbox.CloudPlatform}, "requested_token_type": {string(exchange.TokenTypeAccessToken)},
		"subject_token_type": {string(exchange.TokenTypeJWT)},
	}
	for fault, c := range map[string]struct {
		change func(url.Values)
		bend   func(map[string]any)
		want   string
	}{
		"another grant":    {func(f url.Values) { f.Set("grant_type", "client_credentials") }, nil, "unsupported_grant_type"},
		"no provider":      {func(f url.Values) { f.Set("audience", "//iam.googleapis.com/"+pool+"/providers/none") }, nil, "invalid_target"},
		"a bare provider":  {func(f url.Values) { f.Set("audience", name) }, nil, "invalid_target"},
		"no scope":         {func(f url.Values) { f.Del("scope") }, nil, "invalid_scope"},
		"an ID token":      {func(f url.Values) { f.Set("requested_token_type", string(exchange.TokenTypeIDToken)) }, nil, "invalid_request"},
		"SAML":             {func(f url.Values) { f.Set("subject_token_type", "urn:ietf:params:oauth:token-type:saml2") }, nil, "invalid_request"},
		"no JWT":           {func(f url.Values) { f.Set("subject_token", "x") }, nil, "invalid_grant"},
		"an unasked actor": {func(f url.Values) { f.Set("actor_token", f.Get("subject_token")) }, nil, "invalid_request"},
		"issuer":           {nil, func(c map[string]any) { c["iss"] = "https://cambio.example" }, "invalid_grant"},
		"audience":         {nil, func(c map[string]any) { c["aud"] = "sts" }, "invalid_grant"},
		"expired":          {nil, func(c map[string]any) { c["exp"] = time.Now().Add(-time.Minute).Unix() }, "invalid_grant"},
		"a day old":        {nil, func(c map[string]any) { c["iat"] = time.Now().Add(-25 * time.Hour).Unix() }, "invalid_grant"},
		"a subject of 128": {nil, func(c map[string]any) { c["sub"] = strings.Repeat("x", 128) }, "invalid_grant"},
		"another signature": {func(f url.Values) {
			f.Set("subject_token", f.Get("subject_token")[:len(f.Get("subject_token"))-8]+"AAAAAAAA")
		}, nil, "invalid_grant"},
	} {
		k.issuer.Bend = c.bend
		form := url.Values{}
		for key, value := range good {
			form[key] = slices.Clone(value)
		}
		token, err := k.assertion(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		form.Set("subject_token", token)
		if c.change != nil {
			c.change(form)
		}
		got, err := k.client.PostForm(k.url+"/v1/token", form)
		if err != nil {
			t.Fatal(err)
		}
		var refusal struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}
		err = json.NewDecoder(got.Body).Decode(&refusal)
		_ = got.Body.Close()
		if err != nil || got.StatusCode < 400 || refusal.Error != c.want || refusal.Description == "" {
			t.Errorf("%s: %d %+v: %v", fault, got.StatusCode, refusal, err)
		}
	}
}

// TestAPIsRefuse in the shape of google.rpc.Status.
func TestAPIsRefuse(t *testing.T) {
	k := newKit(t)
	federated, err := k.source(t, "").Token()
	if err != nil {
		t.Fatal(err)
	}
	powerless, err := k.source(t, idle).Token()
	if err != nil {
		t.Fatal(err)
	}
	assertion, err := k.assertion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	forAccount := "/v1/projects/-/serviceAccounts/" + account + ":"
	for fault, c := range map[string]struct {
		path, token, body string
		status            int
		word              string
	}{
		"no token":        {model + "generateContent", "", question, 401, "UNAUTHENTICATED"},
		"the assertion":   {model + "generateContent", assertion, question, 401, "UNAUTHENTICATED"},
		"a changed token": {model + "generateContent", federated.AccessToken[:20] + "A" + federated.AccessToken[21:], question, 401, "UNAUTHENTICATED"},
		"no role":         {model + "generateContent", powerless.AccessToken, question, 403, "PERMISSION_DENIED"},
		"no contents":     {model + "generateContent", federated.AccessToken, `{}`, 400, "INVALID_ARGUMENT"},
		"no method":       {model + "predict", federated.AccessToken, question, 404, "NOT_FOUND"},
		"not a user":      {forAccount + "generateAccessToken", powerless.AccessToken, `{"scope":["x"]}`, 403, "PERMISSION_DENIED"},
		"too long":        {forAccount + "generateAccessToken", federated.AccessToken, `{"scope":["x"],"lifetime":"3601s"}`, 400, "INVALID_ARGUMENT"},
		"no seconds":      {forAccount + "generateAccessToken", federated.AccessToken, `{"scope":["x"],"lifetime":"1h"}`, 400, "INVALID_ARGUMENT"},
		"no scope":        {forAccount + "generateAccessToken", federated.AccessToken, `{}`, 400, "INVALID_ARGUMENT"},
		"no audience":     {forAccount + "generateIdToken", federated.AccessToken, `{}`, 400, "INVALID_ARGUMENT"},
		"a gap":           {forAccount + "generateAccessToken", federated.AccessToken, `{"scope":["x"],"delegates":["projects/-/serviceAccounts/` + idle + `"]}`, 403, "PERMISSION_DENIED"},
	} {
		got := k.post(t, c.path, c.token, c.body)
		var refusal struct {
			Error struct {
				Code            int
				Message, Status string
			}
		}
		if err := json.NewDecoder(got.Body).Decode(&refusal); err != nil || got.StatusCode != c.status || refusal.Error.Code != c.status || refusal.Error.Status != c.word {
			t.Errorf("%s: %d %+v: %v", fault, got.StatusCode, refusal, err)
		}
	}
}

// TestLimits: Google's on providers.
func TestLimits(t *testing.T) {
	world := providertest.NewFederation(t).World()
	for n, good := range map[int]bool{10: true, 11: false} {
		p := gcpsandbox.Provider{Name: name}
		for i := range n {
			p.Audiences = append(p.Audiences, fmt.Sprintf("a%d", i))
		}
		if _, err := gcpsandbox.New(gcpsandbox.Options{World: world, Providers: []gcpsandbox.Provider{p}}); (err == nil) != good {
			t.Errorf("%d audiences: %v", n, err)
		}
	}
	if _, err := gcpsandbox.New(gcpsandbox.Options{World: world, Providers: []gcpsandbox.Provider{{Name: name, Actors: make([]string, 4)}}}); err == nil {
		t.Error("four actor providers")
	}
}
