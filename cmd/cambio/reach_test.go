package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAnswersOfStrangers: whatever answers at the URL, the command says what is
// wrong, follows nobody, and ends.
func TestAnswersOfStrangers(t *testing.T) {
	var asked []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked = append(asked, r.URL.Path) }))
	defer elsewhere.Close()
	for _, test := range []struct {
		name    string
		handler http.HandlerFunc
		status  int
		want    string
	}{
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
			statusFault, "answered with a redirect, which is not followed"},
		{"a page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
			statusFault, "something that is not JSON"},
		{"an empty object", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") },
			statusFault, "the answer holds no credential"},
		{"a page of an error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) },
			statusFault, "answered 403 Forbidden"},
		{"too much", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `"`+strings.Repeat("a", maxAnswer)+`"`) },
			statusFault, "larger than"},
		{"one that breaks off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "{")
		}, statusUnreachable, "broke off"},
		{"a database that is down", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, `{"error":"temporarily_unavailable","error_description":"try again"}`)
		}, statusUnreachable, "temporarily_unavailable: try again"},
		{"a gateway", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
			statusUnreachable, "answered 502 Bad Gateway"},
		{"a terminal's control characters", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"invalid_request","error_description":"a\u001b[2Jb\nc"}`)
		}, statusFault, "a\uFFFD[2Jb\uFFFDc"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(test.handler)
			defer server.Close()
			cmd := exec.Command("cambio", "exchange", "--url", server.URL, "--target", "a", "--output", "token")
			cmd.Stdin = strings.NewReader("a.b.c")
			var stdout, stderr strings.Builder
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); err == nil {
				t.Fatal("it succeeded")
			}
			if got := cmd.ProcessState.ExitCode(); got != test.status || !strings.Contains(stderr.String(), test.want) || stdout.Len() > 0 {
				t.Errorf("exit status %d, want %d; %q on stdout; %q on stderr, want %q", got, test.status, stdout.String(), stderr.String(), test.want)
			}
		})
	}
	if len(asked) > 0 {
		t.Errorf("a redirect was followed: %v", asked)
	}
}

// TestWhatIsSent holds the request to RFC 8693 §2.1, flag by flag.
func TestWhatIsSent(t *testing.T) {
	sent := make(chan *http.Request, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		sent <- r
		fmt.Fprint(w, `{"access_token":"it's a $(secret)"}`)
	}))
	defer server.Close()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"actor": "d.e.f\n", "key.pem": "-----BEGIN PUBLIC KEY-----\nAQID\n-----END PUBLIC KEY-----\n",
		"private.pem": "-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) (string, error) {
		cmd := exec.Command("cambio", append([]string{"exchange", "--url", server.URL + "/base/"}, args...)...)
		cmd.Dir = dir
		cmd.Stdin = strings.NewReader(" a.b.c\n")
		out, err := cmd.Output()
		return string(out), err
	}
	out, err := run("--resource", "https://r.example", "--actor-token-file", "actor", "--subject-token-type", "id_token",
		"--requested-token-type", "urn:x:y", "--scope", "a", "--scope", "b", "--lifetime", "90s", "--reason", "because", "--public-key", "key.pem", "--output", "env")
	if err != nil {
		t.Fatal(err)
	}
	if want := "CAMBIO_TOKEN='it'\\''s a $(secret)'\n"; out != want {
		t.Errorf("printed %q, want %q", out, want)
	}
	r := <-sent
	got, _ := json.Marshal(r.PostForm)
	want := `{"actor_token":["d.e.f"],"actor_token_type":["urn:ietf:params:oauth:token-type:jwt"],` +
		`"grant_type":["urn:ietf:params:oauth:grant-type:token-exchange"],"public_key":["AQID"],"reason":["because"],` +
		`"requested_lifetime":["90"],"requested_token_type":["urn:x:y"],"resource":["https://r.example"],"scope":["a b"],` +
		`"subject_token":["a.b.c"],"subject_token_type":["urn:ietf:params:oauth:token-type:id_token"]}`
	if string(got) != want {
		t.Errorf("sent %s\nwant %s", got, want)
	}
	if r.URL.Path != "/base/oauth2/token" || r.Method != http.MethodPost || r.Header.Get("Authorization") != "" {
		t.Errorf("%s %s, Authorization %q", r.Method, r.URL.Path, r.Header.Get("Authorization"))
	}
	if _, err := run("--target", "a", "--public-key", "private.pem"); err == nil {
		t.Error("a private key was sent")
	}
}

func TestQuote(t *testing.T) {
	for _, word := range []string{"", "plain", "a b", "it's", "$(x)", "`x`", "a\nb", `"`, `\`, "~", "*", "#", "!"} {
		out, err := exec.Command("bash", "-c", "printf %s "+quote(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q came out as %q, %v", word, out, err)
		}
	}
}

func TestWrap(t *testing.T) {
	if got := strings.Join(wrap("aa bb cc ddddddd e", 5), "|"); got != "aa bb|cc|ddddddd|e" {
		t.Error(got)
	}
}
