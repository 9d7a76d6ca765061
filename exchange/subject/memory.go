package subject

import (
	"crypto/sha256"
	"sync"
)

// memory is a bounded map from full SHA-256 sums. It is two generations per
// shard: what is used moves to the young one, and when that is full the old one
// is dropped whole. So it never holds more than its capacity, forgets what is
// not used, and costs one short lock of one shard.
type memory[V any] struct {
	shards [memoryShards]memoryShard[V]
	half   int // capacity of one generation of one shard
}

const memoryShards = 16

type memoryShard[V any] struct {
	mu         sync.Mutex
	young, old map[[sha256.Size]byte]V
}

// newMemory holds at most capacity entries, a multiple of 32.
func newMemory[V any](capacity int) *memory[V] {
	m := &memory[V]{half: max(1, capacity/memoryShards/2)}
	for i := range m.shards {
		m.shards[i].young = map[[sha256.Size]byte]V{}
	}
	return m
}

func (m *memory[V]) shard(k [sha256.Size]byte) *memoryShard[V] { return &m.shards[k[0]%memoryShards] }

func (m *memory[V]) get(k [sha256.Size]byte) (V, bool) {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.young[k]; ok {
		return v, true
	}
	v, ok := s.old[k]
	if ok {
		delete(s.old, k)
		m.add(s, k, v)
	}
	return v, ok
}

func (m *memory[V]) put(k [sha256.Size]byte, v V) {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.old, k)
	m.add(s, k, v)
}

// add is called with the shard's lock held.
func (m *memory[V]) add(s *memoryShard[V], k [sha256.Size]byte, v V) {
	if _, present := s.young[k]; !present && len(s.young) >= m.half {
		s.old, s.young = s.young, make(map[[sha256.Size]byte]V, m.half)
	}
	s.young[k] = v
}

func (m *memory[V]) drop(k [sha256.Size]byte) {
	s := m.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.young, k)
	delete(s.old, k)
}
