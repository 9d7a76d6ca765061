package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// PeerUID is the user whose process is at the other end of a connection of this machine:
// by what the kernel noted when a unix socket was connected, or by the owner of the TCP
// socket. It is an error where that cannot be told for sure; whoever is asked for then is
// not the caller.
func PeerUID(c net.Conn) (uint32, error) {
	uid, err := peerUID(c)
	if err != nil {
		return 0, err
	}
	if uid == strangers() {
		return 0, fmt.Errorf("in this user namespace uid %d is everybody whom it has no number for: run the caller as another user", uid)
	}
	return uid, nil
}

func peerUID(c net.Conn) (uint32, error) {
	if outer, ok := c.(interface{ NetConn() net.Conn }); ok {
		return peerUID(outer.NetConn())
	}
	if u, ok := c.(*net.UnixConn); ok {
		return socketPeer(u)
	}
	if c == nil {
		return 0, errors.New("there is no connection")
	}
	own, ok := c.LocalAddr().(*net.TCPAddr)
	peer, ok2 := c.RemoteAddr().(*net.TCPAddr)
	if !ok || !ok2 {
		return 0, errors.New("it is no connection of this machine")
	}
	return socketUID(plainPort(peer.AddrPort()), plainPort(own.AddrPort()))
}

func plainPort(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
