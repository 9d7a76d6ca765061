// Command reference prints docs/configuration.md: the table of every key of
// cambio.yaml, made from the comments of the config package.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/cambio-sts/cambio/cmd/cambio/config"
)

const head = `# Configuration

Every key of ` + "`cambio.yaml`" + `, generated from ` + "`cmd/cambio/config/config.go`" + `. A key stands in
the file or in an environment variable; the variable wins, and an empty one counts as
unset. A variable separates the items of a list by commas. How a server is run with
them is in [operations.md](operations.md).

| key | environment variable | default | meaning |
|---|---|---|---|
`

func main() {
	out := bufio.NewWriter(os.Stdout)
	write(out, config.Keyring())
	if err := out.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

func write(w io.Writer, keys []config.Key) {
	_, _ = io.WriteString(w, head) // bufio keeps the error for Flush
	for _, k := range keys {
		standard := "none"
		if k.Default != "" {
			standard = code(k.Default)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", code(k.Path), code(k.Variable), standard, prose(k.Text))
	}
}

func code(text string) string { return "`" + cell(text) + "`" }

// prose keeps the stars of patterns from becoming emphasis; between backticks they
// are safe.
func prose(text string) string {
	parts := strings.Split(cell(text), "`")
	for i := 0; i < len(parts); i += 2 {
		parts[i] = strings.ReplaceAll(parts[i], "*", `\*`)
	}
	return strings.Join(parts, "`")
}

// cell keeps a text from ending its cell.
func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
