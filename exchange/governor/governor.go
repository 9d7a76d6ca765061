// Package governor limits how often one subject may come, so that no workload
// takes the bureau from the others, and how many refusals of it are written down,
// so that nobody fills the disk that the ledger needs (S32).
package governor

import (
	"container/list"
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"time"

	"github.com/cambio-sts/cambio/exchange"
)

// Defaults of Options.
const (
	DefaultPerSubject  = 50.0   // exchanges a second
	DefaultMaxSubjects = 65_536 // about 15 MB
)

// shardCount spreads the locks; a power of two.
const shardCount = 64

// denialShare is which part of a subject's rate its written refusals may have.
const denialShare = 0.1

// Options say how much is admitted.
type Options struct {
	// PerSubject is how many exchanges a second a subject may make on this replica;
	// twice as many at once after a quiet time. Zero: DefaultPerSubject; negative:
	// no limit, save on the refusals that are written.
	PerSubject float64
	// MaxSubjects bounds how many subjects are remembered; the longest quiet are
	// forgotten, which gives them a full allowance again. Zero:
	// DefaultMaxSubjects.
	MaxSubjects int
	Now         func() time.Time
}

// Governor implements exchange.Governor. It is safe for concurrent use.
type Governor struct {
	now      func() time.Time
	seed     maphash.Seed
	exchange rate
	denial   rate
	shards   [shardCount]shard
}

// rate is a token bucket's size and refill.
type rate struct {
	perSecond float64
	burst     float64
}

type key struct{ tenant, subject string }

type shard struct {
	mu    sync.Mutex
	limit int
	known map[key]*list.Element // of *account
	order *list.List            // latest first
}

// account is what one subject has left of each allowance.
type account struct {
	key      key
	seen     time.Time
	exchange float64
	denial   float64
}

// New makes a Governor.
func New(o Options) *Governor {
	if o.PerSubject == 0 {
		o.PerSubject = DefaultPerSubject
	}
	if o.MaxSubjects == 0 {
		o.MaxSubjects = DefaultMaxSubjects
	}
	g := &Governor{now: o.Now, seed: maphash.MakeSeed()}
	g.exchange = rate{perSecond: o.PerSubject, burst: math.Max(1, 2*o.PerSubject)}
	written := o.PerSubject
	if written < 0 {
		written = DefaultPerSubject
	}
	g.denial = rate{perSecond: denialShare * written, burst: math.Max(1, 2*denialShare*written)}
	for i := range g.shards {
		g.shards[i] = shard{limit: max(1, o.MaxSubjects/shardCount), known: map[key]*list.Element{}, order: list.New()}
	}
	return g
}

// Admit takes one from the subject's allowance: of exchanges where d allows, of
// written refusals where it does not. Past it the error is of KindThrottled and
// says when to come back.
func (g *Governor) Admit(_ context.Context, q exchange.Question, d exchange.Decision) (func(error), error) {
	if d.Allowed && g.exchange.perSecond < 0 {
		return released, nil
	}
	now := g.now()
	k := key{q.Tenant, q.Subject.Name}
	s := &g.shards[(maphash.String(g.seed, k.tenant)*31+maphash.String(g.seed, k.subject))%shardCount]
	s.mu.Lock()
	a := s.account(k, now, g)
	left, r := &a.exchange, g.exchange
	if !d.Allowed {
		left, r = &a.denial, g.denial
	}
	ok := *left >= 1
	if ok {
		*left--
	}
	missing := 1 - *left
	s.mu.Unlock()
	if ok {
		return released, nil
	}
	// Whole seconds, rounded up: Retry-After knows no others (RFC 9110 §10.2.3).
	wait := time.Duration(math.Ceil(missing/r.perSecond)) * time.Second
	return nil, &exchange.Error{
		Kind: exchange.KindThrottled, RetryAfter: max(wait, time.Second),
		Advice: "too many exchanges for this subject: reuse the credential until shortly before it expires",
		Err:    fmt.Errorf("subject %q is past its rate", k.subject),
	}
}

// released is the release of what holds nothing.
func released(error) {}

// account finds or opens the subject's account and refills it. The caller holds the
// lock.
func (s *shard) account(k key, now time.Time, g *Governor) *account {
	if element, ok := s.known[k]; ok {
		s.order.MoveToFront(element)
		a := element.Value.(*account)
		if passed := now.Sub(a.seen).Seconds(); passed > 0 { // a clock that steps back gives nothing
			a.exchange = math.Min(g.exchange.burst, a.exchange+passed*g.exchange.perSecond)
			a.denial = math.Min(g.denial.burst, a.denial+passed*g.denial.perSecond)
			a.seen = now
		}
		return a
	}
	a := &account{key: k, seen: now, exchange: g.exchange.burst, denial: g.denial.burst}
	s.known[k] = s.order.PushFront(a)
	for s.order.Len() > s.limit {
		oldest := s.order.Remove(s.order.Back()).(*account)
		delete(s.known, oldest.key)
	}
	return a
}
