package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
)

// matrixPolicy makes the tokens of two accounts good as clients, and adds rules of
// every kind that a request can fail on.
const matrixPolicy = `
clients:
  assistant: {trust: {trust: cluster, namespace: agents, service_account: assistant}}
  preview: {trust: {trust: cluster, namespace: preview-42, service_account: assistant}}
targets:
  notes-mcp: {mcp: {resource: https://mcp.example/notes, scopes: [notes.read, notes.write]}}
allow:
  - {name: notes, subjects: [{trust: cluster, namespace: "*"}], targets: [notes-mcp], scopes: [notes.read], max_ttl: 10m, require_reason: true}
deny:
  - {name: no-bad-reasons, targets: [notes-mcp], when: request.reason == "because"}
`

// TestPolicyMatrixThroughEveryDoor: the same subject gets the same answer by each
// grant, by REST and by gRPC: one pipeline, whatever the door.
func TestPolicyMatrixThroughEveryDoor(t *testing.T) {
	p := startDev(t)
	file := filepath.Join(p.ready.PolicyDir, "matrix.yaml")
	if err := os.WriteFile(file, []byte(matrixPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	world, err := devworld.Open(p.ready.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient(strings.TrimPrefix(p.ready.URL, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m := matrix{t: t, p: p, world: world, grpc: cambiov1.NewExchangeServiceClient(conn)}
	reads := matrixCase{namespace: "agents", audience: "notes-mcp", reason: "tests"}
	if !eventually(func() bool { return strings.HasPrefix(m.tokenExchange(reads), "issued") }) {
		t.Fatal("the policy is not in force")
	}
	cases := 0
	for _, namespace := range []string{"agents", "preview-42"} {
		for _, target := range []struct{ audience, resource string }{
			{"notes-mcp", ""}, {"", "https://mcp.example/notes"}, {"notes-mcp", "https://mcp.example/notes"}, {"notes-mcp", "https://mcp.example/wiki"},
			{"github-mcp", ""}, {"wiki-mcp", ""}, {"nowhere", ""}, {"", ""}, {"", "no uri"},
		} {
			for _, scope := range []string{"", "notes.read", "notes.write", "pages.read", "a  b"} {
				for _, lifetime := range []int32{0, 60, 3600} {
					for _, reason := range []string{"", "tests", "because"} {
						if (lifetime != 0 || reason == "because") && (scope != "" || target.resource != "") {
							continue // two at once say nothing new
						}
						c := matrixCase{namespace, target.audience, target.resource, scope, lifetime, reason}
						want := m.tokenExchange(c)
						for name, ask := range map[string]func(matrixCase) string{
							"jwt-bearer": m.jwtBearer, "client_credentials": m.clientCredentials, "REST": m.rest, "gRPC": m.overGRPC,
						} {
							if got := ask(c); got != want {
								t.Errorf("%+v: by %s %s, by token exchange %s", c, name, got, want)
							}
						}
						cases++
					}
				}
			}
		}
	}
	t.Logf("%d cases through five doors; answers: %v", cases, m.answers)
	for _, want := range []string{"issued", "invalid_target", "invalid_scope", "invalid_request"} {
		if m.answers[want] == 0 {
			t.Errorf("no case came to %s", want)
		}
	}
	p.stop()
}

type matrixCase struct {
	namespace, audience, resource, scope string
	lifetime                             int32
	reason                               string
}

type matrix struct {
	t       *testing.T
	p       *process
	world   *devworld.World
	grpc    cambiov1.ExchangeServiceClient
	answers map[string]int
}

func (m *matrix) token(c matrixCase) string {
	token, err := m.world.ServiceAccount(time.Now(), c.namespace, "assistant", devworld.Audience)
	if err != nil {
		m.t.Fatal(err)
	}
	return token.Reveal()
}

func (m *matrix) tokenExchange(c matrixCase) string {
	answer := m.form(c, url.Values{
		"grant_type": {exchange.GrantTokenExchange}, "subject_token": {m.token(c)}, "subject_token_type": {tokenTypePrefix + "jwt"},
	})
	if m.answers == nil {
		m.answers = map[string]int{}
	}
	kind, _, _ := strings.Cut(answer, " ")
	m.answers[strings.TrimSuffix(kind, ":")]++
	return answer
}

func (m *matrix) jwtBearer(c matrixCase) string {
	return m.form(c, url.Values{"grant_type": {exchange.GrantJWTBearer}, "assertion": {m.token(c)}})
}

func (m *matrix) clientCredentials(c matrixCase) string {
	return m.form(c, url.Values{
		"grant_type": {exchange.GrantClientCredentials}, "client_assertion": {m.token(c)},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	})
}

// form asks the token endpoint.
func (m *matrix) form(c matrixCase, form url.Values) string {
	m.t.Helper()
	for name, value := range map[string]string{"audience": c.audience, "resource": c.resource, "scope": c.scope, "reason": c.reason} {
		if value != "" {
			form.Set(name, value)
		}
	}
	if c.lifetime != 0 {
		form.Set("requested_lifetime", fmt.Sprint(c.lifetime))
	}
	resp, err := http.PostForm(m.p.ready.URL+"/oauth2/token", form)
	return m.read(resp, err)
}

func (m *matrix) rest(c matrixCase) string {
	body := map[string]any{"subject_token": m.token(c), "subject_token_type": tokenTypePrefix + "jwt"}
	for name, value := range map[string]string{"scope": c.scope, "reason": c.reason} {
		if value != "" {
			body[name] = value
		}
	}
	for name, value := range map[string]string{"audience": c.audience, "resource": c.resource} {
		if value != "" {
			body[name] = []string{value}
		}
	}
	if c.lifetime != 0 {
		body["requested_lifetime"] = c.lifetime
	}
	text, err := json.Marshal(body)
	if err != nil {
		m.t.Fatal(err)
	}
	resp, err := http.Post(m.p.ready.URL+"/v1/exchanges", "application/json", strings.NewReader(string(text)))
	return m.read(resp, err)
}

// read makes an answer comparable: what was granted, or the refusal in full.
func (m *matrix) read(resp *http.Response, err error) string {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	var a struct {
		Scope       string `json:"scope"`
		ExpiresIn   int32  `json:"expires_in"`
		Token       string `json:"access_token"`
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		m.t.Fatal(err)
	}
	if a.Error != "" {
		return a.Error + ": " + a.Description
	}
	return granted(a.Token, a.Scope, a.ExpiresIn)
}

// granted rounds the lifetime up to minutes: the second of the answer is chance.
func granted(token, scope string, expiresIn int32) string {
	return fmt.Sprintf("issued %t %s for %d min", token != "", scope, (expiresIn+59)/60)
}

func (m *matrix) overGRPC(c matrixCase) string {
	in := &cambiov1.ExchangeRequest{
		SubjectToken: m.token(c), SubjectTokenType: tokenTypePrefix + "jwt", Scope: c.scope, RequestedLifetime: c.lifetime, Reason: c.reason,
	}
	if c.audience != "" {
		in.Audience = []string{c.audience}
	}
	if c.resource != "" {
		in.Resource = []string{c.resource}
	}
	out, err := m.grpc.Exchange(m.t.Context(), in)
	if err == nil {
		return granted(out.GetAccessToken(), out.GetScope(), out.GetExpiresIn())
	}
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetMetadata()["error"] + ": " + status.Convert(err).Message()
		}
	}
	return err.Error()
}
