package aws

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/cambio-sts/cambio/exchange"
)

// The values of Source.From.
const (
	fromSubject = "subject"
	fromActor   = "actor"
	fromClient  = "client"
	fromRule    = "rule"
)

// Lengths that STS takes, in characters (AWS STS API Reference, Tag and AssumeRole).
const (
	maxTagKey      = 128
	maxTagValue    = 256
	maxIdentity    = 64
	minIdentity    = 2
	maxSessionTags = 50
)

// fault says what is wrong with a source; nil: nothing.
func (s Source) fault() error {
	set := 0
	for _, text := range []string{s.Attribute, s.Fixed, s.From} {
		if text != "" {
			set++
		}
	}
	if set != 1 {
		return errors.New("say one of attribute, fixed and from")
	}
	switch s.From {
	case "", fromSubject, fromActor, fromClient, fromRule:
		return nil
	}
	return fmt.Errorf("from: %q is none of subject, actor, client and rule", s.From)
}

// text is what the source gives for a grant. An error says what the grant lacks.
func (s Source) text(g *exchange.Grant) (string, error) {
	value := ""
	switch {
	case s.Fixed != "":
		return s.Fixed, nil
	case s.Attribute != "":
		values := g.Subject.Attributes[s.Attribute]
		if len(values) != 1 || values[0] == "" {
			return "", fmt.Errorf("the subject has %d values of the attribute %q, and one is needed: let the rule admit only subjects with one, or name another attribute",
				len(values), s.Attribute)
		}
		return values[0], nil
	case s.From == fromSubject:
		value = g.Subject.Name
	case s.From == fromClient:
		value = g.Client
	case s.From == fromRule:
		value = g.Rule
	case s.From == fromActor:
		for _, a := range g.Actors {
			if a.Proven {
				value = a.Name
				break
			}
		}
	}
	if value == "" {
		return "", fmt.Errorf("the exchange has no %s: let the rule ask for one, or name another source", s.From)
	}
	return value, nil
}

// tagRune reports whether a session tag may hold the character.
func tagRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.In(r, unicode.Z) || strings.ContainsRune("_.:/=+-@", r)
}

// nameRune reports whether a session name and a source identity may hold it.
func nameRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_=,.@-", r)
}

// escape writes the characters that AWS does not take as `=XX`, byte by byte, and an
// `=` that would look like such an escape, so that two texts never become one. It
// shortens nothing.
func escape(text string, takes func(rune) bool) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i, r := range text {
		size := len(string(r))
		if r == unicode.ReplacementChar {
			size = 1 // a byte that is no UTF-8, or the first of the character itself
			if strings.HasPrefix(text[i:], string(r)) {
				size = 3
			}
		}
		if takes(r) && r != unicode.ReplacementChar && !(r == '=' && looksEscaped(text[i:])) {
			b.WriteRune(r)
			continue
		}
		for _, c := range []byte(text[i : i+size]) {
			b.WriteByte('=')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

func looksEscaped(text string) bool {
	const digits = "0123456789ABCDEF"
	return len(text) >= 3 && strings.IndexByte(digits, text[1]) >= 0 && strings.IndexByte(digits, text[2]) >= 0
}

// tagValue is a session tag's value for a text.
func tagValue(text string) (string, error) {
	value := escape(text, tagRune)
	if n := len([]rune(value)); n > maxTagValue {
		return "", fmt.Errorf("a tag's value has at most %d characters, and this has %d", maxTagValue, n)
	}
	return value, nil
}

// identity is a source identity for a text: `:` is not among its characters, so that
// k8s:prod:llm:gateway becomes k8s=3Aprod=3Allm=3Agateway.
func identity(text string) (string, error) {
	value := escape(text, nameRune)
	if n := len(value); n < minIdentity || n > maxIdentity {
		return "", fmt.Errorf("a source identity has %d to %d characters, and this has %d: name a shorter attribute", minIdentity, maxIdentity, n)
	}
	return value, nil
}
