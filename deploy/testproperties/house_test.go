package testproperties

import (
	"bytes"
	"context"
	"crypto/rand"
	mathrand "math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/exchange/client"
	"github.com/cambio-sts/cambio/exchange/issuer"
	"github.com/cambio-sts/cambio/exchange/policy"
	"github.com/cambio-sts/cambio/exchange/provider"
	"github.com/cambio-sts/cambio/exchange/subject"
)

const ownIssuer = "https://sts.example"

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// house is everything that sequences share: an issuer with its key, and policies.
// One goroutine at a time uses it.
type house struct {
	issuer *issuer.Issuer
	self   *subject.Self
	sealer *exchange.Sealer
	books  []*book

	now   time.Time
	world *world // of the sequence under way
}

// openHouse opens the rooms, and makes so many policies up by the seed.
func openHouse(t testing.TB, seed uint64, policies int) *house {
	t.Helper()
	h := &house{now: noon}
	clock := func() time.Time { return h.now }
	var err error
	if h.sealer, err = exchange.NewSealer(rand.Reader, bytes.Repeat([]byte{7}, exchange.SealKeySize)); err != nil {
		t.Fatal(err)
	}
	h.issuer, err = issuer.Open(t.Context(), issuer.Options{URL: ownIssuer, Keys: &keys{}, Sealer: h.sealer, Now: clock, Random: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	h.self = subject.NewSelf(subject.SelfOptions{
		Tenant: "default", Issuer: ownIssuer, Keys: h.issuer.AccessJWKS, Open: h.sealer.OpenOrigin,
		Standing: func(_ context.Context, _ string, id exchange.ID) (exchange.Lease, error) { return h.world.standing(id) },
	})
	for n := range policies {
		b := makeUp(mathrand.New(mathrand.NewPCG(seed, uint64(n))))
		b.load(t, provider.Deps{Minter: h.issuer, Now: clock, Random: rand.Reader})
		h.books = append(h.books, b)
	}
	return h
}

// keys keeps the issuer's keys, of which there is one of a kind.
type keys struct{ rows []issuer.SealedKey }

func (k *keys) ListKeys(context.Context) ([]issuer.SealedKey, error) { return k.rows, nil }
func (k *keys) AddKey(_ context.Context, row issuer.SealedKey, _ string) (bool, error) {
	k.rows = append(k.rows, row)
	return true, nil
}
func (k *keys) RetireKey(context.Context, string, string) error { return nil }

// world is what one sequence happens in: a ledger, a deny list, and the tokens that
// its other issuers are known to have signed.
type world struct {
	*house
	book   *book
	bureau *exchange.Bureau
	set    *policy.Set
	desk   *client.Authenticator

	signed  map[string]exchange.Subject // by the issuers of trusts
	leases  map[exchange.ID]*exchange.Lease
	records map[exchange.ID]exchange.Record // outcomes, by exchange
	denies  exchange.DenyList
}

func (h *house) begin(t fataler, b *book) *world {
	w := &world{
		house: h, book: b, signed: map[string]exchange.Subject{},
		leases: map[exchange.ID]*exchange.Lease{}, records: map[exchange.ID]exchange.Record{},
	}
	h.world, h.now = w, noon
	clock := func() time.Time { return h.now }
	w.set = policy.NewSet(policy.SetOptions{State: w, Now: clock, Random: rand.Reader})
	if err := w.set.Activate(context.Background(), b.revision); err != nil {
		t.Fatal(err)
	}
	w.desk = client.New(client.Options{Directory: func() client.Directory { return b.revision }, Tokens: w, Issuer: ownIssuer})
	w.bureau = &exchange.Bureau{
		Policy: w.set, Verifier: w, Own: h.self, Governor: w, Vendor: b.vendor, Ledger: w, Observer: w,
		Sealer: h.sealer, Now: clock, Random: rand.Reader,
	}
	return w
}

// fataler is a test of either kind.
type fataler interface {
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// Verify implements exchange.Verifier for what the trusts' issuers signed.
func (w *world) Verify(_ context.Context, t exchange.Token, now time.Time) (exchange.Subject, error) {
	s, ok := w.signed[t.Value.Reveal()]
	if !ok || !now.Before(s.Expires) {
		return exchange.Subject{}, exchange.Fault(exchange.KindInvalidSubject, "the token is not good", nil)
	}
	return s, nil
}

// standing is the lease of a token of ours that was not revoked, nor what it
// descends from. Denies are left to policy.
func (w *world) standing(id exchange.ID) (exchange.Lease, error) {
	l := w.leases[id]
	gone := func(id exchange.ID) bool { return w.leases[id] == nil || w.leases[id].State != exchange.LeaseActive }
	if l == nil || gone(id) || slices.ContainsFunc(l.Lineage, gone) {
		return exchange.Lease{}, exchange.Fault(exchange.KindNotFound, "there is no such credential", nil)
	}
	return *l, nil
}

// Intend implements exchange.Ledger; nothing here is minted outside.
func (w *world) Intend(context.Context, exchange.Intent) error {
	return exchange.Fault(exchange.KindInternal, "an intent for a local driver", nil)
}

// Settle implements exchange.Ledger, with the constraints of the real one.
func (w *world) Settle(_ context.Context, o exchange.Outcome) error {
	if o.Event.Type == exchange.EventIssued && o.Epoch != w.denies.Epoch {
		return exchange.ErrStale
	}
	if _, twice := w.records[o.Event.Exchange]; twice {
		return exchange.ErrSettled
	}
	w.records[o.Event.Exchange] = o.Event.Record
	if o.Lease != nil {
		w.leases[o.Lease.ID] = o.Lease
	}
	return nil
}

// Note implements exchange.Ledger.
func (w *world) Note(context.Context, exchange.Event) error { return nil }

// Admit implements exchange.Governor: nobody is throttled.
func (w *world) Admit(context.Context, exchange.Question, exchange.Decision) (func(error), error) {
	return func(error) {}, nil
}

// Observe implements exchange.Observer.
func (w *world) Observe(context.Context, exchange.Report) {}

// The following implement policy.State.

func (w *world) LoadRevision(context.Context, string, string, string, exchange.Event) (int64, error) {
	return 1, nil
}

func (w *world) NewestRevision(context.Context, string) (int64, string, time.Time, time.Time, error) {
	return 1, w.book.revision.Hash(), noon, w.now, nil
}

func (w *world) Denies(context.Context, string) (exchange.DenyList, error) {
	return exchange.DenyList{Epoch: w.denies.Epoch, Denies: slices.Clone(w.denies.Denies)}, nil
}

func (w *world) AddDeny(_ context.Context, d exchange.Deny, _ exchange.Event) (int64, error) {
	w.denies.Epoch++
	w.denies.Denies = append(w.denies.Denies, d)
	return w.denies.Epoch, nil
}

func (w *world) RemoveDeny(context.Context, string, exchange.ID, exchange.Event) (bool, error) {
	return false, nil
}

// pass lets time go by, and the replica look at the database.
func (w *world) pass(t fataler, d time.Duration) {
	w.now = w.now.Add(d)
	if err := w.set.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
}
