package policy

import (
	"maps"
	"slices"
)

// Targets are the names of the targets, in alphabetical order.
func (r *Revision) Targets() []string { return slices.Sorted(maps.Keys(r.targets)) }
