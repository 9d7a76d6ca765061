package provider

import (
	"container/list"
	"crypto/sha256"
	"crypto/subtle"
	"sync"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// shardCount spreads the cache's locks. The key is a hash, so its first byte
// spreads evenly.
const shardCount = 16

// entryOverhead is about what a cached credential costs besides its texts.
const entryOverhead = 512

// minLeft is the least life of a cached credential that is still worth having.
const minLeft = time.Minute

// shard is one part of the cache, with the flights of the same keys, so that one
// lock decides between a hit, a follower and a leader.
type shard struct {
	mu      sync.Mutex
	entries map[Key]*list.Element // of *entry
	order   *list.List            // most recently used first
	bytes   int
	limit   int
	flights map[Key]*flight
}

type entry struct {
	key        Key
	credential exchange.Credential
	renewAt    time.Time // from then on somebody should get the next one
	bytes      int
}

// grade says how good a cached credential is for a grant.
type grade uint8

const (
	gradeNone  grade = iota // there is none, or it must not serve this grant
	gradeLast               // it lives, and has too little life left or was refused: for when there is no other
	gradeAging              // it serves, and it is time for the next one
	gradeGood
)

func newShard(limit int) *shard {
	return &shard{entries: map[Key]*list.Element{}, order: list.New(), limit: limit, flights: map[Key]*flight{}}
}

// get finds a credential for the grant, and says how good it is. The caller holds the
// lock.
func (s *shard) get(k Key, g *exchange.Grant, now time.Time) (exchange.Credential, grade) {
	element, ok := s.entries[k]
	if !ok {
		return exchange.Credential{}, gradeNone
	}
	e := element.Value.(*entry)
	c := e.credential
	if !c.Expires.After(now) || g.Stopped != nil && g.Stopped(c.Value) {
		s.remove(element)
		return exchange.Credential{}, gradeNone
	}
	if !withinCaps(&c, g) {
		return exchange.Credential{}, gradeNone
	}
	s.order.MoveToFront(element)
	switch {
	case c.Expires.Sub(now) < needed(&c, g), rejected(&c, g, now):
		return c, gradeLast
	case !now.Before(e.renewAt):
		return c, gradeAging
	default:
		return c, gradeGood
	}
}

// rejectable is how old a credential is at least that is replaced because its resource
// refused it. It bounds how often a caller can have the provider asked.
const rejectable = 10 * time.Second

// rejected reports whether the caller says that this very credential was refused.
func rejected(c *exchange.Credential, g *exchange.Grant, now time.Time) bool {
	if g.Rejected == [32]byte{} || now.Sub(c.Issued) < rejectable {
		return false
	}
	sum := sha256.Sum256([]byte(c.Value.Reveal()))
	return subtle.ConstantTimeCompare(sum[:], g.Rejected[:]) == 1
}

// put keeps the credential, and drops the least recently used beyond the limit.
// The caller holds the lock.
func (s *shard) put(k Key, c exchange.Credential, renewAt time.Time) {
	if element, ok := s.entries[k]; ok {
		s.remove(element)
	}
	e := &entry{key: k, credential: c, renewAt: renewAt, bytes: entryOverhead + len(c.Value.Reveal()) + len(c.Handle)}
	if e.bytes > s.limit {
		return
	}
	s.entries[k] = s.order.PushFront(e)
	s.bytes += e.bytes
	for s.bytes > s.limit {
		s.remove(s.order.Back())
	}
}

// forget drops the credential that with revokes.
func (s *shard) forget(with exchange.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for element := s.order.Front(); element != nil; {
		next := element.Next()
		if c := &element.Value.(*entry).credential; !c.RevokeWith.IsZero() && c.RevokeWith.Equal(with) {
			s.remove(element)
		}
		element = next
	}
}

func (s *shard) remove(element *list.Element) {
	e := s.order.Remove(element).(*entry)
	delete(s.entries, e.key)
	s.bytes -= e.bytes
}

// withinCaps holds S5 over what is at hand already: another request's credential
// serves this one only within this one's caps.
func withinCaps(c *exchange.Credential, g *exchange.Grant) bool {
	return g.Target.MayOutlive || !c.Expires.After(g.NotAfter)
}

// needed is how much life a cached credential must have left: a minute, and a
// fifth of what was wished for or of what the provider gives.
func needed(c *exchange.Credential, g *exchange.Grant) time.Duration {
	life := c.Expires.Sub(c.Issued)
	if g.Lifetime > 0 {
		life = min(life, g.Lifetime)
	}
	return max(minLeft, life/5)
}

// renewal is when the next credential should be had: with three to four tenths of its
// life left, spread by chance so that what was minted together is not renewed
// together.
func renewal(c *exchange.Credential, chance byte) time.Time {
	life := c.Expires.Sub(c.Issued)
	return c.Expires.Add(-life*3/10 - life/10*time.Duration(chance)/256)
}
