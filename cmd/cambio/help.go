package main

import (
	"strings"

	"github.com/MakeNowJust/heredoc/v2"
)

// examples lays out a command's examples, each below a # line that says what it
// is for.
func examples(text string) string {
	lines := strings.Split(strings.TrimSpace(heredoc.Doc(text)), "\n")
	for i, line := range lines {
		if line != "" {
			lines[i] = "  " + line
		}
	}
	return strings.Join(lines, "\n")
}
