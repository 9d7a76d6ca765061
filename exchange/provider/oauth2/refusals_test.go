package oauth2_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/oauth2"
)

// answering is a server that answers everything alike.
func answering(t *testing.T, y *town, status int, media, body string) *oauth2.Settings {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	y.secrets["gateway"][strings.TrimPrefix(s.URL, "https://")] = secret
	return y.settings(func(o *oauth2.Settings) { o.TokenURL = s.URL + "/token" })
}

// TestRefusalsAndMisconfigurations: what the server will not give is told from what the
// operator has to change, and the words say what that is.
func TestRefusalsAndMisconfigurations(t *testing.T) {
	y := newTown(t)
	for name, c := range map[string]struct {
		status int
		body   string
		kind   exchange.Kind
		words  string
	}{
		"invalid_grant":           {400, `{"error":"invalid_grant"}`, exchange.KindProviderRefused, "fresh token"},
		"access_denied":           {400, `{"error":"access_denied"}`, exchange.KindProviderRefused, "consent"},
		"access_denied, 403":      {403, `{"error":"access_denied"}`, exchange.KindProviderRefused, "consent"},
		"consent_required":        {400, `{"error":"consent_required"}`, exchange.KindProviderRefused, "consent"},
		"interaction_required":    {400, `{"error":"interaction_required"}`, exchange.KindProviderRefused, "consent"},
		"invalid_target":          {400, `{"error":"invalid_target"}`, exchange.KindProviderRefused, "resource"},
		"invalid_scope":           {400, `{"error":"invalid_scope"}`, exchange.KindProviderRefused, "scopes"},
		"a code of its own":       {400, `{"error":"tea_time"}`, exchange.KindProviderRefused, "refused"},
		"a code of its own, 403":  {403, `{"error":"tea_time"}`, exchange.KindProviderRefused, "refused"},
		"invalid_client":          {401, `{"error":"invalid_client"}`, exchange.KindMisconfigured, "client_id"},
		"invalid_client, 400":     {400, `{"error":"invalid_client"}`, exchange.KindMisconfigured, "client_id"},
		"401 without a word":      {401, ``, exchange.KindMisconfigured, "client_id"},
		"unauthorized_client":     {400, `{"error":"unauthorized_client"}`, exchange.KindMisconfigured, "grant"},
		"unsupported_grant_type":  {400, `{"error":"unsupported_grant_type"}`, exchange.KindMisconfigured, "grant"},
		"invalid_request":         {400, `{"error":"invalid_request"}`, exchange.KindMisconfigured, "parameters"},
		"use_dpop_nonce":          {400, `{"error":"use_dpop_nonce"}`, exchange.KindMisconfigured, "bearer"},
		"404":                     {404, `{"message":"no route"}`, exchange.KindMisconfigured, "token_url"},
		"405":                     {405, ``, exchange.KindMisconfigured, "token_url"},
		"a page, 403":             {403, `<!doctype html>Forbidden`, exchange.KindMisconfigured, "token_url"},
		"server_error":            {400, `{"error":"server_error"}`, exchange.KindUnavailable, "try again"},
		"temporarily_unavailable": {400, `{"error":"temporarily_unavailable"}`, exchange.KindUnavailable, "try again"},
		"slow_down":               {400, `{"error":"slow_down"}`, exchange.KindThrottled, "later"},
		"500":                     {500, `{"error":"invalid_client"}`, exchange.KindUnavailable, "try again"},
		"an error that is none":   {400, `{"error":["invalid_client"]}`, exchange.KindMisconfigured, "token_url"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := y.vend(t, answering(t, y, c.status, "application/json", c.body))
			var e *exchange.Error
			if !errors.As(err, &e) || e.Kind != c.kind || !strings.Contains(e.Advice, c.words) {
				t.Error(err)
			}
		})
	}
	_, err := y.vend(t, answering(t, y, 200, "text/html; charset=utf-8", "<!doctype html>Sign in"))
	if exchange.KindOf(err) != exchange.KindMisconfigured || !strings.Contains(err.Error(), "page") {
		t.Error(err)
	}
}

// TestRFC6749Section5_1Answers: a good answer is one only as far as it can be used.
func TestRFC6749Section5_1Answers(t *testing.T) {
	y := newTown(t)
	for name, c := range map[string]struct {
		answer string
		change func(*oauth2.Settings)
		kind   exchange.Kind // internal: it is good
		life   time.Duration
		scopes []string
	}{
		"all is said":                             {answer: `{"access_token":"x","token_type":"bearer","expires_in":600,"scope":"read"}`, life: 10 * time.Minute, scopes: []string{"read"}},
		"the scope goes unsaid":                   {answer: `{"access_token":"x","token_type":"Bearer","expires_in":600}`, life: 10 * time.Minute, scopes: []string{"read"}},
		"a number in quotes":                      {answer: `{"access_token":"x","token_type":"Bearer","expires_in":"600"}`, life: 10 * time.Minute, scopes: []string{"read"}},
		"less scope":                              {answer: `{"access_token":"x","token_type":"Bearer","expires_in":600,"scope":""}`, life: 10 * time.Minute, scopes: []string{}},
		"less than is required":                   {answer: `{"access_token":"x","token_type":"Bearer","expires_in":600,"scope":"other"}`, change: func(s *oauth2.Settings) { s.RequireScopes = []string{"read"} }, kind: exchange.KindProviderRefused},
		"without the fixed scope":                 {answer: `{"access_token":"x","token_type":"Bearer","expires_in":600,"scope":"read"}`, change: func(s *oauth2.Settings) { s.Scope = "base" }, kind: exchange.KindProviderRefused},
		"which is not required":                   {answer: `{"access_token":"x","token_type":"Bearer","expires_in":600,"scope":"read"}`, change: func(s *oauth2.Settings) { s.Scope, s.RequireScopes = "base", []string{} }, life: 10 * time.Minute, scopes: []string{"read"}},
		"a required scope that was not asked for": {answer: `{"access_token":"x","token_type":"Bearer","expires_in":600,"scope":"read"}`, change: func(s *oauth2.Settings) { s.RequireScopes = []string{"call"} }, life: 10 * time.Minute, scopes: []string{"read"}},
		"more than policy granted":                {answer: `{"access_token":"x","token_type":"Bearer","expires_in":600,"scope":"read call"}`, kind: exchange.KindMisconfigured},
		"the server's own besides":                {answer: `{"access_token":"x","token_type":"Bearer","expires_in":600,"scope":"read profile"}`, life: 10 * time.Minute, scopes: []string{"read"}},
		"no expiry":                               {answer: `{"access_token":"x","token_type":"Bearer"}`, kind: exchange.KindMisconfigured},
		"no expiry, as told":                      {answer: `{"access_token":"x","token_type":"Bearer"}`, change: func(s *oauth2.Settings) { s.DefaultLifetime = 5 * time.Minute }, life: 5 * time.Minute, scopes: []string{"read"}},
		"an expiry of zero":                       {answer: `{"access_token":"x","token_type":"Bearer","expires_in":0}`, kind: exchange.KindUnavailable},
		"a negative expiry":                       {answer: `{"access_token":"x","token_type":"Bearer","expires_in":-1}`, kind: exchange.KindUnavailable},
		"half a second":                           {answer: `{"access_token":"x","token_type":"Bearer","expires_in":0.5}`, kind: exchange.KindUnavailable},
		"a thousand years":                        {answer: `{"access_token":"x","token_type":"Bearer","expires_in":31536000000}`, kind: exchange.KindUnavailable},
		"past every number":                       {answer: `{"access_token":"x","token_type":"Bearer","expires_in":99999999999999999999}`, kind: exchange.KindUnavailable},
		"DPoP":                                    {answer: `{"access_token":"x","token_type":"DPoP","expires_in":600}`, kind: exchange.KindMisconfigured},
		"no type":                                 {answer: `{"access_token":"x","expires_in":600}`, kind: exchange.KindMisconfigured},
		"no token":                                {answer: `{"token_type":"Bearer","expires_in":600}`, kind: exchange.KindUnavailable},
		"a token with a new line":                 {answer: `{"access_token":"x\r\nX-Evil: 1","token_type":"Bearer","expires_in":600}`, kind: exchange.KindUnavailable},
		"another type of token":                   {answer: `{"access_token":"x","token_type":"Bearer","issued_token_type":"urn:ietf:params:oauth:token-type:refresh_token","expires_in":600}`, kind: exchange.KindUnavailable},
		"no object":                               {answer: `["x"]`, kind: exchange.KindUnavailable},
		"an error with 200":                       {answer: `{"error":"invalid_grant"}`, kind: exchange.KindUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := answering(t, y, 200, "application/json", c.answer)
			if c.change != nil {
				c.change(s)
			}
			if faults := s.Validate(); len(faults) > 0 {
				t.Fatal(faults)
			}
			got, err := y.vend(t, s, func(g *exchange.Grant) { g.Scopes = []string{"read"} })
			switch {
			case c.kind != exchange.KindInternal:
				if exchange.KindOf(err) != c.kind || !got.Value.IsZero() {
					t.Error(err)
				}
			case err != nil:
				t.Error(err)
			case got.Expires.Sub(got.Issued) != c.life || !slices.Equal(got.Scopes, c.scopes) || got.Scopes == nil:
				t.Errorf("it lives %v with %q", got.Expires.Sub(got.Issued), got.Scopes)
			}
		})
	}
}

// TestNotSetUp: each thing that may be wrong with the client, or in what the caller
// brings, is said in words that name what to look at.
func TestNotSetUp(t *testing.T) {
	y := newTown(t)
	none := filepath.Join(t.TempDir(), "none.pem")
	for name, c := range map[string]struct {
		change func(*oauth2.Settings)
		grant  func(*exchange.Grant)
		kind   exchange.Kind
		words  string
	}{
		"another's secret": {change: func(s *oauth2.Settings) { s.ClientSecret = "${secret:wrong}" }, kind: exchange.KindMisconfigured, words: "client_id"},
		"no such secret":   {change: func(s *oauth2.Settings) { s.ClientSecret = "${secret:none}" }, kind: exchange.KindMisconfigured, words: "client_secret"},
		"unknown client":   {change: func(s *oauth2.Settings) { s.ClientID = "nobody" }, kind: exchange.KindMisconfigured, words: "client_id"},
		"a client for something else": {change: func(s *oauth2.Settings) { s.ClientID, s.Grant = "narrow", oauth2.GrantTokenExchange },
			kind: exchange.KindMisconfigured, words: "grant"},
		"no key": {change: func(s *oauth2.Settings) { s.Auth, s.ClientSecret, s.KeyFile = oauth2.AuthPrivateKeyJWT, "", none },
			kind: exchange.KindMisconfigured, words: "key_file"},
		"a key that is a certificate": {change: func(s *oauth2.Settings) {
			s.Auth, s.ClientSecret, s.KeyFile = oauth2.AuthPrivateKeyJWT, "", y.shown.cert
		}, kind: exchange.KindMisconfigured, words: "key_file"},
		"a key that nobody registered": {change: func(s *oauth2.Settings) {
			s.Auth, s.ClientSecret, s.KeyFile, s.KeyID = oauth2.AuthPrivateKeyJWT, "", y.shown.key, "k1"
		}, kind: exchange.KindMisconfigured, words: "client_id"},
		"an assertion for elsewhere": {change: func(s *oauth2.Settings) {
			s.Auth, s.ClientSecret, s.KeyFile, s.KeyID, s.ClientAudience = oauth2.AuthPrivateKeyJWT, "", y.keyFile, "k1", "https://other.example"
		}, kind: exchange.KindMisconfigured, words: "client_id"},
		"another resource": {change: func(s *oauth2.Settings) { s.Resource = y.url + "/other" }, kind: exchange.KindProviderRefused, words: "resource"},
		"a scope that is not there": {change: func(s *oauth2.Settings) { s.Scope = "none" },
			kind: exchange.KindProviderRefused, words: "scopes"},
		"no passthrough token": {change: func(s *oauth2.Settings) { s.Grant, s.SubjectToken = oauth2.GrantTokenExchange, oauth2.ProofPassthrough },
			kind: exchange.KindInvalidRequest, words: "passthrough_token"},
		"a bad passthrough token": {change: func(s *oauth2.Settings) { s.Grant, s.SubjectToken = oauth2.GrantTokenExchange, oauth2.ProofPassthrough },
			grant: func(g *exchange.Grant) { g.Passthrough.Value = exchange.NewSecret("e30.e30.x") }, kind: exchange.KindProviderRefused, words: "fresh token"},
		"an assertion for another server": {change: func(s *oauth2.Settings) {
			s.Grant, s.AssertionAudience = oauth2.GrantJWTBearer, "https://other.example"
		}, kind: exchange.KindProviderRefused, words: "subject"},
		"no such attribute": {change: func(s *oauth2.Settings) { s.Grant, s.Subject = oauth2.GrantJWTBearer, []string{"team"} },
			kind: exchange.KindMisconfigured, words: "attribute"},
		"a subject about to end": {change: func(s *oauth2.Settings) { s.Grant = oauth2.GrantJWTBearer },
			grant: func(g *exchange.Grant) { g.NotAfter = g.Now }, kind: exchange.KindInvalidLifetime, words: "fresh"},
		"no such endpoint": {change: func(s *oauth2.Settings) { s.TokenURL = y.url + "/nothing" }, kind: exchange.KindMisconfigured, words: "token_url"},
		"the identity provider does not know the client": {change: func(s *oauth2.Settings) {
			s.Grant, s.IDP = oauth2.GrantIDJAG, &oauth2.Server{TokenURL: y.idpURL + "/token", ClientID: "nobody", ClientSecret: "${secret:gateway}"}
		}, grant: func(g *exchange.Grant) { g.Passthrough = y.passthrough(t, alice) }, kind: exchange.KindMisconfigured, words: "client_id"},
	} {
		t.Run(name, func(t *testing.T) {
			s := y.settings(c.change)
			if faults := s.Validate(); len(faults) > 0 {
				t.Fatal(faults)
			}
			var changes []func(*exchange.Grant)
			if c.grant != nil {
				changes = append(changes, c.grant)
			}
			_, err := y.vend(t, s, changes...)
			var e *exchange.Error
			if !errors.As(err, &e) || e.Kind != c.kind || !strings.Contains(e.Advice, c.words) {
				t.Error(err)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Error("the secret is told")
			}
		})
	}
}

// TestS20SecretsGoToTheirHostsAlone: whatever metadata says, a secret does not leave for
// a host that it is not for.
func TestS20SecretsGoToTheirHostsAlone(t *testing.T) {
	y := newTown(t)
	evil := 0
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		evil++
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token":"x","token_type":"Bearer","expires_in":600}`))
	}))
	t.Cleanup(elsewhere.Close)
	y.BendServer = func(m map[string]any) { m["token_endpoint"] = elsewhere.URL + "/token" }
	for _, auth := range []oauth2.Auth{oauth2.AuthBasic, oauth2.AuthPost} {
		s := y.settings(found, func(s *oauth2.Settings) { s.Auth = auth })
		d := y.open(t, s)
		if err := d.(provider.Loader).Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Vend(t.Context(), y.grant(t, s)); exchange.KindOf(err) != exchange.KindMisconfigured || !strings.Contains(err.Error(), "client_secret") {
			t.Error(err)
		}
	}
	y.BendServer = func(m map[string]any) { m["revocation_endpoint"] = elsewhere.URL + "/revoke" }
	s := y.settings(found)
	d := y.open(t, s)
	if err := d.(provider.Loader).Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := d.Vend(t.Context(), y.grant(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.(provider.Revoker).Revoke(t.Context(), y.grant(t, s).Target, c.RevokeWith); exchange.KindOf(err) != exchange.KindMisconfigured {
		t.Error(err)
	}
	if evil != 0 {
		t.Errorf("it was asked %d times", evil)
	}
}

// TestS15WhoActsIsNeverDropped: an actor is named, or the request refused.
func TestS15WhoActsIsNeverDropped(t *testing.T) {
	y := newTown(t)
	proven := func(g *exchange.Grant) { g.Actors = []exchange.Actor{{Name: "k8s:prod:llm:agent", Proven: true}} }
	asserted := func(g *exchange.Grant) {
		g.Actors = []exchange.Actor{{Name: "k8s:prod:llm:agent", AssertedBy: "corp"}}
	}
	exchanging := y.settings(func(s *oauth2.Settings) { s.Grant = oauth2.GrantTokenExchange })
	granting := y.settings(func(s *oauth2.Settings) { s.Grant = oauth2.GrantIDJAG })
	for name, s := range map[string]*oauth2.Settings{"token_exchange": exchanging, "id_jag": granting} {
		c, err := y.vend(t, s, proven)
		if err != nil {
			t.Fatal(name, err)
		}
		if token, ok := y.Whoami(c.Value.Reveal()); !ok || token.Subject != alice || token.Actor != "k8s:prod:llm:agent" {
			t.Errorf("%s: %+v", name, token)
		}
	}
	if _, err := y.vend(t, exchanging, asserted); exchange.KindOf(err) != exchange.KindInvalidActor {
		t.Error(err)
	}
	brokered := y.settings(func(s *oauth2.Settings) {
		s.Grant, s.IDP = oauth2.GrantIDJAG, &oauth2.Server{TokenURL: y.idpURL + "/token", ClientID: gateway, ClientSecret: "${secret:gateway}"}
	})
	for _, s := range []*oauth2.Settings{y.settings(func(s *oauth2.Settings) { s.Grant = oauth2.GrantJWTBearer }), brokered} {
		before := y.Calls()
		if _, err := y.vend(t, s, proven); exchange.KindOf(err) != exchange.KindInvalidActor || y.Calls() != before {
			t.Error(err)
		}
	}
}

// TestS5LongLivesNeedConsent: the server gives an hour, whatever is asked.
func TestS5LongLivesNeedConsent(t *testing.T) {
	y := newTown(t)
	s := y.settings(func(s *oauth2.Settings) { s.MayOutlive = false })
	before := y.Calls()
	if _, err := y.vend(t, s); exchange.KindOf(err) != exchange.KindInvalidLifetime || y.Calls() != before {
		t.Errorf("%v after %d calls", err, y.Calls()-before)
	}
	if _, err := y.vend(t, s, func(g *exchange.Grant) { g.Lifetime, g.NotAfter = time.Hour, g.Now.Add(time.Hour) }); err != nil {
		t.Error(err)
	}
}

// TestFilesAreReadAgain: a key or a certificate may be replaced at any time.
func TestFilesAreReadAgain(t *testing.T) {
	y := newTown(t)
	shown := newCertificate(t, t.TempDir())
	s := y.settings(func(s *oauth2.Settings) {
		s.Auth, s.ClientSecret, s.CertFile, s.KeyFile = oauth2.AuthTLS, "", shown.cert, shown.key
	})
	d := y.open(t, s)
	if _, err := d.Vend(t.Context(), y.grant(t, s)); exchange.KindOf(err) != exchange.KindMisconfigured {
		t.Errorf("a certificate that nobody knows: %v", err)
	}
	pair, err := tls.LoadX509KeyPair(y.shown.cert, y.shown.key)
	if err != nil || len(pair.Certificate) == 0 {
		t.Fatal(err)
	}
	copyFile(t, y.shown.cert, shown.cert)
	copyFile(t, y.shown.key, shown.key)
	if _, err := d.Vend(t.Context(), y.grant(t, s)); err != nil {
		t.Errorf("the certificate that is registered: %v", err)
	}

	name := filepath.Join(t.TempDir(), "key.pem")
	copyFile(t, y.shown.key, name)
	s = y.settings(func(s *oauth2.Settings) {
		s.Auth, s.ClientSecret, s.KeyFile, s.KeyID = oauth2.AuthPrivateKeyJWT, "", name, "k1"
	})
	d = y.open(t, s)
	if _, err := d.Vend(t.Context(), y.grant(t, s)); exchange.KindOf(err) != exchange.KindMisconfigured {
		t.Errorf("a key that nobody knows: %v", err)
	}
	copyFile(t, y.keyFile, name)
	if _, err := d.Vend(t.Context(), y.grant(t, s)); err != nil {
		t.Errorf("the key that is registered: %v", err)
	}
}

// TestWhatIsSent: parameters are those of the settings, whatever the request says.
func TestWhatIsSent(t *testing.T) {
	y := newTown(t)
	for name, c := range map[string]struct {
		change func(*oauth2.Settings)
		want   map[string]string // absent where empty
	}{
		"all": {func(s *oauth2.Settings) {
			s.Scope, s.Audience, s.Parameters = "base", "api", map[string]string{"tenant": "t 1"}
		}, map[string]string{"grant_type": "client_credentials", "scope": "base read", "resource": y.url + "/mcp", "audience": "api", "tenant": "t 1"}},
		"no resource": {func(s *oauth2.Settings) { s.OmitResource = true }, map[string]string{"resource": "", "audience": "", "scope": "read"}},
		"exchange": {func(s *oauth2.Settings) { s.Grant = oauth2.GrantTokenExchange }, map[string]string{
			"subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "requested_token_type": "urn:ietf:params:oauth:token-type:access_token", "actor_token": "",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[string]string{}
			s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if err := r.ParseForm(); err != nil {
					t.Error(err)
				}
				for key, values := range r.PostForm {
					got[key] = strings.Join(values, "|")
				}
				w.Header().Set("Content-Type", "application/json")
				_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "x", "token_type": "Bearer", "expires_in": 60})
			}))
			defer s.Close()
			y.secrets["gateway"][strings.TrimPrefix(s.URL, "https://")] = secret
			settings := y.settings(c.change, func(o *oauth2.Settings) { o.TokenURL = s.URL + "/token" })
			if _, err := y.vend(t, settings, func(g *exchange.Grant) { g.Scopes = []string{"read"} }); err != nil {
				t.Fatal(err)
			}
			for key, want := range c.want {
				if got[key] != want {
					t.Errorf("%s is %q, want %q", key, got[key], want)
				}
			}
		})
	}
}
