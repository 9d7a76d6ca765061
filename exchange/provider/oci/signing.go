package oci

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// maxTarget bounds the path, and the query, of a request that is signed, in bytes.
const maxTarget = 4096

// Signing says which requests a session of this target may sign (S25).
type Signing struct {
	Hosts   []string `yaml:"hosts" json:"hosts" jsonschema:"required,description=hosts to the letter; *.example.com is every host below"`
	Methods []string `yaml:"methods" json:"methods" jsonschema:"required,description=HTTP methods in upper case"`
	Paths   []string `yaml:"paths" json:"paths" jsonschema:"required,description=paths; * is one segment and ** at the end is all below"`
}

var (
	hostForm = regexp.MustCompile(`^(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:[0-9]{1,5})?$`)
	canSign  = []string{"GET", "HEAD", "DELETE", "POST", "PUT", "PATCH"}
)

func (s *Signing) faults() []error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("signing: "+format, args...)) }
	if len(s.Hosts) == 0 || len(s.Methods) == 0 || len(s.Paths) == 0 {
		fault("list hosts, methods and paths: what is not listed is not signed")
	}
	for _, host := range s.Hosts {
		if !hostForm.MatchString(host) || strings.HasPrefix(host, "*.") && strings.Count(host, ".") < 2 {
			fault("hosts: %q is no host in lower case, and no *.example.com", host)
		}
	}
	for _, method := range s.Methods {
		if !slices.Contains(canSign, method) {
			fault("methods: %q is none of %s", method, strings.Join(canSign, ", "))
		}
	}
	for _, pattern := range s.Paths {
		segments := strings.Split(pattern, "/")
		i := slices.Index(segments, "**")
		partial := slices.ContainsFunc(segments, func(s string) bool { return s != "*" && s != "**" && strings.Contains(s, "*") })
		if partial || i >= 0 && i < len(segments)-1 || !canonicalPath(strings.ReplaceAll(pattern, "*", "x")) {
			fault("paths: %q is no path such as /20231130/actions/chat or /n/*/b/*/o/**", pattern)
		}
	}
	return faults
}

// host reports whether the host is listed.
func (s *Signing) host(host string) bool {
	return slices.ContainsFunc(s.Hosts, func(listed string) bool {
		if below, all := strings.CutPrefix(listed, "*"); all {
			return strings.HasSuffix(host, below) && len(host) > len(below)
		}
		return host == listed
	})
}

// path reports whether the path, which is canonical, is listed.
func (s *Signing) path(path string) bool {
	segments := strings.Split(path, "/")
	return slices.ContainsFunc(s.Paths, func(pattern string) bool {
		wanted := strings.Split(pattern, "/")
		for i, w := range wanted {
			switch {
			case i >= len(segments):
				return false
			case w == "**":
				return segments[i] != ""
			case w == "*" && segments[i] != "", w == segments[i]:
			default:
				return false
			}
		}
		return len(wanted) == len(segments)
	})
}

// canonicalPath reports whether a path can be read in one way only: no empty
// segment, no dots that climb, nothing encoded that is a separator or needs no
// encoding, no control characters, no parameters.
func canonicalPath(path string) bool {
	if !strings.HasPrefix(path, "/") || len(path) > maxTarget {
		return false
	}
	segments := strings.Split(path[1:], "/")
	for i, segment := range segments {
		if segment == "." || segment == ".." || segment == "" && i < len(segments)-1 {
			return false
		}
		for j := 0; j < len(segment); j++ {
			switch c := segment[j]; {
			case c == '%':
				decoded, ok := hexPair(segment[j+1:])
				if !ok || decoded < 0x20 || decoded == 0x7f || strings.IndexByte(`/\.;%`, decoded) >= 0 || unreserved(decoded) {
					return false
				}
				j += 2
			case unreserved(c), strings.IndexByte("!$&'()*+,=:@", c) >= 0:
			default:
				return false
			}
		}
	}
	return true
}

// canonicalQuery reports whether a query (RFC 3986 §3.4) can stand in a request line
// as it is.
func canonicalQuery(query string) bool {
	for i := 0; i < len(query); i++ {
		switch c := query[i]; {
		case c == '%':
			decoded, ok := hexPair(query[i+1:])
			if !ok || decoded < 0x20 || decoded == 0x7f {
				return false
			}
			i += 2
		case unreserved(c), strings.IndexByte("!$&'()*+,=:@/?", c) >= 0:
		default:
			return false
		}
	}
	return len(query) <= maxTarget
}

// unreserved is RFC 3986 §2.3.
func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// hexPair reads two upper-case hexadecimal digits (RFC 3986 §2.1).
func hexPair(s string) (byte, bool) {
	const digits = "0123456789ABCDEF"
	if len(s) < 2 {
		return 0, false
	}
	high, low := strings.IndexByte(digits, s[0]), strings.IndexByte(digits, s[1])
	return byte(high<<4 | low&15), high >= 0 && low >= 0
}
