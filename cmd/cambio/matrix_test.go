package main

import (
	"cmp"
	"encoding/base64"
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
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange"
	cambiov1 "github.com/cambio-sts/cambio/proto/cambio/v1"
)

// matrixPolicy makes the tokens of two accounts good as clients, registers one by a
// secret, and adds rules of every kind that a request can fail on.
const matrixPolicy = `
clients:
  ci:
    SECRET
  elsewhere:
    SECRET
    grants: [client_credentials]
  assistant: {trust: {trust: cluster, namespace: agents, service_account: assistant}}
  preview: {trust: {trust: cluster, namespace: preview-42, service_account: assistant}}
targets:
  notes-mcp: {mcp: {resource: https://mcp.example/notes, scopes: [notes.read, notes.write]}}
  vault-mcp: {mcp: {resource: https://mcp.example/vault, scopes: [keys.read]}}
allow:
  - {name: vault, subjects: [{trust: cluster, namespace: agents}], clients: [ci], targets: [vault-mcp], max_ttl: 10m}
  - {name: notes, subjects: [{trust: cluster, namespace: "*"}], targets: [notes-mcp], scopes: [notes.read], max_ttl: 10m, require_reason: true}
deny:
  - {name: no-bad-reasons, targets: [notes-mcp], when: request.reason == "because"}
`

// TestPolicyMatrixThroughEveryDoor: the same subject gets the same answer by each
// grant, by REST and by gRPC, with a registered client and without: one pipeline,
// whatever the door.
func TestPolicyMatrixThroughEveryDoor(t *testing.T) {
	p := startDev(t)
	secret, line := p.clientSecret()
	file := filepath.Join(p.ready.PolicyDir, "matrix.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(matrixPolicy, "SECRET", line)), 0o600); err != nil {
		t.Fatal(err)
	}
	world, err := devworld.Open(p.ready.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	m := openMatrix(p, func(c matrixCase) (exchange.Secret, error) {
		return world.ServiceAccount(time.Now(), c.namespace, cmp.Or(c.account, "assistant"), devworld.Audience)
	})
	reads := matrixCase{namespace: "agents", audience: "notes-mcp", reason: "tests"}
	if !eventually(func() bool { return strings.HasPrefix(m.tokenExchange(reads), "issued") }) {
		t.Fatal("the policy is not in force")
	}
	cases := 0
	for _, c := range matrixCases() {
		want := m.tokenExchange(c)
		m.answered(want)
		for name, ask := range map[string]func(matrixCase) string{
			"jwt-bearer": m.jwtBearer, "client_credentials": m.clientCredentials, "REST": m.rest, "gRPC": m.overGRPC,
		} {
			if got := ask(c); got != want {
				t.Errorf("%+v: by %s %s, by token exchange %s", c, name, got, want)
			}
		}
		// The subject's own token as the client's makes another client.
		itself := presented{members: map[string]string{"client_assertion": m.bearer(c), "client_assertion_type": assertionType}}
		for name, ask := range map[string]func(matrixCase) string{"REST": m.as(itself).rest, "gRPC": m.as(itself).overGRPC} {
			if got := ask(c); got != want {
				t.Errorf("%+v: with an assertion by %s %s, by token exchange %s", c, name, got, want)
			}
		}
		// The same, and what only a client may have, with one; each time for another
		// subject, since a subject has its rate.
		c.account = fmt.Sprintf("bot-%d", cases)
		want = m.as(basicClient("ci", secret)).tokenExchange(c)
		m.answered(want)
		post := presented{members: map[string]string{"client_id": "ci", "client_secret": secret}}
		for name, ask := range map[string]func(matrixCase) string{
			"token exchange, client_secret_post": m.as(post).tokenExchange, "jwt-bearer": m.as(post).jwtBearer,
			"REST, basic": m.as(basicClient("ci", secret)).rest, "REST, post": m.as(post).rest,
			"gRPC, basic": m.as(basicClient("ci", secret)).overGRPC, "gRPC, post": m.as(post).overGRPC,
		} {
			if got := ask(c); got != want {
				t.Errorf("%+v: with a client by %s %s, by token exchange %s", c, name, got, want)
			}
		}
		cases++
	}
	// A client that is wrong, or of other grants, gets the same refusal by each door.
	for name, with := range map[string]presented{
		"unknown": basicClient("nobody", secret), "wrong secret": basicClient("ci", secret+"x"), "no secret": {members: map[string]string{"client_id": "ci"}},
		"forged assertion": {members: map[string]string{"client_assertion": m.bearer(reads) + "x", "client_assertion_type": assertionType}},
		"two ways":         {header: basicClient("ci", secret).header, members: map[string]string{"client_secret": secret}},
		"of other grants":  basicClient("elsewhere", secret),
	} {
		want := m.as(with).tokenExchange(reads)
		m.answered(want)
		if strings.HasPrefix(want, "issued") {
			t.Errorf("%s: %s", name, want)
		}
		for door, ask := range map[string]func(matrixCase) string{"REST": m.as(with).rest, "gRPC": m.as(with).overGRPC} {
			if got := ask(reads); got != want {
				t.Errorf("%s: by %s %s, by token exchange %s", name, door, got, want)
			}
		}
	}
	t.Logf("%d cases through five doors, with a client and without; answers: %v", cases, m.answers)
	for _, want := range []string{"issued", "invalid_target", "invalid_scope", "invalid_request", "invalid_client", "unauthorized_client"} {
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
	account                              string // empty: assistant
}

func matrixCases() []matrixCase {
	var all []matrixCase
	for _, namespace := range []string{"agents", "preview-42"} {
		for _, target := range []struct{ audience, resource string }{
			{"notes-mcp", ""}, {"", "https://mcp.example/notes"}, {"notes-mcp", "https://mcp.example/notes"}, {"notes-mcp", "https://mcp.example/wiki"},
			{"github-mcp", ""}, {"wiki-mcp", ""}, {"vault-mcp", ""}, {"nowhere", ""}, {"", ""}, {"", "no uri"},
		} {
			for _, scope := range []string{"", "notes.read", "notes.write", "pages.read", "a  b"} {
				for _, lifetime := range []int32{0, 60, 3600} {
					for _, reason := range []string{"", "tests", "because"} {
						if (lifetime != 0 || reason == "because") && (scope != "" || target.resource != "") {
							continue // two at once say nothing new
						}
						all = append(all, matrixCase{namespace, target.audience, target.resource, scope, lifetime, reason, ""})
					}
				}
			}
		}
	}
	return all
}

// matrix asks for one thing through every door.
type matrix struct {
	t       *testing.T
	p       *process
	token   func(matrixCase) (exchange.Secret, error)
	client  presented
	grpc    cambiov1.ExchangeServiceClient
	answers map[string]int
}

func openMatrix(p *process, token func(matrixCase) (exchange.Secret, error)) *matrix {
	p.t.Helper()
	conn, err := grpc.NewClient(strings.TrimPrefix(p.ready.URL, "http://"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	return &matrix{t: p.t, p: p, token: token, grpc: cambiov1.NewExchangeServiceClient(conn), answers: map[string]int{}}
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// presented is how a client authenticates: a header, or members of the request.
type presented struct {
	header  string
	members map[string]string
}

func basicClient(id, secret string) presented {
	return presented{header: "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))}
}

// clientSecret makes a secret, and its line of policy.
func (p *process) clientSecret() (secret, line string) {
	p.t.Helper()
	stdout, stderr, code := p.shell("cambio client secret")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if code != 0 || len(lines) != 2 {
		p.t.Fatalf("exit status %d, %d lines, %s", code, len(lines), stderr)
	}
	return lines[0], lines[1]
}

// as is m with a client.
func (m *matrix) as(client presented) *matrix {
	other := *m
	other.client = client
	return &other
}

func (m *matrix) bearer(c matrixCase) string {
	m.t.Helper()
	token, err := m.token(c)
	if err != nil {
		m.t.Fatal(err)
	}
	return token.Reveal()
}

func (m *matrix) answered(answer string) {
	kind, _, _ := strings.Cut(answer, " ")
	m.answers[strings.TrimSuffix(kind, ":")]++
}

func (m *matrix) tokenExchange(c matrixCase) string {
	return m.form(c, url.Values{
		"grant_type": {exchange.GrantTokenExchange}, "subject_token": {m.bearer(c)}, "subject_token_type": {tokenTypePrefix + "jwt"},
	})
}

func (m *matrix) jwtBearer(c matrixCase) string {
	return m.form(c, url.Values{"grant_type": {exchange.GrantJWTBearer}, "assertion": {m.bearer(c)}})
}

func (m *matrix) clientCredentials(c matrixCase) string {
	return m.form(c, url.Values{
		"grant_type": {exchange.GrantClientCredentials}, "client_assertion": {m.bearer(c)},
		"client_assertion_type": {assertionType},
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
	for name, value := range m.client.members {
		form.Set(name, value)
	}
	return m.post("/oauth2/token", "application/x-www-form-urlencoded", form.Encode())
}

func (m *matrix) post(path, contentType, body string) string {
	m.t.Helper()
	r, err := http.NewRequest(http.MethodPost, m.p.ready.URL+path, strings.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	if m.client.header != "" {
		r.Header.Set("Authorization", m.client.header)
	}
	resp, err := http.DefaultClient.Do(r)
	return m.read(resp, err)
}

func (m *matrix) rest(c matrixCase) string {
	body := map[string]any{"subject_token": m.bearer(c), "subject_token_type": tokenTypePrefix + "jwt"}
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
	for name, value := range m.client.members {
		body[name] = value
	}
	text, err := json.Marshal(body)
	if err != nil {
		m.t.Fatal(err)
	}
	return m.post("/v1/exchanges", "application/json", string(text))
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
		SubjectToken: m.bearer(c), SubjectTokenType: tokenTypePrefix + "jwt", Scope: c.scope, RequestedLifetime: c.lifetime, Reason: c.reason,
		ClientId: m.client.members["client_id"], ClientSecret: m.client.members["client_secret"],
		ClientAssertion: m.client.members["client_assertion"], ClientAssertionType: m.client.members["client_assertion_type"],
	}
	ctx := m.t.Context()
	if m.client.header != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", m.client.header)
	}
	if c.audience != "" {
		in.Audience = []string{c.audience}
	}
	if c.resource != "" {
		in.Resource = []string{c.resource}
	}
	out, err := m.grpc.Exchange(ctx, in)
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
