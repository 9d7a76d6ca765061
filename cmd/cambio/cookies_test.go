package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange"
)

const cookiePolicy = `
trusts:
  shop:
    session:
      cookie_names: [sid]
      presenters: [{trust: cluster, namespace: agents, service_account: assistant}, {subject: "client:desk"}]
      introspect: {url: "URL/session", method: GET, subject: $.user.id, expires: $.expires_at}
      claims: {groups: $.user.roles}
clients:
  desk:
    SECRET
  till:
    SECRET
  orders-server:
    SECRET
    serves: ["https://mcp.example/orders"]
targets:
  orders-mcp: {mcp: {resource: "https://mcp.example/orders", scopes: [read, write]}}
  stock-mcp: {mcp: {resource: "https://mcp.example/stock", scopes: [read]}}
allow:
  - {name: for-staff, subjects: [{trust: shop, groups: staff}], actors: [{trust: cluster}, {subject: "client:*"}], targets: [orders-mcp], scopes: [read], max_ttl: 10m}
  - {name: on-to-stock, subjects: [{trust: shop, groups: staff}], actors: [{subject: "client:orders-server"}], targets: [stock-mcp]}
`

// application is a shop where people log in; it keeps what it was sent.
type application struct {
	mu       sync.Mutex
	sessions map[string]string
	asked    []string
	down     bool
}

func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r.Header.Get("Cookie"))
	cookie, err := r.Cookie("sid")
	switch {
	case a.down:
		w.WriteHeader(http.StatusBadGateway)
	case r.Method != http.MethodGet || r.URL.Path != "/session":
		w.WriteHeader(http.StatusNotFound)
	case err != nil || a.sessions[cookie.Value] == "":
		w.WriteHeader(http.StatusUnauthorized)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, a.sessions[cookie.Value])
	}
}

func (a *application) change(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

func (a *application) questions() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.asked)
}

// TestS37SessionsThroughTheDoors: a workload on the list gets a token for who is logged
// in, while they are, and nobody else gets one; the cookie is told to the application
// alone.
func TestS37SessionsThroughTheDoors(t *testing.T) {
	const sid = "QmVpIE1vbmRzY2hlaW4-77aa"
	ends := time.Now().Add(4 * time.Minute).UTC().Truncate(time.Second)
	shop := &application{sessions: map[string]string{
		sid:                  `{"user":{"id":4711,"roles":["staff"]},"expires_at":"` + ends.Format(time.RFC3339) + `"}`,
		"of-a-buyer-0123456": `{"user":{"id":4712,"roles":["buyer"]}}`,
	}}
	front := httptest.NewServer(shop)
	t.Cleanup(front.Close)
	p := startDev(t)
	secret, line := p.clientSecret()
	w := &ownWorld{T: t, p: p, secret: secret}
	text := strings.NewReplacer("SECRET", line, "URL", front.URL).Replace(cookiePolicy)
	if err := os.WriteFile(filepath.Join(p.ready.PolicyDir, "cookies.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	world, err := devworld.Open(p.ready.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	account := func(name string) string {
		token, err := world.ServiceAccount(time.Now(), "agents", name, devworld.Audience)
		if err != nil {
			t.Fatal(err)
		}
		return token.Reveal()
	}
	assistant, other := account("assistant"), account("other")
	present := func(client, actor, cookie string, more ...string) (int, map[string]any) {
		t.Helper()
		form := []string{"subject_token_type", string(exchange.SessionTokenType("shop"))}
		if actor != "" {
			form = append(form, "actor_token", actor, "actor_token_type", string(exchange.TokenTypeJWT))
		}
		return w.exchange(client, cookie, "orders-mcp", append(form, more...)...)
	}
	if !eventually(func() bool { code, _ := present("", assistant, "sid="+sid); return code == http.StatusOK }) {
		code, body := present("", assistant, "sid="+sid)
		t.Fatalf("%d %v", code, body)
	}

	asked := shop.questions()
	code, body := present("", assistant, "sid="+sid)
	token, _ := body["access_token"].(string)
	if code != http.StatusOK || body["scope"] != "read" || shop.questions() != asked+1 {
		t.Fatalf("%d %v, asked %d times", code, body["error_description"], shop.questions()-asked)
	}
	a := w.active("orders-server", token)
	if act, _ := a["act"].(map[string]any); a == nil || a["sub"] != "session:shop:4711" || a["aud"] != "https://mcp.example/orders" ||
		act["sub"] != "k8s:cluster:agents:assistant" || a["exp"].(float64) > float64(ends.Unix()) {
		t.Errorf("%v", a)
	}
	// The token goes on by the server that it was for (S7), who presents no session.
	code, body = w.exchange("orders-server", token, "stock-mcp", "subject_token_type", string(exchange.TokenTypeAccessToken))
	if code != http.StatusOK || shop.questions() != asked+1 {
		t.Errorf("on to the stock: %d %v", code, body["error_description"])
	}
	code, body = present("desk", "", "sid="+sid) // a client by itself
	token2, _ := body["access_token"].(string)
	if act, _ := w.active("orders-server", token2)["act"].(map[string]any); code != http.StatusOK || act["sub"] != "client:desk" {
		t.Errorf("%d %v, act %v", code, body["error_description"], act)
	}

	asked = shop.questions()
	code, body = present("", other, "sid="+sid)
	w.refused("another workload", code, body, http.StatusBadRequest, "invalid_request")
	code, body = present("till", "", "sid="+sid)
	w.refused("another client", code, body, http.StatusBadRequest, "invalid_request")
	code, body = present("", "", "sid="+sid)
	w.refused("nobody", code, body, http.StatusUnauthorized, "invalid_client")
	code, body = present("", assistant, "sid="+sid, "subject_token_type", string(exchange.SessionTokenType("cluster")))
	w.refused("under another trust's type", code, body, http.StatusBadRequest, "invalid_request")
	code, body = present("", assistant, "sid="+sid, "subject_token_type", string(exchange.TokenTypeJWT))
	w.refused("as a JWT", code, body, http.StatusBadRequest, "invalid_request")
	code, body = present("", assistant, "cart="+sid)
	w.refused("a cookie that is not listed", code, body, http.StatusBadRequest, "invalid_request")
	code, body = present("", assistant, "sid="+sid+"\r\nX-Admin: yes")
	w.refused("a cookie with a line break", code, body, http.StatusBadRequest, "invalid_request")
	code, body = present("", assistant, `sid="`+sid+`"`)
	w.refused("a cookie in quotes", code, body, http.StatusBadRequest, "invalid_request")
	code, body = present("", assistant, "sid="+sid+"; cart=1")
	w.refused("two cookies", code, body, http.StatusBadRequest, "invalid_request")
	code, body = present("", assistant, "sid="+strings.Repeat("a", 9<<10))
	w.refused("9 KB", code, body, http.StatusBadRequest, "invalid_request")
	code, _ = present("", assistant, "sid="+strings.Repeat("a", 100<<10))
	if code != http.StatusRequestEntityTooLarge {
		t.Errorf("100 KB: %d", code)
	}
	code, body = w.ask("/oauth2/token", "", url.Values{
		"grant_type": {exchange.GrantTokenExchange}, "audience": {"orders-mcp"}, "subject_token": {assistant}, "subject_token_type": {string(exchange.TokenTypeJWT)},
		"actor_token": {"sid=" + sid}, "actor_token_type": {string(exchange.SessionTokenType("shop"))},
	})
	w.refused("as an actor's token", code, body, http.StatusBadRequest, "invalid_request")
	rest, err := json.Marshal(map[string]any{ // whose texts may hold anything
		"audience": []string{"orders-mcp"}, "subject_token": "sid=" + sid + "\r\nX-Admin: yes", "subject_token_type": exchange.SessionTokenType("shop"),
		"actor_token": assistant, "actor_token_type": exchange.TokenTypeJWT,
	})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(p.ready.URL+"/v1/exchanges", "application/json", bytes.NewReader(rest))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(answer), "control character") {
		t.Errorf("a cookie with a line break, over REST: %d %s %v", resp.StatusCode, answer, err)
	}
	if shop.questions() != asked {
		t.Errorf("the application was asked %d times about what is not to be read", shop.questions()-asked)
	}
	code, body = present("", assistant, "sid=of-a-buyer-0123456")
	w.refused("a buyer's", code, body, http.StatusBadRequest, "invalid_target")

	shop.change(func() { shop.down = true })
	if code, body = present("", assistant, "sid="+sid); code != http.StatusServiceUnavailable {
		t.Errorf("the application is down: %d %v", code, body)
	}
	shop.change(func() { shop.down = false; delete(shop.sessions, sid) })
	code, body = present("", assistant, "sid="+sid)
	w.refused("logged out", code, body, http.StatusBadRequest, "invalid_request")
	if words, _ := body["error_description"].(string); !strings.Contains(words, "does not stand any more") {
		t.Errorf("logged out: %q", words)
	}

	stdout, stderr, status := p.shell("cambio audit list --filter 'subject:session' --limit 50 --output json")
	if status != 0 || !strings.Contains(stdout, "session:shop:4711") || !strings.Contains(stdout, `"sid"`) {
		t.Errorf("%s%s", stdout, stderr)
	}
	p.stop()
	shop.change(func() {
		for _, cookie := range shop.asked {
			if strings.Contains(cookie, "cart") || strings.ContainsAny(cookie, "\r\n;") {
				t.Error("the application was sent what is not on the list")
			}
		}
	})
	kept := stdout + p.stderr.String()
	for _, place := range []string{p.ready.DataDir} { // the ledger's file among it
		err := filepath.WalkDir(place, func(path string, entry os.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			content, err := os.ReadFile(path)
			kept += string(content)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, value := range []string{sid, "of-a-buyer-0123456", token} {
		if strings.Contains(kept, value) {
			t.Error("S37: the ledger or the log holds a cookie's value or a token")
		}
	}
}
