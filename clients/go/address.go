package cambio

import (
	"errors"
	"net/netip"
	"net/url"
)

// safeURL parses the URL of something that is sent secrets: https, or plain HTTP to
// this machine.
func safeURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, errors.New("it is no URL: write https://host")
	case u.User != nil:
		return nil, errors.New("a URL has no user and no password here")
	case u.Fragment != "":
		return nil, errors.New("a URL has no fragment here")
	case !safeOrigin(u):
		return nil, errors.New("secrets go over https, or to this machine: write https://")
	}
	return u, nil
}

// safeOrigin reports whether a secret may be sent there.
func safeOrigin(u *url.URL) bool {
	return u.Scheme == "https" || u.Scheme == "http" && loopback(u.Hostname())
}

// loopback reports whether a host names this machine and nothing else. No name is
// resolved.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}
