package testproperties

import (
	"crypto/rand"
	"encoding/binary"
	"flag"
	"os"
	"strconv"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
)

// shards run beside each other, each with a house of its own. Their number does not
// follow the machine, so that a seed means the same everywhere.
const shards = 4

// TestNothingWidens: random sequences of exchanges, denies and revocations never
// widen scope, audience, lifetime or depth, and never shed an actor or a may_act;
// whoever drops something that was needed is refused.
//
// Real are the pipeline, the policy engine with its emergency denies, the issuer
// with its signatures, the verifier of tokens of ours, the proof of clients, the
// vendor and the mcp driver. The ledger keeps what the real one keeps, in memory.
// Tokens of other issuers are not signed but known, so that what is in them can be
// anything. What policy allows is decided a second time, by an oracle that reads the
// same rules in another way.
//
// CAMBIO_SEED repeats a run; the seed is printed.
func TestNothingWidens(t *testing.T) {
	seed := seedOf(t)
	say(t, "%d sequences; CAMBIO_SEED=%d repeats them", sequences, seed)
	total := check(t, seed, sequences)
	say(t, "seed %d: %v", seed, total)
	if total.sequences < sequences || total.issued < total.exchanges/10 || total.again < total.issued/10 || total.deepest < exchange.MaxActors {
		t.Errorf("the sequences prove little: %v", total)
	}
}

// seedOf is a fresh seed, or the one that is to be repeated.
func seedOf(t *testing.T) uint64 {
	if text := os.Getenv("CAMBIO_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 63)
		if err != nil || seed == 0 {
			t.Fatalf("CAMBIO_SEED is a whole number from 1: %q", text)
		}
		return seed
	}
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	return binary.BigEndian.Uint64(b[:])>>1 | 1
}

// starting is held while a shard reads the flags by which rapid is told its seed.
var starting sync.Mutex

// check plays n sequences, and counts.
func check(t *testing.T, seed uint64, n int) *tally {
	total := &tally{refused: map[string]int{}}
	var counting sync.Mutex
	t.Run("shards", func(t *testing.T) {
		for shard := range shards {
			t.Run(strconv.Itoa(shard), func(t *testing.T) {
				t.Parallel()
				own := seed + uint64(shard)<<40
				house := openHouse(t, own, policies)
				count := &tally{refused: map[string]int{}}
				defer func() {
					counting.Lock()
					defer counting.Unlock()
					total.add(count)
				}()
				starting.Lock()
				begun := sync.OnceFunc(starting.Unlock)
				defer begun()
				set(t, "rapid.seed", strconv.FormatUint(own, 10))
				set(t, "rapid.checks", strconv.Itoa((n+shards-1)/shards))
				set(t, "rapid.nofailfile", "true")
				rapid.Check(t, func(r *rapid.T) {
					begun() // the flags have been read
					house.play(r, count)
				})
			})
		}
	})
	return total
}

func set(t *testing.T, name, value string) {
	t.Helper()
	if err := flag.Set(name, value); err != nil {
		t.Fatal(err)
	}
}
