package exchange_test

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
)

func sealer(t testing.TB, keys ...byte) *exchange.Sealer {
	t.Helper()
	var all [][]byte
	for _, k := range keys {
		all = append(all, bytes.Repeat([]byte{k}, exchange.SealKeySize))
	}
	s, err := exchange.NewSealer(rand.Reader, all[0], all[1:]...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestS4SealIsBoundToItsRow: what is sealed opens under its own purpose and id
// alone, whole and unaltered.
func TestS4SealIsBoundToItsRow(t *testing.T) {
	s := sealer(t, 1)
	rapid.Check(t, func(rt *rapid.T) {
		part := rapid.StringN(0, 4, -1)
		purpose, id := part.Draw(rt, "purpose"), part.Draw(rt, "id")
		plain := rapid.SliceOf(rapid.Byte()).Draw(rt, "plain")
		sealed, err := s.Seal(purpose, id, plain)
		if err != nil {
			rt.Fatal(err)
		}
		if opened, err := s.Open(purpose, id, sealed); err != nil || !bytes.Equal(opened, plain) {
			rt.Fatalf("it does not open: %v", err)
		}
		otherPurpose, otherID := part.Draw(rt, "other purpose"), part.Draw(rt, "other id")
		if otherPurpose != purpose || otherID != id {
			if _, err := s.Open(otherPurpose, otherID, sealed); err == nil {
				rt.Fatalf("sealed for (%q, %q), it opens for (%q, %q)", purpose, id, otherPurpose, otherID)
			}
		}
		bent := bytes.Clone(sealed)
		bent[rapid.IntRange(0, len(bent)-1).Draw(rt, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		if _, err := s.Open(purpose, id, bent); err == nil {
			rt.Fatal("it opens with a bit changed")
		}
		if _, err := s.Open(purpose, id, sealed[:rapid.IntRange(0, len(sealed)-1).Draw(rt, "cut")]); err == nil {
			rt.Fatal("it opens cut short")
		}
	})
}

func TestSealKeysRotate(t *testing.T) {
	old := sealer(t, 1)
	sealed, err := old.Seal("p", "i", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sealer(t, 2, 1).Open("p", "i", sealed); err != nil {
		t.Errorf("with the old key beside the new: %v", err)
	}
	if _, err := sealer(t, 2).Open("p", "i", sealed); err == nil {
		t.Error("it opens without its key")
	}
	fresh, err := sealer(t, 2, 1).Seal("p", "i", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := old.Open("p", "i", fresh); err == nil {
		t.Error("sealed under the old key though there is a new one")
	}
	for _, size := range []int{0, 16, 31, 33, 64} {
		if _, err := exchange.NewSealer(rand.Reader, make([]byte, size)); err == nil {
			t.Errorf("a key of %d bytes is taken", size)
		}
	}
}

// TestS4ResealKeepsTheBinding: what is sealed anew opens where it did, and nowhere
// else; what was moved is not sealed anew.
func TestS4ResealKeepsTheBinding(t *testing.T) {
	old, both, fresh := sealer(t, 1), sealer(t, 2, 1), sealer(t, 2)
	sealed, err := old.Seal("p", "i", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := both.Reseal("p", "other", sealed); err == nil {
		t.Error("a row that was moved is sealed anew")
	}
	if _, err := fresh.Reseal("p", "i", sealed); err == nil || !strings.Contains(err.Error(), old.KeyID()) || !strings.Contains(err.Error(), "put the earlier key into seal.old_keys") {
		t.Errorf("without the old key: %v", err)
	}
	resealed, err := both.Reseal("p", "i", sealed)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := fresh.Open("p", "i", resealed); err != nil || string(plain) != "x" {
		t.Errorf("it opens to %q, %v", plain, err)
	}
	if _, err := fresh.Open("p", "other", resealed); err == nil {
		t.Error("it opens elsewhere")
	}
	if again, err := both.Reseal("p", "i", resealed); again != nil || err != nil {
		t.Errorf("it is sealed again: %x, %v", again, err)
	}
	for _, c := range []struct {
		value []byte
		id    string
		place int
	}{{sealed, old.KeyID(), 1}, {resealed, fresh.KeyID(), 0}, {nil, "", -1}, {[]byte("clear text"), "", -1}, {sealed[:5], "", -1}} {
		if id, place := both.SealedUnder(c.value); id != c.id || place != c.place {
			t.Errorf("%x: under %q at %d, want %q at %d", c.value, id, place, c.id, c.place)
		}
	}
	if id, place := fresh.SealedUnder(sealed); id != old.KeyID() || place != -1 {
		t.Errorf("a key that is not there is %q at %d", id, place)
	}
}

// TestFingerprintIsKeyed: the same credential has one name under one key, and
// another under another.
func TestFingerprintIsKeyed(t *testing.T) {
	c, d := exchange.NewSecret("c"), exchange.NewSecret("d")
	a, b := sealer(t, 1), sealer(t, 2)
	if a.Fingerprint(c) != sealer(t, 1).Fingerprint(c) {
		t.Error("one credential has two names")
	}
	if a.Fingerprint(c) == a.Fingerprint(d) || a.Fingerprint(c) == b.Fingerprint(c) {
		t.Error("two credentials, or two keys, make one name")
	}
	if len(a.Fingerprint(c)) != 64 {
		t.Errorf("the name has %d characters, want a whole SHA-256", len(a.Fingerprint(c)))
	}
}

func FuzzOpenSealed(f *testing.F) {
	// The nonce is the same in each worker, so that each knows the one good value.
	nonces := bytes.NewReader(make([]byte, 64))
	s, err := exchange.NewSealer(nonces, bytes.Repeat([]byte{1}, exchange.SealKeySize))
	if err != nil {
		f.Fatal(err)
	}
	good, err := s.Seal("p", "i", []byte("x"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{})
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if _, err := s.Open("p", "i", sealed); err == nil && !bytes.Equal(sealed, good) {
			// Another nonce would make another sealing: only we make those.
			t.Errorf("%x opens", sealed)
		}
	})
}
