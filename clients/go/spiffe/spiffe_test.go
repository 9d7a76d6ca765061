package spiffe_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	cambio "github.com/cambio-sts/cambio/clients/go"
	"github.com/cambio-sts/cambio/clients/go/spiffe"
)

const audience = "https://cambio.example"

// agent is a Workload API, which signs an SVID for each call.
type agent struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	key *ecdsa.PrivateKey

	mu     sync.Mutex
	calls  int
	refuse error
	answer *workload.JWTSVIDResponse // in place of a good one
}

func newAgent() *agent {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return &agent{key: key}
}

// serve listens on a socket until what it returns is called.
func (a *agent) serve(socket string) func() {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, a)
	go func() { _ = server.Serve(listener) }()
	return server.Stop
}

func (a *agent) FetchJWTSVID(ctx context.Context, ask *workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	// SPIFFE Workload Endpoint §6.2.2: against requests that a program was tricked into.
	md, _ := metadata.FromIncomingContext(ctx)
	if got := md.Get("workload.spiffe.io"); len(got) != 1 || got[0] != "true" {
		return nil, status.Error(codes.InvalidArgument, "security header missing")
	}
	if len(ask.Audience) != 1 || ask.Audience[0] != audience {
		return nil, status.Error(codes.InvalidArgument, "another audience")
	}
	if a.refuse != nil || a.answer != nil {
		return a.answer, a.refuse
	}
	return &workload.JWTSVIDResponse{Svids: []*workload.JWTSVID{{
		SpiffeId: "spiffe://cluster.example/gateway", Svid: a.sign(audience, time.Now().Add(5*time.Minute)),
	}}}, nil
}

func (a *agent) sign(audience string, expires time.Time) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: a.key}, (&jose.SignerOptions{}).WithHeader("kid", "1"))
	if err != nil {
		panic(err)
	}
	token, err := jwt.Signed(signer).Claims(jwt.Claims{
		Subject: "spiffe://cluster.example/gateway", Audience: jwt.Audience{audience}, Expiry: jwt.NewNumericDate(expires),
	}).Serialize()
	if err != nil {
		panic(err)
	}
	return token
}

func (a *agent) set(refuse error, answer *workload.JWTSVIDResponse) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refuse, a.answer = refuse, answer
}

// workloadOf starts an agent and is the identity by it.
func workloadOf(t *testing.T, name func(socket string) string) (*agent, *spiffe.Identity) {
	t.Helper()
	a, socket := newAgent(), filepath.Join(t.TempDir(), "agent.sock")
	t.Cleanup(a.serve(socket))
	identity, err := spiffe.New(audience, name(socket))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = identity.Close() })
	return a, identity
}

func path(socket string) string { return socket }

func TestAnSVIDIsTheSubjectToken(t *testing.T) {
	for name, of := range map[string]func(*testing.T) func(string) string{
		"by path":    func(*testing.T) func(string) string { return path },
		"by address": func(*testing.T) func(string) string { return func(s string) string { return "unix://" + s } },
		"by environment": func(t *testing.T) func(string) string {
			return func(s string) string { t.Setenv("SPIFFE_ENDPOINT_SOCKET", "unix://"+s); return "" }
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, identity := workloadOf(t, of(t))
			began := time.Now()
			for range 2 {
				token, err := identity.SubjectToken(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				parsed, err := jwt.ParseSigned(token.Value.Reveal(), []jose.SignatureAlgorithm{jose.ES256})
				if err != nil {
					t.Fatal(err)
				}
				var claims jwt.Claims
				if err := parsed.Claims(&a.key.PublicKey, &claims); err != nil || claims.Subject != "spiffe://cluster.example/gateway" {
					t.Errorf("subject %q: %v", claims.Subject, err)
				}
				if token.Type != cambio.TokenTypeJWT || token.Expires.Before(began.Add(4*time.Minute)) {
					t.Errorf("%s until %v", token.Type, token.Expires)
				}
			}
			if a.calls != 2 {
				t.Errorf("%d calls: a token is asked for each time", a.calls)
			}
		})
	}
}

func TestRefusalsSayWhatToChange(t *testing.T) {
	a, identity := workloadOf(t, path)
	one := func(svid string) *workload.JWTSVIDResponse {
		return &workload.JWTSVIDResponse{Svids: []*workload.JWTSVID{{SpiffeId: "spiffe://cluster.example/gateway", Svid: svid}}}
	}
	old, other := a.sign(audience, time.Now().Add(-time.Minute)), a.sign("https://other.example", time.Now().Add(time.Minute))
	for name, c := range map[string]struct {
		refuse error
		answer *workload.JWTSVIDResponse
		want   string
	}{
		"unregistered":     {refuse: status.Error(codes.PermissionDenied, "no identity issued"), want: "register it"},
		"down":             {refuse: status.Error(codes.Unavailable, "x"), want: "see that the agent runs"},
		"audience":         {refuse: status.Error(codes.InvalidArgument, "x"), want: `the audience "https://cambio.example"`},
		"internal":         {refuse: status.Error(codes.Internal, "x"), want: "asking the Workload API"},
		"no SVID":          {answer: &workload.JWTSVIDResponse{}, want: "asking the Workload API"},
		"no JWT":           {answer: one("vended-secret-a"), want: "asking the Workload API"},
		"expired":          {answer: one(old), want: "asking the Workload API"},
		"another audience": {answer: one(other), want: "asking the Workload API"},
	} {
		a.set(c.refuse, c.answer)
		_, err := identity.SubjectToken(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, secret := range []string{"vended-secret-", old, other} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error holds a token", name)
			}
		}
	}
}

func TestAnAgentMayComeLater(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "agent.sock")
	identity, err := spiffe.New(audience, socket)
	if err != nil {
		t.Fatal(err)
	}
	defer identity.Close()
	if _, err := identity.SubjectToken(t.Context()); err == nil || !strings.Contains(err.Error(), "see that the agent runs") {
		t.Errorf("without an agent: %v", err)
	}
	defer newAgent().serve(socket)()
	// A client asks again after a while; how soon gRPC connects is its own affair.
	for {
		_, err := identity.SubjectToken(t.Context())
		if err == nil {
			break
		}
		if !strings.Contains(err.Error(), "see that the agent runs") {
			t.Fatal(err)
		}
	}
}

func TestACallerWhoLeavesDoesNotWait(t *testing.T) {
	_, identity := workloadOf(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := identity.SubjectToken(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Setenv("SPIFFE_ENDPOINT_SOCKET", "")
	for name, c := range map[string]struct{ audience, socket string }{
		"no audience":     {"", "/run/agent.sock"},
		"no socket":       {audience, ""},
		"relative":        {audience, "agent.sock"},
		"another scheme":  {audience, "https://127.0.0.1:1"},
		"another machine": {audience, "tcp://192.0.2.1:8081"},
		"a name":          {audience, "tcp://localhost:8081"},
	} {
		if identity, err := spiffe.New(c.audience, c.socket); err == nil || identity != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
