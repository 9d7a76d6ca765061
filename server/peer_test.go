package server_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/server"
)

var proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd12::/16"), netip.MustParsePrefix("192.0.2.1/32")}

func TestS19ClientIPIsThePeerUnlessTrusted(t *testing.T) {
	for name, c := range map[string]struct {
		peer  string
		lines []string
		want  string
	}{
		"no proxy":                        {"203.0.113.9:1", nil, "203.0.113.9"},
		"a stranger's word":               {"203.0.113.9:1", []string{"10.0.0.1"}, "203.0.113.9"},
		"a proxy that says nothing":       {"10.0.0.1:1", nil, "10.0.0.1"},
		"a proxy":                         {"10.0.0.1:1", []string{"203.0.113.9"}, "203.0.113.9"},
		"hearsay on the left":             {"10.0.0.1:1", []string{"198.51.100.7, 203.0.113.9"}, "203.0.113.9"},
		"hearsay that claims to be us":    {"10.0.0.1:1", []string{"10.9.9.9, 203.0.113.9"}, "203.0.113.9"},
		"garbage left of the answer":      {"10.0.0.1:1", []string{"unknown, , 203.0.113.9"}, "203.0.113.9"},
		"two proxies":                     {"10.0.0.1:1", []string{"203.0.113.9, 10.0.0.2"}, "203.0.113.9"},
		"two proxies, two lines":          {"10.0.0.1:1", []string{"203.0.113.9", "10.0.0.2"}, "203.0.113.9"},
		"hearsay in a line before":        {"10.0.0.1:1", []string{"198.51.100.7", "203.0.113.9"}, "203.0.113.9"},
		"all trusted":                     {"10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		"garbage":                         {"10.0.0.1:1", []string{"unknown"}, "10.0.0.1"},
		"garbage behind a proxy":          {"10.0.0.1:1", []string{"203.0.113.9, evil, 10.0.0.2"}, "10.0.0.1"},
		"an empty entry":                  {"10.0.0.1:1", []string{"203.0.113.9,"}, "10.0.0.1"},
		"an empty line":                   {"10.0.0.1:1", []string{""}, "10.0.0.1"},
		"a name":                          {"10.0.0.1:1", []string{"host.example"}, "10.0.0.1"},
		"an octal address":                {"10.0.0.1:1", []string{"0203.0.113.9"}, "10.0.0.1"},
		"a short address":                 {"10.0.0.1:1", []string{"203.9"}, "10.0.0.1"},
		"a prefix":                        {"10.0.0.1:1", []string{"203.0.113.0/24"}, "10.0.0.1"},
		"a zone":                          {"10.0.0.1:1", []string{"fe80::1%eth0"}, "10.0.0.1"},
		"spaces and tabs":                 {"10.0.0.1:1", []string{" 198.51.100.7 ,\t203.0.113.9 "}, "203.0.113.9"},
		"a port":                          {"10.0.0.1:1", []string{"203.0.113.9:4711"}, "203.0.113.9"},
		"IPv6":                            {"10.0.0.1:1", []string{"2001:db8::9"}, "2001:db8::9"},
		"IPv6 and a port":                 {"10.0.0.1:1", []string{"[2001:db8::9]:4711"}, "2001:db8::9"},
		"an IPv6 proxy":                   {"[fd12::1]:1", []string{"2001:db8::9"}, "2001:db8::9"},
		"a mapped proxy":                  {"[::ffff:10.0.0.1]:1", []string{"203.0.113.9"}, "203.0.113.9"},
		"a mapped address is its IPv4":    {"10.0.0.1:1", []string{"::ffff:203.0.113.9"}, "203.0.113.9"},
		"a mapped proxy in the chain":     {"10.0.0.1:1", []string{"203.0.113.9, ::ffff:10.0.0.2"}, "203.0.113.9"},
		"the neighbour of a single proxy": {"192.0.2.2:1", []string{"203.0.113.9"}, "192.0.2.2"},
		"no TCP":                          {"@", []string{"203.0.113.9"}, "invalid IP"},
		"nothing at all":                  {"", nil, "invalid IP"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: c.peer, Header: http.Header{}}
			if c.lines != nil {
				r.Header["X-Forwarded-For"] = c.lines
			}
			// Other headers of the kind say nothing here, whoever sends them.
			r.Header.Set("Forwarded", "for=198.51.100.99")
			r.Header.Set("X-Real-Ip", "198.51.100.99")
			r.Header.Set("True-Client-Ip", "198.51.100.99")
			if got := server.ClientIP(r, proxies); got.String() != c.want {
				t.Errorf("%s", got)
			}
		})
	}
}

func TestS19NobodyIsTrustedByDefault(t *testing.T) {
	r := &http.Request{RemoteAddr: "127.0.0.1:1", Header: http.Header{"X-Forwarded-For": {"203.0.113.9"}}}
	if got := server.ClientIP(r, nil); got != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("%s", got)
	}
}

// Whatever the header says, a caller that no trusted proxy stands before is its
// own peer, and the answer is never an address that nobody wrote.
func FuzzClientIP(f *testing.F) {
	f.Add("203.0.113.9, 10.0.0.2", true)
	f.Add(",,[::1]:99999,", true)
	f.Add("::ffff:10.0.0.1%x", false)
	f.Fuzz(func(t *testing.T, header string, proxied bool) {
		peer := netip.MustParseAddr("203.0.113.200")
		if proxied {
			peer = netip.MustParseAddr("10.0.0.1")
		}
		r := &http.Request{RemoteAddr: netip.AddrPortFrom(peer, 1).String(), Header: http.Header{"X-Forwarded-For": {header}}}
		got := server.ClientIP(r, proxies)
		if !got.IsValid() || !proxied && got != peer {
			t.Fatalf("%s for %q", got, header)
		}
		if got == peer {
			return
		}
		for entry := range strings.SplitSeq(header, ",") {
			entry = strings.Trim(entry, " \t")
			if a, err := netip.ParseAddr(entry); err == nil && a.Unmap() == got {
				return
			}
			if ap, err := netip.ParseAddrPort(entry); err == nil && ap.Addr().Unmap() == got {
				return
			}
		}
		t.Fatalf("%s is not in %q", got, header)
	})
}
