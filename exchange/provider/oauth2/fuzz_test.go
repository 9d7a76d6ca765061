package oauth2

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// saying answers with one text.
type saying string

func (s saying) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(string(s))),
	}, nil
}

// FuzzTokenAnswer: whatever a server answers, what is taken is a usable token with scopes
// that were granted, and no error tells it.
func FuzzTokenAnswer(f *testing.F) {
	f.Add(`{"access_token":"vended-secret-x","token_type":"Bearer","expires_in":60,"scope":"read call other"}`)
	f.Add(`{"access_token":"x\n","token_type":"bearer","expires_in":"60"}`)
	f.Add(`{"access_token":["x"],"token_type":"Bearer","expires_in":1e400}`)
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		s := &Settings{
			Server:     Server{TokenURL: "https://as.example/token", ClientID: "c", Auth: AuthNone},
			Scopes:     []string{"read", "call"},
			MayOutlive: true,
		}
		d, err := s.Open(provider.Deps{HTTP: &http.Client{Transport: saying(text)}, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		g := exchange.Grant{Target: &exchange.Target{}, Scopes: []string{"read"}, Now: now, NotAfter: now.Add(time.Hour), Lifetime: time.Hour}
		c, err := d.Vend(context.Background(), g)
		switch {
		case err != nil && !c.Value.IsZero():
			t.Error("a token came with the error")
		case err != nil:
		case !printable(c.Value.Reveal()) || !c.Expires.After(now) || c.TokenType != "Bearer" || len(missing(c.Scopes, g.Scopes)) > 0:
			t.Errorf("%+v", c)
		}
	})
}

// FuzzMetadata: whatever documents say, what is found is https at a name that was
// asked for, and not this machine.
func FuzzMetadata(f *testing.F) {
	f.Add(`{"issuer":"https://as.example","token_endpoint":"https://as.example/token","revocation_endpoint":"https://as.example/revoke"}`)
	f.Add(`{"resource":"https://mcp.example/x","authorization_servers":["https://as.example"],"issuer":"https://as.example","token_endpoint":"https://LOCALHOST/"}`)
	f.Add(`{"issuer":"https://as.example","token_endpoint":"https://127.0.0.1","mtls_endpoint_aliases":{"token_endpoint":"http://x"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, issuer := range []string{"", "https://as.example"} {
			s := &Settings{Server: Server{Issuer: issuer, ClientID: "c", Auth: AuthNone}, Resource: "https://mcp.example/x", Grant: GrantJWTBearer}
			d, err := newDriver(s, provider.Deps{HTTP: &http.Client{Transport: saying(text)}, Now: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			found := d.Load(context.Background())
			e := d.server.found.Load()
			if (found == nil) != (e != nil) {
				t.Fatal("found, and not kept")
			}
			if e == nil {
				continue
			}
			for _, address := range []string{e.token, e.issuer} {
				if !strings.HasPrefix(address, "https://") || exchange.LoopbackHost(hostname(address)) {
					t.Errorf("%q is taken", address)
				}
			}
		}
	})
}

// FuzzKeyFile: a file that holds no key is an error which tells nothing of it.
func FuzzKeyFile(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nc2VjcmV0LXNlY3JldC1zZWNyZXQ=\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN EC PRIVATE KEY-----\n\n-----END EC PRIVATE KEY-----\n"))
	f.Add([]byte("c2VjcmV0"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, algorithm, err := parseKey(text)
		if (err == nil) != (key != nil && algorithm != "") {
			t.Error("half a key")
		}
		if err != nil && len(text) > 16 && strings.Contains(err.Error(), string(text)) {
			t.Error("the file is told")
		}
	})
}
