package issuer_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/issuer"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// clock is a time that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// memory keeps keys as a database does: in order, added by compare-and-swap.
type memory struct {
	mu      sync.Mutex
	rows    []issuer.SealedKey
	events  []exchange.Event
	fail    error
	listing func() // runs after a list was taken
}

func (m *memory) ListKeys(context.Context) ([]issuer.SealedKey, error) {
	m.mu.Lock()
	rows, listing := slices.Clone(m.rows), m.listing
	err := m.fail
	m.mu.Unlock()
	if listing != nil {
		listing()
	}
	return rows, err
}

func (m *memory) AddKey(_ context.Context, k issuer.SealedKey, after string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return false, m.fail
	}
	newest := ""
	for _, row := range m.rows {
		if row.Purpose == k.Purpose {
			newest = row.KeyID
		}
	}
	if newest != after {
		return false, nil
	}
	m.rows = append(m.rows, k)
	return true, nil
}

func (m *memory) RetireKey(_ context.Context, purpose, kid string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows = slices.DeleteFunc(m.rows, func(k issuer.SealedKey) bool { return k.Purpose == purpose && k.KeyID == kid })
	return m.fail
}

func (m *memory) ChangeKeys(ctx context.Context, c issuer.KeyChange) (bool, error) {
	added, err := m.AddKey(ctx, c.Add, c.After)
	if !added || err != nil {
		return added, err
	}
	for _, kid := range c.Remove {
		if err := m.RetireKey(ctx, c.Add.Purpose, kid); err != nil {
			return false, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, c.Event)
	return true, nil
}

func (m *memory) ReplaceSealed(_ context.Context, purpose, kid string, old, sealed []byte) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, row := range m.rows {
		if row.Purpose == purpose && row.KeyID == kid && bytes.Equal(row.Sealed, old) {
			m.rows[i].Sealed = sealed
			return true, m.fail
		}
	}
	return false, m.fail
}

func (m *memory) edit(f func(rows []issuer.SealedKey) []issuer.SealedKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows = f(m.rows)
}

// kit is an issuer with what it stands on.
type kit struct {
	*issuer.Issuer
	clock   *clock
	keys    *memory
	options issuer.Options
	mu      sync.Mutex
	reports []string
}

func sealer(t testing.TB, key byte, older ...byte) *exchange.Sealer {
	t.Helper()
	var old [][]byte
	for _, k := range older {
		old = append(old, bytes.Repeat([]byte{k}, exchange.SealKeySize))
	}
	s, err := exchange.NewSealer(rand.Reader, bytes.Repeat([]byte{key}, exchange.SealKeySize), old...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newKit opens an issuer over empty keys. EdDSA keys are the quickest to make; the
// tests that are about an algorithm say so.
func newKit(t testing.TB, change ...func(*issuer.Options)) *kit {
	t.Helper()
	k := &kit{clock: &clock{now: noon}, keys: &memory{}}
	k.options = issuer.Options{
		URL: "https://cambio.example", Keys: k.keys, Sealer: sealer(t, 1), Now: k.clock.Now, Random: rand.Reader,
		AccessAlgorithm: "EdDSA", FederationAlgorithm: "EdDSA",
		Report: func(err error) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.reports = append(k.reports, err.Error())
		},
	}
	for _, c := range change {
		c(&k.options)
	}
	var err error
	if k.Issuer, err = issuer.Open(t.Context(), k.options); err != nil {
		t.Fatal(err)
	}
	return k
}

func token(now time.Time) exchange.AccessToken {
	id, err := exchange.NewID(now, rand.Reader)
	if err != nil {
		panic(err)
	}
	return exchange.AccessToken{
		ID: id, Subject: "k8s:prod:llm:gateway", Audience: "https://mcp.example/github", ClientID: "gw",
		Scopes: []string{"tools.read", "tools.call"}, Issued: now, Expires: now.Add(15 * time.Minute),
	}
}

func assertion(now time.Time) exchange.Assertion {
	return exchange.Assertion{
		Tenant: "default", Target: "vertex", Audience: "//iam.googleapis.com/projects/1/providers/cambio",
		Endpoint: "sts.googleapis.com", Issued: now, Expires: now.Add(time.Minute),
	}
}

var algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA}

// verify checks a token against a JWK Set, as its consumer would, and returns its
// header and claims.
func verify(jwks []byte, secret exchange.Secret) (jose.Header, map[string]any, error) {
	signed, err := jose.ParseSignedCompact(secret.Reveal(), algorithms)
	if err != nil {
		return jose.Header{}, nil, err
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(jwks, &set); err != nil {
		return jose.Header{}, nil, err
	}
	header := signed.Signatures[0].Header
	keys := set.Key(header.KeyID)
	if len(keys) == 0 {
		return header, nil, errors.New("its key is not published")
	}
	key := keys[0]
	if key.Algorithm != header.Algorithm || key.Use != "sig" || !key.IsPublic() {
		return header, nil, errors.New("the published key is not for this")
	}
	payload, err := signed.Verify(key)
	if err != nil {
		return header, nil, err
	}
	var claims map[string]any
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	return header, claims, d.Decode(&claims)
}

func (k *kit) mint(t testing.TB, change ...func(*exchange.AccessToken)) (exchange.Secret, error) {
	t.Helper()
	at := token(k.clock.Now())
	for _, c := range change {
		c(&at)
	}
	return k.Mint(t.Context(), at)
}

func TestOpenChecksItsOptions(t *testing.T) {
	for name, change := range map[string]func(*issuer.Options){
		"no URL":             func(o *issuer.Options) { o.URL = "" },
		"a relative URL":     func(o *issuer.Options) { o.URL = "/cambio" },
		"a trailing slash":   func(o *issuer.Options) { o.URL = "https://cambio.example/" },
		"a query":            func(o *issuer.Options) { o.URL = "https://cambio.example?x=1" },
		"an empty query":     func(o *issuer.Options) { o.URL = "https://cambio.example?" },
		"a fragment":         func(o *issuer.Options) { o.URL = "https://cambio.example#x" },
		"plain http":         func(o *issuer.Options) { o.URL = "http://cambio.example" },
		"an upper-case host": func(o *issuer.Options) { o.URL = "https://Cambio.example" },
		"a user":             func(o *issuer.Options) { o.URL = "https://me@cambio.example" },
		"HS256":              func(o *issuer.Options) { o.AccessAlgorithm = "HS256" },
		"none":               func(o *issuer.Options) { o.FederationAlgorithm = "none" },
		"rotating too often": func(o *issuer.Options) { o.Rotate = time.Minute },
	} {
		k := newKit(t)
		change(&k.options)
		if _, err := issuer.Open(t.Context(), k.options); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	for _, url := range []string{"https://cambio.example", "https://cambio.example/sts", "http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:8080"} {
		k := newKit(t, func(o *issuer.Options) { o.URL = url })
		if k.URL() != url || k.FederationURL() != url+"/federation" || !slices.Equal(k.Names(), []string{url, url + "/federation"}) {
			t.Errorf("%s makes %s and %s", url, k.URL(), k.FederationURL())
		}
	}
}

// TestAlgorithms signs with each, and with the defaults.
func TestAlgorithms(t *testing.T) {
	for _, c := range []struct{ access, federation, wantAccess, wantFederation string }{
		{"", "", "ES256", "RS256"}, {"ES256", "EdDSA", "ES256", "EdDSA"}, {"EdDSA", "ES256", "EdDSA", "ES256"},
	} {
		k := newKit(t, func(o *issuer.Options) { o.AccessAlgorithm, o.FederationAlgorithm = c.access, c.federation })
		at, err := k.mint(t)
		if err != nil {
			t.Fatal(err)
		}
		header, _, err := verify(k.AccessJWKS(), at)
		if err != nil || header.Algorithm != c.wantAccess {
			t.Errorf("access tokens are signed by %s: %v", header.Algorithm, err)
		}
		as, err := k.Assert(t.Context(), assertion(noon))
		if err != nil {
			t.Fatal(err)
		}
		header, _, err = verify(k.FederationJWKS(), as)
		if err != nil || header.Algorithm != c.wantFederation {
			t.Errorf("assertions are signed by %s: %v", header.Algorithm, err)
		}
		if !slices.Equal(k.AccessAlgorithms(), []string{c.wantAccess}) {
			t.Errorf("the algorithms are %v", k.AccessAlgorithms())
		}
	}
}

// TestS1IssuersShareNothing: names, keys and key sets are apart, and neither's
// tokens verify at the other.
func TestS1IssuersShareNothing(t *testing.T) {
	k := newKit(t)
	at, err := k.mint(t)
	if err != nil {
		t.Fatal(err)
	}
	as, err := k.Assert(t.Context(), assertion(noon))
	if err != nil {
		t.Fatal(err)
	}
	header, claims, err := verify(k.AccessJWKS(), at)
	if err != nil || claims["iss"] != k.URL() || header.ExtraHeaders[jose.HeaderType] != "at+jwt" {
		t.Errorf("the access token: %v %v %v", header, claims, err)
	}
	header, claims, err = verify(k.FederationJWKS(), as)
	if err != nil || claims["iss"] != k.FederationURL() || header.ExtraHeaders[jose.HeaderType] != "JWT" {
		t.Errorf("the assertion: %v %v %v", header, claims, err)
	}
	if _, _, err := verify(k.FederationJWKS(), at); err == nil {
		t.Error("an access token verifies as an assertion")
	}
	if _, _, err := verify(k.AccessJWKS(), as); err == nil {
		t.Error("an assertion verifies as an access token")
	}
	for _, audience := range []string{"sts.amazonaws.com", "https://sts.amazonaws.com", "STS.amazonaws.com", "api://AzureADTokenExchange"} {
		if _, err := k.mint(t, func(a *exchange.AccessToken) { a.Audience = audience }); err == nil {
			t.Errorf("an access token for %s is minted", audience)
		}
	}
}

func TestFederationDiscovery(t *testing.T) {
	k := newKit(t)
	var got map[string]any
	if err := json.Unmarshal(k.FederationDiscovery(), &got); err != nil {
		t.Fatal(err)
	}
	if got["issuer"] != k.FederationURL() || got["jwks_uri"] != k.FederationURL()+"/jwks" {
		t.Errorf("discovery names %v and %v", got["issuer"], got["jwks_uri"])
	}
	for _, member := range []string{"response_types_supported", "subject_types_supported", "id_token_signing_alg_values_supported", "claims_supported"} {
		if list, _ := got[member].([]any); len(list) == 0 {
			t.Errorf("discovery has no %s", member)
		}
	}
	if _, there := got["authorization_endpoint"]; there {
		t.Error("discovery names an endpoint that nobody serves")
	}
}

// TestNoPrivateKeyIsPublished looks for the private members of each key type (RFC
// 7518 §6, RFC 8037 §2).
func TestNoPrivateKeyIsPublished(t *testing.T) {
	k := newKit(t, func(o *issuer.Options) { o.AccessAlgorithm, o.FederationAlgorithm = "ES256", "RS256" })
	for _, document := range [][]byte{k.AccessJWKS(), k.FederationJWKS()} {
		var set struct{ Keys []map[string]any }
		if err := json.Unmarshal(document, &set); err != nil || len(set.Keys) != 1 {
			t.Fatalf("%d keys: %v", len(set.Keys), err)
		}
		for _, member := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
			if _, there := set.Keys[0][member]; there {
				t.Errorf("the set publishes %q", member)
			}
		}
	}
	for _, row := range k.keys.rows {
		if strings.Contains(string(row.Sealed), `"kty"`) {
			t.Error("a key is stored in clear")
		}
	}
}

func BenchmarkMint(b *testing.B) {
	for _, algorithm := range []string{"ES256", "EdDSA", "RS256"} {
		b.Run(algorithm, func(b *testing.B) {
			k := newKit(b, func(o *issuer.Options) { o.AccessAlgorithm = algorithm })
			t := token(noon)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.Mint(b.Context(), t); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
