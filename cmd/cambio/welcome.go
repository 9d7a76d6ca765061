package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
)

// welcome is what dev prints when it is ready: lines to paste, each below a # line
// that says what it is for. Every one works as printed, from the folder that dev
// was started in; a test runs them all.
func (f *devFlags) welcome(ready devworld.Ready) string {
	me := myself()
	data := ""
	if f.data != defaultData {
		data = " --data " + quote(f.data)
	}
	edit := filepath.Join(f.data, "policy", "tools.yaml")
	lines := []string{
		fmt.Sprintf("Cambio is ready at %s (metrics and probes at %s).", ready.URL, ready.OpsURL),
		fmt.Sprintf("Its policy is in %s: edit it, and the answers change. Ctrl-C stops it.", filepath.Join(f.data, "policy")),
		"",
		"Paste these into another terminal, in this folder:",
		"",
		"# Exchange a service account's token, with nothing but curl",
		fmt.Sprintf(`curl -sS %s/oauth2/token -d grant_type=%s -d audience=github-mcp -d subject_token_type=%sjwt -d "subject_token=$(%s token%s --trust cluster --namespace agents --service-account assistant)"`,
			ready.URL, tokenExchange, tokenTypePrefix, me, data),
		"",
		"# The same with this program",
		fmt.Sprintf("%s token%s --trust cluster --namespace agents --service-account assistant | %s exchange%s --target github-mcp", me, data, me, data),
		"",
		"# An engineer may call tools",
		fmt.Sprintf("%s token%s --trust corp --user alice | %s exchange%s --target github-mcp --scope tools.call", me, data, me, data),
		"",
		"# An assistant may not: this is refused (invalid_scope)",
		fmt.Sprintf("%s token%s --trust cluster --namespace agents --service-account assistant | %s exchange%s --target github-mcp --scope tools.call", me, data, me, data),
		"",
		"# Why not?",
		fmt.Sprintf("%s policy explain --policy %s --subject k8s:cluster:agents:assistant --target github-mcp --scope tools.call", me, quote(filepath.Join(f.data, "policy"))),
		"",
		"# Allow it, and ask again",
		fmt.Sprintf("echo 'allow: [{name: assistants-call-tools, subjects: [{trust: cluster, namespace: agents}], targets: [github-mcp]}]' > %s && sleep 1 && %s token%s --trust cluster --namespace agents --service-account assistant | %s exchange%s --target github-mcp --scope tools.call",
			quote(edit), me, data, me, data),
		"",
		"# Every cloud is played here too: exchange for AWS, and ask Bedrock who that is (docs/tour.md has the others)",
		fmt.Sprintf("%s token%s --trust cluster --namespace llm --service-account gateway | %s call%s --target bedrock", me, data, me, data),
		"",
		"# All of it is in the ledger, what was refused too",
		fmt.Sprintf("%s audit list%s", me, data),
		"",
	}
	return strings.Join(lines, "\n") + "\n"
}

// myself is how the person at the terminal called this program, so that what they
// paste calls it too.
func myself() string {
	if found, err := exec.LookPath("cambio"); err == nil && sameFile(found) {
		return "cambio"
	}
	self, err := os.Executable()
	if err != nil {
		return quote(os.Args[0])
	}
	if strings.Contains(filepath.ToSlash(self), "/go-build") { // go run: gone when dev ends
		if _, err := os.Stat(filepath.Join("cmd", "cambio", "main.go")); err == nil {
			return "go run ./cmd/cambio"
		}
	}
	if strings.ContainsRune(os.Args[0], filepath.Separator) && sameFile(os.Args[0]) {
		return quote(os.Args[0])
	}
	return quote(self)
}

func sameFile(path string) bool {
	self, err := os.Executable()
	if err != nil {
		return false
	}
	one, err1 := os.Stat(self)
	other, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(one, other)
}
