package azure_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/azure"
	"github.com/cambio-sts/cambio/exchange/provider/azure/azuresandbox"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
)

const (
	tenant = "8f1c2f9e-0000-4000-8000-000000000001"
	app    = "8f1c2f9e-0000-4000-8000-0000000000a1"
	other  = "8f1c2f9e-0000-4000-8000-0000000000a2"
	scope  = "https://cognitiveservices.azure.com/.default"
)

// kit is the stand-in over TLS, a federation issuer that it trusts, and good
// settings.
type kit struct {
	issuer   *providertest.Federation
	sandbox  *azuresandbox.Sandbox
	url      string
	client   *http.Client
	settings azure.Settings
}

// credentialsFor are federated credentials for the suite's target with these
// values after it; no value: for the target alone.
func credentialsFor(issuer string, values ...string) []azuresandbox.Credential {
	subjects := []string{"default:suite"}
	if values != nil {
		subjects = nil
		for _, v := range values {
			subjects = append(subjects, exchange.CanonicalName("", "default", "suite", v)[1:])
		}
	}
	var all []azuresandbox.Credential
	for _, s := range subjects {
		all = append(all, azuresandbox.Credential{Issuer: issuer, Subject: s, Audience: azuresandbox.Audience})
	}
	return all
}

func newKit(t *testing.T, change func(*azuresandbox.Options)) *kit {
	t.Helper()
	issuer := providertest.NewFederation(t)
	o := azuresandbox.Options{World: issuer.World(), TenantID: tenant,
		Apps: []azuresandbox.App{{ClientID: app, Credentials: credentialsFor(issuer.Issuer)}}}
	if change != nil {
		change(&o)
	}
	s, err := azuresandbox.New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(s)
	t.Cleanup(server.Close)
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return errors.New("redirects are refused") }
	return &kit{
		issuer: issuer, sandbox: s, url: server.URL, client: client,
		settings: azure.Settings{TenantID: tenant, ClientID: app, Scope: scope, Authority: server.URL, MayOutlive: true},
	}
}

func (k *kit) deps() provider.Deps {
	return provider.Deps{HTTP: k.client, Asserter: k.issuer, Now: time.Now, Random: rand.Reader}
}

func (k *kit) harness() providertest.Harness {
	return providertest.Harness{
		Provider: "azure", Config: &k.settings, Deps: k.deps(), Scopes: []string{scope},
		Type: exchange.TokenTypeAccessToken, Honour: k.honour,
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

var by = regexp.MustCompile(`by an assertion of default:suite(?::([^. ]+))?\.$`)

// ask calls chat completions with a bearer and returns the answer's text.
func (k *kit) ask(t *testing.T, bearer exchange.Secret) (string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		k.url+"/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21",
		strings.NewReader(`{"messages":[{"role":"user","content":"Who am I?"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+bearer.Reveal())
	answer, err := k.client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%d: %s", answer.StatusCode, body)
	}
	var completion struct {
		Choices []struct{ Message struct{ Content string } }
	}
	if err := json.Unmarshal(body, &completion); err != nil || len(completion.Choices) != 1 {
		return "", fmt.Errorf("no completion: %v", err)
	}
	return completion.Choices[0].Message.Content, nil
}

// honour is whom the resource answers, and for what the token says it is.
func (k *kit) honour(t *testing.T, c exchange.Credential) (string, []string, error) {
	t.Helper()
	text, err := k.ask(t, c.Value)
	if err != nil {
		return "", nil, err
	}
	said := payload(t, c.Value)
	if said["uti"] != c.Handle {
		return "", nil, errors.New("the handle is not the token's uti")
	}
	if off := c.Expires.Sub(time.Unix(int64(said["exp"].(float64)), 0)); off.Abs() > 5*time.Second {
		return "", nil, fmt.Errorf("the expiry is off by %v", off)
	}
	scopes := []string{said["aud"].(string) + "/.default"}
	m := by.FindStringSubmatch(text)
	if m == nil {
		return "", scopes, fmt.Errorf("the answer is %q", text)
	}
	subject, err := url.PathUnescape(m[1])
	return subject, scopes, err
}

func payload(t *testing.T, token exchange.Secret) map[string]any {
	t.Helper()
	plain, err := base64.RawURLEncoding.DecodeString(strings.Split(token.Reveal(), ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(plain, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}
