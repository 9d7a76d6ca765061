package ocisandbox

import (
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// Setup is how the identity domain is set up.
type Setup struct {
	World sandbox.World
	// ClientID and ClientSecret are those of the confidential application. Without
	// an id only signed requests are let in.
	ClientID, ClientSecret string
	// Trust is the identity propagation trust for World's issuer.
	Trust Trust
	// Tenancy is the OCID that tokens name; empty: one of this package's.
	Tenancy string
}

// Trust is an identity propagation trust.
type Trust struct {
	// Audience is what `aud` must be (clientClaimName and clientClaimValues).
	Audience string
	// ImpersonatingResource makes it a trust for resources; res_type must equal it.
	ImpersonatingResource string
	// ClaimPropagations are the claims that an RPST repeats; 3 at most.
	ClaimPropagations []string
	// Impersonate makes it a trust for users: the first rule that matches says whom.
	Impersonate []Rule
}

// Rule is `sub eq <pattern>`, where * stands for any text.
type Rule struct{ Pattern, User string }

// DefaultTenancy is the tenancy of a Setup that names none.
const DefaultTenancy = "ocid1.tenancy.oc1..aaaaaaaasandbox"

// Sandbox is the stand-in. It is safe for concurrent use.
type Sandbox struct {
	Weather    sandbox.Weather // of the token endpoint
	setup      Setup
	assertions *sandbox.Assertions
	key        *rsa.PrivateKey // that session tokens are signed with
	serial     atomic.Int64
	mux        *http.ServeMux
}

// New makes a stand-in.
func New(s Setup) (*Sandbox, error) {
	if len(s.Trust.ClaimPropagations) > 3 {
		return nil, errors.New("a trust propagates 3 claims at most")
	}
	if s.Tenancy == "" {
		s.Tenancy = DefaultTenancy
	}
	key, err := rsa.GenerateKey(s.World.Random, 2048)
	if err != nil {
		return nil, fmt.Errorf("making the domain's key: %w", err)
	}
	b := &Sandbox{setup: s, assertions: sandbox.NewAssertions(s.World), key: key, mux: http.NewServeMux()}
	b.mux.Handle("POST /oauth2/v1/token", b.Weather.Wrap(http.HandlerFunc(b.exchange)))
	b.mux.HandleFunc("POST /20231130/actions/chat", b.behind(b.chat))
	b.mux.HandleFunc("POST /20231130/actions/embedText", b.behind(b.embed))
	b.mux.HandleFunc("POST /openai/v1/chat/completions", b.behind(b.openAI))
	b.mux.HandleFunc("/n", b.behind(b.storage))
	b.mux.HandleFunc("/n/", b.behind(b.storage))
	return b, nil
}

// ServeHTTP is the domain and what is behind it, on one host.
func (b *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Opc-Request-Id", fmt.Sprintf("SANDBOX%08d", b.serial.Add(1)))
	b.mux.ServeHTTP(w, r)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
