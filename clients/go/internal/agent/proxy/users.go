package proxy

import (
	"container/list"
	"errors"
	"net/http"
	"sync"
	"time"
)

// idleUser is how long the connections of a user who is away are held.
const idleUser = 2 * time.Minute

var errManyUsers = errors.New("too many users at a time")

// users keeps the upstream connections of each user apart: a server may bind a session
// to its connection. Each user has a transport of its own, in a bounded pool.
type users struct {
	max  int
	dial func() *http.Transport
	now  func() time.Time

	mu    sync.Mutex
	byKey map[userKey]*list.Element
	order *list.List // of *user; the one used last in front
}

type user struct {
	key       userKey
	transport *http.Transport
	busy      int // requests under way
	last      time.Time
}

func newUsers(most int, dial func() *http.Transport, now func() time.Time) *users {
	return &users{max: most, dial: dial, now: now, byKey: map[userKey]*list.Element{}, order: list.New()}
}

// acquire gives a user's transport, until release is called. The user who was away the
// longest makes room; if none is away the error is errManyUsers.
func (u *users) acquire(key userKey) (t *http.Transport, release func(), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	e, ok := u.byKey[key]
	if !ok {
		if u.order.Len() >= u.max && !u.makeRoom() {
			return nil, nil, errManyUsers
		}
		e = u.order.PushFront(&user{key: key, transport: u.dial()})
		u.byKey[key] = e
	}
	u.order.MoveToFront(e)
	one := e.Value.(*user)
	one.busy++
	return one.transport, sync.OnceFunc(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		one.busy--
		one.last = u.now()
	}), nil
}

func (u *users) makeRoom() bool {
	for e := u.order.Back(); e != nil; e = e.Prev() {
		if e.Value.(*user).busy == 0 {
			u.remove(e)
			return true
		}
	}
	return false
}

// remove drops a user whose requests have ended. A connection that is on its way back
// to the transport is closed when it arrives there.
func (u *users) remove(e *list.Element) {
	one := u.order.Remove(e).(*user)
	delete(u.byKey, one.key)
	one.transport.CloseIdleConnections()
}

// sweep drops who was away for long; all: everybody who has nothing under way, and of the
// others what they need no more.
func (u *users) sweep(all bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.now()
	for e := u.order.Back(); e != nil; {
		previous := e.Prev()
		if one := e.Value.(*user); one.busy == 0 && (all || now.Sub(one.last) >= idleUser) {
			u.remove(e)
		} else if all {
			one.transport.CloseIdleConnections()
		}
		e = previous
	}
}

func (u *users) len() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.order.Len()
}
