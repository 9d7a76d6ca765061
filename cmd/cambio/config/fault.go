package config

import (
	"fmt"
	"strings"
)

// Fault is one thing that is wrong, and where it was said.
type Fault struct {
	Key     string // dotted path, such as listen.tls.cert_file; empty: the file as a whole
	File    string // with Line and Column; empty when Env is set, or the key was never given
	Line    int
	Column  int
	Env     string // the environment variable that said it
	Message string
	Excerpt string // the line, with a caret below
}

// String is one line, and the excerpt below it where there is one.
func (f Fault) String() string {
	var b strings.Builder
	switch {
	case f.Env != "":
		fmt.Fprintf(&b, "%s: ", f.Env)
	case f.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", f.File, f.Line, f.Column)
	case f.File != "":
		fmt.Fprintf(&b, "%s: ", f.File)
	}
	if f.Key != "" && f.Env == "" {
		fmt.Fprintf(&b, "%s: ", f.Key)
	}
	b.WriteString(f.Message)
	if f.Excerpt != "" {
		b.WriteString("\n" + f.Excerpt)
	}
	return b.String()
}

// Faults is everything that is wrong, in one run.
type Faults []Fault

// Error joins the faults, one below the other.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// nearest is the known key that is fewest edits away from what was written, if
// it is near enough to be a slip.
func nearest(written string, known []string) string {
	best, least := "", max(2, len(written)/3)+1
	for _, k := range known {
		if d := edits(written, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// edits is the Levenshtein distance.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// unknown is the message for a key that does not exist.
func unknown(key string, known []string) string {
	if len(key) > 64 {
		return "no such key; the keys here are " + strings.Join(known, ", ")
	}
	if n := nearest(key, known); n != "" {
		return fmt.Sprintf("no such key; did you mean %s?", n)
	}
	return "no such key; the keys here are " + strings.Join(known, ", ")
}
