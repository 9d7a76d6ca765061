package outbound_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/cambio-sts/cambio/exchange/outbound"
)

// nameServer answers every A query over one in-memory connection per question
// with whatever it currently says, as a name under an attacker's hand does.
type nameServer struct {
	mu     sync.Mutex
	says   []netip.Addr
	asked  int
	broken error
}

func (n *nameServer) say(addresses ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.says = nil
	for _, a := range addresses {
		n.says = append(n.says, netip.MustParseAddr(a))
	}
}

func (n *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe() // a stream, so DNS over TCP: two bytes of length first
		go n.answer(theirs)
		return ours, nil
	}}
}

func (n *nameServer) answer(c net.Conn) {
	defer c.Close()
	for {
		var length [2]byte
		if _, err := readFull(c, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := readFull(c, query); err != nil {
			return
		}
		reply, err := n.reply(query)
		if err != nil {
			n.mu.Lock()
			n.broken = err
			n.mu.Unlock()
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

func readFull(c net.Conn, b []byte) (int, error) {
	for n := 0; n < len(b); {
		m, err := c.Read(b[n:])
		if n += m; err != nil {
			return n, err
		}
	}
	return len(b), nil
}

func (n *nameServer) reply(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	m.Response, m.RecursionAvailable = true, true
	m.Additionals = nil
	q := m.Questions[0]
	for _, a := range n.says {
		h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, Type: q.Type, TTL: 0}
		switch {
		case q.Type == dnsmessage.TypeA && a.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: a.As4()}})
		case q.Type == dnsmessage.TypeAAAA && a.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: a.As16()}})
		}
	}
	return m.Pack()
}

// A name is allowed and its address is not, whatever the name said before: what
// counts is the address at the moment of the connect.
func TestS24ANameThatRebindsToThisMachineIsRefused(t *testing.T) {
	reached := 0
	s := serve(t, func(http.ResponseWriter, *http.Request) { reached++ })
	port := netip.MustParseAddrPort(s.Listener.Addr().String()).Port()
	names := new(nameServer)
	// 127.0.0.2 plays the public address that the name has at first.
	public := netip.MustParsePrefix("127.0.0.2/32")
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.2:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	first := &http.Server{Handler: http.HandlerFunc(hello)}
	go func() { _ = first.Serve(listener) }()
	t.Cleanup(func() { _ = first.Close() })

	c := open(t, outbound.Options{Allow: []string{"rebind.example"}, AllowPlaintext: true, AllowAddresses: []netip.Prefix{public}, Resolver: names.resolver()})
	url := fmt.Sprintf("http://rebind.example:%d/", port)
	names.say("127.0.0.2")
	if body, err := get(t, c, url); err != nil || body != "hello" {
		t.Fatalf("%q %v", body, err)
	}
	c.CloseIdleConnections()
	for _, now := range [][]string{{"127.0.0.1"}, {"169.254.169.254"}, {"::1"}, {"::ffff:127.0.0.1"}, {"0.0.0.0"}, {"127.0.0.1", "169.254.169.254"}} {
		names.say(now...)
		if _, err := get(t, c, url); !errors.Is(err, outbound.ErrAddress) {
			t.Errorf("%v: %v", now, err)
		}
	}
	if reached > 0 {
		t.Errorf("this machine was reached %d times", reached)
	}
	names.mu.Lock()
	defer names.mu.Unlock()
	if names.asked == 0 || names.broken != nil {
		t.Errorf("asked %d times, %v", names.asked, names.broken)
	}
}
