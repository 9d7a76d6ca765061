package subject

import (
	"context"
	"crypto/sha256"
	"slices"
	"sync/atomic"
)

// maxAttempts bounds the signatures that are tried for one token. Only a token
// without `kid`, or a kid that several keys bear, needs more than one.
const maxAttempts = 8

// group is the trusts that could answer for one issuer name or one trust domain:
// nearly always one. Of several the key decides, and so no key may be in two
// (S6).
type group struct {
	trusts  []*trust
	verdict atomic.Pointer[verdict]
	meter   Meter
}

// verdict is what was found about shared keys, for exactly these sets.
type verdict struct {
	sets     []*keySet
	disabled []bool
}

// errDisabled says it aloud; the operator finds the names in the metrics and in
// Status.
var errDisabled = refused("tokens of this issuer are refused: two of its trusts hold the same key, and the operator must separate them")

// keys returns the usable key set of each trust, nil where it is disabled. All of
// a group must be known: with one set missing, nobody can say that the others
// share no key with it.
func (g *group) keys(ctx context.Context) ([]*keySet, error) {
	if len(g.trusts) == 1 {
		set, err := g.trusts[0].source.current(ctx)
		if err != nil {
			return nil, err
		}
		return []*keySet{set}, nil
	}
	sets := make([]*keySet, len(g.trusts))
	for i, t := range g.trusts {
		set, err := t.source.current(ctx)
		if err != nil {
			return nil, err
		}
		sets[i] = set
	}
	return g.judge(sets), nil
}

// judge takes out the sets that share a key with another.
func (g *group) judge(sets []*keySet) []*keySet {
	found := g.verdict.Load()
	if found == nil || !slices.Equal(found.sets, sets) {
		found = &verdict{sets: sets, disabled: make([]bool, len(sets))}
		for i := range sets {
			for j := i + 1; j < len(sets); j++ {
				if overlap(sets[i], sets[j]) {
					found.disabled[i], found.disabled[j] = true, true
					a, b := g.trusts[i], g.trusts[j]
					g.meter.Shared(a.Tenant, a.Name, b.Name)
					g.meter.Shared(b.Tenant, b.Name, a.Name)
				}
			}
		}
		g.verdict.Store(found)
	}
	usable := slices.Clone(sets)
	for i, off := range found.disabled {
		if off {
			usable[i] = nil
		}
	}
	return usable
}

func overlap(a, b *keySet) bool {
	for thumbprint := range a.prints {
		if b.prints[thumbprint] {
			return true
		}
	}
	return false
}

// verify finds the key that signed the token, and the trust it belongs to.
func (g *group) verify(ctx context.Context, p *presented) (*trust, *key, error) {
	if !slices.ContainsFunc(g.trusts, func(t *trust) bool { return t.accepts(p.algorithm) }) {
		return nil, nil, refused("the token's signature algorithm is not accepted for its issuer")
	}
	sets, err := g.keys(ctx)
	if err != nil {
		return nil, nil, err
	}
	t, k, tried, err := g.match(p, sets)
	if err != nil || k != nil {
		return t, k, err
	}
	if tried && p.keyID != "" {
		return nil, nil, errSignature
	}
	// The issuer may have a new key since: look once, together with everybody
	// else who brings such a token.
	changed := false
	for i, t := range g.trusts {
		if sets[i] == nil {
			continue
		}
		set, err := t.source.search(ctx, sets[i])
		if err != nil {
			return nil, nil, err
		}
		changed = changed || set != sets[i]
	}
	if changed {
		if sets, err = g.keys(ctx); err != nil {
			return nil, nil, err
		}
		var again bool
		if t, k, again, err = g.match(p, sets); err != nil || k != nil {
			return t, k, err
		}
		tried = tried || again
	}
	switch {
	case slices.Contains(sets, nil):
		return nil, nil, errDisabled
	case tried:
		return nil, nil, errSignature
	}
	return nil, nil, refused("the token is signed with a key that its issuer does not publish: get a fresh token, and if the issuer has just changed its keys, try again in ten seconds")
}

var errSignature = refused("the token's signature does not verify")

// match tries the keys that could have signed. tried says that there were some.
func (g *group) match(p *presented, sets []*keySet) (_ *trust, _ *key, tried bool, _ error) {
	attempts := 0
	for i, t := range g.trusts {
		if sets[i] == nil || !t.accepts(p.algorithm) {
			continue
		}
		for _, k := range sets[i].candidates(p) {
			if attempts++; attempts > maxAttempts {
				return nil, nil, true, refused(`the token names no key, and its issuer has too many to try them all: have it set "kid"`)
			}
			if ok, err := k.verifies(p); err != nil || ok {
				return t, k, true, err
			}
		}
	}
	return nil, nil, attempts > 0, nil
}

// stands reports whether the key that once verified a token of t would do so now.
func (g *group) stands(ctx context.Context, t *trust, k *key) bool {
	sets, err := g.keys(ctx)
	if err != nil {
		return false
	}
	i := slices.Index(g.trusts, t)
	return i >= 0 && sets[i] != nil && sets[i].holds(k)
}

// fingerprintOf is the full SHA-256 of the token as presented.
func fingerprintOf(raw string) [sha256.Size]byte { return sha256.Sum256([]byte(raw)) }
