package cambio_test

import (
	"context"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

func TestRFC8693Section2_1TheRequestSaysWhatIsWanted(t *testing.T) {
	b := newBureau(t)
	client, clock := newClient(t, b, workload())
	second := cambio.Static(cambio.NewSecret("second"), cambio.TokenTypeAccessToken)
	for name, test := range map[string]struct {
		request cambio.Request
		want    map[string]string // besides grant type and subject token
	}{
		"a name":     {cambio.Request{Audience: "github-mcp"}, map[string]string{"audience": "github-mcp"}},
		"a resource": {cambio.Request{Resource: "https://mcp.example/"}, map[string]string{"resource": "https://mcp.example/"}},
		"everything": {
			cambio.Request{
				Audience: "a", Scopes: []string{"x", "y"}, TokenType: "urn:t", Lifetime: 90*time.Second + time.Millisecond,
				Reason: "INC-7", PublicKey: []byte{0xfb, 0xff}, Actor: second, Passthrough: second,
			},
			map[string]string{
				"audience": "a", "scope": "x y", "requested_token_type": "urn:t", "requested_lifetime": "90", "reason": "INC-7",
				"public_key": "+/8=", "actor_token": "second", "actor_token_type": cambio.TokenTypeAccessToken, "passthrough_token": "second",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := client.Exchange(t.Context(), test.request)
			if err != nil {
				t.Fatal(err)
			}
			want := url.Values{"grant_type": {cambio.GrantType}, "subject_token": b.last()["subject_token"], "subject_token_type": {cambio.TokenTypeJWT}}
			for k, v := range test.want {
				want.Set(k, v)
			}
			if !reflect.DeepEqual(b.last(), want) {
				t.Errorf("sent other parameters: %d of %d", len(b.last()), len(want))
			}
			if !strings.HasPrefix(got.Value.Reveal(), "issued-") || got.Type != "Bearer" || !reflect.DeepEqual(got.Scopes, []string{"tools.read", "tools.call"}) ||
				got.ExchangeID == "" || got.LeaseID == "" || got.IssuedTokenType != cambio.TokenTypeAccessToken {
				t.Errorf("read %+v", got)
			}
			if !got.Expires.Equal(clock.Now().Add(time.Hour)) || !got.Refresh.Equal(clock.Now().Add(55*time.Minute)) {
				t.Errorf("expires %v, refresh %v", got.Expires, got.Refresh)
			}
		})
	}
}

func TestASubjectOfItsOwnMakesTheWorkloadTheActor(t *testing.T) {
	b := newBureau(t)
	client, _ := newClient(t, b, workload())
	alice := jwt("alice", begin.Add(time.Hour))
	if _, err := client.Exchange(t.Context(), cambio.Request{Audience: "x", Subject: cambio.Static(cambio.NewSecret(alice), cambio.TokenTypeIDToken)}); err != nil {
		t.Fatal(err)
	}
	form := b.last()
	if form.Get("subject_token") != alice || form.Get("subject_token_type") != cambio.TokenTypeIDToken ||
		form.Get("actor_token") == "" || form.Get("actor_token") == alice || form.Get("actor_token_type") != cambio.TokenTypeJWT {
		t.Error("the subject is not alice, or the actor not the workload")
	}
}

func TestRFC6749Section2_3_1ClientSecretsAreFormEncoded(t *testing.T) {
	b := newBureau(t)
	secret := func() (cambio.Secret, error) { return cambio.NewSecret("a+b %"), nil }
	client, _ := newClient(t, b, workload(), cambio.WithClientSecret("my:id", secret))
	if _, err := client.Exchange(t.Context(), cambio.Request{Audience: "x"}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"my%3Aid a%2Bb+%25"}; !reflect.DeepEqual(b.basics, want) {
		t.Errorf("sent %q", b.basics)
	}
}

func TestTheEnvironmentNamesTheClient(t *testing.T) {
	b := newBureau(t)
	t.Setenv("CAMBIO_CLIENT_ID", "agent")
	t.Setenv("CAMBIO_CLIENT_SECRET_FILE", tokenFile(t, "hush\n"))
	client, _ := newClient(t, b, workload())
	if _, err := client.Exchange(t.Context(), cambio.Request{Audience: "x"}); err != nil || !reflect.DeepEqual(b.basics, []string{"agent hush"}) {
		t.Errorf("sent %d, %v", len(b.basics), err)
	}
	t.Setenv("CAMBIO_CLIENT_SECRET_FILE", tokenFile(t, "\n"))
	client, _ = newClient(t, b, workload())
	if _, err := client.Exchange(t.Context(), cambio.Request{Audience: "x"}); err == nil || !strings.Contains(err.Error(), "the client's secret") || b.asked() != 1 {
		t.Errorf("got %v", err)
	}
}

func TestACredentialDiesWithTheTokenThatBoughtIt(t *testing.T) {
	b := newBureau(t)
	for name, test := range map[string]struct {
		end  time.Duration // of the subject token, from now
		want time.Duration
	}{
		"later than the credential": {2 * time.Hour, time.Hour},
		"sooner":                    {10 * time.Minute, 10 * time.Minute},
		"this clock is fast":        {-5 * time.Minute, time.Hour}, // the server took it, so it is not dead
	} {
		t.Run(name, func(t *testing.T) {
			identity := cambio.IdentityFunc(func(context.Context) (cambio.SubjectToken, error) {
				return cambio.SubjectToken{Value: cambio.NewSecret("x"), Expires: begin.Add(test.end)}, nil
			})
			client, clock := newClient(t, b, identity)
			got, err := client.Exchange(t.Context(), cambio.Request{Audience: "x"})
			if err != nil {
				t.Fatal(err)
			}
			if life := got.Expires.Sub(clock.Now()); life != test.want {
				t.Errorf("lives %v, want %v", life, test.want)
			}
		})
	}
}

func TestRefusalsSayWhatToChange(t *testing.T) {
	b := newBureau(t)
	client, _ := newClient(t, b, workload())
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter)
		code   string
		text   string
		retry  bool
		asked  int
		after  time.Duration
	}{
		"an error of RFC 6749": {func(w http.ResponseWriter) { refuse(w, 400, "invalid_target") }, "invalid_target", "change something (exchange 01a1fdf2-", false, 1, 0},
		"no such client":       {func(w http.ResponseWriter) { refuse(w, 401, "invalid_client") }, "invalid_client", "change something", false, 1, 0},
		"down":                 {func(w http.ResponseWriter) { refuse(w, 503, "temporarily_unavailable") }, "temporarily_unavailable", "change", true, 3, 0},
		"throttled for long": {func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "60")
			refuse(w, 429, "temporarily_unavailable")
		}, "temporarily_unavailable", "change", true, 1, time.Minute},
		"an absurd wait": {func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "9999999999999")
			refuse(w, 503, "temporarily_unavailable")
		}, "temporarily_unavailable", "change", true, 1, 5 * time.Minute},
		"another server":    {func(w http.ResponseWriter) { http.Error(w, "<html>", 404) }, cambio.CodeBadAnswer, "is it a Cambio server?", false, 1, 0},
		"a redirect":        {func(w http.ResponseWriter) { w.Header().Set("Location", "/other"); w.WriteHeader(307) }, cambio.CodeBadAnswer, "status 307", false, 1, 0},
		"no credential":     {func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{}`)) }, cambio.CodeBadAnswer, "is it a Cambio server?", false, 1, 0},
		"no JSON":           {func(w http.ResponseWriter) { _, _ = w.Write([]byte(`hello`)) }, cambio.CodeBadAnswer, "is it a Cambio server?", false, 1, 0},
		"a life below zero": {func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"access_token":"x","expires_in":-1}`)) }, cambio.CodeBadAnswer, "", false, 1, 0},
		"more than a megabyte": {func(w http.ResponseWriter) {
			_, _ = w.Write([]byte(`{"access_token":"` + strings.Repeat("x", 1<<20) + `"}`))
		}, cambio.CodeBadAnswer, "", false, 1, 0},
		"lines for the log": {func(w http.ResponseWriter) {
			w.WriteHeader(400)
			_, _ = w.Write([]byte(`{"error":"x\ny","error_description":"a` + "\u2028" + `b"}`))
		}, "x y", "a b", false, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			before := b.asked()
			b.decide(func(_ int, _ url.Values, w http.ResponseWriter) { test.answer(w) })
			_, err := client.Exchange(t.Context(), cambio.Request{Audience: "x"})
			var refused *cambio.Error
			if !errors.As(err, &refused) {
				t.Fatalf("got %v", err)
			}
			if refused.Code != test.code || !strings.Contains(err.Error(), test.text) || refused.Retryable != test.retry || refused.RetryAfter != test.after {
				t.Errorf("got %+v, %v", refused, err)
			}
			if asked := b.asked() - before; asked != test.asked {
				t.Errorf("asked %d times, want %d", asked, test.asked)
			}
			if strings.Contains(err.Error(), "eyJ") {
				t.Error("the error holds a token")
			}
		})
	}
}

func TestWhatIsDownForAMomentIsAskedAgain(t *testing.T) {
	b := newBureau(t)
	client, _ := newClient(t, b, workload())
	b.decide(func(n int, _ url.Values, w http.ResponseWriter) {
		if n < 3 {
			refuse(w, 503, "temporarily_unavailable")
			return
		}
		issue(w, "at last", time.Hour)
	})
	got, err := client.Exchange(t.Context(), cambio.Request{Audience: "x"})
	if err != nil || got.Value.Reveal() != "at last" {
		t.Fatal(err)
	}
}

func TestATokenFileThatWasReplacedIsReadAgain(t *testing.T) {
	old, young := jwt("old", begin.Add(time.Hour)), jwt("young", begin.Add(2*time.Hour))
	for of, request := range map[string]func(cambio.Identity) (cambio.Identity, cambio.Request){
		"subject_token": func(i cambio.Identity) (cambio.Identity, cambio.Request) { return i, cambio.Request{Audience: "x"} },
		"actor_token": func(i cambio.Identity) (cambio.Identity, cambio.Request) {
			return i, cambio.Request{Audience: "x", Subject: workload()}
		},
		"passthrough_token": func(i cambio.Identity) (cambio.Identity, cambio.Request) {
			return workload(), cambio.Request{Audience: "x", Passthrough: i}
		},
	} {
		t.Run(of, func(t *testing.T) {
			b := newBureau(t)
			path := tokenFile(t, old)
			identity, wanted := request(cambio.File(path))
			client, _ := newClient(t, b, identity)
			b.decide(func(_ int, form url.Values, w http.ResponseWriter) {
				if form.Get(of) == young {
					issue(w, "good", time.Hour)
					return
				}
				// Kubelet replaces the file while the old token is on its way.
				if err := os.WriteFile(path, []byte(young), 0o600); err != nil {
					t.Error(err)
				}
				refuse(w, 400, "invalid_request")
			})
			if _, err := client.Exchange(t.Context(), wanted); err != nil {
				t.Fatal(err)
			}
			if b.asked() != 2 {
				t.Errorf("asked %d times", b.asked())
			}
		})
	}
}

func TestNobodyAnswers(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	client, err := cambio.New(dead.URL, workload())
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Exchange(t.Context(), cambio.Request{Audience: "x"})
	var refused *cambio.Error
	if !errors.As(err, &refused) || refused.Code != cambio.CodeUnreachable || !refused.Retryable || !strings.Contains(err.Error(), dead.URL) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = client.Exchange(ctx, cambio.Request{Audience: "x"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestSecretsGoOverHTTPSOnly(t *testing.T) {
	for address, fault := range map[string]string{
		"https://cambio.example":          "",
		"https://cambio.example/sts/":     "",
		"http://127.0.0.1:8080":           "",
		"http://[::1]:8080":               "",
		"http://localhost:8080":           "",
		"http://cambio.example":           "https",
		"http://127.0.0.1.example":        "https",
		"http://localhost.example":        "https",
		"ftp://127.0.0.1":                 "https",
		"https://user:pw@cambio.example":  "no user",
		"https://cambio.example/#f":       "fragment",
		"https://cambio.example/?a=b":     "query",
		"cambio.example":                  "https://host",
		"://":                             "https://host",
		"":                                "CAMBIO_URL",
		"https://cambio.example\r\nx: y/": "https://host",
	} {
		t.Setenv("CAMBIO_URL", "")
		client, err := cambio.New(address, workload())
		switch {
		case fault == "" && err != nil:
			t.Errorf("%q: %v", address, err)
		case fault == "" && strings.HasSuffix(client.URL(), "/"):
			t.Errorf("%q became %q", address, client.URL())
		case fault != "" && (err == nil || !strings.Contains(err.Error(), fault)):
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestAServerWithAPrivateCA(t *testing.T) {
	b := &bureau{}
	b.Server = httptest.NewTLSServer(http.HandlerFunc(b.serve))
	defer b.Close()
	b.Config.ErrorLog = log.New(io.Discard, "", 0)
	ca := tokenFile(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.Certificate().Raw})))
	ask := func(options ...cambio.Option) error {
		client, err := cambio.New(b.URL, workload(), options...)
		if err != nil {
			return err
		}
		_, err = client.Exchange(t.Context(), cambio.Request{Audience: "x"})
		return err
	}
	if err := ask(cambio.WithCAFile(ca)); err != nil {
		t.Errorf("by an option: %v", err)
	}
	if err := ask(cambio.WithTimeout(time.Second)); err == nil {
		t.Error("a stranger's certificate is believed")
	}
	t.Setenv("CAMBIO_CA_FILE", ca)
	if err := ask(); err != nil {
		t.Errorf("by the environment: %v", err)
	}
	if err := ask(cambio.WithHTTPClient(b.Client())); err != nil {
		t.Errorf("by a client of the caller's: %v", err)
	}
	for name, options := range map[string][]cambio.Option{
		"no certificate": {cambio.WithCAFile(tokenFile(t, "nothing"))},
		"CA file":        {cambio.WithCAFile("/none")},
		"HTTP client or": {cambio.WithCAFile(ca), cambio.WithHTTPClient(b.Client())},
	} {
		if err := ask(options...); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOneSourceForEqualRequests(t *testing.T) {
	b := newBureau(t)
	client, _ := newClient(t, b, workload())
	same := cambio.Request{Audience: "x", Scopes: []string{"a"}}
	first := client.TokenSource(same)
	if first != client.TokenSource(same) {
		t.Error("two sources for one request")
	}
	if first == client.TokenSource(cambio.Request{Audience: "x"}) {
		t.Error("one source for two requests")
	}
	user := cambio.Request{Audience: "x", Subject: cambio.Static(cambio.NewSecret("u"), "t")}
	if alice := client.TokenSource(user); alice == client.TokenSource(user) {
		t.Error("a user's source is kept by the client")
	}
}
