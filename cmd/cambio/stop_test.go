package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// reviews is the API server of a cluster: it stands by every token, at once or, once
// held, when it is let go on.
type reviews struct {
	held    atomic.Bool
	began   chan struct{} // one for each review that is held
	release chan struct{} // closed to let them go on
}

func newReviews(t *testing.T) (*reviews, string) {
	r := &reviews{began: make(chan struct{}), release: make(chan struct{})}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	return r, s.URL
}

func (s *reviews) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review struct {
		APIVersion string         `json:"apiVersion"`
		Kind       string         `json:"kind"`
		Spec       map[string]any `json:"spec"`
		Status     map[string]any `json:"status"`
	}
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if s.held.Load() {
		s.began <- struct{}{}
		<-s.release
	}
	token, _ := review.Spec["token"].(string)
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	var claims struct {
		Subject string `json:"sub"`
	}
	if text, err := base64.RawURLEncoding.DecodeString(payload); err != nil || json.Unmarshal(text, &claims) != nil {
		http.Error(w, "no token", http.StatusBadRequest)
		return
	}
	review.Status = map[string]any{
		"authenticated": true, "audiences": []string{"cambio"}, "user": map[string]string{"username": claims.Subject, "uid": "0"},
	}
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(review) // a caller that hung up is nobody to tell
}

// TestStopSettlesWhatIsInFlight: SIGTERM comes while an exchange waits for a slow
// cluster. The replica says at once that it is not ready and takes nothing new; the
// exchange is recorded, and its caller gets the answer.
func TestStopSettlesWhatIsInFlight(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.Mkdir(in("policy"), 0o700); err != nil {
		t.Fatal(err)
	}
	cluster := newCluster(t, in("policy/keys.json"))
	slow, address := newReviews(t)
	for name, text := range map[string]string{
		"policy/sa.token": "ours",
		"policy/policy.yaml": strings.Replace(realPolicy, "clientless: true",
			"clientless: true, review: {server: \""+address+"\", token_file: sa.token, mode: always}", 1),
		"auditor.jwt": cluster.token("audit", "auditor"),
	} {
		if err := os.WriteFile(in(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	seal := make([]byte, 32)
	_, _ = rand.Read(seal)
	environ := []string{
		"CAMBIO_ISSUER=https://cambio.example", "CAMBIO_LISTEN_ADDRESS=127.0.0.1:0", "CAMBIO_OPS_ADDRESS=127.0.0.1:0",
		"CAMBIO_STORE_SQLITE_PATH=cambio.db", "CAMBIO_OUTBOUND_ALLOW=127.0.0.1", "CAMBIO_SEAL_KEY=" + base64.StdEncoding.EncodeToString(seal),
	}
	migrate := exec.Command("cambio", "migrate")
	migrate.Dir, migrate.Env = dir, append(os.Environ(), environ...)
	if out, err := migrate.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := start(t, dir, environ, "serve")

	slow.held.Store(true)
	type answer struct {
		status int
		body   string
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		resp, err := http.PostForm(p.ready.URL+"/oauth2/token", url.Values{
			"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "audience": {"mcp"},
			"subject_token": {cluster.token("llm", "gateway")}, "subject_token_type": {tokenTypePrefix + "jwt"},
		})
		if err != nil {
			answered <- answer{err: err}
			return
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		answered <- answer{resp.StatusCode, string(body), err}
	}()
	select {
	case <-slow.began:
	case a := <-answered:
		t.Fatalf("answered without a review: %d %s %v\n%s", a.status, a.body, a.err, p.stderr.String())
	case <-time.After(patience):
		t.Fatal("the cluster is not asked")
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ready := ""
	if !eventually(func() bool {
		resp, err := http.Get(p.ready.OpsURL + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		ready = string(body)
		return resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(ready, `"serving": "stopping"`)
	}) {
		t.Errorf("/readyz while stopping: %s", ready)
	}
	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if !eventually(func() bool {
		resp, err := fresh.Get(p.ready.URL + "/oauth2/jwks")
		if err == nil {
			resp.Body.Close()
		}
		return err != nil
	}) {
		t.Error("connections are still accepted")
	}
	select {
	case a := <-answered:
		t.Errorf("answered before the review: %d %s %v", a.status, a.body, a.err)
	case err := <-p.done:
		t.Fatalf("ended with an exchange in flight: %v\n%s", err, p.stderr.String())
	default:
	}
	slow.held.Store(false)
	close(slow.release)
	a := <-answered
	var issued struct {
		AccessToken string `json:"access_token"`
		Exchange    string `json:"exchange_id"`
	}
	if err := json.Unmarshal([]byte(a.body), &issued); a.status != http.StatusOK || err != nil || issued.AccessToken == "" {
		t.Fatalf("%d %v %v\n%s", a.status, a.err, err, p.stderr.String())
	}
	select {
	case err := <-p.done:
		if err != nil {
			t.Errorf("the stop: %v\n%s", err, p.stderr.String())
		}
	case <-time.After(patience):
		t.Fatal("it does not end")
	}

	again := start(t, dir, environ, "serve")
	stdout, stderr, status := again.shell("cambio audit show " + issued.Exchange + " --token-file auditor.jwt --output json --url " + again.ready.URL)
	if status != 0 || !strings.Contains(stdout, `"issued"`) || !strings.Contains(stdout, "k8s:prod:llm:gateway") {
		t.Errorf("exit status %d, %s%s", status, stdout, stderr)
	}
	again.stop()
}

// TestStopFitsIntoKubernetes: thirty seconds after SIGTERM comes SIGKILL, and a
// preStop of five counts among them. The guide says how long it takes.
func TestStopFitsIntoKubernetes(t *testing.T) {
	if whole := drainRequests + drainLedger; whole > 20*time.Second {
		t.Errorf("a stop takes up to %s", whole)
	}
	text := strings.Join(strings.Fields(page(t, "operations.md")), " ")
	for _, want := range []string{
		fmt.Sprintf("waits up to %.0f s for requests in flight", drainRequests.Seconds()),
		fmt.Sprintf("then up to %.0f s for the ledger", drainLedger.Seconds()),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("docs/operations.md does not say %q", want)
		}
	}
}
