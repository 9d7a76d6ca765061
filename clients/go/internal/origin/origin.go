// Package origin knows where a secret may be sent.
package origin

import (
	"net/netip"
	"net/url"
)

// Safe reports whether a secret may be sent to a URL: by https, or in the clear to this
// machine.
func Safe(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && Loopback(u.Hostname())
}

// Loopback reports whether a host, without a port, names this machine and nothing else.
// No name is resolved.
func Loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}
