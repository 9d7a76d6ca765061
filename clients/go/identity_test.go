package cambio_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

func TestTokenFiles(t *testing.T) {
	good := jwt("x", begin.Add(time.Hour))
	for name, test := range map[string]struct{ text, fault string }{
		"whole":          {good, ""},
		"with a newline": {good + "\n", ""},
		"empty":          {"", "no token"},
		"blank":          {" \n", "no token"},
		"half-written":   {good[:strings.LastIndex(good, ".")+1], "no whole JWT"},
		"the header":     {strings.Split(good, ".")[0], "no whole JWT"},
		"two tokens":     {good + "\n" + good, "more than one"},
		"a control byte": {good + "\x00", "more than one"},
		"huge":           {strings.Repeat("x", 33<<10), "more than 32768 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			path := tokenFile(t, test.text)
			token, err := cambio.File(path).SubjectToken(t.Context())
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "eyJ") {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || token.Value.Reveal() != good || token.Type != cambio.TokenTypeJWT || token.Expires.Unix() != begin.Add(time.Hour).Unix() {
				t.Errorf("got %+v, %v", token, err)
			}
		})
	}
	if _, err := cambio.File(filepath.Join(t.TempDir(), "none")).SubjectToken(t.Context()); err == nil || !strings.Contains(err.Error(), "mount") {
		t.Errorf("a missing file: %v", err)
	}
}

func TestTheEnvironmentSaysWhoIAm(t *testing.T) {
	token := jwt("ci", begin.Add(time.Hour))
	for name, test := range map[string]struct {
		env   map[string]string
		fault string
	}{
		"a file":     {map[string]string{"CAMBIO_TOKEN_FILE": tokenFile(t, token)}, ""},
		"a variable": {map[string]string{"CAMBIO_TOKEN": token}, ""},
		"nothing":    {nil, "CAMBIO_TOKEN_FILE"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range []string{"CAMBIO_TOKEN_FILE", "CAMBIO_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL"} {
				t.Setenv(v, test.env[v])
			}
			identity, err := cambio.FromEnvironment()
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := identity.SubjectToken(t.Context()); err != nil || got.Value.Reveal() != token {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := cambio.Environment("CAMBIO_NOT_SET").SubjectToken(t.Context()); err == nil || !strings.Contains(err.Error(), "CAMBIO_NOT_SET") {
		t.Errorf("got %v", err)
	}
}

func TestGitHubActions(t *testing.T) {
	token := jwt("repo:o/r:ref:refs/heads/main", begin.Add(5*time.Minute))
	runner := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer runner" || r.URL.Query().Get("audience") != "cambio" || r.URL.Query().Get("api-version") != "2.0" {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"count":1,"value":%q}`, token)
	}))
	defer runner.Close()
	t.Setenv("ACTIONS_ID_TOKEN_REQUEST_URL", runner.URL+"/token?api-version=2.0")
	t.Setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runner")
	got, err := cambio.GitHubActions("cambio").SubjectToken(t.Context())
	if err != nil || got.Value.Reveal() != token {
		t.Fatalf("got %v", err)
	}
	t.Setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "another")
	if _, err := cambio.GitHubActions("cambio").SubjectToken(t.Context()); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("got %v", err)
	}
	for name, address := range map[string]string{"plain HTTP": "http://runner.example/", "nothing": ""} {
		t.Setenv("ACTIONS_ID_TOKEN_REQUEST_URL", address)
		if _, err := cambio.GitHubActions("cambio").SubjectToken(t.Context()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestClientCredentialsAreAskedForOnce(t *testing.T) {
	var asked atomic.Int32
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := asked.Add(1)
		id, secret, _ := r.BasicAuth()
		if err := r.ParseForm(); err != nil || id != "agent" || secret != "hush" || r.PostForm.Get("grant_type") != "client_credentials" ||
			r.PostForm.Get("audience") != "cambio" || r.PostForm.Get("scope") != "a b" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"invalid_client","error_description":"a long story"}`))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"opaque-%d","token_type":"Bearer","expires_in":3600}`, n)
	}))
	defer provider.Close()
	secret := "hush"
	o := cambio.OIDC{
		TokenURL: provider.URL, ClientID: "agent", Scopes: []string{"a", "b"}, Audience: "cambio",
		ClientSecret: func() (cambio.Secret, error) { return cambio.NewSecret(secret), nil },
	}
	identity, err := cambio.ClientCredentials(o)
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			got, err := identity.SubjectToken(t.Context())
			if err != nil || got.Value.Reveal() != "opaque-1" || got.Type != cambio.TokenTypeAccessToken {
				t.Errorf("got %v", err)
			}
		})
	}
	group.Wait()
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}

	secret = "wrong"
	again, err := cambio.ClientCredentials(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.SubjectToken(t.Context()); err == nil || !strings.Contains(err.Error(), "invalid_client") || strings.Contains(err.Error(), "story") {
		t.Errorf("got %v", err)
	}
	o.TokenURL = "http://idp.example/token"
	if _, err := cambio.ClientCredentials(o); err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("plain HTTP: %v", err)
	}
}

func TestS39SecretsDoNotPrint(t *testing.T) {
	s := cambio.NewSecret("hush-hush")
	c := &cambio.Credential{Value: s}
	for _, text := range []string{
		fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x %d", s, s, s, s, s, s, s), fmt.Sprintf("%+v %#v", c, c),
		fmt.Sprintf("%+v", cambio.SubjectToken{Value: s}), fmt.Sprint(&s),
	} {
		if strings.Contains(text, "hush") || strings.Contains(text, "687573682d") {
			t.Errorf("printed %s", text)
		}
	}
	if text, err := s.MarshalText(); err != nil || string(text) != "REDACTED" {
		t.Errorf("encoded %s, %v", text, err)
	}
}

func FuzzTokenText(f *testing.F) {
	f.Add("")
	f.Add(jwt("x", begin))
	f.Add("a.b.c")
	f.Add("a.eyJleHAiOjFlOTl9.c")
	f.Add("a.eyJleHAiOi0xfQ.c")
	f.Fuzz(func(t *testing.T, text string) {
		t.Setenv("CAMBIO_FUZZED", strings.ReplaceAll(text, "\x00", ""))
		token, err := cambio.Environment("CAMBIO_FUZZED").SubjectToken(t.Context())
		if err != nil {
			return
		}
		if v := token.Value.Reveal(); v == "" || strings.ContainsAny(v, " \r\n\t") || strings.Count(v, ".") != 2 {
			t.Error("took what is no token")
		}
	})
}

func TestMain(m *testing.M) {
	for _, v := range []string{"CAMBIO_URL", "CAMBIO_TOKEN", "CAMBIO_TOKEN_FILE"} {
		_ = os.Unsetenv(v)
	}
	os.Exit(m.Run())
}
