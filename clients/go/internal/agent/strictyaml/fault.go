package strictyaml

import (
	"fmt"
	"strings"
)

// Fault is one thing that is wrong, and where it was said. It never shows a line of the
// file: that might hold a secret where none belongs.
type Fault struct {
	Key     string // path, such as doors.aws.target or files[0].path; empty: the file as a whole
	File    string // empty: it was not said in a file
	Line    int    // 0: the key is not in the file
	Column  int
	Message string
}

// Error is one line.
func (f Fault) Error() string {
	var b strings.Builder
	switch {
	case f.Line > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", f.File, f.Line, f.Column)
	case f.File != "":
		fmt.Fprintf(&b, "%s: ", f.File)
	}
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(f.Message)
	return b.String()
}

// Faults is everything that is wrong.
type Faults []Fault

// Error is a line for each.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// unknown is the message for a key that does not exist.
func unknown(key string, known []string) string {
	if len(key) <= 64 {
		if n := nearest(key, known); n != "" {
			return fmt.Sprintf("no such key; did you mean %s?", n)
		}
	}
	if len(known) == 0 {
		return "no such key; nothing can be set here"
	}
	return "no such key; the keys here are " + strings.Join(known, ", ")
}

// nearest is the known key that is fewest edits away from what was written, if it is
// near enough to be a slip.
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
