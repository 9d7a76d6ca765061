package issuer_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/issuer"
)

func published(t testing.TB, jwks []byte) []string {
	t.Helper()
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(jwks, &set); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, k := range set.Keys {
		ids = append(ids, k.KeyID)
	}
	return ids
}

// signs returns the kid that signs now.
func (k *kit) signs(t testing.TB) string {
	t.Helper()
	secret, err := k.mint(t)
	if err != nil {
		t.Fatal(err)
	}
	header, _, err := verify(k.AccessJWKS(), secret)
	if err != nil {
		t.Fatal(err)
	}
	return header.KeyID
}

func (k *kit) refresh(t testing.TB) {
	t.Helper()
	if err := k.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestRotation walks one rotation: the next key is published a day before it signs,
// and the old one stays until its last token has died.
func TestRotation(t *testing.T) {
	k := newKit(t)
	first := k.signs(t)
	k.clock.advance(29*24*time.Hour - 6*time.Minute) // the first key signs five minutes before it is made
	k.refresh(t)
	if ids := published(t, k.AccessJWKS()); !slices.Equal(ids, []string{first}) {
		t.Fatalf("before its time %v are published", ids)
	}
	k.clock.advance(time.Minute)
	k.refresh(t)
	ids := published(t, k.AccessJWKS())
	if len(ids) != 2 || ids[0] != first || k.signs(t) != first {
		t.Fatalf("a day ahead %v are published, and %s signs", ids, k.signs(t))
	}
	second := ids[1]
	k.clock.advance(24*time.Hour - time.Second)
	k.refresh(t)
	if k.signs(t) != first {
		t.Error("the next key signs early")
	}
	last, err := k.mint(t, func(a *exchange.AccessToken) { a.Expires = a.Issued.Add(exchange.MaxAccessTokenLifetime) })
	if err != nil {
		t.Fatal(err)
	}
	k.clock.advance(time.Second)
	if k.signs(t) != second {
		t.Error("the next key does not sign in its time")
	}
	k.clock.advance(exchange.MaxAccessTokenLifetime)
	k.refresh(t)
	if _, _, err := verify(k.AccessJWKS(), last); err != nil {
		t.Errorf("the old key's last token: %v", err)
	}
	k.clock.advance(time.Hour)
	k.refresh(t)
	if ids := published(t, k.AccessJWKS()); !slices.Equal(ids, []string{second}) {
		t.Errorf("after its last token died %v are published", ids)
	}
	if len(k.keys.rows) != 2 { // one of each purpose
		t.Errorf("%d rows are left", len(k.keys.rows))
	}
}

// TestRotationNeverStrandsAToken runs replicas whose readings fail and lag, over
// days, while someone rotates by hand: every token that a replica signs is verified,
// as long as it lives, by the key set of every replica that reads its keys.
func TestRotationNeverStrandsAToken(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		k := newKit(t, func(o *issuer.Options) { o.Rotate = time.Duration(rapid.IntRange(1, 8).Draw(rt, "rotate")) * time.Hour })
		replicas := []*issuer.Issuer{k.Issuer}
		read := []time.Time{noon}
		for range rapid.IntRange(1, 2).Draw(rt, "replicas") {
			i, err := issuer.Open(t.Context(), k.options)
			if err != nil {
				rt.Fatal(err)
			}
			replicas, read = append(replicas, i), append(read, noon)
		}
		alive := map[string]time.Time{} // by key: when the last token that it signed dies
		for range rapid.IntRange(20, 60).Draw(rt, "steps") {
			k.clock.advance(time.Duration(rapid.SampledFrom([]int{1, 1, 1, 5, 10, 15, 30}).Draw(rt, "minutes")) * time.Minute)
			now := k.clock.Now()
			if rapid.IntRange(0, 9).Draw(rt, "by hand") == 0 {
				if _, _, err := k.keeper(t).Rotate(t.Context(), "access"); err != nil {
					rt.Fatal(err)
				}
			}
			for n, r := range replicas {
				if rapid.IntRange(0, 3).Draw(rt, "reads") > 0 {
					if err := r.Refresh(t.Context()); err != nil {
						rt.Fatal(err)
					}
					read[n] = now
				}
			}
			for _, r := range replicas {
				life := time.Duration(rapid.IntRange(1, 720).Draw(rt, "life")) * time.Minute
				at := token(now)
				at.Expires = now.Add(life)
				secret, err := r.Mint(t.Context(), at)
				if err != nil {
					if exchange.KindOf(err) != exchange.KindUnavailable {
						rt.Fatal(err)
					}
					continue // it has not read its keys for long
				}
				signed, err := jose.ParseSignedCompact(secret.Reveal(), algorithms)
				if err != nil {
					rt.Fatal(err)
				}
				if kid := signed.Signatures[0].Header.KeyID; alive[kid].Before(at.Expires) {
					alive[kid] = at.Expires
				}
			}
			for n, r := range replicas {
				if !read[n].Equal(now) {
					continue
				}
				shown := published(t, r.AccessJWKS())
				for kid, expires := range alive {
					if expires.After(now) && !slices.Contains(shown, kid) {
						rt.Fatalf("replica %d at %v does not show the key of a token that lives until %v", n, now, expires)
					}
				}
			}
		}
	})
}

// TestAReplicaThatCannotReadStopsSigning, since others may have gone on to a key
// that it does not show.
func TestAReplicaThatCannotReadStopsSigning(t *testing.T) {
	k := newKit(t, func(o *issuer.Options) { o.Rotate = 4 * time.Hour }) // a lead of one hour
	k.keys.fail = errors.New("down")
	k.clock.advance(54 * time.Minute)
	if err := k.Refresh(t.Context()); err == nil {
		t.Fatal("a reading that fails is no error")
	}
	if _, err := k.mint(t); err != nil || k.Ready() != nil {
		t.Errorf("within the lead: %v, %v", err, k.Ready())
	}
	k.clock.advance(2 * time.Minute)
	if _, err := k.mint(t); exchange.KindOf(err) != exchange.KindUnavailable || k.Ready() == nil {
		t.Errorf("past the lead: %v, %v", err, k.Ready())
	}
	if _, err := k.Assert(t.Context(), assertion(k.clock.Now())); exchange.KindOf(err) != exchange.KindUnavailable {
		t.Errorf("past the lead, an assertion: %v", err)
	}
	k.keys.fail = nil
	k.refresh(t)
	if _, err := k.mint(t); err != nil || k.Ready() != nil {
		t.Errorf("after a reading: %v, %v", err, k.Ready())
	}
}

// TestReplicasAgreeOnTheFirstKey opens many at once over nothing.
func TestReplicasAgreeOnTheFirstKey(t *testing.T) {
	keys := &memory{}
	options := issuer.Options{
		URL: "https://cambio.example", Keys: keys, Sealer: sealer(t, 1), Now: func() time.Time { return noon },
		Random: rand.Reader, AccessAlgorithm: "EdDSA", FederationAlgorithm: "EdDSA",
	}
	// All of them see an empty table before any adds to it.
	const replicas = 8
	var arrived sync.WaitGroup
	arrived.Add(replicas)
	var first sync.Map
	keys.listing = func() {
		if n, _ := first.LoadOrStore("n", new(int)); n != nil {
			keys.mu.Lock()
			seen := n.(*int)
			*seen++
			early := *seen <= replicas
			keys.mu.Unlock()
			if early {
				arrived.Done()
				arrived.Wait()
			}
		}
	}
	opened := make([]*issuer.Issuer, replicas)
	var all sync.WaitGroup
	for n := range replicas {
		all.Go(func() {
			var err error
			if opened[n], err = issuer.Open(t.Context(), options); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(keys.rows) != 2 {
		t.Fatalf("%d keys were made, want one of each purpose", len(keys.rows))
	}
	for _, i := range opened {
		if string(i.AccessJWKS()) != string(opened[0].AccessJWKS()) || string(i.FederationJWKS()) != string(opened[0].FederationJWKS()) {
			t.Error("the replicas publish different keys")
		}
	}
}

// TestAlgorithmChangesByRotation: another algorithm in the configuration brings
// another key, published ahead like any.
func TestAlgorithmChangesByRotation(t *testing.T) {
	k := newKit(t)
	old := k.signs(t)
	changed := k.options
	changed.AccessAlgorithm = "ES256"
	next, err := issuer.Open(t.Context(), changed)
	if err != nil {
		t.Fatal(err)
	}
	if ids := published(t, next.AccessJWKS()); len(ids) != 2 || !slices.Equal(next.AccessAlgorithms(), []string{"ES256", "EdDSA"}) {
		t.Fatalf("published are %v, by %v", ids, next.AccessAlgorithms())
	}
	k.Issuer = next
	if k.signs(t) != old {
		t.Error("the new key signs before anyone could have read it")
	}
	k.clock.advance(25 * time.Hour)
	k.refresh(t)
	secret, err := k.mint(t)
	if err != nil {
		t.Fatal(err)
	}
	if header, _, err := verify(next.AccessJWKS(), secret); err != nil || header.Algorithm != "ES256" {
		t.Errorf("signed by %s: %v", header.Algorithm, err)
	}
	if n := len(published(t, next.AccessJWKS())); n > 2 {
		t.Errorf("%d keys are published", n)
	}
}

// TestS4ForeignRowsAreRefused: whoever can write to the database can bring no key
// of their own, move none, and change no time of one.
func TestS4ForeignRowsAreRefused(t *testing.T) {
	foreign := newKit(t, func(o *issuer.Options) { o.Sealer = sealer(t, 99) })
	for name, write := range map[string]func(rows []issuer.SealedKey) []issuer.SealedKey{
		"a key sealed by someone else": func(rows []issuer.SealedKey) []issuer.SealedKey {
			return append(rows, foreign.keys.rows...)
		},
		"a key in clear": func(rows []issuer.SealedKey) []issuer.SealedKey {
			return append(rows, issuer.SealedKey{Purpose: "federation", KeyID: "x", Algorithm: "ES256", Sealed: []byte(`{"kty":"EC"}`)})
		},
		"nothing sealed": func(rows []issuer.SealedKey) []issuer.SealedKey {
			return append(rows, issuer.SealedKey{Purpose: "access", KeyID: "y", Algorithm: "ES256"})
		},
		"an access key as a federation key": func(rows []issuer.SealedKey) []issuer.SealedKey {
			moved := rows[0]
			moved.Purpose = "federation"
			return append(rows, moved)
		},
		"a good key under another name": func(rows []issuer.SealedKey) []issuer.SealedKey {
			moved := rows[0]
			moved.KeyID = "known-to-the-attacker"
			return append(rows, moved)
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			access, federation := string(k.AccessJWKS()), string(k.FederationJWKS())
			k.keys.edit(write)
			k.refresh(t)
			k.refresh(t)
			if string(k.AccessJWKS()) != access || string(k.FederationJWKS()) != federation {
				t.Errorf("the key sets changed to\n%s\n%s", k.AccessJWKS(), k.FederationJWKS())
			}
			if len(k.reports) == 0 || len(k.reports) > 2 || !strings.Contains(k.reports[0], "refused and not published") {
				t.Errorf("the reports are %q", k.reports)
			}
			// Such a row stops no rotation.
			k.clock.advance(31 * 24 * time.Hour)
			k.refresh(t)
			if len(published(t, k.AccessJWKS())) != 2 {
				t.Error("the next key was not made")
			}
		})
	}
}

// TestS4SealedIDIsTheThumbprint: even under our own seal, a name that is not the
// key's thumbprint (RFC 7638) is refused.
func TestS4SealedIDIsTheThumbprint(t *testing.T) {
	k := newKit(t)
	row := k.keys.rows[0]
	plain, err := k.options.Sealer.Open("signing key: access", row.KeyID, row.Sealed)
	if err != nil {
		t.Fatal(err)
	}
	renamed := issuer.SealedKey{Purpose: "access", KeyID: "chosen", Algorithm: row.Algorithm}
	if renamed.Sealed, err = k.options.Sealer.Seal("signing key: access", "chosen", plain); err != nil {
		t.Fatal(err)
	}
	before := string(k.AccessJWKS())
	k.keys.edit(func(rows []issuer.SealedKey) []issuer.SealedKey { return append(rows, renamed) })
	k.refresh(t)
	if string(k.AccessJWKS()) != before || len(k.reports) != 1 || !strings.Contains(k.reports[0], "thumbprint") {
		t.Errorf("the set is %s, the reports %q", k.AccessJWKS(), k.reports)
	}
}

// TestS4TimesAreSealed: columns beside the seal move nothing.
func TestS4TimesAreSealed(t *testing.T) {
	k := newKit(t)
	signing := k.signs(t)
	k.keys.edit(func(rows []issuer.SealedKey) []issuer.SealedKey {
		for n := range rows {
			rows[n].SignAt, rows[n].PublishAt = noon.Add(1000*time.Hour), noon.Add(1000*time.Hour)
			rows[n].RetireAt, rows[n].Algorithm = noon.Add(-time.Hour), "HS256"
		}
		return rows
	})
	k.refresh(t)
	if k.signs(t) != signing {
		t.Error("another key signs")
	}
}

// TestWrongSealingKey: no keys are made beside keys that do not open.
func TestWrongSealingKey(t *testing.T) {
	k := newKit(t)
	k.options.Sealer = sealer(t, 2)
	if _, err := issuer.Open(t.Context(), k.options); err == nil || !strings.Contains(err.Error(), "sealing key") {
		t.Errorf("got %v", err)
	}
	if len(k.keys.rows) != 2 {
		t.Errorf("there are %d rows", len(k.keys.rows))
	}
}

// TestReplicasClocksMayDiffer by minutes: one that is behind signs with the first
// key all the same.
func TestReplicasClocksMayDiffer(t *testing.T) {
	k := newKit(t)
	behind := k.options
	behind.Now = func() time.Time { return noon.Add(-4 * time.Minute) }
	other, err := issuer.Open(t.Context(), behind)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Mint(t.Context(), token(noon.Add(-4*time.Minute))); err != nil {
		t.Error(err)
	}
}

func TestOpenNeedsItsKeys(t *testing.T) {
	k := newKit(t)
	k.keys.fail = errors.New("down")
	if _, err := issuer.Open(t.Context(), k.options); !errors.Is(err, k.keys.fail) {
		t.Errorf("got %v", err)
	}
}

// TestRunRefreshesEachMinute, and reports what fails.
func TestRunRefreshesEachMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t, func(o *issuer.Options) { o.Now = time.Now })
		ctx, stop := context.WithCancel(t.Context())
		reads := 0
		k.keys.listing = func() { reads++ }
		go k.Run(ctx)
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		k.keys.mu.Lock()
		k.keys.fail = errors.New("down")
		k.keys.mu.Unlock()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		stop()
		synctest.Wait()
		if reads != 12 || len(k.reports) != 2 {
			t.Errorf("%d readings, reports %q", reads, k.reports)
		}
	})
}
