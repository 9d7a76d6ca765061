package aws

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// TestS2EscapesKeepTextsApart: no two texts become one name at AWS, whatever they
// hold, and what comes out is taken there.
func TestS2EscapesKeepTextsApart(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[=a-f0-9A-F:|%7]{0,12}`),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 8), func(b []byte) string { return string(b) }))
	for name, takes := range map[string]func(rune) bool{"tags": tagRune, "identities": nameRune} {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			a := text.Draw(t, "a")
			out := escape(a, takes)
			if !utf8.ValidString(out) || strings.ContainsFunc(out, func(r rune) bool { return !takes(r) }) {
				t.Fatalf("%q becomes %q, which AWS does not take", a, out)
			}
			if back := unescape(out); back != a {
				t.Fatalf("%q becomes %q, which stands for %q", a, out, back)
			}
		}))
	}
}

// unescape is what escape did, read back: each `=XX` is a byte.
func unescape(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '=' && looksEscaped(s[i:]) {
			b.WriteByte(byte(strings.IndexByte(digits, s[i+1])<<4 | strings.IndexByte(digits, s[i+2])))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
