package providertest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// Federation is a federation issuer for tests: it signs assertions as the real one
// does, and a stand-in trusts its World. It refuses what the real one refuses, and
// remembers what it was asked for.
type Federation struct {
	Issuer string
	Now    func() time.Time
	// Bend, if set, changes the claims before they are signed.
	Bend func(claims map[string]any)

	keys   []byte
	signer *sandbox.Signer

	mu    sync.Mutex
	asked []exchange.Assertion
}

// NewFederation makes an issuer with an RS256 key of its own, at the name
// https://cambio.example/federation.
func NewFederation(t testing.TB) *Federation {
	t.Helper()
	return newFederation(t, 2048)
}

// NewQuickFederation is NewFederation with a key that is too small for anything but
// the signing of many thousand assertions in one test.
func NewQuickFederation(t testing.TB) *Federation {
	t.Helper()
	return newFederation(t, 1024)
}

func newFederation(t testing.TB, bits int) *Federation {
	t.Helper()
	signer, err := sandbox.NewSigner(bits)
	if err != nil {
		t.Fatal(err)
	}
	f := &Federation{Issuer: "https://cambio.example/federation", Now: time.Now, signer: signer}
	if f.keys, err = json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{signer.Public}}); err != nil {
		t.Fatal(err)
	}
	return f
}

// World is what a stand-in that trusts this issuer knows of it.
func (f *Federation) World() sandbox.World {
	return sandbox.World{
		Issuer: f.Issuer, Keys: func() []byte { return f.keys },
		Now: func() time.Time { return f.Now() }, Random: rand.Reader,
	}
}

// Assert signs an assertion.
func (f *Federation) Assert(_ context.Context, a exchange.Assertion) (exchange.Secret, error) {
	f.mu.Lock()
	f.asked = append(f.asked, a)
	f.mu.Unlock()
	now := f.Now()
	subject := exchange.CanonicalName("", append([]string{a.Tenant, a.Target}, a.Values...)...)[1:]
	switch {
	case a.Tenant == "" || a.Target == "" || a.Audience == "" || a.Endpoint == "":
		return exchange.Secret{}, errors.New("an assertion names tenant, target, audience and endpoint")
	case len(subject) > 127:
		return exchange.Secret{}, exchange.Fault(exchange.KindMisconfigured, "the target's subject would be too long for its provider: ask its operator",
			fmt.Errorf("the assertion's sub has %d bytes", len(subject)))
	case !a.Expires.After(now), a.Expires.Sub(a.Issued) > exchange.MaxAssertionLifetime, a.Issued.After(now):
		return exchange.Secret{}, errors.New("the assertion's times do not fit")
	}
	for name := range a.Claims {
		if slices.Contains([]string{"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "act", "cnf", "scope", "azp", "client_id", "may_act"}, name) {
			return exchange.Secret{}, fmt.Errorf("the claim %q is the issuer's own", name)
		}
	}
	claims := map[string]any{}
	maps.Copy(claims, a.Claims)
	maps.Copy(claims, map[string]any{
		"iss": f.Issuer, "sub": subject, "aud": a.Audience, "iat": a.Issued.Unix(), "exp": a.Expires.Unix(), "jti": rand.Text(),
	})
	if f.Bend != nil {
		f.Bend(claims)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return exchange.Secret{}, err
	}
	signed, err := f.signer.Sign(payload)
	if err != nil {
		return exchange.Secret{}, err
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		return exchange.Secret{}, err
	}
	return exchange.NewSecret(compact), nil
}

// Asked are the assertions that were asked for, oldest first.
func (f *Federation) Asked() []exchange.Assertion {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}
