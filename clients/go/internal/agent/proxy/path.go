package proxy

import (
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

const (
	maxPath     = 8 << 10 // bytes, as it was sent
	maxSegments = 128
)

// place is a path in its one reading: segments as they were sent, and what they say.
type place struct{ sent, said []string }

// readPath splits a path as it was sent. What others might read as another path is an
// error: empty segments, dots, encoded slashes and backslashes, parameters, control
// characters, and whatever is encoded twice. slash lets %2F be part of its
// segment. A single slash at the end is an empty last segment.
func readPath(sent string, slash bool) (place, error) {
	if len(sent) > maxPath {
		return place{}, errors.New("the path is too long")
	}
	rest, ok := strings.CutPrefix(sent, "/")
	if !ok {
		return place{}, errors.New("the path begins with no slash")
	}
	p := place{sent: strings.Split(rest, "/")}
	if len(p.sent) > maxSegments {
		return place{}, errors.New("the path has too many segments")
	}
	for i, segment := range p.sent {
		if segment == "" && i < len(p.sent)-1 {
			return place{}, errors.New("the path has an empty segment")
		}
		said, err := url.PathUnescape(segment)
		if err != nil {
			return place{}, errors.New("the path has a broken escape")
		}
		if err := readable(said, slash); err != nil {
			return place{}, err
		}
		p.said = append(p.said, said)
	}
	return p, nil
}

// twice is an escape that is still there after decoding.
var twice = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// readable checks one decoded segment.
func readable(said string, slash bool) error {
	for part := range strings.SplitSeq(said, "/") {
		if part == "." || part == ".." {
			return errors.New("the path has a dot segment")
		}
	}
	switch {
	case !slash && strings.Contains(said, "/"):
		return errors.New("the path has an encoded slash")
	case strings.Contains(said, "//"), strings.HasPrefix(said, "/"), strings.HasSuffix(said, "/"):
		return errors.New("the path has an empty segment")
	case strings.ContainsAny(said, `\;`):
		return errors.New("the path has a backslash or a semicolon")
	case strings.ContainsFunc(said, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("the path has a control character")
	case twice.MatchString(said):
		return errors.New("the path is encoded twice")
	}
	return nil
}

// below is the path after a prefix, if it begins with that, segment by segment and
// spelled like that.
func (p place) below(prefix []string) (place, bool) {
	if len(p.sent) < len(prefix) || !slices.Equal(p.sent[:len(prefix)], prefix) {
		return place{}, false
	}
	return place{sent: p.sent[len(prefix):], said: p.said[len(prefix):]}, true
}

// text is the path as it was sent; empty if there is nothing.
func (p place) text() string {
	if len(p.sent) == 0 {
		return ""
	}
	return "/" + strings.Join(p.sent, "/")
}

// pattern of paths: segments, of which "*" stands for any run of characters.
type pattern struct {
	segments []string
	rest     bool // one more segment at least
}

func parsePattern(text string) (pattern, error) {
	rest, ok := strings.CutPrefix(text, "/")
	if !ok {
		return pattern{}, errors.New("begin with a slash")
	}
	var p pattern
	if rest == "" {
		return p, nil
	}
	p.segments = strings.Split(rest, "/")
	if last := len(p.segments) - 1; p.segments[last] == "**" {
		p.segments, p.rest = p.segments[:last], true
	}
	for _, segment := range p.segments {
		switch {
		case segment == "":
			return pattern{}, errors.New("a segment is empty")
		case strings.Contains(segment, "**"):
			return pattern{}, errors.New("** stands alone, at the end")
		case strings.ContainsAny(segment, "%?#"):
			return pattern{}, errors.New("write the path without escapes and query")
		}
		if err := readable(segment, false); err != nil {
			return pattern{}, err
		}
	}
	return p, nil
}

// match reports whether a path is one of the pattern's. "/" matches nothing at all, and
// a slash alone.
func (p pattern) match(said []string) bool {
	if len(p.segments) == 0 && !p.rest {
		return len(said) == 0 || len(said) == 1 && said[0] == ""
	}
	if len(said) < len(p.segments) || len(said) > len(p.segments) != p.rest {
		return false
	}
	for i, segment := range p.segments {
		if !wild(segment, said[i]) {
			return false
		}
	}
	return true
}

// wild matches one segment; a lone "*" wants something. The work is bounded by the
// product of the lengths.
func wild(pattern, text string) bool {
	if text == "" {
		return pattern == ""
	}
	first, pattern, starred := strings.Cut(pattern, "*")
	if !starred {
		return first == text
	}
	text, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	for {
		part, rest, more := strings.Cut(pattern, "*")
		if !more {
			return strings.HasSuffix(text, part)
		}
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text, pattern = after, rest
	}
}
