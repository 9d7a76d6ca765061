package issuer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// every is how often a replica reads the keys.
const every = time.Minute

// skew is how far the clocks of replicas, and of those who verify, may be apart.
const skew = 5 * time.Minute

// readTimeout bounds one reading. It has to be well under skew: a key that is added
// must be stored soon after its times were fixed.
const readTimeout = 30 * time.Second

// attempts bounds how often one refresh goes round because other replicas are
// adding keys too.
const attempts = 4

// lead is how long a key is published before it signs: at most a day, and at least
// a quarter of the shortest rotation, which is many readings.
func (i *Issuer) lead() time.Duration { return min(24*time.Hour, i.rotate/4) }

// Run reads and rotates keys every minute until ctx ends. What fails is reported
// and tried again.
func (i *Issuer) Run(ctx context.Context) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := i.Refresh(ctx); err != nil && ctx.Err() == nil {
				i.report(err)
			}
		}
	}
}

// Refresh reads the keys once, adds the next one of each purpose where it is due,
// and removes what has served its time. On an error the keys read before stay.
func (i *Issuer) Refresh(ctx context.Context) error {
	i.refreshing.Lock()
	defer i.refreshing.Unlock()
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	for range attempts {
		began := i.now()
		rows, err := i.keys.ListKeys(ctx)
		if err != nil {
			return fmt.Errorf("reading the signing keys: %w", err)
		}
		added := false
		for _, r := range i.rings() {
			again, err := i.refresh(ctx, r, rows, began)
			if err != nil {
				return err
			}
			added = added || again
		}
		if !added {
			return nil
		}
	}
	return errors.New("reading the signing keys: other replicas keep adding some")
}

// refresh takes one purpose's rows. It reports whether a key was added, here or by
// another replica, so that the rows must be read again.
func (i *Issuer) refresh(ctx context.Context, r *ring, rows []SealedKey, began time.Time) (bool, error) {
	keys, withdrawn, newest, err := i.open(r, rows)
	if err != nil {
		return false, err
	}
	keys, retired := r.split(keys, began)
	retired = append(withdrawn, retired...)
	if signAt, due := i.due(r, keys, began); due {
		next, err := newSealedKey(i.sealer, i.random, r.purpose, r.algorithm, began, signAt, false)
		if err != nil {
			return false, fmt.Errorf("making the next %s key: %w", r.purpose, err)
		}
		if _, err := i.keys.AddKey(ctx, next, newest); err != nil {
			return false, fmt.Errorf("adding the next %s key: %w", r.purpose, err)
		}
		return true, nil // whoever added it: read it back before it is used
	}
	jwks, err := renderJWKS(keys)
	if err != nil {
		return false, err
	}
	r.current.Store(&snapshot{keys: keys, jwks: jwks, until: began.Add(i.lead() - skew)})
	for _, k := range retired {
		if err := i.keys.RetireKey(ctx, r.purpose, k.id); err != nil {
			i.report(fmt.Errorf("removing the retired %s key %s: %w", r.purpose, k.id, err))
		}
	}
	return false, nil
}

// open opens one purpose's rows: keys in the order in which they sign, those that
// were withdrawn, and the id of the newest row, whether it opens or not.
func (i *Issuer) open(r *ring, rows []SealedKey) (keys, withdrawn []*signingKey, newest string, err error) {
	for _, row := range rows {
		if row.Purpose != r.purpose {
			continue
		}
		newest = row.KeyID
		k, fault := openKey(i.sealer, row)
		if fault != nil {
			err = fault
			i.refuse(r, row, fault)
			continue
		}
		keys = append(keys, k)
	}
	if newest != "" && len(keys) == 0 {
		return nil, nil, "", fmt.Errorf("none of the %s keys in the store opens; the last one is %w", r.purpose, err)
	}
	slices.SortStableFunc(keys, func(a, b *signingKey) int { return a.signAt.Compare(b.signAt) })
	keys, withdrawn = withdraw(keys)
	return keys, withdrawn, newest, nil
}

// withdraw takes out what a key that stands alone has ended.
func withdraw(keys []*signingKey) (stay, withdrawn []*signingKey) {
	var since time.Time
	for _, k := range keys {
		if k.alone && k.publishAt.After(since) {
			since = k.publishAt
		}
	}
	for _, k := range keys {
		if k.publishAt.Before(since) {
			withdrawn = append(withdrawn, k)
		} else {
			stay = append(stay, k)
		}
	}
	return stay, withdrawn
}

// refuse reports a row that was not written by us, once (S4).
func (i *Issuer) refuse(r *ring, row SealedKey, err error) {
	name := r.purpose + " " + row.KeyID
	if i.refused[name] || len(i.refused) > 1000 {
		return
	}
	i.refused[name] = true
	i.report(fmt.Errorf("a stored %s key named %.64q is refused and not published: %w", r.purpose, row.KeyID, err))
}

// split parts the keys that have to stay published from those whose last token
// has died: a key signs until the next begins, and what it signed last lives for
// the purpose's longest.
func (r *ring) split(keys []*signingKey, now time.Time) (stay, retired []*signingKey) {
	for n, k := range keys {
		if n+1 < len(keys) && now.After(keys[n+1].signAt.Add(r.longest+skew)) {
			retired = append(retired, k)
			continue
		}
		stay = append(stay, k)
	}
	return stay, retired
}

// due reports whether the next key has to be made now, and when it shall sign. The
// very first signs at once, since nobody waits for its issuer's keys yet, on
// replicas too whose clocks are a little behind.
func (i *Issuer) due(r *ring, keys []*signingKey, now time.Time) (time.Time, bool) {
	if len(keys) == 0 {
		return now.Add(-skew), true
	}
	last := keys[len(keys)-1]
	if last.signAt.After(now) {
		return time.Time{}, false // published and waiting
	}
	soonest := now.Add(i.lead())
	aged := !soonest.Before(last.signAt.Add(i.rotate))
	return soonest, aged || last.algorithm != r.algorithm
}

// signer picks the key that signs now: the newest whose time has come. It refuses
// when the keys have not been read for so long that another replica may have gone
// on to a key that this one does not show.
func (i *Issuer) signer(r *ring, now time.Time) (*signingKey, error) {
	s := r.current.Load()
	if now.After(s.until) {
		return nil, exchange.Fault(exchange.KindUnavailable, "this replica cannot sign at present; try again",
			fmt.Errorf("the %s keys were last read too long ago", r.purpose))
	}
	for n := len(s.keys) - 1; n >= 0; n-- {
		if !s.keys[n].signAt.After(now) {
			return s.keys[n], nil
		}
	}
	return nil, exchange.Fault(exchange.KindUnavailable, "this replica cannot sign at present; try again",
		fmt.Errorf("no %s key signs yet: are the replicas' clocks set?", r.purpose))
}

// Ready says why this replica cannot sign; nil: it can.
func (i *Issuer) Ready() error {
	now := i.now()
	for _, r := range i.rings() {
		if _, err := i.signer(r, now); err != nil {
			return err
		}
	}
	return nil
}
