package proxy_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// idp is an identity provider with discovery and keys that are rotated.
type idp struct {
	*httptest.Server
	clock   *standin.Clock
	fetches atomic.Int32

	mu   sync.Mutex
	key  *ecdsa.PrivateKey
	kid  string
	down bool
}

func newIDP(t testing.TB, clock *standin.Clock) *idp {
	p := &idp{clock: clock}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": p.URL, "jwks_uri": p.URL + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		p.fetches.Add(1)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.down {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		public, err := jose.JSONWebKey{Key: p.key.Public(), KeyID: p.kid, Algorithm: "ES256", Use: "sig"}.MarshalJSON()
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(w, `{"keys":[{"kty":"unheard-of","kid":"x"},%s]}`, public)
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	p.rotate("one")
	return p
}

func (p *idp) rotate(kid string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key, p.kid = key, kid
}

func (p *idp) fall(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// token signs claims: those of alice for this gateway, changed by edit.
func (p *idp) token(edit func(claims map[string]any)) string {
	now := p.clock.Now()
	claims := map[string]any{
		"iss": p.URL, "sub": "alice", "aud": []string{"gw", "other"}, "exp": now.Add(10 * time.Minute).Unix(), "nbf": now.Unix(),
		"azp": "cli", "jti": rand.Text(),
	}
	if edit != nil {
		edit(claims)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return sign(p.key, jose.ES256, p.kid, claims)
}

func sign(key any, algorithm jose.SignatureAlgorithm, kid string, claims map[string]any) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", kid))
	if err != nil {
		panic(err)
	}
	payload, _ := json.Marshal(claims)
	signed, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	text, _ := signed.CompactSerialize()
	return text
}

// exchanges is a Cambio server that takes the tokens of users, with the agent as actor.
type exchanges struct {
	*httptest.Server
	agent string
	act   bool

	mu    sync.Mutex
	users map[string]int // exchanges by subject token
}

func newExchanges(t testing.TB, act bool) *exchanges {
	e := &exchanges{agent: standin.JWT(map[string]any{"sub": "agent"}), act: act, users: map[string]int{}}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		defer e.mu.Unlock()
		subject, actor := r.PostFormValue("subject_token"), r.PostFormValue("actor_token")
		if r.PostForm.Get("grant_type") != cambio.GrantType || r.PostForm.Get("audience") != "gpt" || subject == e.agent ||
			r.PostForm.Get("subject_token_type") != cambio.TokenTypeJWT || act != (actor == e.agent) || !act && r.PostForm.Has("actor_token") {
			w.WriteHeader(400)
			_, _ = w.Write([]byte(`{"error":"invalid_request"}`))
			return
		}
		e.users[subject]++
		_, payload, _ := strings.Cut(subject, ".")
		payload, _, _ = strings.Cut(payload, ".")
		text, _ := base64.RawURLEncoding.DecodeString(payload)
		var claims struct{ Sub string }
		_ = json.Unmarshal(text, &claims)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"access_token": fmt.Sprintf("vended-secret-%s-%d", claims.Sub, e.users[subject]), "token_type": "Bearer",
			"issued_token_type": cambio.TokenTypeAccessToken, "expires_in": 300,
		})
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *exchanges) client(t testing.TB, clock *standin.Clock) *cambio.Client {
	client, err := cambio.New(e.URL, cambio.Static(cambio.NewSecret(e.agent), ""), cambio.WithClock(clock.Now, func() float64 { return 0.5 }))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (e *exchanges) count() (users, all int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range e.users {
		all += n
	}
	return len(e.users), all
}

func gatewayRoute(u *upstream, p *idp, more string) string {
	return openai(u, fmt.Sprintf(", gateway: {issuer: %q, audience: gw, algorithms: [ES256, RS256]%s}", p.URL, more))
}

func bearer(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

func TestGatewayExchangesForTheUser(t *testing.T) {
	for _, act := range []bool{true, false} {
		clock := standin.New(t).Clock
		p, e := newIDP(t, clock), newExchanges(t, act)
		rejected := "Bearer vended-secret-bob-1"
		u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") == rejected {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			fmt.Fprint(w, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer vended-secret-"))
		})
		h := serve(t, e.client(t, clock), clock.Now, gatewayRoute(u, p, fmt.Sprintf(", act: %v, max_users: 2", act)))
		alice := p.token(nil)
		bob := p.token(func(c map[string]any) { c["sub"] = "bob" })
		for _, one := range []struct{ token, want string }{{alice, "alice-1"}, {bob, "bob-2"}, {alice, "alice-1"}, {bob, "bob-2"}} {
			if resp, text := h.ask(t, "POST", "/openai/v1/responses", strings.NewReader("{}"), bearer(one.token)); resp.StatusCode != 200 || text != one.want {
				t.Errorf("act %v: %d %s, want %s", act, resp.StatusCode, text, one.want)
			}
		}
		if users, all := e.count(); users != 2 || all != 3 {
			t.Errorf("%d exchanges for %d users", all, users)
		}
		// a third makes room by the one who was away the longest
		carol := p.token(func(c map[string]any) { c["sub"] = "carol" })
		h.ask(t, "POST", "/openai/v1/responses", strings.NewReader("{}"), bearer(carol))
		if resp, text := h.ask(t, "POST", "/openai/v1/responses", strings.NewReader("{}"), bearer(alice)); resp.StatusCode != 200 || text != "alice-2" {
			t.Errorf("after room was made: %d %s", resp.StatusCode, text)
		}
		if n := p.fetches.Load(); n != 1 {
			t.Errorf("the issuer was asked %d times", n)
		}
		h.settle(t)
		text, _ := json.Marshal(h.room.Describe())
		if want := fmt.Sprintf(`[{"route":"openai","at":"/openai","upstream":%q,"target":"gpt","under_way":0,"users":2}]`, u.URL); string(text) != want {
			t.Errorf("described as %s", text)
		}
	}
}

func TestGatewayStreams(t *testing.T) {
	clock := standin.New(t).Clock
	p, e := newIDP(t, clock), newExchanges(t, true)
	next := make(chan struct{})
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		for i := range 3 {
			fmt.Fprintf(w, "%d %s\n", i, r.Header.Get("Authorization")[len("Bearer vended-secret-"):])
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	})
	h := serve(t, e.client(t, clock), clock.Now, gatewayRoute(u, p, ""))
	req, _ := http.NewRequest("POST", h.url+"/openai/v1/responses", strings.NewReader("{}"))
	bearer(p.token(nil))(req)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for i := range 3 {
		if !lines.Scan() || lines.Text() != fmt.Sprintf("%d alice-1", i) {
			t.Fatalf("line %d: %q", i, lines.Text())
		}
		next <- struct{}{}
	}
}

func TestGatewayRefusesTokens(t *testing.T) {
	clock := standin.New(t).Clock
	p, e := newIDP(t, clock), newExchanges(t, true)
	u := newUpstream(t, func(http.ResponseWriter, *http.Request) {})
	h := serve(t, e.client(t, clock), clock.Now, gatewayRoute(u, p, ", clock_skew: 10s, required_claims: {azp: [cli, web], email_verified: true}"))
	good := func(edit func(map[string]any)) string {
		return p.token(func(c map[string]any) {
			c["email_verified"] = true
			if edit != nil {
				edit(c)
			}
		})
	}
	set := func(name string, value any) string {
		return good(func(c map[string]any) { c[name] = value })
	}
	foreign, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	now := clock.Now()
	claims := map[string]any{"iss": p.URL, "sub": "alice", "aud": "gw", "exp": now.Add(time.Minute).Unix(), "azp": "cli", "email_verified": true}
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	payload, _ := json.Marshal(claims)
	whole := good(nil)
	public, _ := jose.JSONWebKey{Key: foreign.Public()}.MarshalJSON()
	for _, one := range []struct {
		name, token string
		status      int
	}{
		{"good", whole, 200},
		{"a little late", set("exp", now.Add(-9*time.Second).Unix()), 200},
		{"expired", set("exp", now.Add(-11*time.Second).Unix()), 401},
		{"no exp", set("exp", nil), 401},
		{"exp as text", set("exp", "9999999999"), 401},
		{"not yet", set("nbf", now.Add(time.Minute).Unix()), 401},
		{"other audience", set("aud", "other"), 401},
		{"no audience", set("aud", nil), 401},
		{"other issuer", set("iss", p.URL+"/"), 401},
		{"other client", set("azp", "evil"), 401},
		{"no client", set("azp", nil), 401},
		{"claim of another kind", set("email_verified", "true"), 401},
		{"forged by another key", sign(foreign, jose.ES256, "one", claims), 401},
		{"unknown key", sign(foreign, jose.ES256, "two", claims), 401},
		{"no key id", sign(foreign, jose.ES256, "", claims), 401},
		{"HMAC with the public key", sign(public, jose.HS256, "one", claims), 401},
		{"alg none", part(`{"alg":"none","kid":"one"}`) + "." + part(string(payload)) + ".", 401},
		{"key in the header", part(`{"alg":"ES256","jwk":`+string(public)+`}`) + "." + part(string(payload)) + "." + strings.Split(sign(foreign, jose.ES256, "", claims), ".")[2], 401},
		{"payload exchanged", strings.Split(whole, ".")[0] + "." + part(string(payload)) + "." + strings.Split(whole, ".")[2], 401},
		{"no JWT", "opaque", 401},
		{"too long", whole + strings.Repeat("x", 16<<10), 401},
		{"the agent's secret", h.room.Secret().Reveal(), 401},
	} {
		before, _ := e.count()
		resp, text := h.ask(t, "POST", "/openai/v1/responses", strings.NewReader("{}"), bearer(one.token))
		if resp.StatusCode != one.status {
			t.Errorf("%s: %d %s", one.name, resp.StatusCode, text)
		}
		if after, _ := e.count(); one.status == 401 && (after != before || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer ") || strings.Contains(text, "eyJ")) {
			t.Errorf("%s: exchanged, or no challenge", one.name)
		}
	}
	for _, lines := range [][]string{nil, {"Basic " + whole}, {"Bearer " + whole, "Bearer " + whole}} {
		if resp, _ := h.ask(t, "POST", "/openai/v1/responses", nil, func(r *http.Request) { r.Header["Authorization"] = lines }); resp.StatusCode != 401 {
			t.Errorf("%d headers: %d", len(lines), resp.StatusCode)
		}
	}
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

func TestGatewayKeysAreRotated(t *testing.T) {
	clock := standin.New(t).Clock
	p, e := newIDP(t, clock), newExchanges(t, true)
	u := newUpstream(t, func(http.ResponseWriter, *http.Request) {})
	h := serve(t, e.client(t, clock), clock.Now, gatewayRoute(u, p, ""))
	status := func(token string) int {
		resp, _ := h.ask(t, "POST", "/openai/v1/responses", nil, bearer(token))
		return resp.StatusCode
	}
	p.fall(true)
	old := p.token(func(c map[string]any) { c["exp"] = clock.Now().Add(100 * time.Hour).Unix() })
	if got := status(old); got != 503 {
		t.Errorf("without keys: %d", got)
	}
	p.fall(false)
	if got := status(old); got != 503 || p.fetches.Load() != 1 {
		t.Errorf("asked again at once: %d, %d fetches", got, p.fetches.Load())
	}
	clock.Advance(11 * time.Second)
	if got := status(old); got != 200 {
		t.Errorf("with keys: %d", got)
	}
	p.rotate("two")
	if got := status(p.token(nil)); got != 401 || p.fetches.Load() != 2 {
		t.Errorf("too soon to ask: %d, %d fetches", got, p.fetches.Load())
	}
	if got := status(old); got != 200 {
		t.Errorf("the key that is held: %d", got)
	}
	clock.Advance(11 * time.Second)
	if got := status(p.token(nil)); got != 200 {
		t.Errorf("the new key: %d", got)
	}
	if got := status(old); got != 401 {
		t.Errorf("the key that was withdrawn: %d", got)
	}
	fetches := p.fetches.Load()
	var wait sync.WaitGroup
	for range 50 { // forged, each with a key id of its own
		wait.Go(func() {
			key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if got := status(sign(key, jose.ES256, rand.Text(), map[string]any{"iss": p.URL})); got != 401 {
				t.Errorf("forged: %d", got)
			}
		})
	}
	wait.Wait()
	if n := p.fetches.Load() - fetches; n != 0 {
		t.Errorf("forged tokens made the gateway ask %d times", n)
	}
	p.fall(true)
	clock.Advance(2 * time.Hour)
	held := p.token(nil)
	if got := status(held); got != 200 {
		t.Errorf("issuer away, keys of two hours ago: %d", got)
	}
	clock.Advance(23 * time.Hour)
	if got := status(p.token(nil)); got != 503 {
		t.Errorf("issuer away for a day: %d", got)
	}
}

// A user's cookies and token both tell connections apart at a gateway.
func TestGatewayWithCookies(t *testing.T) {
	clock := standin.New(t).Clock
	p, e := newIDP(t, clock), newExchanges(t, true)
	u := newUpstream(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.RemoteAddr)
	})
	h := serve(t, e.client(t, clock), clock.Now, gatewayRoute(u, p, "}, cookie_passthrough: {enabled: true, cookie_names: [sid]"))
	alice, bob := p.token(nil), p.token(func(c map[string]any) { c["sub"] = "bob" })
	at := map[string]bool{}
	for _, one := range []struct{ token, sid string }{{alice, "1"}, {bob, "1"}, {alice, "2"}, {bob, "2"}} {
		_, address := h.ask(t, "POST", "/openai/v1/responses", nil, func(r *http.Request) {
			bearer(one.token)(r)
			r.Header.Set("Cookie", "sid="+one.sid)
		})
		at[address] = true
	}
	if len(at) != 4 {
		t.Errorf("%d connections for four", len(at))
	}
}
