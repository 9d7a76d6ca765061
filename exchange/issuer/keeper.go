package issuer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// The states of a stored key.
const (
	StateNext      = "next"      // published, and signs from SignAt
	StateSigning   = "signing"   // signs now
	StateRetiring  = "retiring"  // signs no more, and is published until RetireAt
	StateWithdrawn = "withdrawn" // published no more; the next reading deletes it
	StateRefused   = "refused"   // does not open, and is neither published nor used
)

// KeyStatus is what may be shown of a stored key: nothing of the key itself.
type KeyStatus struct {
	Purpose   string
	KeyID     string
	Algorithm string
	PublishAt time.Time
	SignAt    time.Time
	RetireAt  time.Time // zero: not settled yet
	State     string
	SealKey   string // names the sealing key; empty: what is stored is no sealed value
	SealPlace int    // as Sealer.SealedUnder says
	Fault     error  // why it is refused
}

// Keeper does by hand what an Issuer does by the clock. It reads keys when it is
// asked, and changes nothing else.
type Keeper struct {
	issuer  *Issuer
	custody Custody
	note    Note
}

// Note says who changes keys, for the ledger.
type Note struct {
	Tenant string
	Reason string // what was done, such as a command
	By     string // who did it, where; ends each explanation
}

// NewKeeper takes the options that the replicas have, since from Rotate follows how
// long a key is published before it signs. Options.Keys is not used.
func NewKeeper(o Options, c Custody, n Note) (*Keeper, error) {
	o.Keys = c
	i, err := prepare(o)
	if err != nil {
		return nil, err
	}
	return &Keeper{issuer: i, custody: c, note: n}, nil
}

// List shows every key, in the order in which they came.
func (k *Keeper) List(ctx context.Context) ([]KeyStatus, error) {
	rows, err := k.custody.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the signing keys: %w", err)
	}
	now := k.issuer.now()
	states := map[string]KeyStatus{}
	for _, r := range k.issuer.rings() {
		// A purpose none of whose keys opens has no states, and each row says why.
		keys, withdrawn, _, _ := k.issuer.open(r, rows)
		r.describe(keys, withdrawn, now, states)
	}
	list := make([]KeyStatus, 0, len(rows))
	for _, row := range rows {
		s, known := states[row.Purpose+" "+row.KeyID]
		if _, err := openKey(k.issuer.sealer, row); err != nil || !known {
			if err == nil {
				err = errors.New("its purpose is none of ours")
			}
			s = KeyStatus{
				Purpose: row.Purpose, KeyID: row.KeyID, Algorithm: row.Algorithm, PublishAt: row.PublishAt,
				SignAt: row.SignAt, RetireAt: row.RetireAt, State: StateRefused, Fault: err,
			}
		}
		s.SealKey, s.SealPlace = k.issuer.sealer.SealedUnder(row.Sealed)
		list = append(list, s)
	}
	return list, nil
}

// describe says what each key of a purpose does at the moment.
func (r *ring) describe(keys, withdrawn []*signingKey, now time.Time, into map[string]KeyStatus) {
	for n, k := range keys {
		s := k.status(r.purpose, StateSigning)
		switch {
		case k.signAt.After(now):
			s.State = StateNext
		case n+1 < len(keys) && !keys[n+1].signAt.After(now):
			s.State = StateRetiring
		}
		if n+1 < len(keys) {
			s.RetireAt = keys[n+1].signAt.Add(r.longest + skew)
		}
		into[r.purpose+" "+k.id] = s
	}
	for _, k := range withdrawn {
		into[r.purpose+" "+k.id] = k.status(r.purpose, StateWithdrawn)
	}
}

func (k *signingKey) status(purpose, state string) KeyStatus {
	return KeyStatus{Purpose: purpose, KeyID: k.id, Algorithm: k.algorithm, PublishAt: k.publishAt, SignAt: k.signAt, State: state}
}

// Rotate adds the next key of a purpose. It signs when it has been published for as
// long as any; where such a key waits already, that one is returned, and added is
// false.
func (k *Keeper) Rotate(ctx context.Context, purpose string) (next KeyStatus, added bool, err error) {
	return k.change(ctx, purpose, func(keys []*signingKey, now time.Time) (*plan, *signingKey) {
		p := &plan{publishAt: now, signAt: now.Add(k.issuer.lead())}
		if len(keys) == 0 {
			p.signAt = now.Add(-skew) // nobody waits for the very first
		} else if last := keys[len(keys)-1]; last.signAt.After(now) {
			return nil, last
		}
		p.says = "added the next %s key; it signs from " + exchange.FormatTime(p.signAt)
		return p, nil
	})
}

// Replace adds a key that signs at once, and withdraws all others of the purpose,
// those that wait among them: what any of them signed, or whoever has a copy of one
// signs, verifies nowhere once verifiers have read the key set again.
func (k *Keeper) Replace(ctx context.Context, purpose string) (next KeyStatus, err error) {
	next, _, err = k.change(ctx, purpose, func(keys []*signingKey, now time.Time) (*plan, *signingKey) {
		p := &plan{publishAt: now.Truncate(time.Second), signAt: now.Add(-skew), alone: true, says: "withdrew every earlier %s key; the new one signs at once"}
		for _, other := range keys {
			p.remove = append(p.remove, other.id)
			// Whatever the clock of the replica that made it.
			if !p.publishAt.After(other.publishAt) {
				p.publishAt = other.publishAt.Add(time.Second)
			}
		}
		return p, nil
	})
	return next, err
}

// plan is a key that is to be made.
type plan struct {
	publishAt, signAt time.Time
	alone             bool
	remove            []string
	says              string
}

// change adds the key that decide plans from the opened keys, or returns the one
// that decide finds in its place.
func (k *Keeper) change(ctx context.Context, purpose string, decide func([]*signingKey, time.Time) (*plan, *signingKey)) (KeyStatus, bool, error) {
	r, err := k.ring(purpose)
	if err != nil {
		return KeyStatus{}, false, err
	}
	for range attempts {
		rows, err := k.custody.ListKeys(ctx)
		if err != nil {
			return KeyStatus{}, false, fmt.Errorf("reading the signing keys: %w", err)
		}
		now := k.issuer.now()
		keys, withdrawn, newest, err := k.issuer.open(r, rows)
		if err != nil {
			return KeyStatus{}, false, err
		}
		p, found := decide(keys, now)
		if p == nil {
			return found.status(purpose, StateNext), false, nil
		}
		for _, gone := range withdrawn {
			p.remove = append(p.remove, gone.id)
		}
		row, err := newSealedKey(k.issuer.sealer, k.issuer.random, purpose, r.algorithm, p.publishAt, p.signAt, p.alone)
		if err != nil {
			return KeyStatus{}, false, fmt.Errorf("making the next %s key: %w", purpose, err)
		}
		event, err := k.Event(row.KeyID, fmt.Sprintf(p.says, purpose))
		if err != nil {
			return KeyStatus{}, false, err
		}
		done, err := k.custody.ChangeKeys(ctx, KeyChange{Add: row, After: newest, Remove: p.remove, Event: event})
		if err != nil {
			return KeyStatus{}, false, fmt.Errorf("changing the %s keys: %w", purpose, err)
		}
		if !done {
			continue // a replica was first
		}
		s := KeyStatus{Purpose: purpose, KeyID: row.KeyID, Algorithm: row.Algorithm, PublishAt: row.PublishAt, SignAt: row.SignAt, State: StateNext}
		if !row.SignAt.After(now) {
			s.State = StateSigning
		}
		s.SealKey, s.SealPlace = k.issuer.sealer.SealedUnder(row.Sealed)
		return s, true, nil
	}
	return KeyStatus{}, false, fmt.Errorf("changing the %s keys: others keep changing them", purpose)
}

func (k *Keeper) ring(purpose string) (*ring, error) {
	for _, r := range k.issuer.rings() {
		if r.purpose == purpose {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%q is no purpose of keys: access or federation", purpose)
}

// Event tells of a change, for the ledger. The key's id stands where a credential's
// handle would.
func (k *Keeper) Event(kid, says string) (exchange.Event, error) {
	now := k.issuer.now()
	id, err := exchange.NewID(now, k.issuer.random)
	if err != nil {
		return exchange.Event{}, err
	}
	if k.note.By != "" {
		says += "; by " + k.note.By
	}
	return exchange.Event{
		ID: id, Exchange: id, Tenant: k.note.Tenant, Type: exchange.EventKeysChanged, At: now,
		Record: exchange.Record{Reason: k.note.Reason, Handle: kid, Explanation: says},
	}, nil
}

// Reseal seals every signing key under the current sealing key that is not yet. A
// row that changes or goes meanwhile is left to whoever changed it. dry only
// counts.
func (k *Keeper) Reseal(ctx context.Context, dry bool) (exchange.Resealed, error) {
	var done exchange.Resealed
	rows, err := k.custody.ListKeys(ctx)
	if err != nil {
		return done, fmt.Errorf("reading the signing keys: %w", err)
	}
	for _, row := range rows {
		sealed, err := k.issuer.sealer.Reseal(sealPurpose(row.Purpose), row.KeyID, row.Sealed)
		switch {
		case err != nil:
			done.Fault(fmt.Errorf("the %.64q key %.64q: %w", row.Purpose, row.KeyID, err))
			continue
		case sealed == nil:
			done.Current++
			continue
		case dry:
			done.Done++
			continue
		}
		replaced, err := k.custody.ReplaceSealed(ctx, row.Purpose, row.KeyID, row.Sealed, sealed)
		if err != nil {
			return done, fmt.Errorf("resealing the %s key %s: %w", row.Purpose, row.KeyID, err)
		}
		if replaced {
			done.Done++
		}
	}
	return done, nil
}
