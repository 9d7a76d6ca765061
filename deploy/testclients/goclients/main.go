// Command goclients lets the vendors' own Go clients, unmodified, use what Cambio
// vends, and judge the stand-ins. It prints a line of JSON for each deed, as the
// Python judges do. It is a module of its own, so that the product needs none of them.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"
)

// world is where everything is; see ../judges/__main__.py.
type world struct {
	Cambio     string            `json:"cambio"`
	Work       string            `json:"work"`
	Data       string            `json:"data"`
	URL        string            `json:"url"`
	Clouds     map[string]string `json:"clouds"`
	Sandbox    map[string]string `json:"sandbox"`
	TokenFile  string            `json:"token_file"`
	IAMFile    string            `json:"iam_token_file"`
	Assertions string            `json:"assertions"`
	AWS        struct{ Role string }
	Azure      struct{ Tenant, Client string }
	GCP        struct{ Provider, Account string }
	IBM        struct{ Profile string }
	Anthropic  struct{ Rule, Organization, Account string }
	OpenAI     struct{ Pool, Account string }
}

func main() {
	text, err := os.ReadFile(os.Getenv("JUDGES_WORLD"))
	var w world
	if err == nil {
		err = json.Unmarshal(text, &w)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "JUDGES_WORLD:", err)
		os.Exit(1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()
	w.aws(ctx)
	w.azure(ctx)
	w.gcp(ctx)
	w.oci(ctx)
	w.ibm()
	w.anthropic(ctx)
	w.openai(ctx)
}

// exchange is what `cambio exchange` gives a workload for a target.
func (w world) exchange(target string, arguments ...string) (string, error) {
	out, err := exec.Command(w.Cambio, append([]string{
		"exchange", "--data", w.Data, "--target", target, "--subject-token-file", w.TokenFile, "--output", "token",
	}, arguments...)...).Output()
	if err != nil {
		return "", fmt.Errorf("cambio exchange --target %s: %w", target, err)
	}
	return strings.TrimSpace(string(out)), nil
}

// assertion is the file of one that a stand-in by itself trusts.
func (w world) assertion(provider string) string {
	return filepath.Join(w.Assertions, "go-"+provider+".jwt")
}

func read(file string) (string, error) {
	text, err := os.ReadFile(file)
	return strings.TrimSpace(string(text)), err
}

// judge: a deed succeeds, and what it gives says all of this.
func judge(provider, client, what string, deed func() (string, error), says ...string) {
	answer, err := deed()
	ok := err == nil
	for _, text := range says {
		ok = ok && strings.Contains(answer, text)
	}
	tell(provider, client, what, ok, fmt.Sprintf("%q (should say %q): %v", answer, says, err))
}

// refusal: a deed fails, in these words.
func refusal(provider, client, what string, deed func() (string, error), says string) {
	_, err := deed()
	tell(provider, client, "refused: "+what, err != nil && strings.Contains(err.Error(), says), fmt.Sprintf("should say %q: %v", says, err))
}

func tell(provider, client, what string, ok bool, answer string) {
	_ = json.NewEncoder(os.Stdout).Encode(map[string]any{
		"client": strings.TrimPrefix(client, "github.com/"), "version": version(client), "language": "Go", "provider": provider, "what": what, "ok": ok, "answer": answer,
	})
}

// version is that of the module in this binary.
func version(module string) string {
	build, _ := debug.ReadBuildInfo()
	for _, m := range build.Deps {
		if m.Path == module {
			return strings.TrimPrefix(m.Version, "v")
		}
	}
	return "unknown"
}
