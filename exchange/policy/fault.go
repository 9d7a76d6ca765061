package policy

import (
	"fmt"
	"strings"
)

// Fault is one thing wrong in a policy, with its place.
type Fault struct {
	File    string `json:"file"`           // name inside the policy folder; empty: the folder itself
	Line    int    `json:"line,omitempty"` // from 1; 0: the whole file
	Column  int    `json:"column,omitempty"`
	Message string `json:"message"`           // what is wrong and what to write instead
	Excerpt string `json:"excerpt,omitempty"` // the lines around the place, with a caret under it
}

// Error is the place and the message, without the excerpt.
func (f Fault) Error() string {
	switch {
	case f.File == "":
		return f.Message
	case f.Line == 0:
		return f.File + ": " + f.Message
	default:
		return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)
	}
}

// Faults is every fault of one run, by file and line.
type Faults []Fault

// Error lists the faults, each with its excerpt.
func (fs Faults) Error() string {
	var b strings.Builder
	for i, f := range fs {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(f.Error())
		if f.Excerpt != "" {
			b.WriteByte('\n')
			b.WriteString(f.Excerpt)
		}
	}
	return b.String()
}

// Unwrap gives each Fault to errors.As.
func (fs Faults) Unwrap() []error {
	all := make([]error, len(fs))
	for i, f := range fs {
		all[i] = f
	}
	return all
}
