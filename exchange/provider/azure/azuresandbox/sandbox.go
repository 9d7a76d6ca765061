package azuresandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// Entra's limits on federated credentials (Microsoft Entra, "Important considerations
// and restrictions for federated identity credentials").
const (
	MaxCredentials = 20  // of one application
	maxText        = 600 // characters of issuer, subject and audience each
)

// Audience is what a federated credential asks of an assertion in the public cloud.
const Audience = "api://AzureADTokenExchange"

// Options say what the directory holds.
type Options struct {
	World    sandbox.World
	TenantID string // GUID
	Apps     []App
	// Resources are the App ID URIs that tokens can be for; nil: DefaultResources.
	Resources []string
	// Deployments of the Azure OpenAI resource; nil: any name answers.
	Deployments []string
	// Blocked are users to whom conditional access says no.
	Blocked []string
	// KeyBits is the size of the directory's RS256 key; zero: 2048. Less is for tests
	// that issue many thousand tokens.
	KeyBits int
}

// App is an application registration.
type App struct {
	ClientID    string // GUID
	Credentials []Credential
	// NoConsent: nobody has consented to delegated permissions.
	NoConsent bool
	// NoRole: it may not call the Azure OpenAI resource.
	NoRole bool
}

// Credential is a federated identity credential: all three match to the letter.
type Credential struct{ Issuer, Subject, Audience string }

// DefaultResources are some that every directory knows.
var DefaultResources = []string{
	cognitive, "https://ai.azure.com", "https://management.azure.com", "https://graph.microsoft.com",
	"https://vault.azure.net", "https://storage.azure.com",
}

const cognitive = "https://cognitiveservices.azure.com"

// Sandbox is the stand-in. It is safe for concurrent use.
type Sandbox struct {
	// Weather is that of the token endpoint.
	Weather sandbox.Weather

	options    Options
	apps       map[string]App
	assertions *sandbox.Assertions
	mux        *http.ServeMux
	signer     func() (*sandbox.Signer, error) // the key is made when first needed
}

// New makes a stand-in, or says which of Entra's limits the options break.
func New(o Options) (*Sandbox, error) {
	if o.Resources == nil {
		o.Resources = DefaultResources
	}
	if o.KeyBits == 0 {
		o.KeyBits = 2048
	}
	s := &Sandbox{
		options: o, apps: map[string]App{}, assertions: sandbox.NewAssertions(o.World), mux: http.NewServeMux(),
		signer: sync.OnceValues(func() (*sandbox.Signer, error) { return sandbox.NewSigner(o.KeyBits) }),
	}
	for _, a := range o.Apps {
		if len(a.Credentials) > MaxCredentials {
			return nil, fmt.Errorf("the application %s has %d federated credentials: %d is the limit", a.ClientID, len(a.Credentials), MaxCredentials)
		}
		for i, c := range a.Credentials {
			for _, text := range []string{c.Issuer, c.Subject, c.Audience} {
				if text == "" || len([]rune(text)) > maxText {
					return nil, fmt.Errorf("federated credential %d of %s: issuer, subject and audience have 1 to %d characters", i, a.ClientID, maxText)
				}
			}
			for _, other := range a.Credentials[:i] {
				if other.Issuer == c.Issuer && other.Subject == c.Subject {
					return nil, fmt.Errorf("federated credential %d of %s: its issuer and subject are those of another", i, a.ClientID)
				}
			}
		}
		s.apps[strings.ToLower(a.ClientID)] = a
	}
	s.mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", s.discovery)
	s.mux.HandleFunc("GET /{tenant}/discovery/v2.0/keys", s.keys)
	s.mux.Handle("POST /{tenant}/oauth2/v2.0/token", s.Weather.Wrap(http.HandlerFunc(s.token)))
	s.mux.HandleFunc("POST /openai/deployments/{deployment}/chat/completions", s.deployment)
	s.mux.HandleFunc("POST /openai/v1/chat/completions", s.v1)
	return s, nil
}

// ServeHTTP serves both halves: Entra, and the Azure OpenAI resource under /openai.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.mux.ServeHTTP(w, r)
}

// maxBody bounds a request in bytes.
const maxBody = 1 << 20

func (s *Sandbox) now() time.Time { return s.options.World.Now() }

func (s *Sandbox) discovery(w http.ResponseWriter, r *http.Request) {
	if !s.knowsTenant(w, r) {
		return
	}
	base := "https://" + r.Host + "/" + s.options.TenantID
	write(w, http.StatusOK, map[string]any{
		"issuer": base + "/v2.0", "token_endpoint": base + "/oauth2/v2.0/token",
		"authorization_endpoint": base + "/oauth2/v2.0/authorize", "jwks_uri": base + "/discovery/v2.0/keys",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		"id_token_signing_alg_values_supported": []string{"RS256"}, "response_types_supported": []string{"code", "id_token"},
		"subject_types_supported": []string{"pairwise"}, "scopes_supported": []string{"openid", "profile", "email", "offline_access"},
		"tenant_region_scope": "NA", "cloud_instance_name": "microsoftonline.com",
	})
}

func (s *Sandbox) keys(w http.ResponseWriter, r *http.Request) {
	if !s.knowsTenant(w, r) {
		return
	}
	k, err := s.signer()
	if err != nil {
		s.refuse(w, r, http.StatusInternalServerError, fault{"server_error", 90033, "A transient error has occurred. Please try again."})
		return
	}
	write(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{k.Public}})
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store, no-cache")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
