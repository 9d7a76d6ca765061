package provider_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// TestAskSurvivesEveryAnswer: whatever an endpoint answers, what comes of it is
// bounded, classified, and holds nothing of what was sent.
func TestAskSurvivesEveryAnswer(t *testing.T) {
	const maxSaid = 300 // what is told of an answer: an echo across its end is no half secret
	sent := exchange.NewSecret("assertion-that-was-sent")
	for name, c := range map[string]struct {
		status int
		header map[string]string
		body   string
		kind   exchange.Kind // KindInternal: an answer
		wait   time.Duration
	}{
		"good":         {200, map[string]string{"Content-Type": "application/json; charset=utf-8"}, `{"access_token":"x"}`, exchange.KindInternal, 0},
		"refused":      {400, nil, `{"error":"invalid_grant"}`, exchange.KindInternal, 0},
		"throttled":    {429, map[string]string{"Retry-After": "7"}, `{"error":"slow"}`, exchange.KindThrottled, 7 * time.Second},
		"down":         {503, map[string]string{"Retry-After": "2"}, "upstream " + sent.Reveal(), exchange.KindUnavailable, 2 * time.Second},
		"a page":       {200, map[string]string{"Content-Type": "text/html"}, "<html>", exchange.KindUnavailable, 0},
		"no type":      {200, map[string]string{"Content-Type": ""}, "{}", exchange.KindUnavailable, 0},
		"a redirect":   {302, map[string]string{"Location": "https://elsewhere.example/"}, "", exchange.KindUnavailable, 0},
		"ten megabyte": {200, map[string]string{"Content-Type": "application/json"}, strings.Repeat("x", 10<<20), exchange.KindUnavailable, 0},
		"an echo":      {500, nil, strings.Repeat("x", maxSaid-10) + sent.Reveal(), exchange.KindUnavailable, 0},
		"control":      {500, nil, "a\x00b\r\nc\xff " + strings.Repeat("é", 400), exchange.KindUnavailable, 0},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range c.header {
					w.Header().Set(k, v)
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer server.Close()
			client := server.Client()
			client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			r, err := provider.PostForm(t.Context(), server.URL, url.Values{"assertion": {sent.Reveal()}})
			if err != nil {
				t.Fatal(err)
			}
			a, err := provider.Ask(client, r, time.Now, sent)
			if c.kind == exchange.KindInternal {
				if err != nil || a.Status != c.status {
					t.Fatalf("%v", err)
				}
				return
			}
			var e *exchange.Error
			if !errors.As(err, &e) || e.Kind != c.kind || e.RetryAfter != c.wait || e.Advice == "" {
				t.Fatalf("%v", err)
			}
			if text := err.Error(); strings.Contains(text, sent.Reveal()[:10]) || strings.ContainsAny(text, "\x00\r\n") || len(text) > 600 {
				t.Errorf("%q", text)
			}
		})
	}
	r, err := provider.PostJSON(t.Context(), "http://127.0.0.1:1/token?key=hidden", map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Ask(http.DefaultClient, r, time.Now); exchange.KindOf(err) != exchange.KindUnavailable || strings.Contains(fmt.Sprint(err), "hidden") {
		t.Errorf("nobody there: %v", err)
	}
}

// TestAnswersAreReadStrictly: a token without a usable lifetime is no token.
func TestAnswersAreReadStrictly(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token": 5, "error": "invalid\u0000_grant", "error_description": "no"}`))
	}))
	defer server.Close()
	r, err := provider.PostJSON(context.Background(), server.URL, map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := provider.Ask(server.Client(), r, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	var into struct {
		Token string `json:"access_token"`
	}
	if err := a.Decode(&into); exchange.KindOf(err) != exchange.KindUnavailable {
		t.Errorf("a number for a token: %v", err)
	}
	if code, description := a.OAuthError(); code != "invalid _grant" || description != "no" {
		t.Errorf("%q %q", code, description)
	}
	for _, seconds := range []int64{0, -1, 1 << 40} {
		if _, err := a.Expiry(seconds, noon); exchange.KindOf(err) != exchange.KindUnavailable {
			t.Errorf("%d seconds: %v", seconds, err)
		}
	}
	if at, err := a.Expiry(60, noon); err != nil || !at.Equal(noon.Add(time.Minute)) {
		t.Errorf("%v, %v", at, err)
	}
}

func TestCheckEndpoint(t *testing.T) {
	for _, good := range []string{"https://api.anthropic.com", "https://127.0.0.1:8443", "https://iam.cloud.ibm.com/identity"} {
		if err := provider.CheckEndpoint(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "http://api.example", "https://", "https://API.example", "https://a.example/", "https://u:p@a.example", "https://a.example?x=1",
		"https://a.example#x", "a.example", "https://a b.example", "https:a.example",
	} {
		if provider.CheckEndpoint(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
