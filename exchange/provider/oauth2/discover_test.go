package oauth2_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/oauth2"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// counted counts what goes out.
type counted struct {
	next http.RoundTripper
	to   []string
}

func (c *counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.to = append(c.to, r.URL.Path)
	return c.next.RoundTrip(r)
}

// TestNoExchangeWaitsForMetadata: until it is there an exchange is told so, and causes
// no call.
func TestNoExchangeWaitsForMetadata(t *testing.T) {
	y := newTown(t)
	count := &counted{next: y.deps.HTTP.Transport}
	y.deps.HTTP.Transport = count
	s := y.settings(found, func(s *oauth2.Settings) { s.Issuer = "" })
	if !s.MustLoad() || y.settings().MustLoad() {
		t.Error("MustLoad")
	}
	d := y.open(t, s)
	refused := func(words string) {
		t.Helper()
		before := len(count.to)
		_, err := d.Vend(t.Context(), y.grant(t, s))
		var e *exchange.Error
		if !errors.As(err, &e) || e.Kind != exchange.KindUnavailable || !errors.Is(err, provider.ErrNotCalled) || !strings.Contains(e.Advice, words) || len(count.to) != before {
			t.Errorf("%v after %q", err, count.to[before:])
		}
	}
	refused("being looked up")
	y.BendServer = func(m map[string]any) { m["issuer"] = "https://other.example" }
	if err := d.(provider.Loader).Load(t.Context()); err == nil {
		t.Error("found")
	}
	refused("has not been found")
	y.BendServer = nil
	if err := d.(provider.Loader).Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Vend(t.Context(), y.grant(t, s)); err != nil {
		t.Error(err)
	}
	// What was found serves on when the next reading fails.
	y.BendServer = func(m map[string]any) { delete(m, "token_endpoint") }
	if err := d.(provider.Loader).Load(t.Context()); err == nil {
		t.Error("found")
	}
	if _, err := d.Vend(t.Context(), y.grant(t, s)); err != nil {
		t.Error(err)
	}
}

// TestRFC9728AndRFC8414Faults: metadata is believed where it is about what was asked
// for, and leads to https, and not to this machine (S24).
func TestRFC9728AndRFC8414Faults(t *testing.T) {
	y := newTown(t)
	set := func(name string, value any) func(map[string]any) {
		return func(m map[string]any) { m[name] = value }
	}
	alone := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(alone.Close)
	for name, c := range map[string]struct {
		server, resource func(map[string]any)
		elsewhere        http.HandlerFunc
		mood             sandbox.Mood
		want             string
	}{
		"issuer of another (RFC 8414 §3.3)":   {server: set("issuer", "https://other.example"), want: "another issuer's"},
		"issuer with a slash more":            {server: set("issuer", y.url+"/"), want: "another issuer's"},
		"no issuer":                           {server: set("issuer", nil), want: "another issuer's"},
		"resource of another (RFC 9728 §3.3)": {resource: set("resource", y.url+"/other"), want: "another resource's"},
		"no resource":                         {resource: set("resource", nil), want: "another resource's"},
		"no servers":                          {resource: set("authorization_servers", nil), want: "names 0"},
		"two servers":                         {resource: set("authorization_servers", []string{y.url, "https://other.example"}), want: "must say issuer"},
		"many servers":                        {resource: set("authorization_servers", slices.Repeat([]string{y.url}, 1000)), want: "names 1000"},
		"a server by http":                    {resource: set("authorization_servers", []string{strings.Replace(y.url, "https", "http", 1)}), want: "https"},
		"a server with a user":                {resource: set("authorization_servers", []string{strings.Replace(y.url, "https://", "https://x@", 1)}), want: "https"},
		"a server with a query":               {resource: set("authorization_servers", []string{y.url + "/?x"}), want: "query"},
		"a server that has no metadata":       {resource: set("authorization_servers", []string{alone.URL}), want: "there is none"},
		"an endpoint by http":                 {server: set("token_endpoint", "http://169.254.169.254/token"), want: "token_endpoint"},
		"an endpoint that is a file":          {server: set("token_endpoint", "file:///etc/passwd"), want: "token_endpoint"},
		"an endpoint with a fragment":         {server: set("token_endpoint", y.url+"/token#x"), want: "token_endpoint"},
		"no endpoint":                         {server: set("token_endpoint", nil), want: "token_endpoint"},
		"an endpoint that is a number":        {server: set("token_endpoint", 7), want: "not of the form"},
		"a revocation endpoint by http":       {server: set("revocation_endpoint", "http://127.0.0.1/revoke"), want: "revocation_endpoint"},
		"a redirect":                          {elsewhere: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/x", http.StatusFound) }, want: "redirect"},
		"a page": {elsewhere: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<p>"))
		}, want: "page"},
		"nothing":   {elsewhere: http.NotFound, want: "there is none"},
		"forbidden": {elsewhere: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, want: "403"},
		"10 MiB": {elsewhere: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(make([]byte, 10<<20))
		}, want: "bytes"},
		"what is no JSON": {elsewhere: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte("{"))
		}, want: "form"},
		"a metadata service in place of a cloud": {resource: set("authorization_servers", []string{"http://169.254.169.254"}), want: "https"},
	} {
		t.Run(name, func(t *testing.T) {
			y.BendServer, y.BendResource = c.server, c.resource
			if y.Elsewhere = nil; c.elsewhere != nil {
				y.Elsewhere = c.elsewhere
			}
			d := y.open(t, y.settings(found, func(s *oauth2.Settings) { s.Issuer = "" }))
			if err := d.(provider.Loader).Load(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
		})
	}
}

// from answers as a server at any name, and remembers where it was asked.
type from func(r *http.Request) (status int, body string)

func (f from) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := f(r)
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.WriteString(body)
	return w.Result(), nil
}

// TestS24MetadataFromAfarNamesNotThisMachine.
func TestS24MetadataFromAfarNamesNotThisMachine(t *testing.T) {
	y := newTown(t)
	for _, bad := range []string{"https://127.0.0.1/token", "https://localhost/token", "https://[::1]:8443/token", "https://[::ffff:127.0.0.1]/token"} {
		asked := []string{}
		y.deps.HTTP = &http.Client{Transport: from(func(r *http.Request) (int, string) {
			asked = append(asked, r.URL.Host)
			return 200, `{"issuer":"https://as.example","token_endpoint":"` + bad + `"}`
		})}
		d := y.open(t, y.settings(found, func(s *oauth2.Settings) { s.Issuer = "https://as.example" }))
		if err := d.(provider.Loader).Load(t.Context()); err == nil || !strings.Contains(err.Error(), "on this machine") {
			t.Errorf("%s: %v", bad, err)
		}
		if !slices.Equal(asked, []string{"as.example"}) {
			t.Errorf("%q was asked", asked)
		}
	}
}

// TestRFC9728Section3_1AndRFC8414Section3_1Places: where metadata is looked for, in
// order.
func TestRFC9728Section3_1AndRFC8414Section3_1Places(t *testing.T) {
	y := newTown(t)
	for name, c := range map[string]struct {
		issuer, resource string
		there            string
		want             []string
	}{
		"root": {issuer: "https://as.example", there: "x", want: []string{
			"https://as.example/.well-known/oauth-authorization-server", "https://as.example/.well-known/openid-configuration",
		}},
		"tenant": {issuer: "https://as.example/t/1", there: "x", want: []string{
			"https://as.example/.well-known/oauth-authorization-server/t/1", "https://as.example/.well-known/openid-configuration/t/1",
			"https://as.example/t/1/.well-known/openid-configuration",
		}},
		"a slash at the end": {issuer: "https://as.example/t/", there: "https://as.example/.well-known/oauth-authorization-server/t", want: []string{
			"https://as.example/.well-known/oauth-authorization-server/t",
		}},
		"resource": {resource: "https://mcp.example/a/b?c=d", there: "x", want: []string{
			"https://mcp.example/.well-known/oauth-protected-resource/a/b?c=d", "https://mcp.example/.well-known/oauth-protected-resource",
		}},
		"resource at the root": {resource: "https://mcp.example", there: "x", want: []string{"https://mcp.example/.well-known/oauth-protected-resource"}},
	} {
		t.Run(name, func(t *testing.T) {
			var asked []string
			y.deps.HTTP = &http.Client{Transport: from(func(r *http.Request) (int, string) {
				asked = append(asked, r.URL.String())
				if r.URL.String() == c.there {
					return 200, `{"issuer":"` + c.issuer + `","token_endpoint":"https://as.example/token"}`
				}
				return 404, ""
			})}
			s := y.settings(found, func(s *oauth2.Settings) { s.Issuer, s.Resource = c.issuer, c.resource })
			err := y.open(t, s).(provider.Loader).Load(t.Context())
			if (err == nil) != (c.there != "x") || !slices.Equal(asked, c.want) {
				t.Errorf("%q: %v", asked, err)
			}
		})
	}
}

// TestRFC7009Revocation: what the server can end is ended, and what it cannot is said.
func TestRFC7009Revocation(t *testing.T) {
	y := newTown(t)
	s := y.settings(found)
	y.BendServer = func(m map[string]any) { delete(m, "revocation_endpoint") }
	d := y.open(t, s)
	if err := d.(provider.Loader).Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := d.Vend(t.Context(), y.grant(t, s))
	if err != nil || !c.RevokeWith.IsZero() {
		t.Errorf("a token that cannot be revoked says how: %v", err)
	}
	if err := d.(provider.Revoker).Revoke(t.Context(), y.grant(t, s).Target, c.Value); !errors.Is(err, provider.ErrNotRevocable) {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		status int
		media  string
		body   string
		kind   exchange.Kind
		ended  bool
		never  bool
	}{
		"nothing said":            {status: 200, ended: true},
		"204":                     {status: 204, ended: true},
		"words":                   {status: 200, media: "text/plain", body: "OK", ended: true},
		"a page":                  {status: 200, media: "text/html", body: "<p>Sign in", kind: exchange.KindMisconfigured},
		"not well (§2.2.1)":       {status: 503, kind: exchange.KindUnavailable},
		"a kind that stays":       {status: 400, media: "application/json", body: `{"error":"unsupported_token_type"}`, never: true},
		"another client":          {status: 401, media: "application/json", body: `{"error":"invalid_client"}`, kind: exchange.KindMisconfigured},
		"nobody there":            {status: 404, kind: exchange.KindMisconfigured},
		"asked too often":         {status: 429, kind: exchange.KindThrottled},
		"what was sent comes out": {status: 400, media: "application/json", body: `{"error":"invalid_request","error_description":"vended-secret-token"}`, kind: exchange.KindMisconfigured},
	} {
		t.Run(name, func(t *testing.T) {
			other := answering(t, y, c.status, c.media, c.body)
			s := y.settings(func(s *oauth2.Settings) { s.RevocationURL = strings.TrimSuffix(other.TokenURL, "token") + "revoke" })
			err := y.open(t, s).(provider.Revoker).Revoke(t.Context(), y.grant(t, s).Target, exchange.NewSecret("vended-secret-token"))
			switch {
			case c.ended && err != nil, c.never && !errors.Is(err, provider.ErrNotRevocable), !c.ended && !c.never && exchange.KindOf(err) != c.kind:
				t.Error(err)
			case err != nil && strings.Contains(err.Error(), "vended-secret-token"):
				t.Error("the token is told")
			}
		})
	}
}

// TestCheck finds out what is wrong, and hands nothing out.
func TestCheck(t *testing.T) {
	y := newTown(t)
	federated := func(s *oauth2.Settings) {
		s.Auth, s.ClientSecret, s.ClientID = oauth2.AuthPrivateKeyJWT, "", "federated"
	}
	for name, c := range map[string]struct {
		change []func(*oauth2.Settings)
		bend   func(map[string]any)
		good   bool
	}{
		"client_credentials":    {good: true},
		"found":                 {change: []func(*oauth2.Settings){found}, good: true},
		"not found":             {change: []func(*oauth2.Settings){found}, bend: func(m map[string]any) { m["issuer"] = "x" }},
		"another secret":        {change: []func(*oauth2.Settings){func(s *oauth2.Settings) { s.ClientSecret = "${secret:wrong}" }}},
		"token_exchange":        {change: []func(*oauth2.Settings){func(s *oauth2.Settings) { s.Grant = oauth2.GrantTokenExchange }}, good: true},
		"jwt_bearer":            {change: []func(*oauth2.Settings){func(s *oauth2.Settings) { s.Grant = oauth2.GrantJWTBearer }}, good: true},
		"id_jag":                {change: []func(*oauth2.Settings){func(s *oauth2.Settings) { s.Grant = oauth2.GrantIDJAG }}, good: true},
		"by the issuer":         {change: []func(*oauth2.Settings){federated}, good: true},
		"a client for others":   {change: []func(*oauth2.Settings){func(s *oauth2.Settings) { s.Grant, s.ClientID = oauth2.GrantJWTBearer, "narrow" }}},
		"nothing at the server": {change: []func(*oauth2.Settings){func(s *oauth2.Settings) { s.TokenURL = y.url + "/none" }}},
		"id_jag of another": {change: []func(*oauth2.Settings){func(s *oauth2.Settings) {
			s.Grant, s.IDP = oauth2.GrantIDJAG, &oauth2.Server{Issuer: y.idpURL, ClientID: gateway, ClientSecret: "${secret:gateway}"}
		}}, good: true},
	} {
		t.Run(name, func(t *testing.T) {
			y.BendServer = c.bend
			err := y.open(t, y.settings(c.change...)).(provider.Checker).Check(t.Context())
			if (err == nil) != c.good {
				t.Error(err)
			}
		})
	}
	y.BendServer = nil
	if err := y.open(t, answering(t, y, 200, "application/json", `{"access_token":"x","token_type":"Bearer","expires_in":60}`)).(provider.Checker).Check(t.Context()); err != nil && exchange.KindOf(err) != exchange.KindMisconfigured {
		t.Error(err)
	}
	anything := answering(t, y, 200, "application/json", `{"access_token":"x","token_type":"Bearer","expires_in":60}`)
	anything.Grant = oauth2.GrantJWTBearer
	if err := y.open(t, anything).(provider.Checker).Check(t.Context()); err == nil {
		t.Error("a server that gives tokens for anything is good")
	}
}
