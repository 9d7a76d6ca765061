package proxy

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	cambio "github.com/cambio-sts/cambio/clients/go"
)

const (
	maxCookie  = 4 << 10  // bytes of one, name and value (RFC 6265 §6.1)
	maxCookies = 16 << 10 // bytes of all that a request brings
)

// cookie is one that is passed on.
type cookie struct {
	name  string
	value cambio.Secret
}

// allowedCookies picks those of the list out of Cookie headers; the rest is dropped, and
// neither read nor named. A cookie that is on the list has one reading: it is there once,
// and its value is made of what RFC 6265 §4.1.1 allows. Errors name no value.
func allowedCookies(lines, allowed []string) ([]cookie, error) {
	total := 0
	var found []cookie
	for _, line := range lines {
		if total += len(line); total > maxCookies {
			return nil, fmt.Errorf("the cookies have more than %d bytes", maxCookies)
		}
		for pair := range strings.SplitSeq(line, ";") {
			name, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
			name, value = strings.TrimRight(name, " \t"), strings.TrimLeft(value, " \t")
			if !ok || !slices.Contains(allowed, name) {
				continue
			}
			switch {
			case slices.ContainsFunc(found, func(c cookie) bool { return c.name == name }):
				return nil, fmt.Errorf("cookie %s is there twice", name)
			case len(name)+len(value) > maxCookie:
				return nil, fmt.Errorf("cookie %s has more than %d bytes", name, maxCookie)
			case !cookieValue(value):
				return nil, fmt.Errorf("the value of cookie %s is none (RFC 6265 §4.1.1)", name)
			}
			found = append(found, cookie{name, cambio.NewSecret(value)})
		}
	}
	return found, nil
}

// cookieValue reports whether a text is a cookie-value of RFC 6265 §4.1.1.
func cookieValue(text string) bool {
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		text = text[1 : n-1]
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`",;\`, c) >= 0 {
			return false
		}
	}
	return true
}

// header is the line that is sent.
func header(cookies []cookie) string {
	pairs := make([]string, len(cookies))
	for i, c := range cookies {
		pairs[i] = c.name + "=" + c.value.Reveal()
	}
	return strings.Join(pairs, "; ")
}

// userKey tells users apart.
type userKey [sha256.Size]byte

// keyOf is the hash of all allowed cookies, and of the token where the caller has one:
// who differs in any of them is another user.
func keyOf(cookies []cookie, token string) userKey {
	sorted := slices.SortedFunc(slices.Values(cookies), func(a, b cookie) int { return strings.Compare(a.name, b.name) })
	h := sha256.New()
	write := func(text string) {
		_ = binary.Write(h, binary.BigEndian, uint64(len(text)))
		_, _ = h.Write([]byte(text))
	}
	write(token)
	for _, c := range sorted {
		write(c.name)
		write(c.value.Reveal())
	}
	return userKey(h.Sum(nil))
}
