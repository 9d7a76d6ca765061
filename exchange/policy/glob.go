package policy

import (
	"strings"
	"unicode/utf8"
)

// glob is a pattern over a whole value: `*` stands for any run of characters,
// also none, `?` for exactly one, and everything else for itself.
type glob string

// literal reports whether the pattern matches one value only: itself.
func (g glob) literal() bool { return !strings.ContainsAny(string(g), "*?") }

// ends are the literal text before the first and after the last wildcard.
func (g glob) ends() (prefix, suffix string) {
	first := strings.IndexAny(string(g), "*?")
	if first < 0 {
		return string(g), ""
	}
	return string(g[:first]), string(g[strings.LastIndexAny(string(g), "*?")+1:])
}

// match takes at most len(pattern)·len(value) steps: there is one place to go back
// to, the last star.
func (g glob) match(value string) bool {
	p, v := 0, 0
	star, mark := -1, 0
	for v < len(value) {
		switch {
		case p < len(g) && g[p] == '*':
			star, mark = p, v
			p++
		case p < len(g) && g[p] == '?':
			_, n := utf8.DecodeRuneInString(value[v:])
			p, v = p+1, v+n
		case p < len(g) && g[p] == value[v]:
			p, v = p+1, v+1
		case star >= 0:
			_, n := utf8.DecodeRuneInString(value[mark:])
			mark += n
			p, v = star+1, mark
		default:
			return false
		}
	}
	for p < len(g) && g[p] == '*' {
		p++
	}
	return p == len(g)
}

// anyMatch reports whether one of the patterns matches.
func anyMatch(patterns []pattern, value string) bool {
	for _, p := range patterns {
		if p.match(value) {
			return true
		}
	}
	return false
}
