package policy

import "io/fs"

// CaseResult is the outcome of one case of a *_test.yaml file.
type CaseResult struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Name    string `json:"name"`
	Passed  bool   `json:"passed"`
	Message string `json:"message,omitempty"` // what was wanted and what came, when not passed
}

// RunTests runs every case of the *_test.yaml files in fsys's root. The error is a
// Faults when a file cannot be read.
func RunTests(fsys fs.FS, r *Revision) ([]CaseResult, error) { return nil, nil }
