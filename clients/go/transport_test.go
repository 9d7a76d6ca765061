package cambio_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// api is a resource that takes one token, and remembers what came.
type api struct {
	*httptest.Server
	mu    sync.Mutex
	takes string
	saw   []string // Authorization and body
}

func newAPI(t *testing.T, takes string) *api {
	t.Helper()
	a := &api{takes: takes}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		a.mu.Lock()
		a.saw = append(a.saw, r.Header.Get("Authorization")+" "+string(body))
		good := r.Header.Get("Authorization") == "Bearer "+a.takes
		a.mu.Unlock()
		if !good {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(a.Close)
	return a
}

func TestARejectedTokenIsRenewedOnce(t *testing.T) {
	for name, test := range map[string]struct {
		takes  string
		body   io.Reader
		status int
		sent   int
		asked  int
	}{
		"good at once":                     {"issued-1", strings.NewReader("b"), 200, 1, 1},
		"good after a renewal":             {"issued-2", strings.NewReader("b"), 200, 2, 2},
		"good after a renewal, no body":    {"issued-2", nil, 200, 2, 2},
		"never good":                       {"none", strings.NewReader("b"), 401, 2, 2},
		"a body that cannot be sent again": {"issued-2", io.MultiReader(strings.NewReader("b")), 401, 1, 1},
		"a body that need not be":          {"issued-1", io.MultiReader(strings.NewReader("b")), 200, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBureau(t)
			client, _ := newClient(t, b, workload())
			target := newAPI(t, test.takes)
			web := &http.Client{Transport: client.TokenSource(cambio.Request{Audience: "x"}).Transport(nil)}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target.URL, test.body)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := web.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != test.status || len(target.saw) != test.sent || b.asked() != test.asked {
				t.Errorf("status %d, sent %d, asked %d", resp.StatusCode, len(target.saw), b.asked())
			}
			if req.Header.Get("Authorization") != "" {
				t.Error("the caller's request was changed")
			}
			for _, saw := range target.saw {
				if test.body != nil && !strings.HasSuffix(saw, " b") {
					t.Errorf("sent without its body: %d bytes", len(saw))
				}
			}
		})
	}
}

func TestAStormOf401CausesOneRenewal(t *testing.T) {
	b := newBureau(t)
	client, _ := newClient(t, b, workload())
	target := newAPI(t, "none")
	web := &http.Client{Transport: client.TokenSource(cambio.Request{Audience: "x"}).Transport(nil)}
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			resp, err := web.Get(target.URL)
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close()
		})
	}
	group.Wait()
	if b.asked() != 2 {
		t.Errorf("asked %d times", b.asked())
	}
}

func TestNoTokenFollowsARedirectElsewhere(t *testing.T) {
	b := newBureau(t)
	client, _ := newClient(t, b, workload())
	elsewhere := newAPI(t, "issued-1")
	var further string
	hop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/again" { // a second hop within the other origin is elsewhere too
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
			return
		}
		further = r.Header.Get("Authorization")
		http.Redirect(w, r, "/again", http.StatusTemporaryRedirect)
	}))
	defer hop.Close()
	start := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/here" {
			if r.Header.Get("Authorization") != "Bearer issued-1" {
				t.Error("the origin's own redirect lost the token")
			}
			http.Redirect(w, r, hop.URL, http.StatusTemporaryRedirect)
			return
		}
		http.Redirect(w, r, "/here", http.StatusTemporaryRedirect)
	}))
	defer start.Close()
	web := &http.Client{Transport: client.TokenSource(cambio.Request{Audience: "x"}).Transport(nil)}
	resp, err := web.Get(start.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized || further != "" || len(elsewhere.saw) != 1 || strings.Contains(elsewhere.saw[0], "Bearer") {
		t.Error("a token went to another origin")
	}
}

func TestNoTokenGoesInTheClear(t *testing.T) {
	b := newBureau(t)
	client, _ := newClient(t, b, workload())
	web := &http.Client{Transport: client.TokenSource(cambio.Request{Audience: "x"}).Transport(nil)}
	if _, err := web.Get("http://api.example/"); err == nil || !strings.Contains(err.Error(), "https") || b.asked() != 0 {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsNoTokenIsNotSent(t *testing.T) {
	b := newBureau(t)
	b.decide(func(_ int, _ url.Values, w http.ResponseWriter) {
		fmt.Fprintf(w, `{"access_token":"{}","token_type":"N_A","issued_token_type":%q,"expires_in":60}`, cambio.TokenTypeAWSCredentials)
	})
	client, _ := newClient(t, b, workload())
	target := newAPI(t, "")
	web := &http.Client{Transport: client.TokenSource(cambio.Request{Audience: "x"}).Transport(nil)}
	if _, err := web.Get(target.URL); err == nil || !strings.Contains(err.Error(), cambio.TokenTypeAWSCredentials) || len(target.saw) != 0 {
		t.Errorf("got %v", err)
	}
}

func TestATokenThatIsSentLivesAMinuteYet(t *testing.T) {
	b := newBureau(t)
	client, clock := newClient(t, b, workload())
	source := client.TokenSource(cambio.Request{Audience: "x"})
	value(t, source)
	target := newAPI(t, "issued-2")
	clock.Pass(59*time.Minute + time.Second)
	web := &http.Client{Transport: source.Transport(nil)}
	resp, err := web.Get(target.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 || len(target.saw) != 1 {
		t.Errorf("status %d after %d requests", resp.StatusCode, len(target.saw))
	}
}
