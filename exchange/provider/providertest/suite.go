package providertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
)

// Harness is a driver with a stand-in of its provider.
type Harness struct {
	// Provider is the kind's name.
	Provider string
	// Config are good settings, which point at the stand-in.
	Config provider.Config
	// Deps are what the house lends. Now is the stand-in's clock too.
	Deps provider.Deps
	// Scopes are granted in the suite; nil: the target knows none.
	Scopes []string
	// PublicKey comes with each grant, in SPKI DER; nil: none.
	PublicKey []byte
	// Type is what is issued when the request names no type.
	Type exchange.TokenType
	// Honour asks the stand-in, as a resource would, whether it honours the
	// credential at this moment, and for whom; scopes as it understands them.
	Honour func(t *testing.T, c exchange.Credential) (subject string, scopes []string, err error)
	// Fail makes the stand-in answer its next calls in a way that the driver must
	// classify so, until the returned function is called. Kinds that are absent
	// cannot happen at this provider.
	Fail map[exchange.Kind]func(t *testing.T) (restore func())
	// Hang makes the stand-in keep callers waiting; nil: nothing is waited for.
	Hang func(t *testing.T) (restore func())
}

// Run is the suite.
func Run(t *testing.T, h Harness) {
	t.Run("Settings", h.settings)
	t.Run("Vends", h.vends)
	t.Run("S5LifetimeIsWithinItsCaps", h.lifetime)
	t.Run("S23SubjectsShareNothing", h.subjects)
	t.Run("ScopesAreThoseGranted", h.scopes)
	t.Run("ErrorsAreClassified", h.errors)
	t.Run("DeadlineIsRespected", h.deadline)
	t.Run("ConcurrentUse", h.concurrency)
	t.Run("S39NothingPrintsASecret", h.secrets)
	t.Run("RevokedIsDead", h.revoked)
}

func (h Harness) open(t *testing.T) provider.Driver {
	t.Helper()
	d, err := h.Config.Open(h.Deps)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Grant is a good grant for the harness's target.
func (h Harness) Grant(t *testing.T, subject string) exchange.Grant {
	t.Helper()
	now := h.Deps.Now()
	id, err := exchange.NewID(now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return exchange.Grant{
		Exchange: id, Tenant: "default",
		Target: &exchange.Target{
			Tenant: "default", Name: "suite", Provider: h.Provider, Facts: h.Config.Facts(), Settings: h.Config, Hash: [32]byte{1},
		},
		Subject: exchange.Subject{
			Name: subject, Tenant: "default", Trust: "prod", Issuer: "https://prod.example", ID: subject, Expires: now.Add(time.Hour),
		},
		Scopes: h.Scopes, PublicKey: h.PublicKey, Rule: "suite", Revision: exchange.Revision{Hash: "r", Seq: 1},
		Now: now, Lifetime: 15 * time.Minute, NotAfter: now.Add(15 * time.Minute),
	}
}

func (h Harness) vend(t *testing.T, d provider.Driver, g exchange.Grant) (exchange.Credential, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return d.Vend(ctx, g)
}

func (h Harness) must(t *testing.T, d provider.Driver, g exchange.Grant) exchange.Credential {
	t.Helper()
	c, err := h.vend(t, d, g)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (h Harness) settings(t *testing.T) {
	if faults := h.Config.Validate(); len(faults) > 0 {
		t.Fatalf("the harness's settings have faults: %v", faults)
	}
	facts := h.Config.Facts()
	if len(facts.Types) == 0 || facts.Types[0] != h.Type {
		t.Errorf("the facts list types %v, want %s first", facts.Types, h.Type)
	}
	for _, s := range h.Scopes {
		if !slices.Contains(facts.Scopes, s) {
			t.Errorf("the facts do not offer the scope %q", s)
		}
	}
}

func (h Harness) vends(t *testing.T) {
	d := h.open(t)
	g := h.Grant(t, "k8s:prod:llm:gateway")
	c := h.must(t, d, g)
	if c.Value.IsZero() || c.Expires.IsZero() || c.Issued.IsZero() || c.Handle == "" {
		t.Errorf("a credential without value, times or handle: %+v", c)
	}
	if c.IssuedType != h.Type {
		t.Errorf("issued type %s, want %s", c.IssuedType, h.Type)
	}
	if c.TokenType != "Bearer" && c.TokenType != "N_A" {
		t.Errorf("token type %q", c.TokenType)
	}
	if strings.Contains(c.Handle, c.Value.Reveal()) {
		t.Error("the handle, which is recorded, holds the credential")
	}
	subject, _, err := h.Honour(t, c)
	if err != nil || subject != g.Subject.Name {
		t.Errorf("honoured for %q: %v", subject, err)
	}
	if again := h.must(t, d, h.Grant(t, "k8s:prod:llm:gateway")); again.Value.Equal(c.Value) || again.Handle == c.Handle {
		t.Error("two exchanges got one credential from the driver: reuse is the vendor's")
	}
}

func (h Harness) lifetime(t *testing.T) {
	d := h.open(t)
	facts := h.Config.Facts()
	for _, caps := range []time.Duration{12 * time.Second, time.Minute, 15 * time.Minute, time.Hour} {
		g := h.Grant(t, "k8s:prod:llm:gateway")
		g.Lifetime, g.NotAfter = 15*time.Minute, g.Now.Add(caps)
		c, err := h.vend(t, d, g)
		if err != nil {
			if facts.MinTTL > caps && exchange.KindOf(err) == exchange.KindInvalidLifetime {
				continue // it says that it cannot
			}
			t.Fatalf("within %v: %v", caps, err)
		}
		if c.Expires.After(g.NotAfter) && !facts.MayOutlive && facts.MinTTL == 0 {
			t.Errorf("with a cap of %v it lives %v", caps, c.Expires.Sub(g.Now))
		}
		if !c.Expires.After(g.Now) || !c.Expires.After(c.Issued) {
			t.Errorf("with a cap of %v it is dead on arrival", caps)
		}
	}
	g := h.Grant(t, "k8s:prod:llm:gateway")
	g.NotAfter = g.Now
	if c, err := h.vend(t, d, g); err == nil && !facts.MayOutlive && !c.Expires.After(g.Now) {
		t.Error("with no life left it vends something dead, instead of refusing")
	}
}

func (h Harness) subjects(t *testing.T) {
	d := h.open(t)
	a, b := h.Grant(t, "oidc:corp:alice"), h.Grant(t, "oidc:other:alice")
	x, y := h.must(t, d, a), h.must(t, d, b)
	if x.Value.Equal(y.Value) {
		t.Fatal("two subjects got one credential")
	}
	for name, c := range map[string]exchange.Credential{a.Subject.Name: x, b.Subject.Name: y} {
		if subject, _, err := h.Honour(t, c); err != nil || subject != name {
			t.Errorf("%s's credential is honoured for %q: %v", name, subject, err)
		}
	}
}

func (h Harness) scopes(t *testing.T) {
	d := h.open(t)
	for n := range len(h.Scopes) + 1 {
		g := h.Grant(t, "k8s:prod:llm:gateway")
		g.Scopes = h.Scopes[:n]
		c, err := h.vend(t, d, g)
		if n == 0 && len(h.Scopes) > 0 && exchange.KindOf(err) == exchange.KindInvalidScope {
			continue // a provider that gives nothing without a scope says so
		}
		if err != nil {
			t.Fatal(err)
		}
		_, scopes, err := h.Honour(t, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range append(slices.Clone(c.Scopes), scopes...) {
			if !slices.Contains(g.Scopes, s) {
				t.Errorf("granted %q, the credential has %q", g.Scopes, s)
			}
		}
		if len(scopes) != n {
			t.Errorf("granted %q, the provider understood %q", g.Scopes, scopes)
		}
	}
}

func (h Harness) errors(t *testing.T) {
	d := h.open(t)
	for kind, fail := range h.Fail {
		restore := fail(t)
		c, err := h.vend(t, d, h.Grant(t, "k8s:prod:llm:gateway"))
		restore()
		var e *exchange.Error
		switch {
		case err == nil:
			t.Errorf("%v: vended", kind)
		case !c.Value.IsZero():
			t.Errorf("%v: a credential came with the error", kind)
		case exchange.KindOf(err) != kind:
			t.Errorf("%v is classified as %v: %v", kind, exchange.KindOf(err), err)
		case errors.As(err, &e) && kind != exchange.KindInternal && e.Advice == "":
			t.Errorf("%v: the caller is not told what to change", kind)
		}
		if _, err := h.vend(t, d, h.Grant(t, "k8s:prod:llm:gateway")); err != nil {
			t.Errorf("after %v it does not recover: %v", kind, err)
		}
	}
}

func (h Harness) deadline(t *testing.T) {
	if h.Hang == nil {
		return // asks nobody
	}
	d := h.open(t)
	restore := h.Hang(t)
	defer restore()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := d.Vend(ctx, h.Grant(t, "k8s:prod:llm:gateway"))
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("it vends past its deadline")
		}
	case <-time.After(20 * time.Second):
		t.Error("it does not end at its deadline")
	}
}

func (h Harness) concurrency(t *testing.T) {
	d := h.open(t)
	var all sync.WaitGroup
	for n := range 16 {
		g := h.Grant(t, fmt.Sprintf("k8s:prod:llm:s%d", n))
		all.Go(func() {
			c, err := h.vend(t, d, g)
			if err != nil {
				t.Error(err)
				return
			}
			if subject, _, err := h.Honour(t, c); err != nil || subject != g.Subject.Name {
				t.Errorf("%s's credential is honoured for %q: %v", g.Subject.Name, subject, err)
			}
		})
	}
	all.Wait()
}

func (h Harness) secrets(t *testing.T) {
	d := h.open(t)
	g := h.Grant(t, "k8s:prod:llm:gateway")
	g.Passthrough = exchange.Token{Value: exchange.NewSecret("passthrough-token-of-the-suite")}
	c := h.must(t, d, g)
	hidden := []string{c.Value.Reveal(), g.Passthrough.Value.Reveal()}
	if !c.RevokeWith.IsZero() {
		hidden = append(hidden, c.RevokeWith.Reveal())
	}
	texts := []string{fmt.Sprintf("%v %+v %#v", c, c, c), fmt.Sprintf("%v", h.Config), fmt.Sprintf("%+v", d)}
	for _, fail := range h.Fail {
		restore := fail(t)
		again := h.Grant(t, "k8s:prod:llm:gateway")
		again.Passthrough = g.Passthrough
		_, err := h.vend(t, d, again)
		restore()
		texts = append(texts, fmt.Sprintf("%v %+v", err, err))
	}
	for _, text := range texts {
		for _, s := range hidden {
			if strings.Contains(text, s) {
				t.Errorf("a secret is printed: %s", text)
			}
		}
	}
}

func (h Harness) revoked(t *testing.T) {
	d := h.open(t)
	target := h.Grant(t, "x").Target
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if r, ok := d.(provider.Revoker); ok {
		c := h.must(t, d, h.Grant(t, "k8s:prod:llm:gateway"))
		other := h.must(t, d, h.Grant(t, "k8s:prod:llm:gateway"))
		for range 2 { // what is gone already is gone
			if err := r.Revoke(ctx, target, c.RevokeWith); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := h.Honour(t, c); err == nil {
			t.Error("a revoked credential is honoured")
		}
		if _, _, err := h.Honour(t, other); err != nil {
			t.Errorf("another credential died with it: %v", err)
		}
	}
	if r, ok := d.(provider.Recoverer); ok {
		g := h.Grant(t, "k8s:prod:llm:gateway")
		c := h.must(t, d, g)
		other := h.must(t, d, h.Grant(t, "k8s:prod:llm:gateway"))
		for _, id := range []exchange.ID{g.Exchange, g.Exchange, h.Grant(t, "x").Exchange} {
			if err := r.Recover(ctx, target, id); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := h.Honour(t, c); err == nil {
			t.Error("a recovered credential is honoured")
		}
		if _, _, err := h.Honour(t, other); err != nil {
			t.Errorf("another exchange's credential died with it: %v", err)
		}
	}
}
