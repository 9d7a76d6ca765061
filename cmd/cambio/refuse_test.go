package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/cmd/cambio/devworld"
	"github.com/cambio-sts/cambio/exchange"
)

// TestS35PublishedKeysAreRefused walks every key set in testdata: serve takes
// none of them.
func TestS35PublishedKeysAreRefused(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(filepath.Join("..", "..", "exchange", "subject", "testdata"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".json") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), `"keys"`) {
			return err
		}
		seen++
		faults := refuseDevTrusts([]exchange.Trust{{Name: "t", Issuer: "https://real.example", Keys: exchange.KeySource{File: path}}})
		if len(faults) != 1 || !strings.Contains(faults[0].Error(), "published for tests") {
			t.Errorf("%s: %v", path, faults)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 5 {
		t.Errorf("only %d key sets were seen", seen)
	}
}

// TestS35DevTrustsAreRefused: neither dev's issuers, under whatever keys, nor
// dev's keys, under whatever issuer.
func TestS35DevTrustsAreRefused(t *testing.T) {
	world, err := devworld.Create(filepath.Join(t.TempDir(), "dev"))
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(world.Dir(), "world", "cluster.jwks.json")
	for _, test := range []struct {
		trust exchange.Trust
		want  string
	}{
		{exchange.Trust{Name: "a", Issuer: devworld.ClusterIssuer}, "played by cambio dev"},
		{exchange.Trust{Name: "a", Issuer: devworld.CorpIssuer, Keys: exchange.KeySource{URL: "https://real.example/jwks"}}, "played by cambio dev"},
		{exchange.Trust{Name: "a", Issuer: "https://real.example", Keys: exchange.KeySource{File: keys}}, "a key that cambio dev made"},
		{exchange.Trust{Name: "a", Issuer: "https://real.example", Keys: exchange.KeySource{File: "absent.json"}}, ""},
		{exchange.Trust{Name: "a", Issuer: "https://real.example"}, ""},
	} {
		faults := refuseDevTrusts([]exchange.Trust{test.trust})
		switch {
		case test.want == "" && len(faults) > 0:
			t.Errorf("%+v: %v", test.trust, faults)
		case test.want != "" && (len(faults) != 1 || !strings.Contains(faults[0].Error(), test.want)):
			t.Errorf("%+v: %v, want %q", test.trust, faults, test.want)
		}
	}
}
