package lease_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/lease"
)

// shelf keeps sealed parts as a database does, and can fail after some batches.
type shelf struct {
	rows  []lease.Sealed // by id
	after int            // replacements until it fails; negative: never
	touch func([]lease.Sealed)
}

func (s *shelf) ListSealed(_ context.Context, header []byte, after lease.Sealed, limit int) ([]lease.Sealed, error) {
	var found []lease.Sealed
	for _, r := range s.rows {
		if bytes.Compare(r.ID[:], after.ID[:]) > 0 && len(found) < limit &&
			(!bytes.HasPrefix(r.Sealed, header) || len(r.Origin) > 0 && !bytes.HasPrefix(r.Origin, header)) {
			found = append(found, r)
		}
	}
	return found, nil
}

func (s *shelf) ReplaceSeals(_ context.Context, seals []lease.Sealed) (int, error) {
	if s.after == 0 {
		return 0, errors.New("the connection is gone")
	}
	s.after--
	if s.touch != nil {
		s.touch(s.rows)
	}
	n := 0
	for _, want := range seals {
		for i, r := range s.rows {
			if r.ID == want.ID && bytes.Equal(r.Sealed, want.Sealed) && bytes.Equal(r.Origin, want.Origin) {
				if want.Fresh != nil {
					s.rows[i].Sealed = want.Fresh
				}
				if want.FreshOrigin != nil {
					s.rows[i].Origin = want.FreshOrigin
				}
				n++
			}
		}
	}
	return n, nil
}

func sealerOf(t *testing.T, keys ...byte) *exchange.Sealer {
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

func filled(t *testing.T, n int) *shelf {
	t.Helper()
	s := &shelf{after: -1}
	old := sealerOf(t, 1)
	for range n {
		id, err := exchange.NewID(time.Now(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := old.Seal("lease", id.String(), []byte(id.String()))
		if err != nil {
			t.Fatal(err)
		}
		s.rows = append(s.rows, lease.Sealed{Tenant: "default", ID: id, Sealed: sealed})
	}
	slices.SortFunc(s.rows, func(a, b lease.Sealed) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return s
}

// TestResealGoesOn: interrupted between batches, it does the rest the next time and
// nothing twice.
func TestResealGoesOn(t *testing.T) {
	const leases = 1234
	s := filled(t, leases)
	both := sealerOf(t, 2, 1)
	var told []int
	tell := func(r exchange.Resealed) { told = append(told, r.Done) }
	if dry, err := lease.Reseal(t.Context(), s, both, true, tell); err != nil || dry.Done != leases {
		t.Fatalf("a dry run: %+v, %v", dry, err)
	}
	if !slices.Equal(told, []int{500, 1000, leases}) {
		t.Errorf("told of %v", told)
	}
	s.after = 2
	half, err := lease.Reseal(t.Context(), s, both, false, tell)
	if err == nil || half.Done != 1000 {
		t.Fatalf("interrupted: %+v, %v", half, err)
	}
	s.after = -1
	if rest, err := lease.Reseal(t.Context(), s, both, false, tell); err != nil || rest.Done != leases-1000 {
		t.Fatalf("the rest: %+v, %v", rest, err)
	}
	if none, err := lease.Reseal(t.Context(), s, both, false, tell); err != nil || none.Done != 0 {
		t.Fatalf("once more: %+v, %v", none, err)
	}
	fresh := sealerOf(t, 2)
	for _, r := range s.rows {
		if plain, err := fresh.Open("lease", r.ID.String(), r.Sealed); err != nil || string(plain) != r.ID.String() {
			t.Fatalf("%s opens to %q, %v", r.ID, plain, err)
		}
	}
}

// TestS4ResealLeavesWhatWasMoved: two leases whose sealed parts were swapped do not
// open, are named, and stay; what changes meanwhile is not overwritten.
func TestS4ResealLeavesWhatWasMoved(t *testing.T) {
	s := filled(t, 5)
	s.rows[0].Sealed, s.rows[1].Sealed = s.rows[1].Sealed, s.rows[0].Sealed
	swapped := bytes.Clone(s.rows[0].Sealed)
	changed := []byte("changed meanwhile")
	s.touch = func(rows []lease.Sealed) { rows[4].Sealed = changed }
	done, err := lease.Reseal(t.Context(), s, sealerOf(t, 2, 1), false, func(exchange.Resealed) {})
	if err != nil || done.Done != 2 || done.Faulty != 2 || len(done.Faults) != 2 {
		t.Errorf("%+v, %v", done, err)
	}
	if !bytes.Equal(s.rows[0].Sealed, swapped) || !bytes.Equal(s.rows[4].Sealed, changed) {
		t.Error("what does not open, or changed, was overwritten")
	}
}

// TestS4ResealTakesOrigins: for whom a token of ours was issued is sealed anew too,
// beside what revokes it or alone.
func TestS4ResealTakesOrigins(t *testing.T) {
	s := filled(t, 3)
	old, both := sealerOf(t, 1), sealerOf(t, 2, 1)
	for i := range s.rows[:2] {
		var err error
		if s.rows[i].Origin, err = old.SealOrigin(s.rows[i].ID, exchange.Origin{ID: "alice"}); err != nil {
			t.Fatal(err)
		}
	}
	s.rows[1].Sealed = nil
	done, err := lease.Reseal(t.Context(), s, both, false, func(exchange.Resealed) {})
	if err != nil || done.Done != 3 || done.Faulty != 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	fresh := sealerOf(t, 2)
	for i, r := range s.rows {
		if plain, err := fresh.Open("lease", r.ID.String(), r.Sealed); (i == 1) != (err != nil) || i != 1 && string(plain) != r.ID.String() {
			t.Errorf("lease %d: %q, %v", i, plain, err)
		}
		if o, err := fresh.OpenOrigin(r.ID, r.Origin); (i == 2) != (err != nil) || i != 2 && o.ID != "alice" {
			t.Errorf("origin %d: %+v, %v", i, o, err)
		}
	}
}
