package subject_test

import (
	"strings"
	"testing"
)

// A key remembers the header that its issuer writes, and nothing else of a token: the
// second token with that header is verified like the first.
func TestS9AKnownHeaderProvesNothing(t *testing.T) {
	b, signers := twins(t)
	for name, s := range signers {
		t.Run(name, func(t *testing.T) {
			first, second := s.token(person(map[string]any{"jti": "1"})), s.token(person(map[string]any{"jti": "2"}))
			b.accepts(first)
			a, c := strings.Split(first, "."), strings.Split(second, ".")
			if a[0] != c[0] {
				t.Fatal("the headers differ")
			}
			for what, raw := range map[string]string{
				"another's claims":    a[0] + "." + c[1] + "." + a[2],
				"another's signature": a[0] + "." + a[1] + "." + c[2],
				"no signature":        c[0] + "." + c[1] + ".AA",
			} {
				if _, err := b.verify(raw); err == nil || !strings.Contains(err.Error(), "signature") {
					t.Errorf("%s: %v", what, err)
				}
			}
			b.accepts(second)
			other := s.seal(strings.Replace(s.header(), "{", `{"x":1,`, 1), string(marshal(person(map[string]any{"jti": "3"}))))
			b.accepts(other)
			b.accepts(s.token(person(map[string]any{"jti": "4"})))
			parts := strings.Split(other, ".")
			if _, err := b.verify(a[0] + "." + parts[1] + "." + parts[2]); err == nil {
				t.Error("a signature over another header is taken")
			}
		})
	}
}
