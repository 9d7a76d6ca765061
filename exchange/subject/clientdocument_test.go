package subject_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/subject"
)

const app = "https://app.test/client.json"

// appTrust is a client that is named by its metadata document.
func appTrust() exchange.Trust {
	t := corp()
	t.Name, t.Issuer, t.Keys = app, app, exchange.KeySource{Document: app}
	return t
}

func newClientBench(t testing.TB) *bench {
	t.Helper()
	b := newBench(t)
	b.Verifier = subject.New(subject.Options{Client: b.house.client, Now: b.clock.Now, ForClients: true})
	b.load(appTrust())
	return b
}

func assertionOf(s signer) string { return s.token(person(map[string]any{"iss": app, "sub": app})) }

// appDocument is a good document, changed; nil takes a member out.
func appDocument(changes map[string]any) []byte {
	return marshal(change(map[string]any{
		"client_id": app, "client_name": "App", "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://app.test/jwks",
	}, changes))
}

// Client-id metadata document draft §4: the keys come from the document that the
// client_id is the address of, in it or at its jwks_uri, and are followed.
func TestClientMetadataKeys(t *testing.T) {
	e, next := newES256("e"), newES256("n")
	t.Run("elsewhere", func(t *testing.T) {
		b := newClientBench(t)
		b.house.serve(app, appDocument(nil))
		b.house.serve("https://app.test/jwks", keySetOf(e))
		b.accepts(assertionOf(e))
		b.house.serve("https://app.test/jwks", keySetOf(next))
		b.clock.advance(time.Minute)
		b.accepts(assertionOf(next))
	})
	t.Run("inline", func(t *testing.T) {
		b := newClientBench(t)
		keys := json.RawMessage(keySetOf(e))
		b.house.serve(app, appDocument(map[string]any{"jwks_uri": nil, "jwks": keys}))
		b.accepts(assertionOf(e))
		b.refuses(assertionOf(newES256("x")), exchange.KindInvalidSubject, "")
	})
}

// S24: what the document may be is bounded, redirects are not followed, and a token
// that names another document makes nobody fetch it.
func TestS24ClientMetadataFaults(t *testing.T) {
	e := newES256("e")
	keys := json.RawMessage(keySetOf(e))
	for name, body := range map[string][]byte{
		"another client":       appDocument(map[string]any{"client_id": "https://app.test/other.json"}),
		"a slash more":         appDocument(map[string]any{"client_id": app + "/"}),
		"no client":            appDocument(map[string]any{"client_id": nil}),
		"a secret":             appDocument(map[string]any{"client_secret": "hunter2"}),
		"a secret's end":       appDocument(map[string]any{"client_secret_expires_at": 0}),
		"a public client":      appDocument(map[string]any{"token_endpoint_auth_method": "none"}),
		"a secret's method":    appDocument(map[string]any{"token_endpoint_auth_method": "client_secret_basic"}),
		"no method":            appDocument(map[string]any{"token_endpoint_auth_method": nil}),
		"no keys":              appDocument(map[string]any{"jwks_uri": nil}),
		"keys twice":           appDocument(map[string]any{"jwks": keys}),
		"keys of another sort": appDocument(map[string]any{"jwks_uri": nil, "jwks": "x"}),
		"plain http":           appDocument(map[string]any{"jwks_uri": "http://app.test/jwks"}),
		"loopback":             appDocument(map[string]any{"jwks_uri": "http://127.0.0.1/jwks"}),
		"a file":               appDocument(map[string]any{"jwks_uri": "file:///etc/passwd"}),
		"a number for a URL":   appDocument(map[string]any{"jwks_uri": 7}),
		"members twice":        []byte(`{"client_id": "` + app + `", "client_id": "` + app + `"}`),
		"not JSON":             []byte("<html>"),
		"an array":             []byte("[]"),
		"too much":             append(appDocument(nil), make([]byte, 2<<20)...),
	} {
		b := newClientBench(t)
		b.house.serve(app, body)
		b.house.serve("https://app.test/jwks", keySetOf(e))
		if _, err := b.verify(assertionOf(e)); exchange.KindOf(err) != exchange.KindUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	b := newClientBench(t)
	b.house.handle(app, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://app.test/moved.json", http.StatusFound)
	})
	b.house.serve("https://app.test/moved.json", appDocument(nil))
	b.house.serve("https://app.test/jwks", keySetOf(e))
	if _, err := b.verify(assertionOf(e)); err == nil || b.house.count("https://app.test/moved.json") != 0 {
		t.Errorf("a redirect was followed: %v", err)
	}
	stranger := strings.Replace(app, "client", "stranger", 1)
	b.house.serve(stranger, appDocument(map[string]any{"client_id": stranger}))
	b.refuses(e.token(person(map[string]any{"iss": stranger, "sub": stranger})), exchange.KindInvalidSubject, "")
	if b.house.count(stranger) != 0 {
		t.Error("a URL that only a token names was fetched")
	}
}

// FuzzClientMetadata: whatever a document says, keys come of one only that is about
// the client and its key.
func FuzzClientMetadata(f *testing.F) {
	e := newES256("e")
	keys := json.RawMessage(keySetOf(e))
	f.Add(appDocument(map[string]any{"jwks_uri": nil, "jwks": keys}))
	f.Add(appDocument(map[string]any{"jwks_uri": nil, "jwks": map[string]any{"keys": 1}}))
	f.Add([]byte(`{"client_id":1}`))
	assertion := assertionOf(e)
	f.Fuzz(func(t *testing.T, body []byte) {
		v := subject.New(subject.Options{
			Client:     func(string) (*http.Client, error) { return &http.Client{Transport: says(body)}, nil },
			Now:        func() time.Time { return noon },
			ForClients: true,
		})
		if err := v.Load([]exchange.Trust{appTrust()}); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), exchange.Token{Value: exchange.NewSecret(assertion), Type: exchange.TokenTypeJWT}, noon); err != nil {
			return
		}
		var document struct {
			ID     string `json:"client_id"`
			Method string `json:"token_endpoint_auth_method"`
		}
		if err := json.Unmarshal(body, &document); err != nil || document.ID != app || document.Method != "private_key_jwt" {
			t.Errorf("taken: %s", body)
		}
	})
}

// says answers every request with the same body.
type says []byte

func (s says) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(s)), Request: r, Header: http.Header{}}, nil
}
