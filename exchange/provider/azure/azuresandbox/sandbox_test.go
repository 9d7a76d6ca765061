package azuresandbox_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider/azure/azuresandbox"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
)

const (
	tenant = "8f1c2f9e-0000-4000-8000-000000000001"
	app    = "8f1c2f9e-0000-4000-8000-0000000000a1"
	idle   = "8f1c2f9e-0000-4000-8000-0000000000a2"
)

type kit struct {
	issuer *providertest.Federation
	url    string
	client *http.Client
}

func newKit(t *testing.T) *kit {
	t.Helper()
	issuer := providertest.NewFederation(t)
	credential := azuresandbox.Credential{Issuer: issuer.Issuer, Subject: "default:azure-openai", Audience: azuresandbox.Audience}
	s, err := azuresandbox.New(azuresandbox.Options{
		World: issuer.World(), TenantID: tenant, Deployments: []string{"gpt-5"},
		Apps: []azuresandbox.App{
			{ClientID: app, Credentials: []azuresandbox.Credential{credential}},
			{ClientID: idle, Credentials: []azuresandbox.Credential{credential}, NoRole: true},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(s)
	t.Cleanup(server.Close)
	return &kit{issuer, server.URL, server.Client()}
}

func (k *kit) assertion(t *testing.T) string {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	secret, err := k.issuer.Assert(t.Context(), exchange.Assertion{
		Tenant: "default", Target: "azure-openai", Audience: azuresandbox.Audience, Endpoint: "127.0.0.1", Issued: now, Expires: now.Add(5 * time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	return secret.Reveal()
}

// credential is azidentity's own, as a user of Azure's libraries makes one.
func (k *kit) credential(t *testing.T, client string) *azidentity.ClientAssertionCredential {
	t.Helper()
	c, err := azidentity.NewClientAssertionCredential(tenant, client,
		func(context.Context) (string, error) { return k.assertion(t), nil },
		&azidentity.ClientAssertionCredentialOptions{DisableInstanceDiscovery: true, ClientOptions: azcore.ClientOptions{
			Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: k.url}, Transport: k.client, Retry: policy.RetryOptions{MaxRetries: -1},
		}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (k *kit) token(t *testing.T, client, scope string) (string, error) {
	t.Helper()
	token, err := k.credential(t, client).GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{scope}})
	return token.Token, err
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

const question = `{"model":"gpt-5","messages":[{"role":"user","content":"Who am I?"}]}`

// TestAzidentityIsServed: Microsoft's own client takes what the stand-in says, and
// both faces of the resource take what it vends.
func TestAzidentityIsServed(t *testing.T) {
	k := newKit(t)
	token, err := k.token(t, app, "https://cognitiveservices.azure.com/.default")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/openai/deployments/gpt-5/chat/completions?api-version=2024-10-21", "/openai/v1/chat/completions"} {
		var completion struct {
			Object  string
			Model   string
			Choices []struct {
				FinishReason string `json:"finish_reason"`
				Message      struct{ Role, Content string }
			}
			Usage map[string]int
		}
		answer := k.post(t, path, token, question)
		if err := json.NewDecoder(answer.Body).Decode(&completion); err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d: %v", path, answer.StatusCode, err)
		}
		want := fmt.Sprintf("You are the application %s of tenant %s, by an assertion of default:azure-openai.", app, tenant)
		if completion.Object != "chat.completion" || completion.Model != "gpt-5" || completion.Choices[0].Message.Content != want || completion.Choices[0].FinishReason != "stop" {
			t.Errorf("%+v", completion)
		}
	}
}

func TestStreaming(t *testing.T) {
	k := newKit(t)
	token, err := k.token(t, app, "https://cognitiveservices.azure.com/.default")
	if err != nil {
		t.Fatal(err)
	}
	answer := k.post(t, "/openai/v1/chat/completions", token, `{"model":"gpt-5","stream":true,"messages":[{"role":"user","content":"?"}]}`)
	var text strings.Builder
	done := false
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		data, isData := strings.CutPrefix(lines.Text(), "data: ")
		if !isData {
			continue
		}
		if data == "[DONE]" {
			done = true
			continue
		}
		var chunk struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			t.Fatal(err)
		}
		text.WriteString(chunk.Choices[0].Delta.Content)
	}
	if !done || !strings.HasPrefix(text.String(), "You are the application") {
		t.Errorf("%q, done: %t", text.String(), done)
	}
}

// TestTheResourceRefuses what the real one refuses, in its shape.
func TestTheResourceRefuses(t *testing.T) {
	k := newKit(t)
	good, err := k.token(t, app, "https://cognitiveservices.azure.com/.default")
	if err != nil {
		t.Fatal(err)
	}
	graph, err := k.token(t, app, "https://graph.microsoft.com/.default")
	if err != nil {
		t.Fatal(err)
	}
	powerless, err := k.token(t, idle, "https://cognitiveservices.azure.com/.default")
	if err != nil {
		t.Fatal(err)
	}
	const v1 = "/openai/v1/chat/completions"
	for name, c := range map[string]struct {
		path, token, body string
		status            int
		code              string
	}{
		"no token":         {v1, "", question, 401, "401"},
		"another audience": {v1, graph, question, 401, "401"},
		"the assertion":    {v1, k.assertion(t), question, 401, "401"},
		"no role":          {v1, powerless, question, 401, "PermissionDenied"},
		"no deployment":    {"/openai/deployments/none/chat/completions?api-version=1", good, question, 404, "DeploymentNotFound"},
		"no api-version":   {"/openai/deployments/gpt-5/chat/completions", good, question, 404, "404"},
		"no messages":      {v1, good, `{"model":"gpt-5"}`, 400, "BadRequest"},
		"no JSON":          {v1, good, `hello`, 400, "BadRequest"},
	} {
		answer := k.post(t, c.path, c.token, c.body)
		var complaint struct {
			Error struct{ Code, Message string }
		}
		if err := json.NewDecoder(answer.Body).Decode(&complaint); err != nil || answer.StatusCode != c.status || complaint.Error.Code != c.code || complaint.Error.Message == "" {
			t.Errorf("%s: %d %+v: %v", name, answer.StatusCode, complaint, err)
		}
	}
}

// TestEntraRefuses by the codes of its documentation.
func TestEntraRefuses(t *testing.T) {
	k := newKit(t)
	good := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {app}, "scope": {"https://cognitiveservices.azure.com/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	}
	for name, c := range map[string]struct {
		change func(url.Values)
		bend   func(map[string]any)
		code   int
	}{
		"another grant":  {func(f url.Values) { f.Set("grant_type", "password") }, nil, 70003},
		"no application": {func(f url.Values) { f.Set("client_id", tenant) }, nil, 700016},
		"no assertion":   {func(f url.Values) { f.Del("client_assertion") }, nil, 7000218},
		"no JWT":         {func(f url.Values) { f.Set("client_assertion", "x") }, nil, 50027},
		"another signature": {func(f url.Values) {
			f.Set("client_assertion", f.Get("client_assertion")[:len(f.Get("client_assertion"))-8]+"AAAAAAAA")
		}, nil, 700027},
		"two scopes":      {func(f url.Values) { f.Set("scope", "https://a/.default https://b/.default") }, nil, 1002012},
		"a narrow scope":  {func(f url.Values) { f.Set("scope", "https://graph.microsoft.com/User.Read") }, nil, 1002012},
		"no resource":     {func(f url.Values) { f.Set("scope", "https://none.example/.default") }, nil, 500011},
		"case of subject": {nil, func(c map[string]any) { c["sub"] = "Default:azure-openai" }, 700213},
		"audience":        {nil, func(c map[string]any) { c["aud"] = "api://azureadtokenexchange" }, 700212},
		"issuer":          {nil, func(c map[string]any) { c["iss"] = "https://cambio.example" }, 700211},
		"expired":         {nil, func(c map[string]any) { c["exp"] = time.Now().Add(-time.Minute).Unix() }, 700024},
		"two audiences":   {nil, func(c map[string]any) { c["aud"] = []string{azuresandbox.Audience, "x"} }, 50027},
	} {
		k.issuer.Bend = c.bend
		form := url.Values{}
		for key, value := range good {
			form[key] = slices.Clone(value)
		}
		form.Set("client_assertion", k.assertion(t))
		if c.change != nil {
			c.change(form)
		}
		answer, err := k.client.PostForm(k.url+"/"+tenant+"/oauth2/v2.0/token", form)
		if err != nil {
			t.Fatal(err)
		}
		var refusal struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
			Codes       []int  `json:"error_codes"`
			Trace       string `json:"trace_id"`
			Correlation string `json:"correlation_id"`
		}
		err = json.NewDecoder(answer.Body).Decode(&refusal)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode < 400 || !slices.Equal(refusal.Codes, []int{c.code}) || len(refusal.Trace) != 36 || len(refusal.Correlation) != 36 ||
			!strings.HasPrefix(refusal.Description, fmt.Sprintf("AADSTS%d: ", c.code)) || refusal.Error == "" {
			t.Errorf("%s: %d %+v: %v", name, answer.StatusCode, refusal, err)
		}
	}
	k.issuer.Bend = nil
	_, err := k.token(t, idle, "https://none.example/.default")
	var failed *azidentity.AuthenticationFailedError
	if !errors.As(err, &failed) || failed.RawResponse == nil || failed.RawResponse.StatusCode != http.StatusBadRequest {
		t.Errorf("azidentity makes of it: %v", err)
	}
}

// TestLimits: Entra's on federated credentials.
func TestLimits(t *testing.T) {
	world := providertest.NewFederation(t).World()
	credential := func(subject string) azuresandbox.Credential {
		return azuresandbox.Credential{Issuer: world.Issuer, Subject: subject, Audience: azuresandbox.Audience}
	}
	var many []azuresandbox.Credential
	for n := range 21 {
		many = append(many, credential(fmt.Sprintf("default:t%d", n)))
	}
	for name, c := range map[string]struct {
		credentials []azuresandbox.Credential
		good        bool
	}{
		"twenty": {many[:20], true}, "twenty-one": {many, false},
		"600 characters": {[]azuresandbox.Credential{credential(strings.Repeat("ü", 600))}, true},
		"601":            {[]azuresandbox.Credential{credential(strings.Repeat("x", 601))}, false},
		"none":           {[]azuresandbox.Credential{credential("")}, false},
		"twice":          {[]azuresandbox.Credential{credential("a"), credential("a")}, false},
	} {
		_, err := azuresandbox.New(azuresandbox.Options{World: world, TenantID: tenant, Apps: []azuresandbox.App{{ClientID: app, Credentials: c.credentials}}})
		if (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
