package oci_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/oracle/oci-go-sdk/v65/common"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider/oci"
	"github.com/cambio-sts/cambio/exchange/provider/oci/ocisandbox"
)

// TestSignedExchange: no client secret; the exchange is signed by what the process
// runs on, as Oracle's SDK finds it in the environment.
func TestSignedExchange(t *testing.T) {
	d := newDesk(t, func(b *ocisandbox.Setup, s *oci.Settings) {
		b.ClientID, b.ClientSecret = "", ""
		s.ClientID, s.ClientSecret, s.Signed = "", "", oci.PrincipalResource
	})
	d.deps.Secret = nil
	key := makeKey(3072)
	token, err := d.sandbox.Principal(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.vend(t); exchange.KindOf(err) != exchange.KindMisconfigured {
		t.Errorf("without a principal: %v", err)
	}
	t.Setenv("OCI_RESOURCE_PRINCIPAL_VERSION", "2.2")
	t.Setenv("OCI_RESOURCE_PRINCIPAL_RPST", token)
	t.Setenv("OCI_RESOURCE_PRINCIPAL_PRIVATE_PEM", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	t.Setenv("OCI_RESOURCE_PRINCIPAL_REGION", "us-ashburn-1")
	c, err := d.vend(t)
	if err != nil {
		t.Fatal(err)
	}
	if subject, _, err := d.honour(t, c); err != nil || subject != "k8s:prod:llm:gateway" {
		t.Errorf("honoured for %q: %v", subject, err)
	}
}

// TestTheVerifierIsStrict: the stand-in refuses what Oracle refuses, so that what it
// takes means something. Each request is signed by Oracle's SDK, then bent.
func TestTheVerifierIsStrict(t *testing.T) {
	d := newDesk(t)
	c, err := d.vend(t)
	if err != nil {
		t.Fatal(err)
	}
	v := read(t, c)
	good := caller{v.KeyID, makeKey(2048)}
	for name, bend := range map[string]struct {
		by     caller
		before func(*http.Request)
		after  func(*http.Request)
		want   int
	}{
		"as it is":      {by: good, want: http.StatusOK},
		"another key":   {by: caller{v.KeyID, makeKey(3072)}},
		"another token": {by: caller{v.KeyID + "x", makeKey(2048)}},
		"no token":      {by: caller{"ocid1.tenancy/ocid1.user/aa:bb", makeKey(2048)}},
		"an old date": {by: good, before: func(r *http.Request) {
			r.Header.Set("Date", time.Now().Add(-6*time.Minute).UTC().Format(http.TimeFormat))
		}},
		"a later date":   {by: good, after: func(r *http.Request) { r.Header.Set("Date", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)) }},
		"another path":   {by: good, after: func(r *http.Request) { r.URL.Path = "/20231130/actions/embedText" }},
		"a query":        {by: good, after: func(r *http.Request) { r.URL.RawQuery = "x=1" }},
		"another method": {by: good, before: func(r *http.Request) { r.Method = http.MethodPut }, after: func(r *http.Request) { r.Method = http.MethodPost }},
		"another body": {by: good, after: func(r *http.Request) {
			r.Body = io.NopCloser(bytes.NewReader(bytes.ToUpper([]byte(chat))))
		}},
		"another body with its digest": {by: good, after: func(r *http.Request) {
			body := bytes.ToUpper([]byte(chat))
			sum := sha256.Sum256(body)
			r.Header.Set("X-Content-Sha256", base64.StdEncoding.EncodeToString(sum[:]))
			r.Body = io.NopCloser(bytes.NewReader(body))
		}},
		"another host": {by: good, after: func(r *http.Request) { r.Host = "objectstorage.us-ashburn-1.oraclecloud.com" }},
		"two dates":    {by: good, after: func(r *http.Request) { r.Header.Add("Date", r.Header.Get("Date")) }},
		"unsigned":     {by: good, after: func(r *http.Request) { r.Header.Del("Authorization") }},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.server.URL+"/20231130/actions/chat", bytes.NewReader([]byte(chat)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
		if bend.before != nil {
			bend.before(r)
		}
		if err := common.DefaultRequestSigner(bend.by).Sign(r); err != nil {
			t.Fatal(err)
		}
		if bend.after != nil {
			bend.after(r)
		}
		response, err := d.server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if bend.want == 0 {
			bend.want = http.StatusUnauthorized
		}
		if response.StatusCode != bend.want {
			t.Errorf("%s: %d, want %d", name, response.StatusCode, bend.want)
		}
	}
	status, text := d.call(t, good, http.MethodPost, "/20231130/actions/embedText",
		`{"compartmentId":"c","servingMode":{"modelId":"cohere.embed-v4.0"},"inputs":["a","bc"]}`)
	if status != http.StatusOK || !bytes.Contains(text, []byte(`"embeddings":[[1,0,1],[2,0,1]],"id"`)) || !bytes.Contains(text, []byte(`"inputTextTokenCounts":[1,1]`)) {
		t.Errorf("embedText: %d", status)
	}
	if status, _ := d.call(t, good, http.MethodGet, "/n/ns/b/bucket/o/a%20name?versionId=1", ""); status != http.StatusOK {
		t.Errorf("GET of an object with a query: %d", status)
	}
}

// TestUploadsAreSignedWithoutTheirBody: as Oracle's SDKs do it, and nothing else may be.
func TestUploadsAreSignedWithoutTheirBody(t *testing.T) {
	d := newDesk(t)
	c, err := d.vend(t)
	if err != nil {
		t.Fatal(err)
	}
	sign := common.RequestSignerExcludeBody(caller{read(t, c).KeyID, makeKey(2048)})
	for path, want := range map[string]struct {
		method string
		status int
	}{
		"/n/ns/b/bucket/o/a":       {http.MethodPut, http.StatusOK},
		"/20231130/actions/chat":   {http.MethodPost, http.StatusUnauthorized},
		"/n/ns/b/bucket/actions/o": {http.MethodPut, http.StatusUnauthorized},
	} {
		r, err := http.NewRequestWithContext(t.Context(), want.method, d.server.URL+path, strings.NewReader(chat))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
		r.Header.Set("Content-Type", "application/json")
		if err := sign.Sign(r); err != nil {
			t.Fatal(err)
		}
		response, err := d.server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want.status {
			t.Errorf("%s: %d, want %d", path, response.StatusCode, want.status)
		}
	}
}
