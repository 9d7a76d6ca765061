package issuer_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/issuer"
)

func (k *kit) keeper(t testing.TB, change ...func(*issuer.Options)) *issuer.Keeper {
	t.Helper()
	o := k.options
	for _, c := range change {
		c(&o)
	}
	keeper, err := issuer.NewKeeper(o, k.keys, issuer.Note{Tenant: "default", Reason: "a test", By: "me on here"})
	if err != nil {
		t.Fatal(err)
	}
	return keeper
}

// states lists the keys of access tokens as "state/kid".
func states(t testing.TB, k *issuer.Keeper) []string {
	t.Helper()
	list, err := k.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range list {
		if s.Purpose == "access" {
			all = append(all, s.State+"/"+s.KeyID)
		}
	}
	return all
}

// TestRotateByHand: the next key comes now, and signs no sooner than any next key.
func TestRotateByHand(t *testing.T) {
	k := newKit(t)
	keeper := k.keeper(t)
	first := k.signs(t)
	if got := states(t, keeper); !slices.Equal(got, []string{"signing/" + first}) {
		t.Fatalf("at first: %v", got)
	}
	k.clock.advance(time.Hour)
	next, added, err := keeper.Rotate(t.Context(), "access")
	if err != nil || !added {
		t.Fatal(added, err)
	}
	if want := k.clock.Now().Add(24 * time.Hour); !next.SignAt.Equal(want) || next.State != issuer.StateNext {
		t.Errorf("it signs at %v, want %v", next.SignAt, want)
	}
	if again, added, err := keeper.Rotate(t.Context(), "access"); err != nil || added || again.KeyID != next.KeyID {
		t.Errorf("asked twice: %v, %v, %v", again, added, err)
	}
	if len(k.keys.events) != 1 {
		t.Fatalf("%d events, want 1", len(k.keys.events))
	}
	e := k.keys.events[0]
	if e.Type != exchange.EventKeysChanged || e.Exchange != e.ID || e.Tenant != "default" || e.Record.Handle != next.KeyID || e.Record.Reason != "a test" ||
		!strings.Contains(e.Record.Explanation, "access key") || !strings.Contains(e.Record.Explanation, "me on here") {
		t.Errorf("the event is %+v", e)
	}
	k.refresh(t)
	if got := states(t, keeper); !slices.Equal(got, []string{"signing/" + first, "next/" + next.KeyID}) {
		t.Errorf("after it: %v", got)
	}
	if ids := published(t, k.AccessJWKS()); len(ids) != 2 || k.signs(t) != first {
		t.Errorf("published %v, and %s signs", ids, k.signs(t))
	}
	k.clock.advance(24 * time.Hour)
	if k.Refresh(t.Context()) != nil || k.signs(t) != next.KeyID {
		t.Error("it does not sign in its time")
	}
	if got := states(t, keeper); !slices.Equal(got, []string{"retiring/" + first, "signing/" + next.KeyID}) {
		t.Errorf("in its time: %v", got)
	}
	if _, _, err := keeper.Rotate(t.Context(), "session"); err == nil {
		t.Error("a purpose that is none is taken")
	}
}

// TestRotateRacesReplicas: many at once add one key.
func TestRotateRacesReplicas(t *testing.T) {
	k := newKit(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, _, err := k.keeper(t).Rotate(t.Context(), "federation"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if len(k.keys.rows) != 3 || len(k.keys.events) != 1 {
		t.Errorf("%d rows, %d events; want 3 and 1", len(k.keys.rows), len(k.keys.events))
	}
}

// TestS4ReplaceWithdraws: after a replacement no earlier key is published, the one
// that waited neither; and whoever puts copies of the old rows back changes nothing.
func TestS4ReplaceWithdraws(t *testing.T) {
	k := newKit(t)
	keeper := k.keeper(t)
	if _, _, err := keeper.Rotate(t.Context(), "access"); err != nil {
		t.Fatal(err)
	}
	k.refresh(t)
	old, err := k.mint(t)
	if err != nil {
		t.Fatal(err)
	}
	copies := slices.DeleteFunc(slices.Clone(k.keys.rows), func(r issuer.SealedKey) bool { return r.Purpose != "access" })
	federation := string(k.FederationJWKS())
	next, err := keeper.Replace(t.Context(), "access")
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		k.refresh(t)
		if ids := published(t, k.AccessJWKS()); !slices.Equal(ids, []string{next.KeyID}) || k.signs(t) != next.KeyID {
			t.Errorf("%s %v are published", when, ids)
		}
		if _, _, err := verify(k.AccessJWKS(), old); err == nil {
			t.Errorf("%s the old token verifies", when)
		}
		if string(k.FederationJWKS()) != federation {
			t.Errorf("%s the other purpose has changed", when)
		}
	}
	check("at once")
	k.keys.edit(func(rows []issuer.SealedKey) []issuer.SealedKey { return append(slices.Clone(copies), rows...) })
	if got := states(t, keeper); len(got) == 0 || !strings.HasPrefix(got[0], issuer.StateWithdrawn) {
		t.Errorf("copies are %v", got)
	}
	check("with copies before it")
	k.keys.edit(func(rows []issuer.SealedKey) []issuer.SealedKey { return append(rows, copies...) })
	check("with copies after it")
	if again, err := keeper.Replace(t.Context(), "access"); err != nil || again.KeyID == next.KeyID {
		t.Error("a second replacement within the second", err)
	} else {
		next = again
		check("after a second one")
	}
	k.clock.advance(31 * 24 * time.Hour)
	k.refresh(t)
	if n := len(published(t, k.AccessJWKS())); n != 2 {
		t.Errorf("a month later %d keys are published, want the next one too", n)
	}
}

// TestReseal changes the sealing key while replicas with both keys read and sign,
// is interrupted, and goes on.
func TestReseal(t *testing.T) {
	k := newKit(t)
	old, fresh := func(o *issuer.Options) { o.Sealer = sealer(t, 1, 2) }, func(o *issuer.Options) { o.Sealer = sealer(t, 2, 1) }
	token, err := k.mint(t)
	if err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for _, change := range []func(*issuer.Options){old, fresh, old, fresh} {
		o := k.options
		change(&o)
		o.Report = func(err error) { t.Error(err) }
		replica, err := issuer.Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := replica.Refresh(context.Background()); err != nil {
					t.Error(err)
					return
				}
				if _, _, err := verify(replica.AccessJWKS(), token); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	keeper := k.keeper(t, fresh)
	if dry, err := keeper.Reseal(t.Context(), true); err != nil || dry.Done != 2 || dry.Faulty != 0 {
		t.Errorf("a dry run: %+v, %v", dry, err)
	}
	if _, err := issuer.Open(t.Context(), k.options); err != nil {
		t.Errorf("after a dry run the old key alone: %v", err)
	}
	broken := &stopping{memory: k.keys, after: 1}
	interrupted, err := issuer.NewKeeper(func() issuer.Options { o := k.options; fresh(&o); return o }(), broken, issuer.Note{})
	if err != nil {
		t.Fatal(err)
	}
	if half, err := interrupted.Reseal(t.Context(), false); err == nil || half.Done != 1 {
		t.Errorf("interrupted: %+v, %v", half, err)
	}
	if rest, err := keeper.Reseal(t.Context(), false); err != nil || rest.Done != 1 || rest.Current != 1 {
		t.Errorf("the rest: %+v, %v", rest, err)
	}
	if none, err := keeper.Reseal(t.Context(), false); err != nil || none.Done != 0 || none.Current != 2 {
		t.Errorf("once more: %+v, %v", none, err)
	}
	close(stop)
	readers.Wait()

	alone := k.options
	alone.Sealer = sealer(t, 2)
	replica, err := issuer.Open(t.Context(), alone)
	if err != nil {
		t.Fatalf("with the new key alone: %v", err)
	}
	if _, _, err := verify(replica.AccessJWKS(), token); err != nil {
		t.Errorf("with the new key alone, a token from before: %v", err)
	}
	if _, err := issuer.Open(t.Context(), k.options); err == nil || !strings.Contains(err.Error(), "put the earlier key into seal.old_keys") {
		t.Errorf("with the old key alone: %v", err)
	}
}

// stopping is a store that fails after some replacements.
type stopping struct {
	*memory
	after int
}

func (s *stopping) ReplaceSealed(ctx context.Context, purpose, kid string, old, sealed []byte) (bool, error) {
	if s.after == 0 {
		return false, errors.New("the connection is gone")
	}
	s.after--
	return s.memory.ReplaceSealed(ctx, purpose, kid, old, sealed)
}

// TestS4ResealMendsNothing: what was moved, altered, or sealed by someone else is
// left as it is, and said; what changed meanwhile is left to whoever changed it.
func TestS4ResealMendsNothing(t *testing.T) {
	k := newKit(t)
	foreign := newKit(t, func(o *issuer.Options) { o.Sealer = sealer(t, 9) })
	moved := k.keys.rows[0]
	moved.Purpose = "federation"
	bent := k.keys.rows[1]
	bent.KeyID, bent.Sealed = "bent", bytes.Clone(bent.Sealed)
	bent.Sealed[len(bent.Sealed)-1] ^= 1
	k.keys.edit(func(rows []issuer.SealedKey) []issuer.SealedKey {
		return append(rows, moved, bent, foreign.keys.rows[0])
	})
	keeper := k.keeper(t, func(o *issuer.Options) { o.Sealer = sealer(t, 2, 1) })
	done, err := keeper.Reseal(t.Context(), false)
	if err != nil || done.Done != 2 || done.Faulty != 3 || len(done.Faults) != 3 {
		t.Errorf("%+v, %v", done, err)
	}
	if !bytes.Equal(k.keys.rows[2].Sealed, moved.Sealed) || !bytes.Equal(k.keys.rows[3].Sealed, bent.Sealed) {
		t.Error("a row that does not open was changed")
	}
	list, err := keeper.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range list {
		if refused := i >= 2; refused != (s.State == issuer.StateRefused) || refused != (s.Fault != nil) {
			t.Errorf("%d: %+v", i, s)
		}
		if want := []int{0, 0, 1, 1, -1}[i]; s.SealPlace != want {
			t.Errorf("%d is sealed at %d, want %d", i, s.SealPlace, want)
		}
	}
}
