package server

import (
	"net/http"
	"net/netip"
	"strings"
)

// ClientIP is the address that a request came from: the TCP peer, unless the peer
// is one of the trusted proxies; then the rightmost address of X-Forwarded-For
// that no trusted proxy has (S19). Each proxy appends the address it saw, so
// everything left of that one is hearsay. Where all are trusted it is the
// leftmost. An entry that is no address makes the whole header worthless: the
// peer it is.
//
// Forwarded (RFC 7239) is not read: a proxy that writes one of the two headers
// passes the other on as the caller sent it, and nobody can tell which.
//
// The address is invalid where there is no TCP peer.
func ClientIP(r *http.Request, trusted []netip.Prefix) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	peer := ap.Addr().Unmap().WithZone("")
	if !within(trusted, peer) {
		return peer
	}
	client := peer
	lines := r.Header["X-Forwarded-For"]
	for i := len(lines) - 1; i >= 0; i-- {
		rest := lines[i]
		for done := false; !done; {
			entry := rest
			if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
				rest, entry = rest[:comma], rest[comma+1:]
			} else {
				done = true
			}
			address, ok := parseForwarded(strings.Trim(entry, " \t"))
			if !ok {
				return peer
			}
			client = address
			if !within(trusted, client) {
				return client
			}
		}
	}
	return client
}

// parseForwarded reads an address, with a port as some proxies write it.
func parseForwarded(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			return netip.Addr{}, false
		}
		a = ap.Addr()
	}
	return a.Unmap(), a.Zone() == ""
}

func within(ranges []netip.Prefix, a netip.Addr) bool {
	for _, p := range ranges {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
