package subject_test

import (
	"fmt"
	"sync/atomic"
	"testing"
)

var made = map[string][]string{}

// distinct makes n different tokens, once for all runs: the signers do not change,
// and signing takes longer than what is measured.
func distinct(s signer, n int) []string {
	if out := made[s.algorithm]; len(out) >= n {
		return out[:n]
	}
	out := make([]string, n)
	for i := range out {
		out[i] = s.token(person(map[string]any{
			"jti": fmt.Sprint(i), "groups": []string{"engineering", "security", "oncall"}, "azp": "cli", "email": "alice@acme.test",
		}))
	}
	made[s.algorithm] = out
	return out
}

// benchmarkDistinct goes around more tokens than are remembered.
func benchmarkDistinct(b *testing.B, algorithm string) {
	w, signers := twins(b)
	raws := distinct(signers[algorithm], 10000)
	w.accepts(raws[0])
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := w.verify(raws[int(next.Add(1))%len(raws)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	if w.meter.hitCount() > b.N/10 {
		b.Errorf("%d of %d were remembered", w.meter.hitCount(), b.N)
	}
}

func BenchmarkVerifyRS256Distinct(b *testing.B) { benchmarkDistinct(b, "RS256") }
func BenchmarkVerifyES256Distinct(b *testing.B) { benchmarkDistinct(b, "ES256") }

func BenchmarkVerifyRepeated(b *testing.B) {
	w, signers := twins(b)
	raw := distinct(signers["RS256"], 1)[0]
	w.accepts(raw)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := w.verify(raw); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Junk that no key has to look at.
func BenchmarkVerifyJunk(b *testing.B) {
	w, signers := twins(b)
	raw := signers["ES256"].token(person(map[string]any{"iss": "https://stranger.test"}))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.verify(raw); err == nil {
			b.Fatal("accepted")
		}
	}
}
