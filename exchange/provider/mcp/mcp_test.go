package mcp_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/mcp"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// server is a resource with the issuer that it trusts: it remembers what was
// minted, and honours what is for it and alive.
type server struct {
	resource string
	now      func() time.Time

	mu     sync.Mutex
	minted map[string]exchange.AccessToken
	fail   error
}

func (s *server) Mint(_ context.Context, t exchange.AccessToken) (exchange.Secret, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return exchange.Secret{}, s.fail
	}
	if !t.Expires.Equal(t.Expires.Truncate(time.Second)) || t.Expires.Unix() <= t.Issued.Unix() {
		return exchange.Secret{}, errors.New("the times do not fit a token")
	}
	claims, err := json.Marshal(t)
	if err != nil {
		return exchange.Secret{}, err
	}
	value := base64.RawURLEncoding.EncodeToString(claims) + "." + rand.Text()
	s.minted[value] = t
	return exchange.NewSecret(value), nil
}

func (s *server) honour(_ *testing.T, c exchange.Credential) (string, []string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.minted[c.Value.Reveal()]
	switch {
	case !ok:
		return "", nil, errors.New("not of the issuer")
	case t.Audience != s.resource:
		return "", nil, errors.New("for another resource")
	case !t.Expires.After(s.now()) || !t.Expires.Equal(c.Expires):
		return "", nil, errors.New("expired, or not when it was said")
	case t.ID.String() != c.Handle:
		return "", nil, errors.New("the handle is not its id")
	}
	return t.Subject, t.Scopes, nil
}

func newServer(resource string, now func() time.Time) *server {
	return &server{resource: resource, now: now, minted: map[string]exchange.AccessToken{}}
}

func TestSuite(t *testing.T) {
	const resource = "https://mcp.example/github"
	for name, scopes := range map[string][]string{"with scopes": {"tools.read", "tools.call"}, "without": nil} {
		t.Run(name, func(t *testing.T) {
			s := newServer(resource, time.Now)
			providertest.Run(t, providertest.Harness{
				Provider: "mcp", Config: &mcp.Settings{Resource: resource, Scopes: scopes},
				Deps:   provider.Deps{Minter: s, Now: time.Now, Random: rand.Reader},
				Scopes: scopes, Type: exchange.TokenTypeAccessToken, Honour: s.honour,
				Fail: map[exchange.Kind]func(*testing.T) func(){
					exchange.KindUnavailable: func(*testing.T) func() {
						s.fail = exchange.Fault(exchange.KindUnavailable, "this replica cannot sign at present; try again", nil)
						return func() { s.fail = nil }
					},
				},
			})
		})
	}
}

func vend(t *testing.T, change func(*exchange.Grant)) (exchange.AccessToken, exchange.Credential, error) {
	t.Helper()
	s := newServer("https://mcp.example/github", func() time.Time { return noon })
	d, err := (&mcp.Settings{Resource: s.resource}).Open(provider.Deps{Minter: s, Now: s.now, Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	if _, local := d.(provider.LocalDriver); !local {
		t.Error("the driver is not local")
	}
	g := exchange.Grant{
		Subject: exchange.Subject{Name: "k8s:prod:llm:gateway"}, Now: noon.Add(300 * time.Millisecond),
		Lifetime: 15 * time.Minute, NotAfter: noon.Add(time.Hour),
	}
	change(&g)
	c, err := d.Vend(t.Context(), g)
	return s.minted[c.Value.Reveal()], c, err
}

// TestS3ClientID: the registered client, else the actor proven, else the subject;
// never an actor whom nobody proved.
func TestS3ClientID(t *testing.T) {
	proven := exchange.Actor{Name: "k8s:prod:agents:helper", Proven: true}
	asserted := exchange.Actor{Name: "bob", AssertedBy: "corp"}
	for _, c := range []struct {
		client string
		actors []exchange.Actor
		want   string
	}{
		{"", nil, "k8s:prod:llm:gateway"},
		{"", []exchange.Actor{proven}, "k8s:prod:agents:helper"},
		{"", []exchange.Actor{asserted}, "k8s:prod:llm:gateway"},
		{"", []exchange.Actor{proven, asserted}, "k8s:prod:agents:helper"},
		{"gw", []exchange.Actor{proven}, "gw"},
	} {
		token, _, err := vend(t, func(g *exchange.Grant) { g.Client, g.Actors = c.client, c.actors })
		if err != nil || token.ClientID != c.want || len(token.Actors) != len(c.actors) {
			t.Errorf("client %q, actors %+v: client_id %q: %v", c.client, c.actors, token.ClientID, err)
		}
	}
}

// MCP servers keep a session for the (client_id, iss, sub) that opened it, and ask
// nobody why another came: a renewal changes the token's id and its times alone.
func TestRenewalIsTheSamePrincipal(t *testing.T) {
	s := newServer("https://mcp.example/github", func() time.Time { return noon })
	d, err := (&mcp.Settings{Resource: s.resource}).Open(provider.Deps{Minter: s, Now: s.now, Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	for _, client := range []string{"", "gw"} {
		for _, actors := range [][]exchange.Actor{nil, {{Name: "k8s:prod:agents:helper", Proven: true}}} {
			var first exchange.AccessToken
			for n := range 3 {
				now := noon.Add(time.Duration(n) * time.Minute)
				c, err := d.Vend(t.Context(), exchange.Grant{
					Subject: exchange.Subject{Name: "oidc:corp:alice", Expires: now.Add(time.Hour)}, Client: client, Actors: actors,
					Now: now, Lifetime: 15 * time.Minute, NotAfter: now.Add(time.Hour),
				})
				if err != nil {
					t.Fatal(err)
				}
				token := s.minted[c.Value.Reveal()]
				if n == 0 {
					first = token
					continue
				}
				if token.ClientID != first.ClientID || token.Subject != first.Subject || token.Audience != first.Audience || token.ID == first.ID || !token.Expires.After(first.Expires) {
					t.Errorf("%+v was renewed as %+v", first, token)
				}
			}
		}
	}
}

// TestS5ExpiryIsRoundedDown to whole seconds, within every cap.
func TestS5ExpiryIsRoundedDown(t *testing.T) {
	for _, c := range []struct {
		lifetime, notAfter, want time.Duration // after noon; zero want: refused
	}{
		{15 * time.Minute, time.Hour, 15 * time.Minute},
		{15 * time.Minute, time.Minute + 700*time.Millisecond, time.Minute},
		{0, time.Minute, time.Minute},
		{24 * time.Hour, 24 * time.Hour, 12 * time.Hour},
		{15 * time.Minute, 900 * time.Millisecond, 0},
		{15 * time.Minute, -time.Minute, 0},
	} {
		token, credential, err := vend(t, func(g *exchange.Grant) {
			g.Lifetime, g.NotAfter = c.lifetime, noon.Add(c.notAfter)
		})
		if c.want == 0 {
			if exchange.KindOf(err) != exchange.KindInvalidLifetime {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if err != nil || !token.Expires.Equal(noon.Add(c.want)) || !credential.Expires.Equal(token.Expires) {
			t.Errorf("%+v: token until %v, credential until %v: %v", c, token.Expires, credential.Expires, err)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for _, resource := range []string{
		"https://mcp.example", "https://mcp.example/", "https://mcp.example/github", "https://mcp.example:8443/a/b/",
		"https://mcp.example/a%2Fb", "https://mcp.example/a?tenant=1", "http://127.0.0.1:9000/mcp", "http://localhost:1", "http://[::1]:1/x",
	} {
		s := &mcp.Settings{Resource: resource, Scopes: []string{"tools.read", "a:b/c"}}
		if faults := s.Validate(); len(faults) > 0 {
			t.Errorf("%s: %v", resource, faults)
		}
		if s.Facts().Resource != resource {
			t.Errorf("%s is not kept to the byte", resource)
		}
	}
	for _, resource := range []string{
		"", "mcp.example", "/github", "https://", "https:mcp.example", "http://mcp.example", "ftp://mcp.example", "https://mcp.example/#x",
		"https://mcp.example#", "https://MCP.example", "HTTPS://mcp.example", "https://me:pw@mcp.example", "https://mcp.example/a b",
		"https://mcp.example/\n", "http://127.0.0.1.evil.example/", "https://" + strings.Repeat("x", 3000), "sts.amazonaws.com",
	} {
		if faults := (&mcp.Settings{Resource: resource}).Validate(); len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), "resource: ") {
			t.Errorf("%q: %v", resource, faults)
		}
	}
	faults := (&mcp.Settings{Scopes: []string{"a b", "ok", "ok", "", `q"`}}).Validate()
	if len(faults) != 5 {
		t.Errorf("every fault in one run: %v", faults)
	}
}

func FuzzResource(f *testing.F) {
	f.Add("https://mcp.example/github")
	f.Add("http://[::1%25eth0]/")
	f.Add("https://mcp.example/%zz")
	f.Fuzz(func(t *testing.T, resource string) {
		if faults := (&mcp.Settings{Resource: resource}).Validate(); len(faults) > 0 {
			return
		}
		if strings.ContainsAny(resource, "# \n\t\r") || !(strings.HasPrefix(resource, "https://") || strings.HasPrefix(resource, "http://")) {
			t.Errorf("%q is taken", resource)
		}
	})
}
