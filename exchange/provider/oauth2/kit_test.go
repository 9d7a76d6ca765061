package oauth2_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/oauth2"
	"github.com/cambio-sts/cambio/exchange/provider/oauth2/oauth2sandbox"
	"github.com/cambio-sts/cambio/exchange/provider/providertest"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

const (
	gateway = "gateway:1" // a client's name that a form must escape
	secret  = "vended-secret-of+the gateway"
	alice   = "k8s:prod:llm:gateway"
)

// town is an authorization server with its resource, an identity provider, and a
// driver's dependencies.
type town struct {
	*oauth2sandbox.Server
	idp     *oauth2sandbox.Server
	url     string // of the server
	idpURL  string
	deps    provider.Deps
	house   *providertest.Federation
	people  *providertest.Federation
	secrets map[string]map[string]string // name → host → what it holds
	granter *granter
	shown   *certificateFiles
	keyFile string
}

func newTown(t testing.TB) *town { return newTownOf(t, providertest.NewFederation(t)) }

func newTownOf(t testing.TB, house *providertest.Federation) *town {
	t.Helper()
	y := &town{house: house, people: providertest.NewQuickFederation(t), granter: newGranter(t)}
	y.people.Issuer = "https://people.example"
	y.people.Bend = func(claims map[string]any) {
		sub, err := url.PathUnescape(strings.SplitN(claims["sub"].(string), ":", 3)[2])
		if err != nil {
			panic(err)
		}
		claims["sub"] = sub
	}
	key, file := keyFile(t)
	y.keyFile = file
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	y.shown = newCertificate(t, t.TempDir())
	clients := []oauth2sandbox.Client{
		{ID: gateway, Secret: secret, Keys: keys, Certificate: y.shown.sum(t)},
		{ID: "federated", Federated: "default:suite"},
		{ID: "narrow", Secret: secret, Grants: []string{"client_credentials"}},
	}
	y.idp = y.serve(t, oauth2sandbox.Setup{Clients: clients, Scopes: []string{"base", "read", "call"}, People: y.people.World()}, &y.idpURL)
	y.Server = y.serve(t, oauth2sandbox.Setup{
		Clients: clients, Scopes: []string{"base", "read", "call"}, People: y.people.World(),
		Grants: []sandbox.World{y.idp.World(y.idpURL), y.granter.world()},
	}, &y.url)
	y.secrets = map[string]map[string]string{
		"gateway": {strings.TrimPrefix(y.url, "https://"): secret, strings.TrimPrefix(y.idpURL, "https://"): secret},
		"wrong":   {strings.TrimPrefix(y.url, "https://"): "another"},
	}
	client := y.client(nil)
	y.deps = provider.Deps{
		HTTP: client, Asserter: house, Granter: y.granter, Now: time.Now, Random: rand.Reader,
		Secret: func(ref provider.SecretRef, host string) (exchange.Secret, error) {
			name, _ := ref.Name()
			if held := y.secrets[name][host]; held != "" {
				return exchange.NewSecret(held), nil
			}
			return exchange.Secret{}, errors.New("no such secret for this host")
		},
		Client: func(certificate func() (*tls.Certificate, error)) (*http.Client, error) {
			return y.client(certificate), nil
		},
	}
	return y
}

func (y *town) serve(t testing.TB, setup oauth2sandbox.Setup, at *string) *oauth2sandbox.Server {
	t.Helper()
	s, err := oauth2sandbox.New(y.house.World(), setup)
	if err != nil {
		t.Fatal(err)
	}
	served := httptest.NewUnstartedServer(s)
	served.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	served.StartTLS()
	t.Cleanup(served.Close)
	*at = served.URL
	return s
}

// client trusts every server: they are of this process.
func (y *town) client(certificate func() (*tls.Certificate, error)) *http.Client {
	secure := &tls.Config{InsecureSkipVerify: true}
	if certificate != nil {
		secure.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate() }
	}
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: secure, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// passthrough is a token of a subject, of the people's issuer.
func (y *town) passthrough(t testing.TB, subject string) exchange.Token {
	t.Helper()
	now := time.Now()
	value, err := y.people.Assert(t.Context(), exchange.Assertion{
		Tenant: "default", Target: "x", Values: []string{subject}, Audience: "people", Endpoint: "people.example",
		Issued: now.Truncate(time.Second), Expires: now.Add(5 * time.Minute),
	})
	if err != nil {
		t.Fatal(err)
	}
	return exchange.Token{Value: value, Type: exchange.TokenTypeIDToken}
}

// settings are good ones, which change turns into others.
func (y *town) settings(change ...func(*oauth2.Settings)) *oauth2.Settings {
	s := &oauth2.Settings{
		Server:   oauth2.Server{TokenURL: y.url + "/token", Issuer: y.url, ClientID: gateway, ClientSecret: "${secret:gateway}"},
		Resource: y.url + "/mcp", Scopes: []string{"read", "call"}, RevocationURL: y.url + "/revoke", MayOutlive: true,
	}
	for _, f := range change {
		f(s)
	}
	return s
}

// found leaves it to the metadata where tokens come from.
func found(s *oauth2.Settings) { s.TokenURL, s.RevocationURL = "", "" }

func (y *town) open(t testing.TB, s provider.Config) provider.Driver {
	t.Helper()
	d, err := s.Open(y.deps)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (y *town) grant(t *testing.T, s *oauth2.Settings, change ...func(*exchange.Grant)) exchange.Grant {
	t.Helper()
	g := providertest.Harness{Provider: "oauth2", Config: s, Deps: y.deps}.Grant(t, alice)
	for _, f := range change {
		f(&g)
	}
	return g
}

func (y *town) vend(t *testing.T, s *oauth2.Settings, change ...func(*exchange.Grant)) (exchange.Credential, error) {
	t.Helper()
	return y.open(t, s).Vend(t.Context(), y.grant(t, s, change...))
}

// recording remembers for whom each token was vended, since one of the house's own does
// not tell, brings each subject's own token where that speaks, and loads at once.
type recording struct {
	*oauth2.Settings
	t    *testing.T
	town *town

	mu     sync.Mutex
	owners map[[sha256.Size]byte]string // by hash: the suite looks at what is printed
}

type recorder struct {
	provider.Driver
	*recording
}

func (r *recording) Open(d provider.Deps) (provider.Driver, error) {
	driver, err := r.Settings.Open(d)
	if err == nil && r.Settings.MustLoad() {
		err = driver.(provider.Loader).Load(r.t.Context())
	}
	return recorder{driver, r}, err
}

func (r recorder) Vend(ctx context.Context, g exchange.Grant) (exchange.Credential, error) {
	if r.Settings.SubjectToken == oauth2.ProofPassthrough || r.Settings.IDP != nil {
		g.Passthrough = r.town.passthrough(r.t, g.Subject.Name)
	}
	c, err := r.Driver.Vend(ctx, g)
	if err == nil {
		r.mu.Lock()
		r.owners[sha256.Sum256([]byte(c.Value.Reveal()))] = g.Subject.Name
		r.mu.Unlock()
	}
	return c, err
}

func (r recorder) Revoke(ctx context.Context, target *exchange.Target, with exchange.Secret) error {
	return r.Driver.(provider.Revoker).Revoke(ctx, target, with)
}

// use asks the resource.
func (r *recording) use(t *testing.T, c exchange.Credential) (string, []string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.town.url+"/mcp", nil)
	if err != nil {
		return "", nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.Value.Reveal())
	answer, err := r.town.deps.HTTP.Do(request)
	if err != nil {
		return "", nil, err
	}
	defer answer.Body.Close()
	var token oauth2sandbox.Token
	if answer.StatusCode != http.StatusOK {
		return "", nil, errors.New(answer.Status)
	}
	if err := json.NewDecoder(answer.Body).Decode(&token); err != nil {
		return "", nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	owner := r.owners[sha256.Sum256([]byte(c.Value.Reveal()))]
	if r.Settings.Facts().Method != string(oauth2.GrantClientCredentials) && token.Subject != owner {
		return token.Subject, nil, errors.New("the token is not its owner's")
	}
	return owner, token.Scopes, nil
}

// granter signs identity assertion grants as the real issuer does.
type granter struct {
	key *ecdsa.PrivateKey
}

const granterName = "https://cambio.example"

func newGranter(t testing.TB) *granter {
	t.Helper()
	key, _ := keyFile(t)
	return &granter{key}
}

func (g *granter) world() sandbox.World {
	return sandbox.World{Issuer: granterName, Now: time.Now, Random: rand.Reader, Keys: func() []byte {
		set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: g.key.Public(), KeyID: "g", Algorithm: "ES256", Use: "sig"}}})
		if err != nil {
			panic(err)
		}
		return set
	}}
}

func (g *granter) MintIDJAG(_ context.Context, j exchange.IDJAG) (exchange.Secret, error) {
	if j.ID.IsZero() || j.Subject == "" || j.Audience == "" || j.ClientID == "" || j.Resource == "" || j.Audience == j.Resource || j.Expires.Sub(j.Issued) > exchange.MaxIDJAGLifetime {
		return exchange.Secret{}, errors.New("the grant does not fit")
	}
	claims := map[string]any{
		"iss": granterName, "sub": j.Subject, "aud": j.Audience, "client_id": j.ClientID, "resource": j.Resource, "scope": strings.Join(j.Scopes, " "),
		"jti": j.ID.String(), "iat": j.Issued.Unix(), "exp": j.Expires.Unix(),
	}
	if len(j.Actors) > 0 {
		claims["act"] = map[string]string{"iss": granterName, "sub": j.Actors[0].Name}
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return exchange.Secret{}, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: g.key, KeyID: "g"}}, (&jose.SignerOptions{}).WithType("oauth-id-jag+jwt"))
	if err != nil {
		return exchange.Secret{}, err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return exchange.Secret{}, err
	}
	compact, err := signed.CompactSerialize()
	return exchange.NewSecret(compact), err
}

func keyFile(t testing.TB) (*ecdsa.PrivateKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "key.pem")
	writeKey(t, name, key)
	return key, name
}

func writeKey(t testing.TB, name string, key *ecdsa.PrivateKey) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// certificateFiles are a client's certificate and key.
type certificateFiles struct{ cert, key string }

func newCertificate(t testing.TB, dir string) *certificateFiles {
	t.Helper()
	f := &certificateFiles{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	f.replace(t)
	return f
}

// replace puts a new pair in the place of the old one.
func (f *certificateFiles) replace(t testing.TB) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: strings.Repeat("x", 1+int(serial.Int64()%50))},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, &x509.Certificate{SerialNumber: serial}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	writeKey(t, f.key, key)
}

func (f *certificateFiles) sum(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(f.cert)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:])
}

func set(y *town, m sandbox.Mood) func(*testing.T) func() {
	return func(*testing.T) func() { return y.Set(m) }
}
