package proxy_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/proxy"
	"github.com/cambio-sts/cambio/clients/go/internal/agent/target"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// witness writes down what reached an upstream.
type witness struct {
	mu   sync.Mutex
	seen []string
}

func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, fmt.Sprintf("%s %s %s", r.Method, r.RequestURI, body))
}

func (w *witness) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = nil
	return seen
}

// Each row is bytes on the wire; SECRET and HOST are put in. want is what the upstream
// gets to see, if it sees anything.
func TestS36WhatIsNoPlainRequestIsRefused(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	w := &witness{}
	u := newUpstream(t, w.ServeHTTP)
	h := serve(t, server.Client(), server.Clock.Now, openai(u, ", paths: [/v1/**, /open/*/x], methods: [GET, POST]"))
	const end = "\r\nX-Api-Key: SECRET\r\nConnection: close\r\n\r\n"
	for _, one := range []struct {
		name, send string
		status     int
		want       string
	}{
		{"plain", "GET /openai/v1/models HTTP/1.1\r\nHost: HOST" + end, 200, "GET /v1/models "},
		{"by localhost", "GET /openai/v1/models HTTP/1.1\r\nHost: LOCALHOST" + end, 200, "GET /v1/models "},
		{"another host", "GET /openai/v1/models HTTP/1.1\r\nHost: evil.example" + end, 421, ""},
		{"another port", "GET /openai/v1/models HTTP/1.1\r\nHost: 127.0.0.1:1" + end, 421, ""},
		{"the upstream as host", "GET /v1/models HTTP/1.1\r\nHost: api.openai.com" + end, 421, ""},
		{"no host", "GET /openai/v1/models HTTP/1.0" + end, 421, ""},
		{"two hosts", "GET /openai/v1/models HTTP/1.1\r\nHost: HOST\r\nHost: HOST" + end, 400, ""},
		{"absolute form", "GET http://evil.example/openai/v1/models HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"absolute form of its own", "GET http://HOST/openai/v1/models HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"connect", "CONNECT evil.example:443 HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"connect of a path", "CONNECT /openai/v1/models HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: HOST" + end, 200, ""}, // net/http's own answer
		{"origin", "GET /openai/v1/models HTTP/1.1\r\nHost: HOST\r\nOrigin: http://HOST" + end, 403, ""},
		{"origin null", "GET /openai/v1/models HTTP/1.1\r\nHost: HOST\r\nOrigin: null" + end, 403, ""},
		{"fetch metadata", "GET /openai/v1/models HTTP/1.1\r\nHost: HOST\r\nSec-Fetch-Site: none" + end, 403, ""},
		{"no secret", "GET /openai/v1/models HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n", 401, ""},
		{"wrong secret", "GET /openai/v1/models HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer x\r\nConnection: close\r\n\r\n", 401, ""},
		{"method", "DELETE /openai/v1/models HTTP/1.1\r\nHost: HOST" + end, 405, ""},
		{"trace", "TRACE /openai/v1/models HTTP/1.1\r\nHost: HOST" + end, 405, ""},
		{"path off the list", "GET /openai/admin HTTP/1.1\r\nHost: HOST" + end, 403, ""},
		{"no route", "GET /other HTTP/1.1\r\nHost: HOST" + end, 404, ""},
		{"prefix within a name", "GET /openaiv1/models HTTP/1.1\r\nHost: HOST" + end, 404, ""},
		{"prefix spelled otherwise", "GET /%6fpenai/v1/models HTTP/1.1\r\nHost: HOST" + end, 404, ""},
		{"escape that says the same", "GET /openai/v1/%6dodels HTTP/1.1\r\nHost: HOST" + end, 200, "GET /v1/%6dodels "},
		{"dots", "GET /openai/v1/../admin HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"encoded dots", "GET /openai/v1/%2e%2E/admin HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"one dot", "GET /openai/v1/./models HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"encoded slash", "GET /openai/v1/x%2f..%2fadmin HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"encoded slash alone", "GET /openai/v1/a%2Fb HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"encoded twice", "GET /openai/v1/%252e%252e/admin HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"encoded thrice", "GET /openai/v1/%25252e/admin HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"backslash", "GET /openai/v1/..\\admin HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"encoded backslash", "GET /openai/v1/..%5cadmin HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"parameter", "GET /openai/v1/..;/admin HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"empty segment", "GET /openai//v1/models HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"two slashes in front", "GET //evil.example/v1/models HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"NUL", "GET /openai/v1/a%00b HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"CR and LF in the path", "GET /openai/v1/a%0d%0aX:%20y HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"fragment", "GET /openai/v1/a#b HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"bytes that want escapes", "GET /openai/v1/\xc3\xa4 HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"broken escape", "GET /openai/v1/%zz HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"broken query", "GET /openai/v1/models?a=%zz HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"semicolon in the query", "GET /openai/v1/models?a=1;b=2 HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"the secret in the query", "GET /openai/v1/models?key=SECRET HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"the secret in the query, escaped", "GET /openai/v1/models?key=%SECRET HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"the secret in the path", "GET /openai/v1/SECRET HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"presigned", "GET /openai/v1/models?x-amz-Signature=1 HTTP/1.1\r\nHost: HOST" + end, 400, ""},
		{"upgrade", "GET /openai/v1/models HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nX-Api-Key: SECRET\r\n\r\n", 501, ""},
		{"two lengths", "POST /openai/v1/x HTTP/1.1\r\nHost: HOST\r\nContent-Length: 1\r\nContent-Length: 2" + end + "ab", 400, ""},
		{"length with a sign", "POST /openai/v1/x HTTP/1.1\r\nHost: HOST\r\nContent-Length: +1" + end + "a", 400, ""},
		{"encoding with a blank", "POST /openai/v1/x HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding : chunked" + end + "0\r\n\r\n", 400, ""},
		{"encoding twice", "POST /openai/v1/x HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity" + end + "0\r\n\r\n", 400, ""},
		{"other encoding", "POST /openai/v1/x HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: \x0bchunked" + end + "0\r\n\r\n", 400, ""},
		{"bare CR in a header", "GET /openai/v1/models HTTP/1.1\r\nHost: HOST\r\nX-A: b\rX-C: d" + end, 400, ""},
		{"NUL in a header", "GET /openai/v1/models HTTP/1.1\r\nHost: HOST\r\nX-A: b\x00" + end, 400, ""},
		{"fold before any header", "GET /openai/v1/models HTTP/1.1\r\n X: y\r\nHost: HOST" + end, 400, ""},
		{"short body", "POST /openai/v1/x HTTP/1.1\r\nHost: HOST\r\nContent-Length: 2" + end + "{}", 200, "POST /v1/x {}"},
	} {
		t.Run(one.name, func(t *testing.T) {
			_, port, _ := net.SplitHostPort(h.address)
			answer := h.raw(t, strings.NewReplacer("LOCALHOST", "localhost:"+port, "HOST", h.address,
				"%SECRET", fmt.Sprintf("%%%02X%s", h.room.Secret().Reveal()[0], h.room.Secret().Reveal()[1:]), "SECRET", h.room.Secret().Reveal()).Replace(one.send))
			seen := w.take()
			status := 0
			_, _ = fmt.Sscanf(answer, "HTTP/1.%d %d", new(int), &status)
			if one.want == "" && len(seen) > 0 || one.want != "" && (len(seen) != 1 || seen[0] != one.want) {
				t.Errorf("the upstream saw %q", seen)
			}
			// net/http says 501 to encodings that it does not know.
			if status != one.status && !(one.status == 400 && status == 501) {
				t.Errorf("status %d, want %d: %.200s", status, one.status, answer)
			}
		})
	}
}

// A length beside an encoding, and a header over two lines, have one reading that the
// RFC prescribes (RFC 9112 §6.1, §5.2): it is the one that is passed on, framed anew; and
// what follows on the connection is not read, for it may be what somebody smuggled.
func TestSmuggledRequestsAreNotServed(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	w := &witness{}
	u := newUpstream(t, w.ServeHTTP)
	h := serve(t, server.Client(), server.Clock.Now, openai(u, ", paths: [/v1/**]"))
	fill := func(text string) string {
		return strings.NewReplacer("HOST", h.address, "SECRET", h.room.Secret().Reveal()).Replace(text)
	}
	smuggled := "GET /openai/v1/smuggled HTTP/1.1\r\nHost: HOST\r\nX-Api-Key: SECRET\r\n\r\n"
	body := "3\r\nabc\r\n0\r\n\r\n"
	for _, send := range []string{
		fmt.Sprintf("Content-Length: %d\r\nTransfer-Encoding: chunked\r\n", len(body)+len(fill(smuggled))),
		"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
	} {
		answer := h.raw(t, fill("POST /openai/v1/x HTTP/1.1\r\nHost: HOST\r\nX-Api-Key: SECRET\r\n"+send+"\r\n"+body+smuggled))
		if seen := w.take(); len(seen) != 1 || seen[0] != "POST /v1/x abc" {
			t.Errorf("%q: the upstream saw %q", send, seen)
		}
		if strings.Count(answer, "HTTP/1.1 ") != 1 {
			t.Errorf("%q: more than one answer: %q", send, answer)
		}
	}
	// after a refusal nothing is read either: its body might be a request
	answer := h.raw(t, fill("POST /openai/admin HTTP/1.1\r\nHost: HOST\r\nX-Api-Key: SECRET\r\n\r\n"+smuggled))
	if seen := w.take(); len(seen) != 0 || strings.Count(answer, "HTTP/1.1 ") != 1 {
		t.Errorf("the upstream saw %q, answers: %q", seen, answer)
	}
}

func TestS36CallersOfAUnixSocket(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") })
	for _, one := range []struct {
		callers string
		status  int
	}{
		{"", 200},
		{fmt.Sprintf("callers: {uids: [%d]}\n", os.Getuid()), 200},
		{fmt.Sprintf("callers: {uids: [%d]}\n", os.Getuid()+1), 403},
		{"callers: secret\n", 401},
		{"callers: any\n", 200},
	} {
		dir, err := os.MkdirTemp("", "p") // short: a socket's path is bounded
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		path := filepath.Join(dir, "s")
		h := serve(t, server.Client(), server.Clock.Now, "listen: \"unix:"+path+"\"\n"+one.callers+openai(u, ""))
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}}}
		resp, err := client.Get("http://localhost/openai/v1/models")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != one.status {
			t.Errorf("%q: %d", one.callers, resp.StatusCode)
		}
		mode := h.room.SocketMode()
		if want := map[bool]os.FileMode{true: 0o666, false: 0o600}[one.status == 403]; mode != want {
			t.Errorf("%q: mode %v", one.callers, mode)
		}
	}
}

// The secret is written where it is asked for, and an SDK's environment has it.
func TestS36SecretOfTheStart(t *testing.T) {
	server := standin.New(t)
	server.Serve("gpt", vend(time.Hour))
	u := newUpstream(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") })
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("of an earlier start"), 0o644); err != nil { // whose mode is not kept
		t.Fatal(err)
	}
	one := serve(t, server.Client(), server.Clock.Now, "secret_file: \""+file+"\"\n"+openai(u, ""))
	two := serve(t, server.Client(), server.Clock.Now, openai(u, ""))
	if one.room.Secret().Equal(two.room.Secret()) || len(one.room.Secret().Reveal()) != 43 {
		t.Error("the secret is not of this start")
	}
	env := one.room.Env(map[string]string{"127.0.0.1:0": one.address})
	if env["OPENAI_BASE_URL"] != one.url+"/openai/v1" || env["OPENAI_API_KEY"] != one.room.Secret().Reveal() || len(env) != 2 {
		t.Errorf("environment of %d variables", len(env))
	}
	if resp, _ := one.ask(t, "GET", "/openai/v1/models", nil, nil); resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
	next, err := proxy.New(read(t, "listen: 127.0.0.1:0\n"+openai(u, "")), proxy.Deps{
		Targets: target.New(server.Client(), map[string]target.Settings{"gpt": {}}), Log: slog.New(slog.DiscardHandler), Now: server.Clock.Now, Previous: one.room,
	})
	if err != nil || !next.Secret().Equal(one.room.Secret()) {
		t.Errorf("a reload changes the secret: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := one.room.Run(ended); err != nil { // returns with the file written
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	info, _ := os.Stat(file)
	if err != nil || string(text) != one.room.Secret().Reveal() || info.Mode() != 0o600 {
		t.Errorf("the secret's file: %v %v", err, info)
	}
}
