package subject

import (
	"fmt"
	"slices"
	"strings"
)

const (
	maxCookie     = 8 << 10 // bytes of name and value; browsers keep 4 KiB (RFC 6265 §6.1)
	maxCookieName = 128
)

// splitCookie reads one cookie, written `name=value` as in a Cookie header (RFC 6265
// §4.2.1), whose name is among those that are taken. The value of any other is not
// looked at (S37). Nothing that is refused is quoted.
func splitCookie(raw string, taken []string) (name, value string, err error) {
	if len(raw) > maxCookie {
		return "", "", refused(fmt.Sprintf("the cookie is longer than %d bytes", maxCookie))
	}
	name, value, ok := strings.Cut(raw, "=")
	switch {
	case !ok:
		return "", "", cookieFault("write it as name=value")
	case !isCookieName(name):
		return "", "", cookieFault("its name is not a cookie's name: send name=value, without Cookie: before it")
	case !slices.Contains(taken, name):
		return "", "", refused("a cookie of this name is not taken by this trust, and was not read")
	case value == "":
		return "", "", cookieFault("it has no value")
	}
	for i := range len(value) {
		switch c := value[i]; {
		case c == '\r' || c == '\n':
			return "", "", cookieFault("it holds a line break")
		case c < 0x20 || c == 0x7f:
			return "", "", cookieFault("it holds a control character")
		case c == '"':
			return "", "", cookieFault("send the value without quotes")
		case c == ';' || c == ',' || c == ' ':
			return "", "", cookieFault("send one cookie, as name=value, and nothing beside it")
		case c == '\\' || c > 0x7f:
			return "", "", cookieFault("it holds a character that cookies do not have (RFC 6265 section 4.1.1)")
		}
	}
	return name, value, nil
}

func cookieFault(why string) error { return refused("the cookie is malformed: " + why) }

// isCookieName checks for a token (RFC 9110 §5.6.2).
func isCookieName(s string) bool {
	if s == "" || len(s) > maxCookieName {
		return false
	}
	for _, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return true
}
