package policy

import (
	"slices"
	"strings"
)

// didYouMean ends a message about an unknown name: the nearest known one, or all
// of them where none is near and they are few.
func didYouMean(name string, known []string) string {
	known = slices.Sorted(slices.Values(known))
	best, distance := "", len(name)/3+2
	for _, k := range known {
		if d := editDistance(strings.ToLower(name), strings.ToLower(k), distance); d < distance { // GCP is a slip for gcp
			best, distance = k, d
		}
	}
	switch {
	case best != "":
		return `did you mean "` + best + `"?`
	case len(known) == 0:
		return "there is none yet"
	case len(known) > 24:
		return "no known name is near"
	default:
		return "known: " + strings.Join(known, ", ")
	}
}

// editDistance is how many bytes to add, drop, change or swap with their neighbour
// to make b of a; limit where it is limit or more.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	older, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := last[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(change, row[j-1]+1, last[j]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
		older, last, row = last, row, older
	}
	return min(last[len(b)], limit)
}
