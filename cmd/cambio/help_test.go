package main

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestHelpIsGolden: what each command says of itself is held in testdata/help.txt.
func TestHelpIsGolden(t *testing.T) {
	script, err := os.ReadFile("testdata/help.txt")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Hidden || cmd.Name() == "help" {
			return
		}
		if line := "exec " + cmd.CommandPath() + " --help\n"; !strings.Contains(string(script), line) {
			t.Errorf("testdata/help.txt lacks %q", line)
		}
		for _, child := range cmd.Commands() {
			walk(child)
		}
	}
	walk(newRoot())
}
