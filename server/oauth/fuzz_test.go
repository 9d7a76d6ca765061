package oauth_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/server"
	"github.com/cambio-sts/cambio/server/oauth"
)

// Whatever the bytes, the endpoint answers: never with a 500, never with a panic,
// always with JSON that nobody keeps, and an exchange begins only for what has a
// subject token of its own.
func FuzzTokenEndpoint(f *testing.F) {
	f.Add(with(), "application/x-www-form-urlencoded", "")
	f.Add(with("actor_token", actor, "actor_token_type", jwtType, "scope", "a b", "requested_lifetime", "60", "resource", "https://a.example/é"), "application/x-www-form-urlencoded;charset=utf-8", "")
	f.Add(with("public_key", spki(f), "reason", "a\x00b"), "application/x-www-form-urlencoded", "")
	f.Add("grant_type=%zz&=&;&%&a", "application/x-www-form-urlencoded", "Basic Og==")
	f.Add(with()+"&subject_token="+strings.Repeat(".", 70000), "application/x-www-form-urlencoded", "")
	f.Add(with("client_assertion", strings.Repeat("..", 300), "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"), "application/x-www-form-urlencoded", "")
	f.Add(bearing("assertion", newSigner(f, "", "oauth-id-jag+jwt").sign(grantClaims(nil))), "application/x-www-form-urlencoded", "")
	f.Add(bearing("assertion", newSigner(f, "", "oauth-id-jag+jwt").sign(grantClaims(map[string]any{"resource": []any{[]any{}}}))), "application/x-www-form-urlencoded", "")
	f.Add("--x\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\n", "multipart/form-data; boundary=x", "")
	f.Fuzz(func(t *testing.T, body, media, authorization string) {
		b := &bureau{t: t}
		h := oauth.New(oauth.Options{
			Issuer: issuer, Exchanger: b, Keys: fixedKeys{}, Now: func() time.Time { return start },
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(body))
		r.Header.Set("Content-Type", media)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 || !json.Valid(w.Body.Bytes()) || w.Header().Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %v %q", w.Code, w.Header(), w.Body)
		}
		if (w.Code == http.StatusOK) != (len(b.seen) == 1) || len(b.seen) > 1 {
			t.Fatalf("%d after %d exchanges", w.Code, len(b.seen))
		}
		if w.Code != http.StatusOK {
			return
		}
		// What was read is what the standard library reads, where it was taken at all.
		plain, err := url.ParseQuery(body)
		if err != nil || authorization != "" || plain.Get("client_id")+plain.Get("client_secret")+plain.Get("client_assertion") != "" {
			t.Fatalf("passed over something in %q: %v", body, err)
		}
		seen := b.seen[0]
		if plain.Get("grant_type") == exchange.GrantJWTBearer {
			if seen.SubjectToken.Value.Reveal() != plain.Get("assertion") || plain.Get("subject_token") != "" {
				t.Fatalf("the assertion was read as another: %q", body)
			}
			plain.Set("subject_token", plain.Get("assertion"))
			plain.Set("subject_token_type", string(seen.SubjectToken.Type))
		}
		for name, got := range map[string]string{
			"subject_token": seen.SubjectToken.Value.Reveal(), "subject_token_type": string(seen.SubjectToken.Type),
			"actor_token": seen.ActorToken.Value.Reveal(), "requested_token_type": string(seen.RequestedType), "reason": seen.Reason,
		} {
			if plain.Get(name) != got || len(plain[name]) > 1 {
				t.Fatalf("%s is %q, and was read as %q", name, plain[name], got)
			}
		}
	})
}

// serveForm answers one request without a listener.
func serveForm(t testing.TB, b *bureau, clients server.Clients, body, authorization string) *httptest.ResponseRecorder {
	t.Helper()
	h := oauth.New(oauth.Options{
		Issuer: issuer, Exchanger: b, Clients: clients, Keys: fixedKeys{}, Now: func() time.Time { return start },
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	return serveAt(h, "/oauth2/token", body, authorization)
}

func serveAt(h http.Handler, path, body, authorization string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if authorization != "" {
		r.Header["Authorization"] = []string{authorization}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
