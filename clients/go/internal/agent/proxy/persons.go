package proxy

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

// persons keeps the issuer of each user's credential, by the whole hash of the token
// that the user came with, no longer than that token lives. A reload that changes nothing
// of what is asked for hands it on: each token is verified in each request anew.
type persons struct {
	now  func() time.Time
	make func(token cambio.Secret) (*issuer, error)

	mu    sync.Mutex
	byKey map[[sha256.Size]byte]*list.Element
	order *list.List // of *person; the one who came last in front
}

type person struct {
	key     [sha256.Size]byte
	issuer  *issuer
	expires time.Time
}

func newPersons(now func() time.Time, make func(cambio.Secret) (*issuer, error)) *persons {
	return &persons{now: now, make: make, byKey: map[[sha256.Size]byte]*list.Element{}, order: list.New()}
}

// of is the issuer for a token that was verified in this request. Who was away the
// longest makes room, where there are most already.
func (p *persons) of(v verified, most int) (*issuer, error) {
	key := sha256.Sum256([]byte(v.token.Reveal()))
	p.mu.Lock()
	defer p.mu.Unlock()
	if e, ok := p.byKey[key]; ok {
		p.order.MoveToFront(e)
		return e.Value.(*person).issuer, nil
	}
	made, err := p.make(v.token)
	if err != nil {
		return nil, err
	}
	for p.order.Len() >= most {
		p.remove(p.order.Back())
	}
	p.byKey[key] = p.order.PushFront(&person{key, made, v.expires})
	return made, nil
}

func (p *persons) remove(e *list.Element) {
	delete(p.byKey, p.order.Remove(e).(*person).key)
}

// sweep forgets those whose token is dead.
func (p *persons) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for e := p.order.Back(); e != nil; {
		previous := e.Prev()
		if !now.Before(e.Value.(*person).expires) {
			p.remove(e)
		}
		e = previous
	}
}

func (p *persons) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.order.Len()
}
