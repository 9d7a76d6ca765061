package subject_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/subject"
)

const loginKeys = login + "/keys"

func TestKeysByDiscovery(t *testing.T) {
	b := newBench(t, corp())
	e := newES256("e")
	b.house.issuer(login, e)
	b.accepts(e.token(person(nil)))
	b.accepts(e.token(person(map[string]any{"sub": "bob"})))
	if n, m := b.house.count(login+"/.well-known/openid-configuration"), b.house.count(loginKeys); n != 1 || m != 1 {
		t.Errorf("%d discoveries and %d fetches of keys, want one each", n, m)
	}
}

func TestKeysByURLAndFile(t *testing.T) {
	e := newES256("e")
	byURL, byFile := corp(), corp()
	byURL.Keys.URL = "https://elsewhere.test/jwks?x=1"
	byFile.Keys.File = writeFile(t, "keys.json", keySetOf(e))
	for _, trust := range []exchange.Trust{byURL, byFile} {
		b := newBench(t, trust)
		b.house.serve("https://elsewhere.test/jwks", keySetOf(e))
		b.accepts(e.token(person(nil)))
		if n := b.house.count(login + "/.well-known/openid-configuration"); n != 0 {
			t.Errorf("discovery was asked %d times", n)
		}
	}
}

func TestKeyFileIsReadAgain(t *testing.T) {
	old, fresh := newES256("old"), newES256("new")
	trust := corp()
	trust.Keys.File = writeFile(t, "keys.json", keySetOf(old))
	b := newBench(t, trust)
	remembered := old.token(person(nil))
	b.accepts(remembered)
	if err := os.WriteFile(trust.Keys.File, keySetOf(fresh), 0o600); err != nil {
		t.Fatal(err)
	}
	b.clock.advance(2 * time.Second)
	b.accepts(fresh.token(person(nil))) // an unknown kid reads at once
	b.refuses(remembered, exchange.KindInvalidSubject, "does not publish")
	// A file that breaks leaves the keys in force, within Stale.
	if err := os.WriteFile(trust.Keys.File, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.clock.advance(time.Minute)
	long := person(map[string]any{"exp": noon.Add(9 * time.Hour).Unix()})
	b.accepts(fresh.token(long))
	b.clock.advance(time.Hour)
	b.refuses(fresh.token(long), exchange.KindUnavailable, "keys of the token's issuer")
}

// Each fault of an issuer means: not now, and the reason stays inside.
func TestFaultsOfIssuers(t *testing.T) {
	e := newES256("e")
	discovery := login + "/.well-known/openid-configuration"
	for name, breaks := range map[string]func(h *house){
		"no discovery":      func(h *house) { h.fail(discovery, http.StatusNotFound) },
		"discovery is down": func(h *house) { h.fail(discovery, http.StatusBadGateway) },
		"discovery is HTML": func(h *house) { h.serve(discovery, []byte("<html>")) },
		"discovery twice":   func(h *house) { h.serve(discovery, []byte(`{"issuer":"`+login+`","issuer":"x"}`)) },
		"another issuer": func(h *house) {
			h.serve(discovery, marshal(map[string]string{"issuer": login + "/", "jwks_uri": loginKeys}))
		},
		"no jwks_uri": func(h *house) { h.serve(discovery, marshal(map[string]string{"issuer": login})) },
		"jwks_uri is plain http": func(h *house) {
			h.serve(discovery, marshal(map[string]string{"issuer": login, "jwks_uri": "http://login.test/keys"}))
		},
		"jwks_uri is http at home": func(h *house) {
			h.serve(discovery, marshal(map[string]string{"issuer": login, "jwks_uri": "http://127.0.0.1/keys"}))
		},
		"jwks_uri is a file": func(h *house) {
			h.serve(discovery, marshal(map[string]string{"issuer": login, "jwks_uri": "file:///etc/passwd"}))
		},
		"jwks_uri has a password": func(h *house) {
			h.serve(discovery, marshal(map[string]string{"issuer": login, "jwks_uri": "https://a:b@login.test/keys"}))
		},
		"keys are down": func(h *house) { h.fail(loginKeys, http.StatusInternalServerError) },
		"keys by redirect": func(h *house) {
			h.handle(loginKeys, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, login+"/other", http.StatusFound) })
			h.serve(login+"/other", keySetOf(e))
		},
		"keys are HTML":     func(h *house) { h.serve(loginKeys, []byte("<html>")) },
		"keys are an array": func(h *house) { h.serve(loginKeys, []byte("[]")) },
		"keys missing":      func(h *house) { h.serve(loginKeys, []byte("{}")) },
		"keys twice":        func(h *house) { h.serve(loginKeys, []byte(`{"keys":[],"keys":[]}`)) },
		"a key is a number": func(h *house) { h.serve(loginKeys, []byte(`{"keys":[7]}`)) },
		"keys too long": func(h *house) {
			h.serve(loginKeys, append(keySetOf(e), []byte(strings.Repeat(" ", 1<<20))...))
		},
		"keys without end": func(h *house) {
			h.handle(loginKeys, func(w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					if _, err := w.Write(make([]byte, 1<<16)); err != nil {
						return
					}
				}
			})
		},
		"too many keys": func(h *house) {
			h.serve(loginKeys, []byte(`{"keys":[`+strings.TrimSuffix(strings.Repeat(string(jwk(e))+",", 129), ",")+`]}`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, corp())
			b.house.issuer(login, e)
			breaks(b.house)
			b.refuses(e.token(person(nil)), exchange.KindUnavailable, "cannot be had at present")
			_, err := b.verify(e.token(person(nil)))
			if e := err.(*exchange.Error); e.RetryAfter != 10*time.Second || strings.Contains(e.Advice, "login") {
				t.Errorf("retry after %v, advice %q", e.RetryAfter, e.Advice)
			}
			if b.meter.failed != 1 {
				t.Errorf("%d failures counted, want the one that the throttle lets through", b.meter.failed)
			}
		})
	}
}

// Keys that may not verify are passed over, wherever they come from.
func TestUnusableKeysArePassedOver(t *testing.T) {
	good, other := newES256("good"), newES256("other")
	member := func(k signer, name string, value any) json.RawMessage {
		var m map[string]any
		if err := json.Unmarshal(jwk(k), &m); err != nil {
			t.Fatal(err)
		}
		return marshal(change(m, map[string]any{name: value}))
	}
	small := signer{"RS256", "other", smallRSA()}
	for name, k := range map[string]struct {
		signer signer
		jwk    json.RawMessage
	}{
		"for encryption":         {other, member(other, "use", "enc")},
		"use is a number":        {other, member(other, "use", 1)},
		"key_ops without verify": {other, member(other, "key_ops", []string{"sign"})},
		"with its private half":  {other, member(other, "d", "AAAA")},
		"another alg":            {other, member(other, "alg", "ES384")},
		"alg is a number":        {other, member(other, "alg", 1)},
		"kid is a number":        {other, member(other, "kid", 1)},
		"kid is empty":           {other, member(other, "kid", "")},
		"kty unknown":            {other, member(other, "kty", "XYZ")},
		"not on the curve":       {other, member(other, "x", b64(make([]byte, 32)))},
		"curve unknown":          {other, member(other, "crv", "P-512")},
		"RSA too small":          {small, jwk(small)},
		"a shared secret":        {other, []byte(`{"kty":"oct","kid":"other","k":"AAAA"}`)},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, corp())
			b.house.issuer(login)
			b.house.serve(loginKeys, []byte(`{"keys":[`+string(k.jwk)+`,`+string(jwk(good))+`]}`))
			b.accepts(good.token(person(nil)))
			b.refuses(k.signer.token(person(nil)), exchange.KindInvalidSubject, "does not publish")
		})
	}
}

// An unknown kid costs one fetch an interval, however many ask, and whoever hangs
// up.
func TestS24UnknownKeyCostsOneFetchAnInterval(t *testing.T) {
	b := newBench(t, corp())
	e, stranger := newES256("e"), newES256("stranger")
	b.house.issuer(login, e)
	b.accepts(e.token(person(nil)))
	b.clock.advance(11 * time.Second)

	arrived, gate := make(chan struct{}, 1), make(chan struct{})
	b.house.handle(loginKeys, func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-gate
		_, _ = w.Write(keySetOf(e))
	})
	raw := stranger.token(person(nil))
	hangsUp, hangUp := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := b.Verify(hangsUp, exchange.Token{Value: exchange.NewSecret(raw)}, b.clock.Now())
		first <- err
	}()
	<-arrived // the fetch is under way, for the first caller
	const callers = 200
	others := make(chan error, callers)
	for range callers {
		go func() {
			_, err := b.verify(raw)
			others <- err
		}()
	}
	hangUp()
	wantError(t, <-first, exchange.KindUnavailable, "in time")
	b.accepts(e.token(person(map[string]any{"sub": "bob"}))) // known keys do not wait
	close(gate)
	for range callers {
		wantError(t, <-others, exchange.KindInvalidSubject, "does not publish")
	}
	if n := b.house.count(loginKeys); n != 2 {
		t.Errorf("%d fetches, want the first and one for all unknown keys", n)
	}
	b.refuses(raw, exchange.KindInvalidSubject, "does not publish")
	b.clock.advance(9 * time.Second)
	b.refuses(raw, exchange.KindInvalidSubject, "does not publish")
	if n := b.house.count(loginKeys); n != 2 {
		t.Errorf("%d fetches within the interval", n)
	}
	b.clock.advance(2 * time.Second)
	b.house.serve(loginKeys, keySetOf(e, stranger))
	b.accepts(raw)
}

// A rotation is followed by the first token that needs it.
func TestRotationIsFollowed(t *testing.T) {
	b := newBench(t, corp())
	old, fresh := newES256("old"), newES256("new")
	b.house.issuer(login, old)
	b.accepts(old.token(person(nil)))
	b.house.serve(loginKeys, keySetOf(old, fresh))
	b.clock.advance(10 * time.Second)
	b.accepts(fresh.token(person(nil)))

	// The same for tokens that name no key.
	nameless := newES256("")
	b.house.serve(loginKeys, keySetOf(old, nameless))
	b.clock.advance(10 * time.Second)
	b.accepts(nameless.token(person(nil)))
}

func TestStaleKeysServeWhileTheIssuerIsDown(t *testing.T) {
	trust := corp()
	trust.Keys.Stale = 30 * time.Minute
	b := newBench(t, trust)
	e := newES256("e")
	b.house.issuer(login, e)
	raw := e.token(person(map[string]any{"exp": noon.Add(3 * time.Hour).Unix()}))
	b.accepts(raw)
	b.house.fail(loginKeys, http.StatusServiceUnavailable)
	for range 2 { // 24 minutes
		b.clock.advance(12 * time.Minute)
		if err := b.Refresh(t.Context()); err == nil {
			t.Fatal("Refresh did not say that the issuer is down")
		}
		b.accepts(raw)
		b.accepts(e.token(person(map[string]any{"sub": b.clock.Now().String(), "exp": noon.Add(3 * time.Hour).Unix()})))
	}
	b.clock.advance(6 * time.Minute)
	b.refuses(raw, exchange.KindUnavailable, "cannot be had at present") // remembered or not
	// An unknown key cannot be judged while nobody can be asked.
	b.house.issuer(login, e)
	b.clock.advance(time.Minute)
	b.accepts(raw)
}

func TestUnknownKeyIsUnavailableWhileTheIssuerIsDown(t *testing.T) {
	b := newBench(t, corp())
	e := newES256("e")
	b.house.issuer(login, e)
	b.accepts(e.token(person(nil)))
	b.house.fail(loginKeys, http.StatusServiceUnavailable)
	b.clock.advance(11 * time.Second)
	b.refuses(newES256("new").token(person(nil)), exchange.KindUnavailable, "cannot be had at present")
	b.accepts(e.token(person(nil)))
}

// A withdrawn key is gone after the next refresh, for remembered tokens too.
func TestS11HitRechecksKey(t *testing.T) {
	b := newBench(t, corp())
	bad, good := newES256("bad"), newES256("good")
	b.house.issuer(login, bad, good)
	raw := bad.token(person(nil))
	b.accepts(raw)
	b.accepts(raw)
	if b.meter.hitCount() != 1 {
		t.Fatalf("%d hits, want 1", b.meter.hitCount())
	}
	b.house.serve(loginKeys, keySetOf(good))
	b.clock.advance(10 * time.Second)
	if err := b.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.refuses(raw, exchange.KindInvalidSubject, "does not publish")

	// Another key under the old name is another key.
	b.house.serve(loginKeys, keySetOf(good, newES256("bad")))
	b.clock.advance(10 * time.Second)
	if err := b.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.refuses(raw, exchange.KindInvalidSubject, "signature")

	// An issuer may withdraw everything.
	token := good.token(person(nil))
	b.accepts(token)
	b.house.serve(loginKeys, []byte(`{"keys":[]}`))
	b.clock.advance(10 * time.Second)
	if err := b.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.refuses(token, exchange.KindInvalidSubject, "does not publish")
}

// Without Run, keys that are long overdue are fetched before they are used.
func TestOverdueKeysAreFetchedBeforeUse(t *testing.T) {
	b := newBench(t, corp())
	e := newES256("e")
	b.house.issuer(login, e)
	raw := e.token(person(map[string]any{"exp": noon.Add(time.Hour).Unix()}))
	b.accepts(raw)
	b.house.serve(loginKeys, keySetOf(newES256("other")))
	b.clock.advance(10 * time.Minute)
	b.refuses(raw, exchange.KindInvalidSubject, "does not publish")
}

// Run fetches what was loaded, before any token comes.
func TestRunFetchesAhead(t *testing.T) {
	b := newBench(t)
	e := newES256("e")
	served := make(chan struct{}, 1)
	b.house.issuer(login, e)
	b.house.handle(loginKeys, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(keySetOf(e))
		served <- struct{}{}
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { b.Run(ctx) })
	b.load(corp())
	<-served
	b.accepts(e.token(person(nil)))
	if n := b.house.count(loginKeys); n != 1 {
		t.Errorf("%d fetches", n)
	}
	cancel()
	running.Wait()
}

// A reload keeps keys and remembered tokens of what did not change, and of nothing
// else.
func TestS11HitRechecksTrust(t *testing.T) {
	b := newBench(t, corp())
	e := newES256("e")
	b.house.issuer(login, e)
	raw := e.token(person(nil))
	first := b.accepts(raw)

	other := corp()
	other.Name, other.Issuer = "other", "https://other.test"
	b.load(corp(), other)
	b.accepts(raw)
	if b.meter.hitCount() != 1 {
		t.Errorf("%d hits after an unrelated change, want 1", b.meter.hitCount())
	}

	changed := corp()
	changed.Audiences, changed.Hash = []string{"cambio", "more"}, [32]byte{1}
	b.load(changed)
	second := b.accepts(raw)
	if b.meter.hitCount() != 1 || second.TrustHash == first.TrustHash {
		t.Error("a token verified by the former trust was believed")
	}
	if n := b.house.count(loginKeys); n != 1 {
		t.Errorf("%d fetches: keys were thrown away", n)
	}

	changed.Audiences = []string{"more"}
	b.load(changed)
	b.refuses(raw, exchange.KindInvalidSubject, "another audience")
	b.load()
	b.refuses(raw, exchange.KindInvalidSubject, "no trust accepts")
}

// exp, nbf and the rest hold at each use.
func TestS11HitRechecksTime(t *testing.T) {
	b := newBench(t, corp())
	e := newES256("e")
	b.house.issuer(login, e)
	raw := e.token(person(map[string]any{"nbf": noon.Unix()}))
	b.accepts(raw)
	b.clock.advance(10*time.Minute - time.Nanosecond)
	b.accepts(raw)
	if b.meter.hitCount() != 1 {
		t.Fatalf("%d hits, want 1", b.meter.hitCount())
	}
	b.clock.advance(time.Nanosecond)
	b.refuses(raw, exchange.KindInvalidSubject, "expired")
	b.clock.advance(-11 * time.Minute)
	b.refuses(raw, exchange.KindInvalidSubject, "nbf")
}

// One load is all or nothing.
func TestLoadIsAtomic(t *testing.T) {
	b := newBench(t, corp())
	e := newES256("e")
	b.house.issuer(login, e)
	b.accepts(e.token(person(nil)))
	broken := corp()
	broken.Name, broken.Issuer, broken.Audiences = "broken", "https://broken.test", nil
	if err := b.Load([]exchange.Trust{broken}); err == nil || !strings.Contains(err.Error(), `trust "broken": audiences`) {
		t.Fatalf("Load: %v", err)
	}
	b.accepts(e.token(person(map[string]any{"sub": "bob"})))

	// A file of roots that is not there is found at load too.
	v := subject.New(subject.Options{Client: func(string) (*http.Client, error) { return nil, os.ErrNotExist }, Now: b.clock.Now})
	if err := v.Load([]exchange.Trust{corp()}); err == nil || !strings.Contains(err.Error(), `trust "corp"`) {
		t.Errorf("Load: %v", err)
	}
}

// Verification, reloads and refreshes go on together (for -race).
func TestConcurrentUse(t *testing.T) {
	b := newBench(t, corp())
	e := newES256("e")
	b.house.issuer(login, e)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 50 {
				if _, err := b.verify(e.token(person(map[string]any{"jti": strings.Repeat("x", 1+i%7)}))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Go(func() {
		for range 20 {
			if err := b.Load([]exchange.Trust{corp()}); err != nil {
				t.Error(err)
			}
			b.clock.advance(time.Second)
			_ = b.Refresh(t.Context())
		}
	})
	all.Wait()
}
