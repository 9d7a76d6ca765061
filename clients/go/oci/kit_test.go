package oci_test

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
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
	"sync"
	"testing"
	"time"

	"github.com/oracle/oci-go-sdk/v65/common"
	"github.com/oracle/oci-go-sdk/v65/objectstorage"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
	"github.com/cambio-sts/cambio/clients/go/oci"
)

// oracle knows which key each token is bound to, and answers who signs as Oracle's
// services verify it: over the request that came, not over what the signer saw.
type oracle struct {
	clock  *standin.Clock
	server *httptest.Server

	mu       sync.Mutex
	keys     map[string]*rsa.PublicKey
	rejected map[string]bool
	faults   []error
	served   int
}

func newOracle(clock *standin.Clock) *oracle {
	o := &oracle{clock: clock, keys: map[string]*rsa.PublicKey{}, rejected: map[string]bool{}}
	o.server = httptest.NewServer(o)
	return o
}

// issue makes a token for a key.
func (o *oracle) issue(key *rsa.PublicKey) string {
	token := standin.JWT(map[string]any{"tenant": "ocid1.tenancy.oc1..a"})
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keys[token] = key
	return token
}

// revoke has what was issued up to now refused.
func (o *oracle) revoke() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for token := range o.keys {
		o.rejected[token] = true
	}
}

func (o *oracle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	err := o.verify(r, body)
	o.mu.Lock()
	o.served++
	if err != nil {
		o.faults = append(o.faults, err)
	}
	o.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case err != nil:
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"code":"NotAuthenticated","message":"the signature does not fit"}`)
	case r.Method == http.MethodGet:
		_, _ = io.WriteString(w, `"namespace"`)
	case r.Method == http.MethodPost:
		_, _ = io.WriteString(w, `{"namespace":"n","name":"b"}`)
	}
}

var parameter = regexp.MustCompile(`(\w+)="([^"]*)"`)

func (o *oracle) verify(r *http.Request, body []byte) error {
	scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	p := map[string]string{}
	for _, m := range parameter.FindAllStringSubmatch(rest, -1) {
		p[m[1]] = m[2]
	}
	token, bound := strings.CutPrefix(p["keyId"], "ST$")
	o.mu.Lock()
	key, rejected := o.keys[token], o.rejected[token]
	o.mu.Unlock()
	switch {
	case scheme != "Signature" || p["version"] != "1" || p["algorithm"] != "rsa-sha256" || !bound:
		return errors.New("no signature of version 1 by a session token")
	case key == nil || rejected:
		return errors.New("the token is not known")
	}
	var lines []string
	covered := map[string]bool{}
	for _, name := range strings.Fields(p["headers"]) {
		value := r.Header.Get(name)
		switch name {
		case "(request-target)":
			value = strings.ToLower(r.Method) + " " + r.RequestURI
		case "host":
			value = r.Host
		case "content-length":
			value = fmt.Sprint(len(body))
		}
		covered[name] = true
		lines = append(lines, name+": "+value)
	}
	required := []string{"date", "(request-target)", "host"}
	if r.Method == http.MethodPost || r.Method == http.MethodPatch {
		required = append(required, "content-length", "content-type", "x-content-sha256")
	}
	for _, name := range required {
		if !covered[name] {
			return fmt.Errorf("%s is not signed", name)
		}
	}
	digest := sha256.Sum256(body)
	if covered["x-content-sha256"] && r.Header.Get("X-Content-Sha256") != base64.StdEncoding.EncodeToString(digest[:]) {
		return errors.New("the digest is of another body")
	}
	date, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil || date.Sub(o.clock.Now()).Abs() > 2*24*time.Hour {
		return errors.New("the date is none of these days")
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	signature, err := base64.StdEncoding.DecodeString(p["signature"])
	if err != nil || rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) != nil {
		return errors.New("the signature is of another key or another request")
	}
	return nil
}

func (o *oracle) check(t *testing.T) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, fault := range o.faults {
		t.Errorf("Oracle says: %v", fault)
	}
	if o.served == 0 {
		t.Error("Oracle was never asked")
	}
}

// bound is a target that binds tokens to the caller's key.
func bound(o *oracle, life time.Duration) standin.Target {
	return func(form url.Values, _ int) standin.Answer {
		der, err := base64.StdEncoding.DecodeString(form.Get("public_key"))
		public, err2 := x509.ParsePKIXPublicKey(der)
		key, ok := public.(*rsa.PublicKey)
		if err != nil || err2 != nil || !ok {
			return standin.Answer{Status: http.StatusBadRequest, Code: "invalid_request", Description: "send public_key, an RSA key"}
		}
		token := o.issue(key)
		value, _ := json.Marshal(map[string]string{
			"token": token, "key_id": "ST$" + token, "region": "us-ashburn-1", "tenancy": "ocid1.tenancy.oc1..a",
			"expires_at": o.clock.Now().Add(life).UTC().Format(time.RFC3339),
		})
		return standin.Answer{Value: string(value), Type: "N_A", IssuedTokenType: cambio.TokenTypeOCIRPST, Life: life}
	}
}

var theKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := oci.NewKey(nil)
	if err != nil {
		panic(err)
	}
	return key
})

// house is a server with one target, a session for it, and the services it is for.
func house(t *testing.T, life time.Duration) (*standin.Server, *oracle, *oci.Session) {
	t.Helper()
	server := standin.New(t)
	o := newOracle(server.Clock)
	t.Cleanup(o.server.Close)
	server.Serve("oci", bound(o, life))
	session, err := oci.NewSession(server.Client(), cambio.Request{Audience: "oci"}, theKey())
	if err != nil {
		t.Fatal(err)
	}
	return server, o, session
}

// storage is Oracle's own client.
func storage(t *testing.T, o *oracle, provider common.ConfigurationProvider) objectstorage.ObjectStorageClient {
	t.Helper()
	client, err := objectstorage.NewObjectStorageClientWithConfigurationProvider(provider)
	if err != nil {
		t.Fatal(err)
	}
	client.Host = o.server.URL
	return client
}

func post(t *testing.T, u string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, u, bytes.NewReader([]byte(`{"a":1}`)))
	if err != nil {
		t.Fatal(err)
	}
	return req
}
