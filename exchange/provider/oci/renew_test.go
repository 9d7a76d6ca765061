package oci_test

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/provider/oci"
	"github.com/cambio-sts/cambio/exchange/provider/oci/ocisandbox"
	"github.com/cambio-sts/cambio/exchange/provider/sandbox"
)

// wound is a clock that a test winds.
type wound struct {
	mu  sync.Mutex
	now time.Time
}

func (w *wound) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *wound) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// newRenewingDesk is a signing desk with a clock of its own, at which a session of
// about a quarter of an hour is held.
func newRenewingDesk(t testing.TB, changes ...func(*oci.Settings)) (*desk, *shelf, *wound, exchange.Credential) {
	t.Helper()
	w := &wound{now: time.Now()}
	d := newDesk(t, func(b *ocisandbox.Setup, s *oci.Settings) {
		b.World.Now, s.Signing = w.Now, &oci.Signing{}
		s.Claims = map[string]string{"ext_who": "namespace"}
		for _, change := range changes {
			change(s)
		}
	})
	*d.settings.Signing = oci.Signing{Hosts: []string{strings.TrimPrefix(d.server.URL, "https://")}, Methods: []string{"GET"}, Paths: []string{"/n/"}}
	s := &shelf{held: map[exchange.ID]onShelf{}}
	d.deps.Sessions, d.deps.Now = s, w.Now
	c, err := d.vend(t, func(g *exchange.Grant) {
		g.PublicKey, g.Now, g.NotAfter = nil, w.Now(), w.Now().Add(15*time.Minute)
	})
	if err != nil {
		t.Fatal(err)
	}
	return d, s, w, c
}

func (d *desk) renew(t testing.TB, c exchange.Credential, until time.Time) (time.Time, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return d.open(t).(provider.Renewer).Renew(ctx, d.grant(t).Target, c.RevokeWith, until)
}

// inside reads what is held: the public key, and the token's claims.
func inside(t testing.TB, h onShelf) (*rsa.PublicKey, ocisandbox.Claims) {
	t.Helper()
	var s struct{ Token, Key string }
	if err := json.Unmarshal([]byte(h.snapshot.Reveal()), &s); err != nil {
		t.Fatal("the snapshot is no JSON")
	}
	der, err := base64.StdEncoding.DecodeString(s.Key)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(s.Token, ".")[1])
	var c ocisandbox.Claims
	if err != nil || json.Unmarshal(payload, &c) != nil {
		t.Fatal("the token is no JWT")
	}
	return &key.(*rsa.PrivateKey).PublicKey, c
}

// TestS25RenewalKeepsKeyAndSubject: another token for the same subject, with the same
// claims, that names the same key; past no moment that was allowed. It signs on after
// the first token has died.
func TestS25RenewalKeepsKeyAndSubject(t *testing.T) {
	d, s, w, c := newRenewingDesk(t)
	held := func() onShelf { h, _ := s.find(c.Lease.String()); return h }
	key, first := inside(t, held())
	w.pass(12 * time.Minute)
	until := w.Now().Add(time.Hour)
	expires, err := d.renew(t, c, until)
	if err != nil {
		t.Fatal(err)
	}
	again, second := inside(t, held())
	if !key.Equal(again) || second.Subject != first.Subject || second.Propagated["ext_who"] != "llm" || second.ID == first.ID {
		t.Errorf("%+v became %+v", first, second)
	}
	if expires.After(until) || until.Sub(expires) > time.Minute || second.Expires != expires.Unix() || !held().session.Expires.Equal(expires) {
		t.Errorf("until %v, held until %v, of %v", expires, held().session.Expires, until)
	}
	w.pass(10 * time.Minute)
	if status, text, err := d.sign(t, s, c, d.get("/n/"), nil); err != nil || status != http.StatusOK || !bytes.Contains(text, []byte("gateway")) {
		t.Errorf("signed: %d %s %v", status, text, err)
	}
}

// TestS25RenewalThatFailsChangesNothing: whatever the domain, the settings or the
// keeper of sessions say, key and token stay as they were.
func TestS25RenewalThatFailsChangesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*desk, *shelf)
		until time.Duration
		want  exchange.Kind
	}{
		"refused":          {spoil: func(d *desk, _ *shelf) { d.sandbox.Weather.Set(sandbox.Refusing) }, want: exchange.KindProviderRefused},
		"throttled":        {spoil: func(d *desk, _ *shelf) { d.sandbox.Weather.Set(sandbox.Throttling) }, want: exchange.KindThrottled},
		"no expiry":        {spoil: func(d *desk, _ *shelf) { d.sandbox.Weather.Set(sandbox.WithoutExpiry) }, want: exchange.KindUnavailable},
		"another subject":  {spoil: func(d *desk, _ *shelf) { d.settings.Subject = []string{"namespace"} }, want: exchange.KindProviderRefused},
		"another claim":    {spoil: func(d *desk, _ *shelf) { d.settings.Claims = nil }, want: exchange.KindProviderRefused},
		"another resource": {spoil: func(d *desk, _ *shelf) { d.settings.ResType = "other" }, want: exchange.KindProviderRefused},
		"no longer life":   {spoil: func(*desk, *shelf) {}, until: 4 * time.Minute, want: exchange.KindProviderRefused},
		"no life":          {spoil: func(*desk, *shelf) {}, until: -time.Minute, want: exchange.KindInvalidLifetime},
		"not kept":         {spoil: func(_ *desk, s *shelf) { s.fail = errors.New("no disk") }, want: exchange.KindUnavailable},
		"ended":            {spoil: func(_ *desk, s *shelf) { clear(s.held) }, want: exchange.KindProviderRefused},
	} {
		d, s, w, cred := newRenewingDesk(t)
		before, _ := s.find(cred.Lease.String())
		w.pass(10 * time.Minute)
		c.spoil(d, s)
		if c.until == 0 {
			c.until = time.Hour
		}
		if _, err := d.renew(t, cred, w.Now().Add(c.until)); exchange.KindOf(err) != c.want || err == nil || strings.Contains(err.Error(), "eyJ") {
			t.Errorf("%s: %v", name, err)
		}
		after, there := s.find(cred.Lease.String())
		if name == "not kept" {
			continue // this keeper fails before it keeps anything
		}
		if there != (name != "ended") || there && (!after.snapshot.Equal(before.snapshot) || !after.session.Expires.Equal(before.session.Expires)) {
			t.Errorf("%s: it changed", name)
		}
	}
}

// TestS25ATokenThatOutlivesIsCut: a domain of long lives, where the target takes
// them; what signs ends when it must all the same.
func TestS25ATokenThatOutlivesIsCut(t *testing.T) {
	d, s, w, c := newRenewingDesk(t, func(s *oci.Settings) { s.MayOutlive, s.MinTTL = true, 10*time.Minute })
	w.pass(14 * time.Minute)
	until := w.Now().Add(5 * time.Minute)
	expires, err := d.renew(t, c, until)
	h, _ := s.find(c.Lease.String())
	if _, claims := inside(t, h); err != nil || !expires.Equal(until) || !h.session.Expires.Equal(until) || claims.Expires <= until.Unix() {
		t.Errorf("until %v, of %v: %v", expires, until, err)
	}
}

// TestS25EverySignatureIsOfOneSnapshot: while replicas renew one session over and
// over, whatever is signed is honoured, under the token that it names.
func TestS25EverySignatureIsOfOneSnapshot(t *testing.T) {
	d, s, w, c := newRenewingDesk(t)
	until := w.Now().Add(16 * time.Minute)
	signatures, renewals := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		signers, renewers := rapid.IntRange(1, 6).Draw(rt, "signers"), rapid.IntRange(1, 3).Draw(rt, "renewers")
		step := rapid.IntRange(60, 600).Draw(rt, "seconds")
		w.pass(min(time.Duration(step)*time.Second, until.Sub(w.Now())-2*time.Minute))
		until = until.Add(time.Duration(step+60) * time.Second)
		if until.Sub(w.Now()) > 11*time.Hour {
			until = w.Now().Add(11 * time.Hour)
		}
		var group sync.WaitGroup
		ends := make([]time.Time, renewers)
		errs := make([]error, renewers)
		for i := range renewers {
			group.Go(func() { ends[i], errs[i] = d.renew(t, c, until) })
		}
		statuses := make([]int, signers)
		for i := range signers {
			group.Go(func() { statuses[i], _, _ = d.sign(t, s, c, d.get("/n/"), nil) })
		}
		group.Wait()
		h, _ := s.find(c.Lease.String())
		for i, err := range errs {
			// Who comes behind is told that no longer life is to be had.
			if err != nil && exchange.KindOf(err) != exchange.KindProviderRefused || err == nil && !ends[i].Equal(h.session.Expires) {
				rt.Errorf("renewed until %v, held until %v: %v", ends[i], h.session.Expires, err)
			}
			if err == nil {
				renewals++
			}
		}
		for _, status := range statuses {
			if status != http.StatusOK {
				rt.Errorf("a signature is answered %d", status)
			}
			signatures++
		}
	})
	t.Logf("%d signatures, %d renewals", signatures, renewals)
}
