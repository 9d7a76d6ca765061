package vault_test

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/vault/api"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/internal/standin"
)

// bank is a Vault: wrapping tokens that are good once, a value, and a login.
type bank struct {
	mu       sync.Mutex
	wrapped  map[string]map[string]any // by wrapping token
	tokens   map[string]bool
	jwts     map[string]bool
	unwraps  int
	down     bool
	hold     chan struct{} // an unwrapping waits for it, if there is one
	redirect string
}

func newBank() *bank {
	return &bank{wrapped: map[string]map[string]any{}, tokens: map[string]bool{}, jwts: map[string]bool{}}
}

func (b *bank) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

func (b *bank) start() *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /v1/sys/wrapping/unwrap", b.unwrap)
	mux.HandleFunc("GET /v1/secret/data/app", b.value)
	mux.HandleFunc("PUT /v1/secret/data/app", b.value)
	mux.HandleFunc("GET /v1/secret/data/closed", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusForbidden, "permission denied") })
	mux.HandleFunc("PUT /v1/auth/jwt/login", b.login)
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch {
		case b.redirect != "":
			http.Redirect(w, r, b.redirect+r.URL.Path, http.StatusTemporaryRedirect)
		case b.down:
			refuse(w, http.StatusTeapot, "sealed")
		default:
			mux.ServeHTTP(w, r)
		}
	}))
}

func (b *bank) unwrap(w http.ResponseWriter, r *http.Request) {
	token := r.Header.Get("X-Vault-Token")
	secret, ok := b.wrapped[token]
	if !ok {
		refuse(w, http.StatusBadRequest, "wrapping token is not valid or does not exist")
		return
	}
	delete(b.wrapped, token)
	b.unwraps++
	if b.hold != nil {
		b.hold <- struct{}{} // it has come
		<-b.hold
	}
	_ = json.NewEncoder(w).Encode(secret)
}

func (b *bank) value(w http.ResponseWriter, r *http.Request) {
	if !b.tokens[r.Header.Get("X-Vault-Token")] {
		refuse(w, http.StatusForbidden, "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n")
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"data": map[string]any{"key": "value"}}})
}

func (b *bank) login(w http.ResponseWriter, r *http.Request) {
	var ask struct{ JWT, Role string }
	if json.NewDecoder(r.Body).Decode(&ask) != nil || !b.jwts[ask.JWT] || ask.Role != "app" || r.Header.Get("X-Vault-Token") != "" {
		refuse(w, http.StatusBadRequest, "error validating token")
		return
	}
	token := "hvs." + rand.Text()
	b.tokens[token] = true
	_ = json.NewEncoder(w).Encode(map[string]any{"auth": map[string]any{"client_token": token, "lease_duration": 900}})
}

func refuse(w http.ResponseWriter, status int, text string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{text}})
}

// wrap is a target that gives wrapping tokens around the n-th password.
func (b *bank) wrap(life time.Duration) standin.Target {
	return func(_ url.Values, n int) standin.Answer {
		token := "hvs.wrapping-" + rand.Text()
		b.set(func() {
			b.wrapped[token] = map[string]any{
				"lease_id": "database/creds/app/1", "lease_duration": int(2 * life / time.Second), "renewable": true,
				"data": map[string]any{"username": "app", "n": n},
			}
		})
		return standin.Answer{Value: token, Type: "N_A", IssuedTokenType: cambio.TokenTypeVaultWrapping, Life: life}
	}
}

// token is a target that gives Vault tokens as a field.
func (b *bank) token(url.Values, int) standin.Answer {
	token := "hvs." + rand.Text()
	b.set(func() { b.tokens[token] = true })
	return standin.Answer{Value: token, Type: "N_A", IssuedTokenType: cambio.TokenTypeSecret, Life: time.Hour}
}

// jwt is a target that gives tokens to log in with.
func (b *bank) jwt(url.Values, int) standin.Answer {
	token := standin.JWT(map[string]any{"aud": "vault"})
	b.set(func() { b.jwts[token] = true })
	return standin.Answer{Value: token, Life: 10 * time.Minute}
}

// house is a Cambio beside a Vault.
func house(t *testing.T) (*standin.Server, *bank, *httptest.Server) {
	t.Helper()
	for _, name := range []string{"VAULT_ADDR", "VAULT_TOKEN", "VAULT_AGENT_ADDR", "VAULT_NAMESPACE"} {
		t.Setenv(name, "")
	}
	b := newBank()
	vault := b.start()
	t.Cleanup(vault.Close)
	return standin.New(t), b, vault
}

func config(address string) *api.Config {
	c := api.DefaultConfig()
	c.Address = address
	return c
}

func client(t *testing.T, address string) *api.Client {
	t.Helper()
	c, err := api.NewClient(config(address))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
