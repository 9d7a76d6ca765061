package oci_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/oci"
	"github.com/cambio-sts/cambio/exchange/provider/oci/ocisandbox"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

const (
	federation = "https://cambio.example/federation"
	clientID   = "cambio-app"
	resType    = "llm"
)

// clientSecret is the application's. It holds what a form must escape.
var clientSecret = exchange.NewSecret("vended-secret-of the+app%:" + rand.Text())

// makeKey is a key of so many bits, made once for all tests.
var makeKey = func() func(bits int) *rsa.PrivateKey {
	var mu sync.Mutex
	made := map[int]*rsa.PrivateKey{}
	return func(bits int) *rsa.PrivateKey {
		mu.Lock()
		defer mu.Unlock()
		if made[bits] == nil {
			key, err := rsa.GenerateKey(rand.Reader, bits)
			if err != nil {
				panic(err)
			}
			made[bits] = key
		}
		return made[bits]
	}
}()

func spki(t testing.TB, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// notary signs assertions as the federation issuer does.
type notary struct {
	signer jose.Signer
	keys   []byte
	bend   map[string]any // claims that come out otherwise; nil values are left out
}

func newNotary(t testing.TB) *notary {
	t.Helper()
	key := makeKey(2048)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: "f1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "f1", Algorithm: "RS256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return &notary{signer: signer, keys: keys}
}

func (n *notary) Assert(_ context.Context, a exchange.Assertion) (exchange.Secret, error) {
	if a.Endpoint == "" || a.Expires.Sub(a.Issued) > exchange.MaxAssertionLifetime || !a.Expires.After(a.Issued) {
		return exchange.Secret{}, errors.New("the assertion has no endpoint, or lives too long")
	}
	claims := map[string]any{
		"iss": federation, "sub": exchange.CanonicalName(a.Tenant, append([]string{a.Target}, a.Values...)...), "aud": a.Audience,
		"iat": a.Issued.Unix(), "exp": a.Expires.Unix(), "jti": rand.Text(),
	}
	maps.Copy(claims, a.Claims)
	maps.Copy(claims, n.bend)
	payload, err := json.Marshal(claims)
	if err != nil {
		return exchange.Secret{}, err
	}
	signed, err := n.signer.Sign(payload)
	if err != nil {
		return exchange.Secret{}, err
	}
	text, err := signed.CompactSerialize()
	return exchange.NewSecret(text), err
}

// desk is a driver's settings with the stand-in that they point at.
type desk struct {
	notary   *notary
	sandbox  *ocisandbox.Sandbox
	server   *httptest.Server
	settings *oci.Settings
	deps     provider.Deps
}

// newDesk opens a stand-in that is set up as the README says.
func newDesk(t testing.TB, changes ...func(*ocisandbox.Setup, *oci.Settings)) *desk {
	t.Helper()
	d := &desk{notary: newNotary(t)}
	setup := ocisandbox.Setup{
		World:    sandbox.World{Issuer: federation, Keys: func() []byte { return d.notary.keys }, Now: time.Now, Random: rand.Reader},
		ClientID: clientID, ClientSecret: clientSecret.Reveal(),
		Trust: ocisandbox.Trust{
			Audience: "https://oracle.example/cambio", ImpersonatingResource: resType, ClaimPropagations: []string{"ext_who"},
			Impersonate: []ocisandbox.Rule{{Pattern: "default:suite:*", User: "ocid1.user.oc1..models"}},
		},
	}
	d.settings = &oci.Settings{
		Region: "us-ashburn-1", ClientID: clientID, ClientSecret: "${secret:oci}", ResType: resType, Audience: "https://oracle.example/cambio",
	}
	for _, change := range changes {
		change(&setup, d.settings)
	}
	var err error
	if d.sandbox, err = ocisandbox.New(setup); err != nil {
		t.Fatal(err)
	}
	d.server = httptest.NewTLSServer(d.sandbox)
	t.Cleanup(d.server.Close)
	d.settings.Domain = d.server.URL
	host := strings.TrimPrefix(d.server.URL, "https://")
	d.deps = provider.Deps{
		HTTP: d.server.Client(), Asserter: d.notary, Now: time.Now, Random: rand.Reader,
		Secret: func(ref provider.SecretRef, to string) (exchange.Secret, error) {
			if name, _ := ref.Name(); name != "oci" || to != host {
				return exchange.Secret{}, fmt.Errorf("the secret %q is not for %s", name, to)
			}
			return clientSecret, nil
		},
	}
	return d
}

func (d *desk) open(t testing.TB) provider.Driver {
	t.Helper()
	if faults := d.settings.Validate(); len(faults) > 0 {
		t.Fatal(faults)
	}
	driver, err := d.settings.Open(d.deps)
	if err != nil {
		t.Fatal(err)
	}
	return driver
}

func (d *desk) grant(t testing.TB, changes ...func(*exchange.Grant)) exchange.Grant {
	t.Helper()
	now := time.Now()
	id, err := exchange.NewID(now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	g := exchange.Grant{
		Exchange: id, Tenant: "default",
		Target:  &exchange.Target{Tenant: "default", Name: "suite", Provider: "oci", Facts: d.settings.Facts(), Settings: d.settings},
		Subject: exchange.Subject{Name: "k8s:prod:llm:gateway", Tenant: "default", Attributes: exchange.Attributes{"namespace": {"llm"}, "groups": {"a", "b"}}},
		Now:     now, Lifetime: 15 * time.Minute, NotAfter: now.Add(15 * time.Minute), PublicKey: spki(t, makeKey(2048).Public()),
	}
	for _, change := range changes {
		change(&g)
	}
	return g
}

func (d *desk) vend(t testing.TB, changes ...func(*exchange.Grant)) (exchange.Credential, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return d.open(t).Vend(ctx, d.grant(t, changes...))
}

// value is what callers read of a credential.
type value struct {
	Token   string `json:"token"`
	KeyID   string `json:"key_id"`
	Region  string `json:"region"`
	Tenancy string `json:"tenancy"`
	Expires string `json:"expires_at"`
}

func read(t testing.TB, c exchange.Credential) value {
	t.Helper()
	var v value
	if err := json.Unmarshal([]byte(c.Value.Reveal()), &v); err != nil {
		t.Fatal("the credential is no JSON")
	}
	return v
}

// subjectOf undoes the escape in `<tenant>:<target>:<subject>`.
func subjectOf(principal string) string {
	parts := strings.Split(principal, ":")
	return strings.NewReplacer("%3A", ":", "%25", "%").Replace(parts[len(parts)-1])
}
