package gcpsandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// Google's limits (IAM, "Quotas and limits").
const (
	maxSubject   = 127 // bytes of google.subject
	maxAudiences = 10  // of one provider
	maxActors    = 3   // actor providers of one provider
	maxAge       = 24 * time.Hour
	maxBody      = 1 << 20
)

// CloudPlatform is the scope that every API takes.
const CloudPlatform = "https://www.googleapis.com/auth/cloud-platform"

// Options say what the cloud holds.
type Options struct {
	World     sandbox.World
	Providers []Provider
	Accounts  []Account
}

// Provider is a pool provider that maps google.subject from assertion.sub.
type Provider struct {
	// Name is projects/N/locations/global/workloadIdentityPools/POOL/providers/P.
	Name string
	// Audiences are allowed; none: the provider's own name, with https: or without.
	Audiences []string
	// Condition is the attribute condition; nil: every assertion passes.
	Condition func(sandbox.Claims) bool
	// Actors are the providers whose tokens are taken as actor tokens.
	Actors []string
	// Disabled: nobody is let in.
	Disabled bool
}

// Account is a service account.
type Account struct {
	Email string
	// Users have roles/iam.workloadIdentityUser on it: a principal, or a principalSet
	// that ends in /*.
	Users []string
	// Creators are emails of accounts with roles/iam.serviceAccountTokenCreator on it.
	Creators []string
	// Extended: its tokens may live 12 hours.
	Extended bool
	// NoVertex: it has no roles/aiplatform.user.
	NoVertex bool
}

// Sandbox is the stand-in. It is safe for concurrent use.
type Sandbox struct {
	// Weather is that of the Security Token Service, IAM that of the Service Account
	// Credentials API.
	Weather, IAM sandbox.Weather

	world      sandbox.World
	providers  map[string]Provider
	accounts   map[string]Account
	assertions *sandbox.Assertions
	mux        *http.ServeMux
	secret     [32]byte // authenticates access tokens
	signer     func() (*sandbox.Signer, error)
}

// New makes a stand-in, or says which of Google's limits the options break.
func New(o Options) (*Sandbox, error) {
	s := &Sandbox{
		world: o.World, providers: map[string]Provider{}, accounts: map[string]Account{},
		assertions: sandbox.NewAssertions(o.World), mux: http.NewServeMux(), signer: sync.OnceValues(func() (*sandbox.Signer, error) { return sandbox.NewSigner(2048) }),
	}
	if _, err := io.ReadFull(o.World.Random, s.secret[:]); err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	for _, p := range o.Providers {
		if len(p.Audiences) > maxAudiences || len(p.Actors) > maxActors {
			return nil, fmt.Errorf("the provider %s has %d audiences and %d actor providers: %d and %d are the limits",
				p.Name, len(p.Audiences), len(p.Actors), maxAudiences, maxActors)
		}
		s.providers[p.Name] = p
	}
	for _, a := range o.Accounts {
		s.accounts[a.Email] = a
	}
	s.mux.Handle("POST /v1/token", s.Weather.Wrap(http.HandlerFunc(s.token)))
	s.mux.Handle("POST /v1/projects/-/serviceAccounts/{call}", s.IAM.Wrap(http.HandlerFunc(s.serviceAccount)))
	s.mux.HandleFunc("POST /v1/projects/{project}/locations/{location}/publishers/google/models/{call}", s.generate)
	s.mux.HandleFunc("GET /storage/v1/b/{bucket}/o", s.objects)
	s.mux.HandleFunc("GET /tokeninfo", s.tokenInfo)
	s.mux.HandleFunc("GET /oauth2/v3/certs", s.certificates)
	return s, nil
}

// ServeHTTP serves every service; the real ones have hosts of their own.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.mux.ServeHTTP(w, r)
}

func (s *Sandbox) certificates(w http.ResponseWriter, _ *http.Request) {
	k, err := s.signer()
	if err != nil {
		refuse(w, http.StatusInternalServerError, "INTERNAL", "Internal error encountered.", "")
		return
	}
	write(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{k.Public}})
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.Header().Set("Cache-Control", "private")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// deny answers in the shape of the Security Token Service's errors.
func deny(w http.ResponseWriter, status int, code, text string) {
	write(w, status, map[string]string{"error": code, "error_description": text})
}

// refuse answers in the shape of google.rpc.Status; reason empty: no ErrorInfo.
func refuse(w http.ResponseWriter, status int, word, text, reason string) {
	body := map[string]any{"code": status, "message": text, "status": word}
	if reason != "" {
		body["details"] = []any{map[string]any{
			"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com",
		}}
	}
	write(w, status, map[string]any{"error": body})
}
