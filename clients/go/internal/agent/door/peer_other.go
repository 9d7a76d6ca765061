//go:build !linux

package door

import (
	"errors"
	"net/netip"
)

// peersKnown reports why nobody's uid can be told.
func peersKnown() error {
	return errors.New("gce: this door looks up whose process asks, which it can on Linux alone: remove it, and use external_account credentials (GOOGLE_APPLICATION_CREDENTIALS)")
}

func socketUID(netip.AddrPort, netip.AddrPort) (uint32, error) { return 0, peersKnown() }
