package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cambio-sts/cambio/exchange/policy"
	"github.com/cambio-sts/cambio/exchange/provider/all"
	"github.com/cambio-sts/cambio/exchange/subject"
)

// TestExamples loads every policy under examples as the server would and runs the
// cases beside it.
func TestExamples(t *testing.T) {
	folders, err := filepath.Glob("../../examples/*")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, dir := range folders {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			revision, err := policy.Load(os.DirFS(dir), policy.Options{
				Dir: dir, Providers: all.Registry(), CheckTrusts: subject.New(subject.Options{}).Check,
			})
			if err != nil {
				t.Fatal(err)
			}
			results, err := policy.RunTests(os.DirFS(dir), revision)
			if err != nil {
				t.Fatal(err)
			}
			if len(results) == 0 {
				t.Error("an example without cases teaches no testing")
			}
			for _, r := range results {
				if !r.Passed {
					t.Errorf("%s:%d: %s: %s", r.File, r.Line, r.Name, r.Message)
				}
			}
		})
	}
}
