package server

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// FormText undoes application/x-www-form-urlencoded (WHATWG URL §5.1) for one name
// or value, and refuses what is no line of clean UTF-8 text.
func FormText(s string) (string, bool) {
	if strings.ContainsAny(s, "%+;") {
		if strings.IndexByte(s, ';') >= 0 { // once a separator; nobody means it
			return "", false
		}
		plain, err := url.QueryUnescape(s)
		if err != nil {
			return "", false
		}
		s = plain
	}
	ascii := true
	for i := range len(s) {
		switch c := s[i]; {
		case c < 0x20, c == 0x7f:
			return "", false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return s, ascii || utf8.ValidString(s)
}
