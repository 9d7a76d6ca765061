package exchange

import "net/netip"

// LoopbackHost reports whether a host, as it stands in a URL or an address, names
// this machine and nothing else: localhost, 127.0.0.0/8 or ::1, IPv4 written as
// IPv6 too. It resolves no name. What may be dialled in the end is for the outbound
// client to say, which looks at the address itself (S24).
func LoopbackHost(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}
