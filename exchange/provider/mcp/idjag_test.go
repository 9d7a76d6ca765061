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

// authority is another authorization server with the issuer that it trusts: it
// honours grants for itself, through one client, that are alive.
type authority struct {
	issuer, resource, client string
	now                      func() time.Time

	mu     sync.Mutex
	minted map[string]exchange.IDJAG
	fail   error
}

func (a *authority) MintIDJAG(_ context.Context, g exchange.IDJAG) (exchange.Secret, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.fail != nil:
		return exchange.Secret{}, a.fail
	case g.Expires.Sub(g.Issued) > exchange.MaxIDJAGLifetime || g.Expires.Unix() <= g.Issued.Unix():
		return exchange.Secret{}, errors.New("the times do not fit a grant")
	}
	claims, err := json.Marshal(g)
	if err != nil {
		return exchange.Secret{}, err
	}
	value := base64.RawURLEncoding.EncodeToString(claims) + "." + rand.Text()
	a.minted[value] = g
	return exchange.NewSecret(value), nil
}

func (a *authority) honour(_ *testing.T, c exchange.Credential) (string, []string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g, ok := a.minted[c.Value.Reveal()]
	switch {
	case !ok:
		return "", nil, errors.New("not of the issuer")
	case g.Audience != a.issuer || g.Resource != a.resource || g.ClientID != a.client:
		return "", nil, errors.New("for somebody else")
	case !g.Expires.After(a.now()) || !g.Expires.Equal(c.Expires):
		return "", nil, errors.New("expired, or not when it was said")
	case g.ID.String() != c.Handle || c.TokenType != "N_A":
		return "", nil, errors.New("not what was said")
	}
	return g.Subject, g.Scopes, nil
}

func newAuthority(now func() time.Time) *authority {
	return &authority{issuer: "https://as.example", resource: "https://mcp.example/wiki", client: "agents", now: now, minted: map[string]exchange.IDJAG{}}
}

func (a *authority) settings() *mcp.Settings {
	return &mcp.Settings{Resource: a.resource, Scopes: []string{"read", "write"}, IDJAG: &mcp.IDJAGSettings{Audience: a.issuer, ClientID: a.client}}
}

func TestIDJAGSuite(t *testing.T) {
	a := newAuthority(time.Now)
	providertest.Run(t, providertest.Harness{
		Provider: "mcp", Config: a.settings(), Deps: provider.Deps{Granter: a, Now: time.Now, Random: rand.Reader},
		Scopes: a.settings().Scopes, Type: exchange.TokenTypeIDJAG, Honour: a.honour,
		Fail: map[exchange.Kind]func(*testing.T) func(){
			exchange.KindUnavailable: func(*testing.T) func() {
				a.fail = exchange.Fault(exchange.KindUnavailable, "this replica cannot sign at present; try again", nil)
				return func() { a.fail = nil }
			},
		},
	})
}

// A target whose resource is behind another server has nothing but grants to give,
// and no token of ours that could come back.
func TestIDJAGFacts(t *testing.T) {
	a := newAuthority(time.Now)
	f := a.settings().Facts()
	if f.Own || f.Authority != a.issuer || f.Resource != a.resource || len(f.Types) != 1 || f.Types[0] != exchange.TokenTypeIDJAG || f.MaxTTL != exchange.MaxIDJAGLifetime {
		t.Errorf("%+v", f)
	}
	if _, err := a.settings().Open(provider.Deps{Now: time.Now, Random: rand.Reader}); err == nil {
		t.Error("grants are made by nobody")
	}
}

// The client is the one there, by ours where the settings say so; a caller whom that
// server does not know gets nothing.
func TestIDJAGClientThere(t *testing.T) {
	for _, c := range []struct {
		any    string
		each   map[string]string
		caller string
		want   string // empty: refused
	}{
		{any: "agents", caller: "", want: "agents"},
		{any: "agents", caller: "chat", want: "agents"},
		{any: "agents", each: map[string]string{"chat": "c-17"}, caller: "chat", want: "c-17"},
		{any: "agents", each: map[string]string{"chat": "c-17"}, caller: "mail", want: "agents"},
		{each: map[string]string{"chat": "c-17"}, caller: "chat", want: "c-17"},
		{each: map[string]string{"chat": "c-17"}, caller: "mail"},
		{each: map[string]string{"chat": "c-17"}, caller: ""},
	} {
		a := newAuthority(func() time.Time { return noon })
		s := a.settings()
		s.IDJAG.ClientID, s.IDJAG.Clients = c.any, c.each
		d, err := s.Open(provider.Deps{Granter: a, Now: a.now, Random: rand.Reader})
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Vend(t.Context(), exchange.Grant{
			Subject: exchange.Subject{Name: "oidc:corp:alice"}, Client: c.caller, Now: noon, Lifetime: time.Hour, NotAfter: noon.Add(time.Hour),
			Actors: []exchange.Actor{{Name: "k8s:prod:agents:helper", Proven: true}},
		})
		if c.want == "" {
			if exchange.KindOf(err) != exchange.KindUnauthorizedClient {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		g := a.minted[got.Value.Reveal()]
		if err != nil || g.ClientID != c.want || len(g.Actors) != 1 || !got.Expires.Equal(noon.Add(5*time.Minute)) {
			t.Errorf("%+v: client %q until %v: %v", c, g.ClientID, got.Expires, err)
		}
	}
}

func TestIDJAGSettingsAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*mcp.IDJAGSettings)
		fault  string
	}{
		"good":               {func(*mcp.IDJAGSettings) {}, ""},
		"a slash at the end": {func(s *mcp.IDJAGSettings) { s.Audience += "/" }, ""},
		"by client": {func(s *mcp.IDJAGSettings) {
			s.ClientID, s.Clients = "", map[string]string{"chat": "https://chat.example/id"}
		}, ""},
		"no audience":           {func(s *mcp.IDJAGSettings) { s.Audience = "" }, "id_jag.audience: name the issuer"},
		"not a URI":             {func(s *mcp.IDJAGSettings) { s.Audience = "as.example" }, "id_jag.audience: "},
		"not https":             {func(s *mcp.IDJAGSettings) { s.Audience = "http://as.example" }, "id_jag.audience: "},
		"a query":               {func(s *mcp.IDJAGSettings) { s.Audience += "?tenant=1" }, "id_jag.audience: "},
		"a cloud":               {func(s *mcp.IDJAGSettings) { s.Audience = "sts.amazonaws.com" }, "id_jag.audience: "},
		"the resource":          {func(s *mcp.IDJAGSettings) { s.Audience = "https://mcp.example/wiki" }, "id_jag.audience: it is the resource itself"},
		"no client":             {func(s *mcp.IDJAGSettings) { s.ClientID = "" }, "id_jag.client_id: say as which"},
		"a client with a break": {func(s *mcp.IDJAGSettings) { s.ClientID = "a\nb" }, "id_jag.client_id: printable"},
		"a long client":         {func(s *mcp.IDJAGSettings) { s.ClientID = strings.Repeat("x", 300) }, "id_jag.client_id: printable"},
		"a client of nothing":   {func(s *mcp.IDJAGSettings) { s.Clients = map[string]string{"chat": ""} }, "id_jag.clients: "},
	} {
		s := newAuthority(time.Now).settings()
		c.change(s.IDJAG)
		faults := s.Validate()
		if c.fault == "" && len(faults) > 0 || c.fault != "" && (len(faults) != 1 || !strings.HasPrefix(faults[0].Error(), c.fault)) {
			t.Errorf("%s: %v", name, faults)
		}
	}
}
