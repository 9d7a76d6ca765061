package oci_test

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net/http"
	"net/url"
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

func TestOraclesClientSignsWithTheProvider(t *testing.T) {
	server, o, session := house(t, time.Hour)
	client := storage(t, o, session.Provider())
	if _, err := client.GetNamespace(t.Context(), objectstorage.GetNamespaceRequest{}); err != nil {
		t.Error(err)
	}
	if _, err := client.CreateBucket(t.Context(), objectstorage.CreateBucketRequest{
		NamespaceName:       common.String("n"),
		CreateBucketDetails: objectstorage.CreateBucketDetails{Name: common.String("b"), CompartmentId: common.String("c")},
	}); err != nil {
		t.Error(err)
	}
	if _, err := client.PutObject(t.Context(), objectstorage.PutObjectRequest{
		NamespaceName: common.String("n"), BucketName: common.String("b"), ObjectName: common.String("a b/ü"),
		ContentLength: common.Int64(5), PutObjectBody: io.NopCloser(strings.NewReader("hello")),
	}); err != nil {
		t.Error(err)
	}
	o.check(t)
	if n := server.Exchanges("oci"); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

func TestOraclesClientSignsWithTheSigner(t *testing.T) {
	_, o, session := house(t, time.Hour)
	client := storage(t, o, session.Provider())
	client.Signer = session.Signer()
	if _, err := client.GetNamespace(t.Context(), objectstorage.GetNamespaceRequest{}); err != nil {
		t.Error(err)
	}
	o.check(t)
}

// Key and token are read one after the other by Oracle's clients, while tokens are
// replaced all the time.
func TestNoSignatureMixesKeysAndTokens(t *testing.T) {
	server, o, session := house(t, 5*time.Minute)
	client := storage(t, o, session.Provider())
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10 {
				server.Clock.Advance(10 * time.Second)
				if _, err := client.GetNamespace(t.Context(), objectstorage.GetNamespaceRequest{}); err != nil {
					t.Error(err)
				}
				if err := session.Sign(t.Context(), post(t, o.server.URL)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	o.check(t)
	if n := server.Exchanges("oci"); n < 2 {
		t.Errorf("%d exchanges: nothing was renewed", n)
	}
}

func TestSignCoversWhatIsSent(t *testing.T) {
	_, o, session := house(t, time.Hour)
	for _, method := range []string{"GET", "HEAD", "DELETE", "POST", "PUT", "PATCH"} {
		for _, target := range []string{"", "/", "/n/a%20b?x=1&y=%2F", "/%2F?"} {
			var body io.Reader
			if method == "POST" || method == "PATCH" || method == "PUT" {
				body = strings.NewReader("the body")
			}
			req, err := http.NewRequestWithContext(t.Context(), method, o.server.URL+target, body)
			if err != nil {
				t.Fatal(err)
			}
			// What another signature left behind, and a host that is somebody else's.
			req.Header = http.Header{"Date": {"Thu, 01 Jan 1970 00:00:00 GMT"}, "Authorization": {"Bearer x"}, "X-Content-Sha256": {"x"}, "Host": {"evil.example"}}
			req.Host = "evil.example"
			if err := session.Sign(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s %q: %d", method, target, resp.StatusCode)
			}
		}
	}
	o.check(t)
}

func TestNothingIsSignedForPlainHTTP(t *testing.T) {
	server, _, session := house(t, time.Hour)
	for _, target := range []string{"http://objectstorage.us-ashburn-1.oraclecloud.com/n/", "ftp://127.0.0.1/", "/n/"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := session.Sign(t.Context(), req); err == nil || req.Header.Get("Authorization") != "" {
			t.Errorf("%s was signed: %v", target, err)
		}
	}
	if n := server.Exchanges("oci"); n != 0 {
		t.Errorf("%d exchanges for what is not signed", n)
	}
}

func TestAStormOfRefusalsCausesOneRenewal(t *testing.T) {
	server, o, session := house(t, time.Hour)
	client := &http.Client{Transport: session.Transport(nil)}
	send := func() int {
		resp, err := client.Do(post(t, o.server.URL))
		if err != nil {
			t.Error(err)
			return 0
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if status := send(); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	o.check(t)
	o.revoke()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if status := send(); status != http.StatusOK {
				t.Errorf("status %d", status)
			}
		})
	}
	all.Wait()
	if n := server.Exchanges("oci"); n != 2 {
		t.Errorf("%d exchanges, want 2", n)
	}
	o.revoke()
	if status := send(); status != http.StatusUnauthorized {
		t.Errorf("a renewed token that is refused too: status %d", status)
	}
	if n := server.Exchanges("oci"); n != 2 {
		t.Errorf("%d exchanges, want 2", n)
	}
}

func TestTheSignatureDoesNotFollowARedirect(t *testing.T) {
	_, o, session := house(t, time.Hour)
	front := newOracle(o.clock)
	defer front.server.Close()
	front.server.Config.Handler = http.RedirectHandler(o.server.URL, http.StatusTemporaryRedirect)
	resp, err := (&http.Client{Transport: session.Transport(nil)}).Get(front.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized || resp.Request.Header.Get("Authorization") != "" {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestATokenIsServedUntilItDies(t *testing.T) {
	server, _, session := house(t, time.Hour)
	first, err := session.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	server.Clock.Advance(58 * time.Minute)
	if second, err := session.Current(t.Context()); err != nil || !second.Token.Equal(first.Token) || second.Key != theKey() {
		t.Errorf("two minutes before the end: %v", err)
	}
	server.Clock.Advance(2 * time.Minute)
	var refused *cambio.Error
	if _, err := session.Current(t.Context()); !errors.As(err, &refused) || refused.Code != cambio.CodeUnreachable {
		t.Errorf("after the end: %v", err)
	}
	if _, err := session.Provider().KeyID(); !errors.As(err, &refused) {
		t.Errorf("the provider: %v", err)
	}
}

func TestOtherCredentialsSayWhatToChange(t *testing.T) {
	token := standin.JWT(map[string]any{})
	for name, c := range map[string]struct{ kind, value, want string }{
		"bearer":       {cambio.TokenTypeAccessToken, token, "name a target of provider oci"},
		"session":      {cambio.TokenTypeOCISigningSession, "{}", "use NewSigningSession"},
		"no JSON":      {cambio.TokenTypeOCIUPST, token, "no JSON object"},
		"no token":     {cambio.TokenTypeOCIUPST, `{"key_id":"ST$"}`, "no JSON object"},
		"other key_id": {cambio.TokenTypeOCIUPST, `{"token":"` + token + `","key_id":"ST$x","region":"r"}`, "key_id"},
		"smuggled":     {cambio.TokenTypeOCIUPST, `{"token":"a\",x=\"","key_id":"ST$a\",x=\"","region":"r"}`, "key_id"},
		"region":       {cambio.TokenTypeOCIUPST, `{"token":"a","key_id":"ST$a","region":"r\r\nx: y"}`, "plain names"},
	} {
		t.Run(name, func(t *testing.T) {
			server, _, session := house(t, time.Hour)
			server.Serve("oci", func(url.Values, int) standin.Answer {
				return standin.Answer{Value: c.value, Type: "N_A", IssuedTokenType: c.kind, Life: time.Hour}
			})
			_, err := session.Current(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), token) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestNewSessionRefuses(t *testing.T) {
	client := standin.New(t).Client()
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func() (*oci.Session, error){
		"no client": func() (*oci.Session, error) { return oci.NewSession(nil, cambio.Request{}, theKey()) },
		"no key":    func() (*oci.Session, error) { return oci.NewSession(client, cambio.Request{}, nil) },
		"small key": func() (*oci.Session, error) { return oci.NewSession(client, cambio.Request{}, small) },
		"held key": func() (*oci.Session, error) {
			return oci.NewSession(client, cambio.Request{TokenType: cambio.TokenTypeOCISigningSession}, theKey())
		},
	} {
		if session, err := make(); err == nil || session != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
