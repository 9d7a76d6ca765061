package outbound

import (
	"context"
	"fmt"
	"net/netip"
	"syscall"
)

// loopback is apart from the rest because it is a switch of its own.
var loopback = prefixes("127.0.0.0/8", "::1/128")

// refused are the ranges where a machine finds itself, its link or its cloud's
// services, and no provider. Private ranges (RFC 1918, fc00::/7) are not among
// them: clusters and vaults live there.
var refused = prefixes(
	"0.0.0.0/8", "::/128", // unspecified: dials this machine on Linux
	"169.254.0.0/16", "fe80::/10", // link-local, the metadata services of most clouds
	"fd00:ec2::/32",                          // AWS: instance metadata and its kin over IPv6
	"fd20:ce::254/128",                       // Google: metadata over IPv6
	"100.100.100.200/32",                     // Alibaba: metadata, inside RFC 6598 space
	"168.63.129.16/32",                       // Azure: the wire server
	"192.0.0.0/24",                           // RFC 6890; Oracle's old metadata address
	"224.0.0.0/4", "ff00::/8", "240.0.0.0/4", // multicast, reserved, broadcast
	"2001::/32", // Teredo (RFC 4380): its far end is not what the address says
)

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

// Ranges of IPv6 that carry an IPv4 address; what counts is where that leads.
var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")   // RFC 6052 §2.1
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48") // RFC 8215
	sixToFour  = netip.MustParsePrefix("2002::/16")      // RFC 3056 §2
	compatible = netip.MustParsePrefix("::/96")          // RFC 4291 §2.5.5.1
)

// carried is the IPv4 address inside an IPv6 one, if there is one.
func carried(a netip.Addr) (netip.Addr, bool) {
	b := a.As16()
	switch {
	case a.Is4():
		return netip.Addr{}, false
	case nat64.Contains(a), nat64Local.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case sixToFour.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	case compatible.Contains(a) && !a.IsLoopback() && !a.IsUnspecified():
		return netip.AddrFrom4([4]byte(b[12:16])), true
	}
	return netip.Addr{}, false
}

// addressGate says which addresses may be dialled.
type addressGate struct {
	loopback bool
	allow    []netip.Prefix
}

// control runs between the choice of an address and the connect, for every
// address of a name: what a resolver says later cannot get around it.
func (g addressGate) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return &refusal{ErrAddress, "it does not parse"}
	}
	if a := ap.Addr().Unmap().WithZone(""); !g.permits(a) {
		return &refusal{ErrAddress, fmt.Sprintf("%s is on this machine, its link or its cloud's metadata service: add %s to outbound.allow of cambio.yaml only if it is to be asked all the same",
			a, netip.PrefixFrom(a, a.BitLen()))}
	}
	return nil
}

func (g addressGate) permits(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if contains(g.allow, a) || g.loopback && contains(loopback, a) {
		return true
	}
	if contains(loopback, a) || contains(refused, a) {
		return false
	}
	if inner, ok := carried(a); ok {
		return g.permits(inner)
	}
	return true
}

func contains(ranges []netip.Prefix, a netip.Addr) bool {
	for _, p := range ranges {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
