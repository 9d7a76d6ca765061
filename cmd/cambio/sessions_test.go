package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider/oci"
	"github.com/cambio-sts/cambio/exchange/provider/oci/ocisandbox"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// sessionPolicy lets agents have sessions at a stand-in of OCI.
const sessionPolicy = `
targets:
  oci-sessions:
    oci:
      domain: DOMAIN
      region: us-ashburn-1
      signed: resource
      res_type: llm
      signing: {hosts: [HOST], methods: [GET, POST], paths: [/n/, /20231130/actions/chat]}
allow:
  - {name: agents-sign-for-oci, subjects: [{trust: cluster, namespace: agents}], targets: [oci-sessions]}
`

// sessionWorld is a running server, with OCI beside it.
type sessionWorld struct {
	*testing.T
	p    *process
	host string // of OCI
}

func openSessionWorld(t *testing.T) *sessionWorld {
	t.Helper()
	dir := t.TempDir()
	tokenFile, keyFile := filepath.Join(dir, "rpst"), filepath.Join(dir, "key.pem")
	p := start(t, t.TempDir(), []string{
		"OCI_RESOURCE_PRINCIPAL_VERSION=2.2", "OCI_RESOURCE_PRINCIPAL_REGION=us-ashburn-1",
		"OCI_RESOURCE_PRINCIPAL_RPST=" + tokenFile, "OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM=" + keyFile,
	}, "dev", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0")
	cloud, err := ocisandbox.New(ocisandbox.Setup{
		World: sandbox.World{
			Issuer: p.ready.URL + "/federation", Now: time.Now, Random: rand.Reader,
			Keys: func() []byte {
				resp, err := http.Get(p.ready.URL + "/federation/jwks")
				if err != nil {
					return nil
				}
				defer resp.Body.Close()
				keys, _ := io.ReadAll(resp.Body) // half a set verifies nothing
				return keys
			},
		},
		Trust: ocisandbox.Trust{Audience: "http://OCI", ImpersonatingResource: "llm"},
	})
	if err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	principal, err := cloud.Principal(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	server := httptest.NewServer(cloud)
	t.Cleanup(server.Close)
	policy := strings.NewReplacer("DOMAIN", server.URL+"\n      audience: http://OCI", "HOST", `"`+strings.TrimPrefix(server.URL, "http://")+`"`).Replace(sessionPolicy)
	for file, text := range map[string]string{
		tokenFile: principal, keyFile: string(pem.EncodeToMemory(block)), filepath.Join(p.ready.PolicyDir, "oci.yaml"): policy,
	} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &sessionWorld{T: t, p: p, host: strings.TrimPrefix(server.URL, "http://")}
}

// call sends JSON with a bearer token.
func (w *sessionWorld) call(path, bearer string, body any) (int, map[string]any) {
	w.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		w.Fatal(err)
	}
	r, err := http.NewRequest(http.MethodPost, w.p.ready.URL+path, bytes.NewReader(text))
	if err != nil {
		w.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+bearer)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		w.Fatal(err)
	}
	return resp.StatusCode, answer
}

// session is a session of whoever the token is of, its token and its lease.
func (w *sessionWorld) session(token string) (session, secret, lease string) {
	w.Helper()
	var body struct{ Access, Type, Lease, Error string }
	ask := func() bool {
		resp, err := http.PostForm(w.p.ready.URL+"/oauth2/token", url.Values{
			"grant_type": {exchange.GrantTokenExchange}, "subject_token": {token}, "subject_token_type": {string(exchange.TokenTypeJWT)}, "audience": {"oci-sessions"},
		})
		if err != nil {
			w.Fatal(err)
		}
		defer resp.Body.Close()
		var answer map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			w.Fatal(err)
		}
		body.Access, _ = answer["access_token"].(string)
		body.Type, _ = answer["issued_token_type"].(string)
		body.Lease, _ = answer["lease_id"].(string)
		body.Error, _ = answer["error_description"].(string)
		return resp.StatusCode == http.StatusOK
	}
	if !eventually(ask) { // the policy is not in force at once
		w.Fatalf("no session: %s\n%s", body.Error, w.p.stderr.String())
	}
	var v struct{ Session, Token string }
	if err := json.Unmarshal([]byte(body.Access), &v); err != nil || body.Type != string(oci.TokenTypeSession) || v.Session != body.Lease {
		w.Fatalf("a %s, with lease %s: %v", body.Type, body.Lease, err)
	}
	return v.Session, v.Token, body.Lease
}

// send has a request signed, and sends it to OCI.
func (w *sessionWorld) send(session, secret, bearer, method, path, body string) (signed int, status int, answer string) {
	w.Helper()
	ask := map[string]any{"token": secret, "method": method, "host": w.host, "path": path}
	if method == http.MethodPost {
		sum := sha256.Sum256([]byte(body))
		ask["body_sha256"], ask["body_length"], ask["headers"] = sum[:], len(body), map[string]string{"content-type": "application/json"}
	}
	signed, got := w.call("/v1/sessions/"+session+":sign", bearer, ask)
	if signed != http.StatusOK {
		return signed, 0, ""
	}
	r, err := http.NewRequest(method, "http://"+w.host+path, strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	headers, _ := got["headers"].(map[string]any)
	for name, value := range headers {
		text, _ := value.(string)
		r.Header.Set(name, text)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	return signed, resp.StatusCode, string(text)
}

// TestS25SessionsThroughTheDoors: from a token to a signed call, and to the moment
// when the session signs no more: revoked by its owner, or denied by an operator.
func TestS25SessionsThroughTheDoors(t *testing.T) {
	w := openSessionWorld(t)
	world, err := devworld.Open(w.p.ready.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	account := func(name string) string {
		t.Helper()
		token, err := world.ServiceAccount(time.Now(), "agents", name, devworld.Audience)
		if err != nil {
			t.Fatal(err)
		}
		return token.Reveal()
	}
	mine, other := account("assistant"), account("other")
	session, secret, lease := w.session(mine)
	const who = "default:oci-sessions:k8s%3Acluster%3Aagents%3Aassistant"
	if _, status, text := w.send(session, secret, mine, "GET", "/n/", ""); status != http.StatusOK || !strings.Contains(text, who) {
		t.Errorf("GET: %d %s", status, text)
	}
	chat := `{"compartmentId":"c","servingMode":{"modelId":"m"},"chatRequest":{"apiFormat":"GENERIC"}}`
	if _, status, text := w.send(session, secret, mine, "POST", "/20231130/actions/chat", chat); status != http.StatusOK || !strings.Contains(text, who) {
		t.Errorf("POST: %d %s", status, text)
	}
	for name, c := range map[string]struct {
		secret, bearer, path string
		want                 int
	}{
		"another's bearer": {secret, other, "/n/", http.StatusNotFound},
		"another token":    {"x", mine, "/n/", http.StatusNotFound},
		"not listed":       {secret, mine, "/20231130/actions/embedText", http.StatusForbidden},
		"two readings":     {secret, mine, "/n/../n/", http.StatusBadRequest},
	} {
		if signed, _, _ := w.send(session, c.secret, c.bearer, "GET", c.path, ""); signed != c.want {
			t.Errorf("%s: %d, want %d", name, signed, c.want)
		}
	}
	if code, body := w.call("/v1/leases/"+lease+":revoke", mine, map[string]any{"reason": "done"}); code != http.StatusOK {
		t.Fatalf("revoking: %d %v", code, body)
	}
	if signed, _, _ := w.send(session, secret, mine, "GET", "/n/", ""); signed != http.StatusNotFound {
		t.Errorf("after its lease was revoked: %d", signed)
	}
	session, secret, _ = w.session(other)
	if signed, status, _ := w.send(session, secret, other, "GET", "/n/", ""); signed != http.StatusOK || status != http.StatusOK {
		t.Errorf("another's own: %d %d", signed, status)
	}
	operator, err := os.ReadFile(devworld.OperatorToken(w.p.ready.DataDir))
	if err != nil {
		t.Fatal(err)
	}
	deny := map[string]any{"match": map[string]string{"subject": "k8s:cluster:agents:other"}, "reason": "INC-7"}
	if code, body := w.call("/v1/denies", strings.TrimSpace(string(operator)), deny); code != http.StatusOK {
		t.Fatalf("denying: %d %v", code, body)
	}
	if signed, _, _ := w.send(session, secret, other, "GET", "/n/", ""); signed != http.StatusNotFound {
		t.Errorf("after the deny: %d", signed)
	}
	if text := w.p.stdout.String() + w.p.stderr.String(); strings.Contains(text, secret) || strings.Contains(text, "ST$") {
		t.Error("the log has a secret")
	}
}

// lives is until when a session says that it signs.
func (w *sessionWorld) lives(session, secret, bearer string) time.Time {
	w.Helper()
	code, got := w.call("/v1/sessions/"+session+":sign", bearer, map[string]any{"token": secret, "method": "GET", "host": w.host, "path": "/n/"})
	text, _ := got["expire_time"].(string)
	expires, err := time.Parse(time.RFC3339, text)
	if code != http.StatusOK || err != nil {
		w.Fatalf("signing: %d %v", code, got)
	}
	return expires
}

// TestS25SessionsLiveOnThroughTheDoors: a session that a short token got is renewed by
// its owner's command, and another ahead of its end by being used; OCI honours both
// after that. Who is stopped is not renewed.
func TestS25SessionsLiveOnThroughTheDoors(t *testing.T) {
	w := openSessionWorld(t)
	world, err := devworld.Open(w.p.ready.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	account := func(name string, left time.Duration) string {
		t.Helper()
		token, err := world.ServiceAccount(time.Now().Add(left-devworld.Lifetime), "agents", name, devworld.Audience)
		if err != nil {
			t.Fatal(err)
		}
		return token.Reveal()
	}
	fresh := account("assistant", devworld.Lifetime)
	_, _, _ = w.session(account("other", devworld.Lifetime)) // the policy is in force then
	session, secret, lease := w.session(account("assistant", 2*time.Minute))
	before := w.lives(session, secret, fresh)
	file := filepath.Join(t.TempDir(), "me.jwt")
	if err := os.WriteFile(file, []byte(fresh), 0o600); err != nil {
		t.Fatal(err)
	}
	renewed, err := exec.Command("cambio", "lease", "renew", lease, "--token-file", file, "--url", w.p.ready.URL).CombinedOutput()
	if after := w.lives(session, secret, fresh); err != nil || after.Sub(before) < 5*time.Minute {
		t.Errorf("until %v, then %v: %v\n%s", before, after, err, renewed)
	}
	if signed, status, text := w.send(session, secret, fresh, "GET", "/n/", ""); signed != http.StatusOK || status != http.StatusOK {
		t.Errorf("renewed: %d %d %s", signed, status, text)
	}

	session, secret, lease = w.session(account("third", 20*time.Second))
	fresh = account("third", devworld.Lifetime)
	before = w.lives(session, secret, fresh)
	if !eventually(func() bool {
		if signed, status, text := w.send(session, secret, fresh, "GET", "/n/", ""); signed != http.StatusOK || status != http.StatusOK {
			t.Fatalf("meanwhile: %d %d %s\n%s", signed, status, text, w.p.stderr.String())
		}
		return w.lives(session, secret, fresh).After(before)
	}) {
		t.Fatalf("it is not renewed\n%s", w.p.stderr.String())
	}
	if signed, status, _ := w.send(session, secret, fresh, "GET", "/n/", ""); signed != http.StatusOK || status != http.StatusOK {
		t.Errorf("renewed ahead: %d %d", signed, status)
	}
	if code, body := w.call("/v1/leases/"+lease+":revoke", fresh, map[string]any{"reason": "done"}); code != http.StatusOK {
		t.Fatalf("revoking: %d %v", code, body)
	}
	if code, body := w.call("/v1/leases/"+lease+":renew", fresh, map[string]any{}); code != http.StatusBadRequest {
		t.Errorf("a revoked one is renewed: %d %v", code, body)
	}
	if signed, _, _ := w.send(session, secret, fresh, "GET", "/n/", ""); signed != http.StatusNotFound {
		t.Errorf("after its lease was revoked: %d", signed)
	}
	if resp, err := http.Get(w.p.ready.OpsURL + "/metrics"); err != nil {
		t.Error(err)
	} else {
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(text), `cambio_session_renewals_total{status="ok",target="oci-sessions"} 1`) {
			t.Errorf("the renewal is not counted: %v", err)
		}
	}
	if text := w.p.stdout.String() + w.p.stderr.String(); strings.Contains(text, secret) || strings.Contains(text, "ST$") || strings.Contains(text, "eyJ") {
		t.Error("the log has a secret")
	}
}
