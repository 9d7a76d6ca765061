package policy

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestGlobIsWholeValue(t *testing.T) {
	for _, c := range []struct {
		pattern, value string
		want           bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"a", "ba", false}, {"a|b", "a", false}, {"a|b", "a|b", true},
		{"*", "", true}, {"*", "x\ny", true}, {"a*", "a", true}, {"a*", "xa", false}, {"*a", "ba", true},
		{"a*b*c", "a-b-b-c", true}, {"a*b*c", "a-c-b", false}, {"?", "é", true}, {"??", "é", false}, {"*?", "", false},
		{".*", "x", false}, {"[ab]", "a", false}, {"[ab]", "[ab]", true}, {`a\*`, `a\bc`, true}, {"preview-*", "preview-", true},
		{"*-prod", "x-prod", true}, {"*-prod", "x-prod-y", false}, {"**a**", "a", true}, {"a*a", "a", false},
	} {
		if got := glob(c.pattern).match(c.value); got != c.want {
			t.Errorf("%q on %q: %v", c.pattern, c.value, got)
		}
	}
	if glob(strings.Repeat("*a", 100)).match(strings.Repeat("a", 10_000) + "b") {
		t.Error("it does not end in a")
	}
}

// FuzzGlob compares with a regular expression that says the same.
func FuzzGlob(f *testing.F) {
	for _, s := range [][2]string{{"a*b?c", "axxbyc"}, {"**", ""}, {"?", "é"}, {"a.b", "axb"}, {"*\xff", "\xff"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, value string) {
		if len(pattern) > maxPattern || len(value) > 4096 {
			return
		}
		g := glob(pattern)
		got := g.match(value)
		if prefix, suffix := g.ends(); got && (!strings.HasPrefix(value, prefix) || !strings.HasSuffix(value, suffix)) {
			t.Fatalf("%q matches %q, whose ends are others", pattern, value)
		}
		if !utf8.ValidString(pattern) || !utf8.ValidString(value) {
			return
		}
		expression := regexp.QuoteMeta(pattern)
		expression = strings.ReplaceAll(strings.ReplaceAll(expression, `\*`, `.*`), `\?`, `.`)
		if want := regexp.MustCompile(`(?s)^(?:` + expression + `)$`).MatchString(value); got != want {
			t.Fatalf("%q on %q: %v", pattern, value, got)
		}
	})
}
