package exchange_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/exchange"
)

func TestS3CanonicalNameEscapes(t *testing.T) {
	for _, c := range []struct {
		prefix     string
		components []string
		want       string
	}{
		{"k8s", []string{"prod", "llm", "gateway"}, "k8s:prod:llm:gateway"},
		{"oidc", []string{"corp", "alice"}, "oidc:corp:alice"},
		{"oidc", []string{"corp", "auth0|6:1%"}, "oidc:corp:auth0|6%3A1%25"},
		{"oidc", []string{"corp", "line\nbreak\x7f\u0085"}, "oidc:corp:line%0Abreak%7F%C2%85"},
		{"oidc", []string{"corp", "søren"}, "oidc:corp:søren"},
		{"oidc", []string{"corp", ""}, "oidc:corp:"},
		{"oidc", []string{"corp", "\xff"}, "oidc:corp:%FF"},
		{"oidc", []string{"corp", "\uFFFD"}, "oidc:corp:%EF%BF%BD"},
		{"spiffe", []string{"mesh", "spiffe://td/a/b"}, "spiffe:mesh:spiffe%3A//td/a/b"},
	} {
		if got := exchange.CanonicalName(c.prefix, c.components...); got != c.want {
			t.Errorf("CanonicalName(%q, %q) = %q, want %q", c.prefix, c.components, got, c.want)
		}
	}
}

// TestS3CanonicalNamesAreDistinct: no two lists of components make one name, not
// even of bytes that are no text, and a name can be stored and compared as text.
func TestS3CanonicalNamesAreDistinct(t *testing.T) {
	component := rapid.OneOf(
		rapid.StringOf(rapid.SampledFrom([]rune{'a', ':', '%', '3', 'A', '\n', '\uFFFD', 'é', '\u0085'})),
		rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]byte{'a', ':', '%', 0xff, 0xfe, 0xef, 0xbf, 0xbd, 0xc2, 0x85, 0}), 0, 4),
			func(b []byte) string { return string(b) }),
	)
	list := rapid.SliceOfN(component, 1, 3)
	rapid.Check(t, func(rt *rapid.T) {
		a, b := list.Draw(rt, "a"), list.Draw(rt, "b")
		x, y := exchange.CanonicalName("p", a...), exchange.CanonicalName("p", b...)
		if (x == y) != slices.Equal(a, b) {
			rt.Fatalf("%q makes %q, %q makes %q", a, x, b, y)
		}
		if !utf8.ValidString(x) || strings.ContainsFunc(x, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
			rt.Fatalf("%q makes %q, which is not plain text", a, x)
		}
		if strings.Count(x, ":") != len(a) {
			rt.Fatalf("%q has other than %d components", x, len(a))
		}
	})
}
