package cambio_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// begin is when the tests' clock starts; it has a monotonic reading, as time.Now has.
var begin = time.Now()

// clock is the time of a test.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: begin} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// jwt is a token in form and nothing more: what verifies here is the server's.
func jwt(subject string, expires time.Time) string {
	part := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	return part(map[string]string{"alg": "none"}) + "." + part(map[string]any{"sub": subject, "exp": expires.Unix()}) + "." +
		base64.RawURLEncoding.EncodeToString([]byte("signature of "+subject))
}

// bureau is a Cambio server that checks what it is sent and counts.
type bureau struct {
	*httptest.Server

	mu     sync.Mutex
	forms  []url.Values
	basics []string
	// answer decides; nil: a token that lives for an hour, numbered.
	answer func(n int, form url.Values, w http.ResponseWriter)
}

func newBureau(t *testing.T) *bureau {
	t.Helper()
	b := &bureau{}
	b.Server = serveBureau(b)
	t.Cleanup(b.Close)
	return b
}

func serveBureau(b *bureau) *httptest.Server { return httptest.NewServer(http.HandlerFunc(b.serve)) }

func (b *bureau) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/oauth2/token" || r.URL.RawQuery != "" {
		http.Error(w, "only POST /oauth2/token", http.StatusNotFound)
		return
	}
	if err := r.ParseForm(); err != nil || r.PostForm.Get("grant_type") != cambio.GrantType ||
		r.PostForm.Get("subject_token") == "" || r.PostForm.Get("subject_token_type") == "" {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_request","error_description":"no token exchange"}`))
		return
	}
	for name, values := range r.PostForm {
		if len(values) != 1 || values[0] == "" {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":"invalid_request","error_description":"%s is empty or twice"}`, name)
			return
		}
	}
	id, secret, ok := r.BasicAuth()
	b.mu.Lock()
	b.forms = append(b.forms, r.PostForm)
	if ok {
		b.basics = append(b.basics, id+" "+secret)
	}
	n, answer := len(b.forms), b.answer
	b.mu.Unlock()
	if answer == nil {
		issue(w, fmt.Sprintf("issued-%d", n), time.Hour)
		return
	}
	answer(n, r.PostForm, w)
}

func (b *bureau) decide(answer func(n int, form url.Values, w http.ResponseWriter)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer = answer
}

// asked is how many exchanges were asked for.
func (b *bureau) asked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.forms)
}

func (b *bureau) last() url.Values {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.forms[len(b.forms)-1]
}

func issue(w http.ResponseWriter, token string, life time.Duration) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": token, "issued_token_type": cambio.TokenTypeAccessToken, "token_type": "Bearer",
		"expires_in": int(life / time.Second), "scope": "tools.read tools.call",
		"exchange_id": "01a1fdf2-da16-7b06-9a61-ad3e065c7da3", "lease_id": "01a1fdf2-da16-719e-b7ee-a5e4d0a24f0d",
	})
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":%q,"error_description":"change something","exchange_id":"01a1fdf2-0000-7000-8000-000000000000"}`, code)
}

// workload is an identity whose token outlives every test.
func workload() cambio.Identity {
	return cambio.IdentityFunc(func(context.Context) (cambio.SubjectToken, error) {
		end := begin.Add(100 * time.Hour)
		return cambio.SubjectToken{Value: cambio.NewSecret(jwt("k8s:cluster:agents:assistant", end)), Expires: end}, nil
	})
}

// newClient makes a client of a bureau, with a clock that only the test moves and a
// chance that is always in the middle.
func newClient(t *testing.T, b *bureau, identity cambio.Identity, options ...cambio.Option) (*cambio.Client, *clock) {
	t.Helper()
	c := newClock()
	options = append([]cambio.Option{cambio.WithClock(c.Now, func() float64 { return 0.5 })}, options...)
	client, err := cambio.New(b.URL, identity, options...)
	if err != nil {
		t.Fatal(err)
	}
	return client, c
}

func tokenFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
