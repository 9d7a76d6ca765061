package gcp_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/gcp"
	"github.com/cambio-sts/cambio/exchange/provider/gcp/gcpsandbox"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
)

const (
	pool     = "projects/1/locations/global/workloadIdentityPools/cambio"
	name     = pool + "/providers/prod"
	actors   = pool + "/providers/actors"
	account  = "llm@p.iam.gserviceaccount.com"
	hop      = "hop@p.iam.gserviceaccount.com"
	readOnly = "https://www.googleapis.com/auth/devstorage.read_only"
)

// kit is the stand-in over TLS, a federation issuer that it trusts, and good
// settings.
type kit struct {
	issuer   *providertest.Federation
	sandbox  *gcpsandbox.Sandbox
	url      string
	client   *http.Client
	settings gcp.Settings
}

func newKit(t *testing.T, change func(*gcpsandbox.Options)) *kit {
	t.Helper()
	issuer := providertest.NewFederation(t)
	o := gcpsandbox.Options{
		World:     issuer.World(),
		Providers: []gcpsandbox.Provider{{Name: name}, {Name: actors}},
		Accounts: []gcpsandbox.Account{
			{Email: account, Users: []string{"principalSet://iam.googleapis.com/" + pool + "/*"}},
			{Email: hop},
		},
	}
	if change != nil {
		change(&o)
	}
	s, err := gcpsandbox.New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(s)
	t.Cleanup(server.Close)
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("redirects are refused") }
	return &kit{
		issuer: issuer, sandbox: s, url: server.URL, client: client,
		settings: gcp.Settings{
			Provider: name, ServiceAccount: account, Subject: []string{"subject"}, STSURL: server.URL, IAMURL: server.URL,
		},
	}
}

func (k *kit) deps() provider.Deps {
	return provider.Deps{HTTP: k.client, Asserter: k.issuer, Now: time.Now, Random: rand.Reader}
}

func (k *kit) harness() providertest.Harness {
	f := k.settings.Facts()
	return providertest.Harness{
		Provider: "gcp", Config: &k.settings, Deps: k.deps(), Scopes: f.Scopes, Type: f.Types[0], Honour: k.honour,
	}
}

func (k *kit) vend(t *testing.T, change func(*exchange.Grant)) (exchange.Credential, error) {
	t.Helper()
	d, err := k.settings.Open(k.deps())
	if err != nil {
		t.Fatal(err)
	}
	g := k.harness().Grant(t, "k8s:prod:llm:gateway")
	if change != nil {
		change(&g)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return d.Vend(ctx, g)
}

// call asks the stand-in for something with a bearer and reads the answer.
func (k *kit) call(t *testing.T, method, path, body string, bearer exchange.Secret, answer any) error {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, k.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if !bearer.IsZero() {
		r.Header.Set("Authorization", "Bearer "+bearer.Reveal())
	}
	got, err := k.client.Do(r)
	if err != nil {
		return err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		return err
	}
	if got.StatusCode != http.StatusOK {
		return fmt.Errorf("%d: %s", got.StatusCode, text)
	}
	return json.Unmarshal(text, answer)
}

// ask is what a Vertex AI model answers.
func (k *kit) ask(t *testing.T, bearer exchange.Secret) (string, error) {
	t.Helper()
	var answer struct {
		Candidates []struct {
			Content struct{ Parts []struct{ Text string } }
		}
	}
	err := k.call(t, http.MethodPost, "/v1/projects/p/locations/us-central1/publishers/google/models/gemini-3-pro:generateContent",
		`{"contents":[{"role":"user","parts":[{"text":"Who am I?"}]}]}`, bearer, &answer)
	if err != nil || len(answer.Candidates) != 1 || len(answer.Candidates[0].Content.Parts) != 1 {
		return "", fmt.Errorf("no candidate: %w", err)
	}
	return answer.Candidates[0].Content.Parts[0].Text, nil
}

var suiteSubject = regexp.MustCompile(`default:suite:([^ ,."]+)`)

func subjectIn(text string) (string, error) {
	m := suiteSubject.FindStringSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("it answers %q", text)
	}
	return url.PathUnescape(m[1])
}

// honour is whom the cloud answers, and with which scopes.
func (k *kit) honour(t *testing.T, c exchange.Credential) (string, []string, error) {
	t.Helper()
	if c.IssuedType == exchange.TokenTypeIDToken {
		return k.honourID(t, c)
	}
	var info struct {
		Scope   string
		Expires int64 `json:"exp"`
	}
	if err := k.call(t, http.MethodGet, "/tokeninfo?access_token="+url.QueryEscape(c.Value.Reveal()), "", exchange.Secret{}, &info); err != nil {
		return "", nil, err
	}
	if off := c.Expires.Sub(time.Unix(info.Expires, 0)); off.Abs() > 2*time.Second {
		return "", nil, fmt.Errorf("the expiry is off by %v", off)
	}
	scopes := strings.Fields(info.Scope)
	var listed struct {
		Items []struct{ Metadata struct{ WhoAmI string } }
	}
	if !slices.Contains(scopes, gcpsandbox.CloudPlatform) || len(k.settings.AccessBoundary) > 0 {
		if err := k.call(t, http.MethodGet, "/storage/v1/b/models/o", "", c.Value, &listed); err != nil {
			return "", nil, err
		}
		subject, err := subjectIn(listed.Items[0].Metadata.WhoAmI)
		return subject, scopes, err
	}
	text, err := k.ask(t, c.Value)
	if err != nil {
		return "", nil, err
	}
	subject, err := subjectIn(text)
	return subject, scopes, err
}

// honourID verifies an ID token as a service that is asked with it does.
func (k *kit) honourID(t *testing.T, c exchange.Credential) (string, []string, error) {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := k.call(t, http.MethodGet, "/oauth2/v3/certs", "", exchange.Secret{}, &set); err != nil {
		return "", nil, err
	}
	signed, err := jose.ParseSignedCompact(c.Value.Reveal(), []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return "", nil, errors.New("no JWT")
	}
	payload, err := signed.Verify(set.Key(signed.Signatures[0].Header.KeyID)[0].Key)
	if err != nil {
		return "", nil, err
	}
	var claims struct {
		Audience string `json:"aud"`
		Email    string `json:"email"`
		Expires  int64  `json:"exp"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return "", nil, err
	}
	if claims.Audience != k.settings.Audience || claims.Email != account || !c.Expires.Equal(time.Unix(claims.Expires, 0)) {
		return "", nil, errors.New("of another audience, account or expiry")
	}
	subject, err := subjectIn(string(payload))
	return subject, nil, err
}
