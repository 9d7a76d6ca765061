package policy

import (
	"math/bits"
	"slices"
	"sync"

	"github.com/cambio-sts/cambio/exchange"
)

// index finds the rules that match subject, actors and target without looking at
// each. A clause is one (subject, actor) combination of a rule and has one bit.
// For each attribute there is a set of clauses per value, per distinct pattern and
// for those that do not name the attribute: OR within an attribute, AND across.
type index struct {
	words       int
	rules       []int32 // clause → rule, rising
	delegated   []uint64
	undelegated []uint64
	subject     []dimension
	actor       []dimension
	client      dimension
	target      dimension
	// yields, in a deny index, says which attributes a trust's subjects can have.
	// One that could be there and is not counts as a match (S14). Nil in an allow
	// index.
	yields  map[string]map[string]bool
	scratch sync.Pool // *scratch
}

// scratch is the working space of one search.
type scratch struct {
	found, one []uint64
	before     []uint64 // found, before an actor of a chain was looked at
	some       []uint64 // found by some actor of it
}

// dimension is one attribute of the subject, of the actor, or the target's name.
type dimension struct {
	attribute     string
	unconstrained []uint64
	exact         map[string]*set
	patterns      map[ends][]patternSet
	lengths       []lengths // the distinct lengths of the ends, for lookups
}

// ends are the literal beginning and end of a pattern. Patterns are found by them,
// so that ten thousand of the form team-*-prod cost no more than a few.
type ends struct{ prefix, suffix string }

type lengths struct{ prefix, suffix int }

type patternSet struct {
	glob glob
	set  *set
}

// set is a set of clauses: a list while it is small, bits when that is less.
type set struct {
	list []int32
	bits []uint64
}

func (s *set) orInto(dst []uint64) {
	if s.bits != nil {
		for i, w := range s.bits {
			dst[i] |= w
		}
		return
	}
	for _, c := range s.list {
		dst[c>>6] |= 1 << (c & 63)
	}
}

func newIndex(rules []rule, yields map[string]map[string]bool) *index {
	x := &index{yields: yields}
	type pair struct{ subject, actor clause }
	var clauses []pair
	for i := range rules {
		r := &rules[i]
		for _, s := range orNone(r.subjects) {
			for _, a := range orNone(r.actors) {
				clauses = append(clauses, pair{s, a})
				x.rules = append(x.rules, int32(i))
			}
		}
	}
	n := len(clauses)
	x.words = (n + 63) / 64
	x.delegated, x.undelegated = make([]uint64, x.words), make([]uint64, x.words)
	subject, actor := newBuilder(n), newBuilder(n)
	client, target := newBuilder(n), newBuilder(n)
	for i, c := range clauses {
		r := &rules[x.rules[i]]
		subject.add(i, c.subject)
		actor.add(i, c.actor)
		if len(r.clients) > 0 {
			client.add(i, clause{{attribute: "client", patterns: r.clients}})
		}
		if len(r.targets) > 0 {
			target.add(i, clause{{attribute: "target", patterns: r.targets}})
		}
		if len(r.actors) > 0 || r.deny {
			x.delegated[i>>6] |= 1 << (i & 63)
		}
		if len(r.actors) == 0 {
			x.undelegated[i>>6] |= 1 << (i & 63)
		}
	}
	x.subject, x.actor = subject.dimensions(), actor.dimensions()
	if c := client.dimensions(); len(c) == 1 {
		x.client = c[0]
	}
	if t := target.dimensions(); len(t) == 1 {
		x.target = t[0]
	}
	x.scratch.New = func() any {
		s := &scratch{found: make([]uint64, x.words), one: make([]uint64, x.words)}
		if x.yields != nil {
			s.before, s.some = make([]uint64, x.words), make([]uint64, x.words)
		}
		return s
	}
	return x
}

func orNone(cs []clause) []clause {
	if len(cs) == 0 {
		return []clause{nil}
	}
	return cs
}

// builder collects the dimensions of one side.
type builder struct {
	n      int
	order  []string
	values map[string]map[glob][]int32
	named  map[string][]int32 // clauses that name the attribute
}

func newBuilder(n int) *builder {
	return &builder{n: n, values: map[string]map[glob][]int32{}, named: map[string][]int32{}}
}

func (b *builder) add(i int, c clause) {
	for _, p := range c {
		values, ok := b.values[p.attribute]
		if !ok {
			values = map[glob][]int32{}
			b.values[p.attribute] = values
			b.order = append(b.order, p.attribute)
		}
		b.named[p.attribute] = append(b.named[p.attribute], int32(i))
		for _, g := range p.patterns {
			if l := values[g.glob]; len(l) == 0 || l[len(l)-1] != int32(i) {
				values[g.glob] = append(l, int32(i))
			}
		}
	}
}

func (b *builder) dimensions() []dimension {
	var all []dimension
	words := (b.n + 63) / 64
	for _, attribute := range b.order {
		d := dimension{attribute: attribute, unconstrained: make([]uint64, words), exact: map[string]*set{}, patterns: map[ends][]patternSet{}}
		for i := range b.n {
			d.unconstrained[i>>6] |= 1 << (i & 63)
		}
		for _, i := range b.named[attribute] {
			d.unconstrained[i>>6] &^= 1 << (i & 63)
		}
		for g, list := range b.values[attribute] {
			s := newSet(list, words)
			if g.literal() {
				d.exact[string(g)] = s
				continue
			}
			prefix, suffix := g.ends()
			e := ends{prefix, suffix}
			d.patterns[e] = append(d.patterns[e], patternSet{g, s})
			if l := (lengths{len(prefix), len(suffix)}); !slices.Contains(d.lengths, l) {
				d.lengths = append(d.lengths, l)
			}
		}
		all = append(all, d)
	}
	return all
}

func newSet(list []int32, words int) *set {
	if len(list) <= 2*words { // a list is 4 bytes an entry, bits are 8 a word
		return &set{list: list}
	}
	s := &set{bits: make([]uint64, words)}
	for _, c := range list {
		s.bits[c>>6] |= 1 << (c & 63)
	}
	return s
}

// mark adds the clauses that a value satisfies.
func (d *dimension) mark(dst []uint64, value string) {
	if s, ok := d.exact[value]; ok {
		s.orInto(dst)
	}
	for _, l := range d.lengths {
		if len(value) < l.prefix+l.suffix {
			continue
		}
		for _, p := range d.patterns[ends{value[:l.prefix], value[len(value)-l.suffix:]}] {
			if p.glob.match(value) {
				p.set.orInto(dst)
			}
		}
	}
}

// search finds the clauses that match and leaves them in s.found; false: none.
func (x *index) search(q *exchange.Question, target string, s *scratch) bool {
	actor := provenActor(q)
	delegated := actor != nil || len(q.Subject.Asserted) > 0
	switch {
	case x.words == 0:
		return false
	case actor == nil && delegated && x.yields == nil:
		return false // an asserted actor satisfies nothing, and the request is delegated all the same (S15)
	case !delegated:
		copy(s.found, x.undelegated)
	default:
		copy(s.found, x.delegated)
	}
	if x.target.unconstrained != nil {
		copy(s.one, x.target.unconstrained)
		x.target.mark(s.one, target)
		if !and(s.found, s.one) {
			return false
		}
	}
	if x.client.unconstrained != nil {
		copy(s.one, x.client.unconstrained)
		if q.Client != "" { // nobody is no client, whatever the pattern
			x.client.mark(s.one, q.Client)
		}
		if !and(s.found, s.one) {
			return false
		}
	}
	if !x.narrow(x.subject, subjectIdentity(&q.Subject), s) {
		return false
	}
	switch {
	case !delegated:
		return true
	case x.yields == nil:
		return x.narrow(x.actor, actorIdentity(actor), s)
	}
	return x.narrowByChain(q, s)
}

// narrowByChain keeps the clauses of a deny index that some actor of the chain
// satisfies, proven or not: a deny is not escaped by having another act in between,
// or by proving less (S15).
func (x *index) narrowByChain(q *exchange.Question, s *scratch) bool {
	copy(s.before, s.found)
	clear(s.some)
	any := false
	for _, part := range [2][]exchange.Actor{q.Actors, q.Subject.Asserted} {
		for i := range part {
			copy(s.found, s.before)
			if !x.narrow(x.actor, actorIdentity(&part[i]), s) {
				continue
			}
			any = true
			for w, found := range s.found {
				s.some[w] |= found
			}
		}
	}
	s.found, s.some = s.some, s.found
	return any
}

func (x *index) narrow(dimensions []dimension, who identity, s *scratch) bool {
	any := true
	for i := range dimensions {
		d := &dimensions[i]
		single, many, present := who.values(d.attribute)
		if !present && x.yields[who.trust][d.attribute] {
			continue
		}
		copy(s.one, d.unconstrained)
		if single != "" {
			d.mark(s.one, single)
		}
		for _, v := range many {
			d.mark(s.one, v)
		}
		if any = and(s.found, s.one); !any {
			return false
		}
	}
	return any
}

func and(dst, other []uint64) bool {
	var some uint64
	for i, w := range other {
		dst[i] &= w
		some |= dst[i]
	}
	return some != 0
}

// next is the first rule at or after clause from, with the clause to go on from;
// rule -1: no more.
func (x *index) next(found []uint64, from int) (rule, after int) {
	for w := from >> 6; w < len(found); w++ {
		word := found[w]
		if w == from>>6 {
			word &= ^uint64(0) << (from & 63)
		}
		if word != 0 {
			c := w<<6 + bits.TrailingZeros64(word)
			rule = int(x.rules[c])
			for c++; c < len(x.rules) && int(x.rules[c]) == rule; c++ {
			}
			return rule, c
		}
	}
	return -1, 0
}

// provenActor is the outermost actor that a token in the request proved; nil: none.
func provenActor(q *exchange.Question) *exchange.Actor {
	for i := range q.Actors {
		if q.Actors[i].Proven {
			return &q.Actors[i]
		}
	}
	return nil
}
