package subject_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Nothing but the very tokens that the issuers signed gets through the front
// door, and nothing makes it panic or blames the house.
func FuzzVerify(f *testing.F) {
	tokens := realTokens(f)
	good := map[string]bool{}
	var trusts []exchange.Trust
	seen := map[string]bool{}
	for _, r := range tokens {
		f.Add(r.raw)
		f.Add(swapClaims(r.raw, `"x":1`))
		good[r.raw] = true
		if !seen[r.folder] {
			seen[r.folder] = true
			if r.folder == "kubernetes" {
				r.JWKS = "jwks-mixed.json"
			}
			trusts = append(trusts, r.trust("cambio", "https://cambio.example", "vault"))
		}
	}
	f.Add(strings.Repeat(".", 1000))
	b := newBench(f, trusts...)
	b.clock.now = time.Date(2026, 11, 21, 9, 30, 36, 0, time.UTC)
	f.Fuzz(func(t *testing.T, raw string) {
		b.clock.advance(0)
		s, err := b.verify(raw)
		switch {
		case err == nil && !good[raw]:
			t.Errorf("accepted as %s", s.Name)
		case err == nil && (s.Name == "" || s.Trust == "" || !s.Expires.After(b.clock.Now())):
			t.Errorf("subject %+v", s)
		case err != nil && exchange.KindOf(err) != exchange.KindInvalidSubject:
			t.Errorf("%v", err)
		}
	})
}
