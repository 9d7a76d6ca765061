package clouds_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/cambio-sts/cambio/cmd/cambio/clouds"
	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/policy"
	"github.com/cambio-sts/cambio/exchange/provider/all"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

var noKeys = sandbox.World{
	Issuer: "https://cambio.test/federation", Keys: func() []byte { return []byte(`{"keys":[]}`) }, Now: time.Now, Random: rand.Reader,
}

func open(t *testing.T, o clouds.Options) *clouds.Clouds {
	t.Helper()
	o.Assertions, o.Cluster = noKeys, noKeys
	o.Workload, o.OCISecret = "system:serviceaccount:llm:gateway", exchange.NewSecret("vended-secret-oci")
	c, err := clouds.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(t.Context()) })
	return c
}

// TestS35LoopbackOnly: whatever else is asked for.
func TestS35LoopbackOnly(t *testing.T) {
	for _, host := range []string{"0.0.0.0", "::", "10.0.0.1", "example.com"} {
		if _, err := clouds.Open(t.Context(), clouds.Options{Assertions: noKeys, Cluster: noKeys, Host: host}); err == nil || !strings.Contains(err.Error(), "(S35)") {
			t.Errorf("%s: %v", host, err)
		}
	}
	for name, endpoint := range open(t, clouds.Options{}).Endpoints() {
		if !strings.HasPrefix(endpoint, "https://127.0.0.1:") {
			t.Errorf("%s is at %s", name, endpoint)
		}
	}
}

// TestS35AuthorityIsForThisMachineAlone: a certificate for another name would be no
// good, and the authority is a new one each time.
func TestS35AuthorityIsForThisMachineAlone(t *testing.T) {
	c, other := open(t, clouds.Options{}), open(t, clouds.Options{})
	block, rest := pem.Decode(c.Authority())
	if block == nil || block.Type != "CERTIFICATE" || len(rest) > 0 {
		t.Fatal("the authority is not one certificate")
	}
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if !root.IsCA || !root.PermittedDNSDomainsCritical || !slices.Equal(root.PermittedDNSDomains, []string{"localhost"}) {
		t.Errorf("it may certify %q", root.PermittedDNSDomains)
	}
	for _, n := range root.PermittedIPRanges {
		if ones, bits := n.Mask.Size(); !n.IP.IsLoopback() || ones != bits {
			t.Errorf("it may certify %s", n)
		}
	}
	if string(c.Authority()) == string(other.Authority()) {
		t.Error("two starts share an authority")
	}
	go func() { _ = c.Serve() }()
	address := strings.TrimPrefix(c.Endpoint(clouds.AWS), "https://")
	pool := x509.NewCertPool()
	pool.AddCert(root)
	for name, good := range map[string]bool{"127.0.0.1": true, "localhost": true, "::1": true, "sts.amazonaws.com": false, "127.0.0.2": false} {
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: pool, ServerName: name})
		if (err == nil) != good {
			t.Errorf("as %s: %v", name, err)
		}
		if err == nil {
			_ = conn.Close()
		}
	}
}

// TestPortsFollowAndGiveWay: the kept one wins, then the one that follows, then any.
func TestPortsFollowAndGiveWay(t *testing.T) {
	first := open(t, clouds.Options{})
	ports := first.Ports()
	if len(ports) != len(clouds.Names()) {
		t.Fatalf("ports %v", ports)
	}
	second := open(t, clouds.Options{Ports: ports}) // all are taken
	for name, port := range second.Ports() {
		if port == ports[name] {
			t.Errorf("%s has the port of another", name)
		}
	}
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	third := open(t, clouds.Options{Ports: ports})
	for name, port := range third.Ports() {
		if port != ports[name] {
			t.Errorf("%s is at %d and was at %d", name, port, ports[name])
		}
	}
}

// TestSettingsAreAPolicy: the sample policy loads, and every stand-in's settings are
// good for its driver.
func TestSettingsAreAPolicy(t *testing.T) {
	c := open(t, clouds.Options{})
	text, err := c.Policy()
	if err != nil {
		t.Fatal(err)
	}
	trusts := []byte("trusts: {cluster: {kubernetes: {issuer: https://cluster.test, audiences: [cambio], keys: {url: https://cluster.test/jwks}, clientless: true}}}\n")
	r, err := policy.Load(fstest.MapFS{"clouds.yaml": {Data: text}, "trusts.yaml": {Data: trusts}}, policy.Options{
		Providers: all.Registry(), SecretNames: []string{clouds.OCISecretName},
	})
	if err != nil {
		t.Fatal(err)
	}
	played := map[string]bool{}
	for _, name := range r.Targets() {
		target := r.Target(name)
		played[target.Provider] = true
		if !strings.Contains(fmt.Sprintf("%+v", target.Settings), c.Endpoint(target.Provider)) {
			t.Errorf("%s is not at %s", name, c.Endpoint(target.Provider))
		}
	}
	for _, name := range clouds.Names() {
		if !played[name] {
			t.Errorf("no target is of %s", name)
		}
		if c.Audience(name) == "" || c.Subject(name) == "" || len(c.Settings(name)) == 0 {
			t.Errorf("%s asks for %q of %q by %v", name, c.Audience(name), c.Subject(name), c.Settings(name))
		}
	}
	names := map[string]bool{}
	for _, v := range c.Environment("ca.pem") {
		if names[v.Name] || v.Value == "" {
			t.Errorf("%s is %q, or comes twice", v.Name, v.Value)
		}
		names[v.Name] = true
	}
}

// TestStrangersAreRefused: each door wants a credential of its own making.
func TestStrangersAreRefused(t *testing.T) {
	c := open(t, clouds.Options{Subject: "*"})
	go func() { _ = c.Serve() }()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.Authority())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer client.CloseIdleConnections()
	for _, name := range clouds.Names() {
		r, body, err := clouds.Chat(t.Context(), name, c.Endpoint(name))
		if err != nil || !json.Valid(body) {
			t.Fatalf("%s: %v", name, err)
		}
		r.Header.Set("Authorization", "Bearer made-up")
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
	if _, _, err := clouds.Chat(t.Context(), "other", "https://127.0.0.1:1"); err == nil {
		t.Error("somebody knows how to chat with a provider that there is not")
	}
}

// FuzzReply: what a stand-in, or anything else at its port, answers.
func FuzzReply(f *testing.F) {
	for i, seed := range []string{
		`{"output":{"message":{"content":[{"text":"a"}]}}}`, `{"choices":[{"message":{"content":"a"}}]}`, `{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}`,
		`{"chatResponse":{"choices":[{"message":{"content":[{"text":"a"}]}}]}}`, `{"choices":[]}`, `{"content":[{"text":"a"}]}`, `[]`,
	} {
		f.Add(uint(i), []byte(seed))
	}
	f.Fuzz(func(t *testing.T, which uint, answer []byte) {
		name := clouds.Names()[which%uint(len(clouds.Names()))]
		says, err := clouds.Reply(name, answer)
		if (err == nil) != (says != "") {
			t.Errorf("%s: %q, %v", name, says, err)
		}
	})
}
