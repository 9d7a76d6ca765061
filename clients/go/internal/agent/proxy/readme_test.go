package proxy_test

import (
	_ "embed"
	"regexp"
	"testing"
)

//go:embed README.md
var readme string

// Every configuration in the README is one.
func TestReadme(t *testing.T) {
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(readme, -1)
	if len(blocks) < 3 {
		t.Fatalf("%d blocks", len(blocks))
	}
	for _, block := range blocks {
		s := read(t, block[1])
		if faults := s.Check([]string{"gpt", "claude", "bedrock", "oci-genai", "files", "tools"}); len(faults) > 0 {
			t.Errorf("%s\n%v", block[1], faults)
		}
	}
}
