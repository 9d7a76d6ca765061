package subject

import (
	"errors"
	"strings"

	"github.com/cambio-sts/cambio/exchange"
)

const spiffeScheme = "spiffe://"

// spiffe reads a JWT-SVID (SPIFFE JWT-SVID §3). Its `sub` is the id; the trust was
// picked by the domain in it.
func (t *trust) spiffe(c claims, s *exchange.Subject) error {
	domain, path, err := splitSPIFFE(c.subject)
	if err != nil {
		return malformed(err)
	}
	if domain != t.TrustDomain {
		return malformed(errors.New("its sub is of another trust domain"))
	}
	s.Name = exchange.CanonicalName("spiffe", t.Name, c.subject)
	s.Attributes = exchange.Attributes{"id": {c.subject}, "path": {path}, "trust_domain": {domain}}
	if t.Clientless {
		s.Clientless = exchange.ClientlessYes
	}
	return nil
}

// splitSPIFFE checks the form of a workload's SPIFFE ID (SPIFFE-ID §2): nothing
// that a path matcher could read in two ways.
func splitSPIFFE(id string) (domain, path string, err error) {
	rest, ok := strings.CutPrefix(id, spiffeScheme)
	if !ok {
		return "", "", errors.New("its sub is not a SPIFFE ID")
	}
	domain, path, ok = strings.Cut(rest, "/")
	if !isTrustDomain(domain) {
		return "", "", errors.New("its sub names no valid trust domain")
	}
	if !ok {
		return "", "", errors.New("its sub is a trust domain, not a workload")
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return "", "", errors.New("its sub has an empty or relative path segment")
		}
		for _, c := range []byte(segment) {
			if !isSPIFFE(c) && (c < 'A' || c > 'Z') {
				return "", "", errors.New("its sub has a character that SPIFFE IDs do not have")
			}
		}
	}
	return domain, "/" + path, nil
}

// isTrustDomain checks the characters and length of SPIFFE-ID §2.1.
func isTrustDomain(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for _, c := range []byte(s) {
		if !isSPIFFE(c) {
			return false
		}
	}
	return true
}

func isSPIFFE(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_'
}
