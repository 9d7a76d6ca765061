package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cambio-sts/cambio/exchange/policy"
	"github.com/cambio-sts/cambio/exchange/provider/all"
	"github.com/cambio-sts/cambio/exchange/subject"
)

var (
	markdownLink = regexp.MustCompile(`\[([^\]]*)\]\(([^)\s]+)\)`)
	codeBlock    = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	headingLine  = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInAnchor  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the headings of a page, as links name them.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range headingLine.FindAllStringSubmatch(codeBlock.ReplaceAllString(text, ""), -1) {
		all[strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return all
}

// checkLinks finds links of a page to files that are not there, and to headings that
// are not in them.
func checkLinks(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range markdownLink.FindAllStringSubmatch(codeBlock.ReplaceAllString(string(text), ""), -1) {
		path, anchor, _ := strings.Cut(m[2], "#")
		if strings.Contains(path, "://") {
			continue
		}
		target := file
		if path != "" {
			target = filepath.Join(filepath.Dir(file), path)
		}
		info, err := os.Stat(target)
		if err != nil {
			t.Errorf("%s: there is no %s", file, m[2])
			continue
		}
		if anchor == "" || info.IsDir() {
			continue
		}
		page, err := os.ReadFile(target)
		if err != nil {
			t.Fatal(err)
		}
		if !anchors(string(page))[anchor] {
			t.Errorf("%s: %s has no heading %q", file, target, anchor)
		}
	}
}

// TestLinks: whatever the guides, the drivers' pages and the examples link to is there.
func TestLinks(t *testing.T) {
	var pages []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md", "../../docs/decisions/*.md", "../../exchange/provider/*/README.md", "../../examples/*/README.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	if len(pages) < 10 {
		t.Fatalf("only %q are there", pages)
	}
	for _, page := range pages {
		checkLinks(t, page)
	}
}

// TestDocsPlatforms: the matrix has every cell, each with a link into its driver's page
// and words that this page knows; every driver there is appears.
func TestDocsPlatforms(t *testing.T) {
	text := page(t, "platforms.md")
	columns := []string{"aws", "azure", "gcp", "oci", "ibm", "anthropic", "openai"}
	pages := map[string]string{}
	for _, kind := range all.Registry().Kinds() {
		link := "exchange/provider/" + kind + "/README.md"
		if !strings.Contains(text, "(../"+link) {
			t.Errorf("%s does not appear", kind)
		}
		readme, err := os.ReadFile(filepath.Join("..", "..", link))
		if err != nil {
			t.Fatal(err)
		}
		pages[kind] = string(readme)
	}
	matrix := rows(t, "\n"+text, "# Platforms and providers")
	want := []string{"EKS", "AKS", "GKE", "IKS, ROKS", "OKE", "self-managed", "GitHub Actions", "SPIFFE"}
	if len(matrix) != len(want) {
		t.Fatalf("%d platforms, want %q", len(matrix), want)
	}
	for i, row := range matrix {
		if !strings.HasPrefix(row[0], "["+want[i]+"](#") || len(row) != len(columns)+1 {
			t.Errorf("row %d is of %s, with %d cells", i, row[0], len(row))
			continue
		}
		for n, kind := range columns {
			cell := row[n+1]
			if !strings.Contains(cell, "](../exchange/provider/"+kind+"/README.md#") {
				t.Errorf("%s, %s: %q links to no section of that driver", want[i], kind, cell)
			}
			for _, word := range words(cell) {
				name := word[strings.LastIndex(word, " ")+1:]
				if !strings.Contains(pages[kind], name) {
					t.Errorf("%s, %s: the driver's page knows no %q", want[i], kind, name)
				}
			}
		}
	}
	policies := 0
	for _, block := range fenced(text, "yaml") {
		if !strings.HasPrefix(block, "# policy\n") {
			continue
		}
		policies++
		if _, err := policy.Load(fstest.MapFS{"policy.yaml": {Data: []byte(block)}}, policy.Options{
			Providers: all.Registry(), CheckTrusts: subject.New(subject.Options{}).Check,
		}); err != nil {
			t.Errorf("%v\nin\n%s", err, block)
		}
	}
	if policies == 0 {
		t.Error("it shows no policy")
	}
}
