package listen

import (
	"errors"
	"net"
	"sync"
)

// DefaultPlaces is how many connections an address has at a time where its endpoint says
// nothing else. Each takes a file descriptor, and some 10 KiB of memory.
const DefaultPlaces = 1024

// places counts the connections of one address. It differs from netutil.LimitListener in
// what connections are worth: whoever waits for a request makes room for who has one. It
// also leaves the two ends of a connection apart (CloseWrite), which net/http wants for an
// answer to arrive that is given before the body was read.
type places struct {
	mu     sync.Mutex
	free   *sync.Cond
	taken  int
	most   int
	closed bool
}

func newPlaces() *places {
	p := &places{}
	p.free = sync.NewCond(&p.mu)
	return p
}

// allow says how many there are from now on. Who has a place keeps it.
func (p *places) allow(most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.most = most
	p.free.Broadcast()
}

// try takes a place if one is free.
func (p *places) try() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= p.most {
		return false
	}
	p.taken++
	return true
}

// wait takes a place when one comes free. It is false when there will be none any more.
func (p *places) wait() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.taken >= p.most && !p.closed {
		p.free.Wait()
	}
	if p.closed {
		return false
	}
	p.taken++
	return true
}

func (p *places) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	p.free.Broadcast()
}

// close lets nobody wait any more.
func (p *places) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.free.Broadcast()
}

// placed is a connection that has a place, until it is closed: by the server, or by who
// took it over for another protocol.
type placed struct {
	net.Conn
	leave func()
}

// Close gives the place back.
func (c *placed) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}

// CloseWrite ends what is sent, while the rest is read still.
func (c *placed) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn is the connection itself.
func (c *placed) NetConn() net.Conn { return c.Conn }
