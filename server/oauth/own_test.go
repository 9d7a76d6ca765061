package oauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
	verify "github.com/cambio-sts/cambio/exchange/subject"
	"github.com/cambio-sts/cambio/server/oauth"
)

var tokenID = exchange.ID{0x01, 0x9a, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 0x77}

// counter is where tokens of ours are asked about: a real verifier of them over a
// key of its own, and a database as far as the door sees it.
type counter struct {
	t      testing.TB
	own    signer // as our access keys
	other  signer // as federation's, or a stranger's, under the same name
	mu     sync.Mutex
	leases map[exchange.ID]exchange.Lease
	burnt  map[exchange.Once]bool
	events []exchange.Event
	down   bool
	asked  int
	gone   []exchange.ID
}

func newCounter(t testing.TB) (*counter, *oauth.OwnTokens) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{
		t: t, own: signer{t: t, Signer: signerOf(t, key, "", "at+jwt")}, other: newSigner(t, "", "at+jwt"),
		leases: map[exchange.ID]exchange.Lease{tokenID: {ID: tokenID, Tenant: "default", Subject: "oidc:corp:alice"}},
		burnt:  map[exchange.Once]bool{},
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	self := verify.NewSelf(verify.SelfOptions{Tenant: "default", Issuer: issuer, Keys: func() []byte { return set }})
	return c, &oauth.OwnTokens{Read: self.Read, Standing: c.standing, Revoke: c.revoke, Burn: c.burn, Random: rand.Reader}
}

var errDown = errors.New("no database")

func (c *counter) standing(_ context.Context, tenant string, id exchange.ID) (exchange.Lease, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	l, ok := c.leases[id]
	switch {
	case c.down:
		return exchange.Lease{}, exchange.Fault(exchange.KindUnavailable, "the database could not be read; try again", errDown)
	case !ok || l.Tenant != tenant:
		return exchange.Lease{}, exchange.Fault(exchange.KindNotFound, "there is no such credential", nil)
	}
	return l, nil
}

func (c *counter) revoke(_ context.Context, tenant string, id exchange.ID, by exchange.Record) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l, ok := c.leases[id]; !ok || l.Tenant != tenant {
		return exchange.Fault(exchange.KindNotFound, "there is no such lease", nil)
	}
	if c.down {
		return exchange.Fault(exchange.KindUnavailable, "it could not be recorded; try again", errDown)
	}
	if by.Door != "oauth" || by.Client == "" || by.ClientIP == "" || !strings.HasPrefix(by.Subject, "client:") {
		c.t.Errorf("nobody revokes: %+v", by)
	}
	delete(c.leases, id)
	c.gone = append(c.gone, id)
	return nil
}

func (c *counter) burn(_ context.Context, e exchange.Event, once exchange.Once) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.down:
		return errDown
	case e.ID.IsZero() || e.Exchange != e.ID || e.Type != exchange.EventQueried || e.Tenant != "default" || e.Record.Client == "" || e.Record.Reason == "":
		c.t.Errorf("an event that tells nothing: %+v", e)
	case c.burnt[once]:
		return exchange.ErrUsed
	}
	c.burnt[once] = true
	c.events = append(c.events, e)
	return nil
}

// accessToken is one of ours for the resource mcp, issued to shop.
func accessToken(change map[string]any) map[string]any {
	claims := map[string]any{
		"iss": issuer, "sub": "oidc:corp:alice", "aud": mcp, "client_id": "shop", "jti": tokenID.String(), "scope": "read call",
		"iat": start.Unix() - 60, "exp": start.Unix() + 600,
		"act":     map[string]any{"iss": issuer, "sub": "client:wiki", "act": map[string]any{"iss": issuer, "sub": "k8s:prod:a:b"}},
		"may_act": map[string]any{"iss": "https://corp.example", "sub": "robot"},
	}
	maps.Copy(claims, change)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	return claims
}

func openCounter(t testing.TB) (*door, *registry, *counter) {
	t.Helper()
	r := newRegistry(t)
	c, own := newCounter(t)
	return openDoor(t, func(o *oauth.Options) { o.Clients, o.Own = r, own }), r, c
}

// post sends a form to another endpoint than the token endpoint.
func (d *door) post(path string, form url.Values, headers ...string) answer {
	d.t.Helper()
	r, err := http.NewRequest(http.MethodPost, d.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(headers); i += 2 {
		r.Header[http.CanonicalHeaderKey(headers[i])] = []string{headers[i+1]}
	}
	return d.do(r)
}

const introspectPath, revokePath = "/oauth2/introspect", "/oauth2/revoke"

func (a answer) wantInactive(t testing.TB) {
	t.Helper()
	if a.status != http.StatusOK || a.text != "{\"active\":false}\n" {
		t.Errorf("got %d %s", a.status, a.text)
	}
	a.wantUnkept(t)
}

// RFC 7662 §2.2, RFC 8693 §4.1 and §4.4: what is said of an active token, to the
// server of its resource and to the client that it was issued to.
func TestRFC7662Section2_2Active(t *testing.T) {
	d, r, c := openCounter(t)
	token := c.own.sign(accessToken(nil))
	for _, client := range []string{"server", "shop"} {
		for _, hint := range []string{"", "access_token", "refresh_token", "urn:example:anything"} { // §2.1: a wrong hint is searched all the same
			a := d.post(introspectPath, url.Values{"token": {token}, "token_type_hint": {hint}}, "Authorization", basic(client, r.secret))
			a.wantUnkept(t)
			want := map[string]any{
				"active": true, "scope": "read call", "client_id": "shop", "sub": "oidc:corp:alice", "aud": mcp, "iss": issuer,
				"exp": float64(start.Unix() + 600), "iat": float64(start.Unix() - 60), "jti": tokenID.String(), "token_type": "Bearer",
				"act":     map[string]any{"iss": issuer, "sub": "client:wiki", "act": map[string]any{"iss": issuer, "sub": "k8s:prod:a:b"}},
				"may_act": map[string]any{"iss": "https://corp.example", "sub": "robot"},
			}
			got, _ := json.Marshal(a.body)
			if text, _ := json.Marshal(want); a.status != http.StatusOK || string(got) != string(text) {
				t.Errorf("%s: %d\n%s\n%s", client, a.status, got, text)
			}
		}
	}
	d.bureau.none()
	a := d.post(introspectPath, url.Values{"token": {c.own.sign(accessToken(map[string]any{"act": nil, "may_act": nil, "scope": nil}))}}, "Authorization", basic("server", r.secret))
	if _, said := a.body["act"]; said || a.body["active"] != true || a.body["scope"] != nil {
		t.Errorf("%s", a.text)
	}
}

// RFC 7662 §2.2, §4: whoever may not know, and whatever is no token that stands, the
// answer is the same to the byte; and nobody who only guesses costs the database
// anything.
func TestRFC7662Section2_2Inactive(t *testing.T) {
	federation := newSigner(t, "", "JWT")
	for name, c := range map[string]struct {
		client string
		token  func(*counter) string
		asks   int // of the database
	}{
		"another client":          {"desk", func(c *counter) string { return c.own.sign(accessToken(nil)) }, 0},
		"served elsewhere":        {"server", func(c *counter) string { return c.own.sign(accessToken(map[string]any{"aud": mcp + "/"})) }, 0},
		"a client by its subject": {"desk", func(c *counter) string { return c.own.sign(accessToken(map[string]any{"client_id": "client:desk"})) }, 0},
		"unknown to the database": {"server", func(c *counter) string {
			return c.own.sign(accessToken(map[string]any{"jti": "019ab000-0000-7000-8000-000000000009"}))
		}, 1},
		"of another subject": {"server", func(c *counter) string { return c.own.sign(accessToken(map[string]any{"sub": "oidc:corp:bob"})) }, 1},
		"expired":            {"server", func(c *counter) string { return c.own.sign(accessToken(map[string]any{"exp": start.Unix()})) }, 0},
		"forged":             {"server", func(c *counter) string { return c.other.sign(accessToken(nil)) }, 0},
		"of another issuer":  {"server", func(c *counter) string { return c.own.sign(accessToken(map[string]any{"iss": prodIssuer})) }, 0},
		"a federation assertion": {"server", func(c *counter) string {
			return federation.sign(accessToken(map[string]any{"iss": issuer + "/federation"}))
		}, 0},
		"malformed":       {"server", func(*counter) string { return "a.b.c" }, 0},
		"opaque":          {"server", func(*counter) string { return "hunter2" }, 0},
		"a jti alone":     {"server", func(*counter) string { return tokenID.String() }, 0},
		"longer than any": {"server", func(*counter) string { return strings.Repeat("a", 40<<10) }, 0},
		"a subject's":     {"server", func(*counter) string { return subject }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d, r, counter := openCounter(t)
			d.post(introspectPath, url.Values{"token": {c.token(counter)}}, "Authorization", basic(c.client, r.secret)).wantInactive(t)
			if counter.asked != c.asks {
				t.Errorf("the database was asked %d times", counter.asked)
			}
		})
	}
}

// RFC 7662 §2.1, RFC 7009 §2.1, S17: both endpoints take the client authentication
// of the token endpoint, whole and right, and nothing without it.
func TestRFC7662Section2_1CallersAuthenticate(t *testing.T) {
	for _, path := range []string{introspectPath, revokePath} {
		for name, c := range map[string]struct {
			form    func(*registry) url.Values
			headers func(*registry) []string
			status  int
			code    string
		}{
			"nobody":             {nil, nil, 401, "invalid_client"},
			"wrong secret":       {func(*registry) url.Values { return url.Values{"client_id": {"server"}, "client_secret": {"hunter2"}} }, nil, 401, "invalid_client"},
			"wrong Basic":        {nil, func(*registry) []string { return []string{"Authorization", basic("server", "hunter2")} }, 401, "invalid_client"},
			"a client_id alone":  {func(*registry) url.Values { return url.Values{"client_id": {"server"}} }, nil, 401, "invalid_client"},
			"a bearer token":     {nil, func(*registry) []string { return []string{"Authorization", "Bearer " + subject} }, 401, "invalid_client"},
			"an empty header":    {nil, func(*registry) []string { return []string{"Authorization", ""} }, 401, "invalid_client"},
			"two ways":           {func(r *registry) url.Values { return url.Values{"client_id": {"server"}, "client_secret": {r.secret}} }, func(r *registry) []string { return []string{"Authorization", basic("server", r.secret)} }, 400, "invalid_request"},
			"assertion for all":  {func(r *registry) url.Values { return asserting(r.assertion(map[string]any{"aud": issuer + path})) }, nil, 401, "invalid_client"},
			"an expired one":     {func(r *registry) url.Values { return asserting(r.assertion(map[string]any{"exp": start.Unix() - 1})) }, nil, 401, "invalid_client"},
			"a token of nobody":  {func(r *registry) url.Values { return asserting(r.token("nobody", nil)) }, nil, 401, "invalid_client"},
			"secret in the body": {func(r *registry) url.Values { return url.Values{"client_id": {"desk"}, "client_secret": {r.secret}} }, nil, 200, ""},
			"an assertion":       {func(r *registry) url.Values { return asserting(r.assertion(nil)) }, nil, 200, ""},
			"a trust's token":    {func(r *registry) url.Values { return asserting(r.token("runner", nil)) }, nil, 200, ""},
		} {
			t.Run(path+" "+name, func(t *testing.T) {
				d, r, counter := openCounter(t)
				form, headers := url.Values{}, []string(nil)
				if c.form != nil {
					form = c.form(r)
				}
				if c.headers != nil {
					headers = c.headers(r)
				}
				form.Set("token", counter.own.sign(accessToken(map[string]any{"client_id": "nobody"})))
				a := d.post(path, form, headers...)
				switch {
				case c.status != 200:
					a.wantFailure(t, c.status, c.code)
				case path == introspectPath:
					a.wantInactive(t)
				default:
					a.wantFailure(t, 400, "unauthorized_client")
				}
				if len(counter.gone) > 0 {
					t.Error("it was revoked")
				}
			})
		}
	}
}

func asserting(assertion string) url.Values {
	return url.Values{"client_assertion": {assertion}, "client_assertion_type": {assertionType}}
}

// S7: a token of ours authenticates nobody, at any endpoint.
func TestS7OwnTokenIsNoClientAssertion(t *testing.T) {
	d, _, c := openCounter(t)
	token := c.own.sign(accessToken(nil))
	form := asserting(token)
	form.Set("token", token)
	for _, path := range []string{introspectPath, revokePath} {
		d.post(path, form).wantFailure(t, http.StatusUnauthorized, "invalid_client")
		d.post(path, url.Values{"token": {token}}, "Authorization", "Bearer "+token).wantFailure(t, http.StatusUnauthorized, "invalid_client")
	}
	d.send(credentials("client_assertion", token, "client_assertion_type", assertionType)).wantFailure(t, http.StatusUnauthorized, "invalid_client")
	d.bureau.none()
}

// RFC 7523 §3: an assertion asks once, gives back once, and not once each; what
// cannot be burnt is not used.
func TestRFC7523Section3AssertionAsksOnce(t *testing.T) {
	d, r, c := openCounter(t)
	form := asserting(r.assertion(nil))
	form.Set("token", "unknown")
	d.post(introspectPath, form).wantInactive(t)
	for _, path := range []string{introspectPath, revokePath} {
		d.post(path, form).wantFailure(t, http.StatusUnauthorized, "invalid_client")
	}
	if len(c.events) != 1 || c.events[0].Record.Client != "gateway" || c.events[0].Record.Reason != "introspection" || c.events[0].Record.Door != "oauth" {
		t.Errorf("%+v", c.events)
	}
	c.down = true
	fresh := asserting(r.assertion(nil))
	fresh.Set("token", "unknown")
	a := d.post(introspectPath, fresh)
	a.wantFailure(t, http.StatusServiceUnavailable, "temporarily_unavailable")
	if a.header.Get("Retry-After") == "" {
		t.Error("nobody says when to come back")
	}
	d.post(revokePath, url.Values{"token": {"unknown"}}, "Authorization", basic("desk", r.secret)) // nothing to burn
	if len(c.events) != 1 {
		t.Errorf("%d events", len(c.events))
	}
}

// S31: with the database cut off nobody is told that a token is active.
func TestRFC7662WithoutTheDatabase(t *testing.T) {
	d, r, c := openCounter(t)
	c.down = true
	a := d.post(introspectPath, url.Values{"token": {c.own.sign(accessToken(nil))}}, "Authorization", basic("server", r.secret))
	a.wantFailure(t, http.StatusServiceUnavailable, "temporarily_unavailable")
	if a.header.Get("Retry-After") == "" || strings.Contains(a.text, "no database") {
		t.Errorf("%v %s", a.header, a.text)
	}
}

// RFC 7009 §2.1, §2.2: the client that a token was issued to gives it back; from then
// on it is inactive. What cannot be revoked any more is as good as revoked.
func TestRFC7009Section2Revoke(t *testing.T) {
	d, r, c := openCounter(t)
	token := c.own.sign(accessToken(nil))
	form := url.Values{"token": {token}, "token_type_hint": {"refresh_token"}}
	for _, other := range []string{"server", "desk"} { // §2.1; not even the resource's own server
		d.post(revokePath, form, "Authorization", basic(other, r.secret)).wantFailure(t, http.StatusBadRequest, "unauthorized_client")
	}
	if len(c.gone) != 0 {
		t.Fatal("another client revoked it")
	}
	for range 2 {
		if a := d.post(revokePath, form, "Authorization", basic("shop", r.secret)); a.status != http.StatusOK || a.text != "{}\n" {
			t.Errorf("%d %s", a.status, a.text)
		}
	}
	if !slices.Equal(c.gone, []exchange.ID{tokenID}) {
		t.Errorf("revoked %v", c.gone)
	}
	for _, client := range []string{"shop", "server"} { // RFC 7009 §2, RFC 7662 §2.2
		d.post(introspectPath, form, "Authorization", basic(client, r.secret)).wantInactive(t)
	}
	for name, raw := range map[string]string{
		"unknown":           c.own.sign(accessToken(map[string]any{"jti": "019ab000-0000-7000-8000-000000000009"})),
		"expired":           c.own.sign(accessToken(map[string]any{"exp": start.Unix()})),
		"forged":            c.other.sign(accessToken(nil)),
		"of another issuer": c.own.sign(accessToken(map[string]any{"iss": prodIssuer})),
		"malformed":         "a.b.c",
		"a refresh token":   "opaque",
	} {
		t.Run(name, func(t *testing.T) {
			if a := d.post(revokePath, url.Values{"token": {raw}}, "Authorization", basic("shop", r.secret)); a.status != http.StatusOK {
				t.Errorf("%d %s", a.status, a.text)
			}
		})
	}
	if len(c.gone) != 1 {
		t.Errorf("revoked %v", c.gone)
	}
}

// RFC 7009 §2.2.1: what could not be revoked is not said to be.
func TestRFC7009Section2_2_1StoreFailure(t *testing.T) {
	d, r, c := openCounter(t)
	c.down = true
	a := d.post(revokePath, url.Values{"token": {c.own.sign(accessToken(nil))}}, "Authorization", basic("shop", r.secret))
	a.wantFailure(t, http.StatusServiceUnavailable, "temporarily_unavailable")
	if a.header.Get("Retry-After") == "" {
		t.Error("nobody says when to come back")
	}
}

// The form is read as strictly as at the token endpoint.
func TestRFC7662Section2_1Syntax(t *testing.T) {
	d, r, _ := openCounter(t)
	authorization := basic("server", r.secret)
	for _, path := range []string{introspectPath, revokePath} {
		for name, form := range map[string]url.Values{
			"no token":       {},
			"empty token":    {"token": {""}},
			"two tokens":     {"token": {"a", "b"}},
			"two hints":      {"token": {"a"}, "token_type_hint": {"access_token", "refresh_token"}},
			"hint of words":  {"token": {"a"}, "token_type_hint": {"access token"}},
			"hint too long":  {"token": {"a"}, "token_type_hint": {strings.Repeat("a", 65)}},
			"control in it":  {"token": {"a\x00"}},
			"hint with a \"": {"token": {"a"}, "token_type_hint": {`a"b`}},
		} {
			t.Run(path+" "+name, func(t *testing.T) {
				d.post(path, form, "Authorization", authorization).wantFailure(t, http.StatusBadRequest, "invalid_request")
			})
		}
		d.post(path, url.Values{"token": {strings.Repeat("a", 70<<10)}}, "Authorization", authorization).wantFailure(t, http.StatusRequestEntityTooLarge, "invalid_request")
		d.post(path+"?token=a", url.Values{}, "Authorization", authorization).wantFailure(t, http.StatusBadRequest, "invalid_request")
		d.post(path, url.Values{"token": {"a"}}, "Authorization", authorization, "Content-Type", "application/json").wantFailure(t, http.StatusUnsupportedMediaType, "invalid_request")
		request, err := http.NewRequest(http.MethodGet, d.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if a := d.do(request); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != http.MethodPost {
			t.Errorf("GET: %d %v", a.status, a.header)
		}
	}
}

// RFC 8414 §2: the endpoints, how to authenticate there, and by what; never none.
func TestRFC8414Section2OwnTokenEndpoints(t *testing.T) {
	d, _, _ := openCounter(t)
	a := d.get("/.well-known/oauth-authorization-server")
	if a.body["introspection_endpoint"] != issuer+introspectPath || a.body["revocation_endpoint"] != issuer+revokePath {
		t.Errorf("%s", a.text)
	}
	for _, endpoint := range []string{"introspection", "revocation"} {
		if got := list(a, endpoint+"_endpoint_auth_methods_supported"); !slices.Equal(got, []string{"client_secret_basic", "client_secret_post", "private_key_jwt"}) {
			t.Errorf("%v", got)
		}
		if got := list(a, endpoint+"_endpoint_auth_signing_alg_values_supported"); !slices.Contains(got, "ES256") || !slices.Contains(got, "RS256") || slices.Contains(got, "none") {
			t.Errorf("%v", got)
		}
	}
	if got := list(a, "authorization_grant_profiles_supported"); !slices.Equal(got, []string{"urn:ietf:params:oauth:grant-profile:id-jag"}) {
		t.Errorf("%v", got)
	}
}

// FuzzIntrospect: whatever is asked with a right credential, the answer is JSON, is
// no fault of ours, and says nothing of anything but the one good token.
func FuzzIntrospect(f *testing.F) {
	r := newRegistry(f)
	c, own := newCounter(f)
	good := c.own.sign(accessToken(nil))
	f.Add(good, "")
	f.Add(good+" ", "access_token")
	f.Add("a.b.c", "refresh_token")
	f.Add(c.other.sign(accessToken(nil)), "x y")
	f.Add("\x00", "\x7f")
	h := oauth.New(oauth.Options{Issuer: issuer, Exchanger: &bureau{t: f}, Clients: r, Keys: fixedKeys{}, Own: own, Now: func() time.Time { return start },
		Logger: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, token, hint string) {
		w := serveAt(h, introspectPath, url.Values{"token": {token}, "token_type_hint": {hint}}.Encode(), basic("server", r.secret))
		if w.Code >= 500 || !json.Valid(w.Body.Bytes()) || strings.Contains(w.Body.String(), `"active":true`) && token != good {
			t.Fatalf("%q: %d %s", token, w.Code, w.Body)
		}
	})
}
