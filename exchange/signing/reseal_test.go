package signing_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/signing"
)

func (c *cellar) ListSealedSessions(_ context.Context, header []byte, after signing.Sealed, limit int) ([]signing.Sealed, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != nil {
		return nil, c.down
	}
	var found []signing.Sealed
	for _, s := range c.sessions {
		if bytes.Compare(s.ID[:], after.ID[:]) > 0 && !bytes.HasPrefix(s.Sealed, header) {
			found = append(found, signing.Sealed{Tenant: s.Tenant, ID: s.ID, Sealed: s.Sealed})
		}
	}
	slices.SortFunc(found, func(a, b signing.Sealed) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
	return found[:min(limit, len(found))], nil
}

func (c *cellar) ReplaceSessionSeals(_ context.Context, seals []signing.Sealed) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, fresh := range seals {
		if s := c.sessions[fresh.ID]; bytes.Equal(s.Sealed, fresh.Sealed) {
			s.Sealed = fresh.Fresh
			c.sessions[fresh.ID] = s
			n++
		}
	}
	return n, nil
}

// TestS4ResealTakesSessions: what an earlier key sealed signs under the new one
// alone; what was moved does not open, is named, and stays.
func TestS4ResealTakesSessions(t *testing.T) {
	o := newOffice(t)
	for range 600 {
		o.hold(t, subject)
	}
	moved, to := o.hold(t, subject), o.hold(t, subject)
	s := o.sessions[to]
	s.Sealed = o.sessions[moved].Sealed
	o.sessions[to] = s
	both, fresh := sealerOf(t, 2, 1), sealerOf(t, 2)
	var told []int
	tell := func(r exchange.Resealed) { told = append(told, r.Done) }
	for _, c := range []struct {
		dry  bool
		want int
	}{{true, 602}, {false, 602}, {false, 0}} {
		if got, err := signing.Reseal(t.Context(), o.cellar, both, c.dry, tell); err != nil || got.Done != c.want || got.Faulty != 1 || len(got.Faults) != 1 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if len(told) != 5 || told[1] != 602 || told[3] != 602 || told[2] == 602 {
		t.Errorf("told of %v", told)
	}
	other := newOffice(t, func(_ *office, with *signing.Options) { with.Sealer = fresh })
	other.sessions, other.leases, other.id = o.sessions, o.leases, o.id
	if _, err := other.ask(t); err != nil {
		t.Errorf("under the new key alone: %v", err)
	}
	other.id = to
	if _, err := other.ask(t); exchange.KindOf(err) != exchange.KindInternal {
		t.Errorf("what was moved: %v", err)
	}
	o.down = errors.New("no database")
	if _, err := signing.Reseal(t.Context(), o.cellar, both, false, tell); !errors.Is(err, o.down) {
		t.Errorf("without a database: %v", err)
	}
}
