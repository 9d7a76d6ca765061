package policy_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cambio-sts/cambio/exchange/policy"
)

// FuzzLoad: any bytes are a revision or a list of faults with places in the file,
// and what loads can be asked.
func FuzzLoad(f *testing.F) {
	seeds, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range seeds {
		text, err := os.ReadFile(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, c := range faultCases {
		if len(c.text) < 4096 {
			f.Add(c.text)
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := policy.Load(files("a.yaml", text), policy.Options{Providers: shelf{}, SecretNames: []string{"legacy"}})
		if err == nil {
			for _, trust := range r.Trusts() {
				if s, err := policy.Describe(r, "oidc:"+trust.Name+":x", nil); err == nil {
					q := ask(t, r, s.Name, "rock")
					if d, e := r.Decide(q), r.Explain(q); d.Allowed != e.Allowed {
						t.Fatal("decide and explain differ")
					}
				}
			}
			return
		}
		var faults policy.Faults
		if !errors.As(err, &faults) || len(faults) == 0 || faults.Error() == "" {
			t.Fatalf("not a list of faults: %v", err)
		}
		for _, one := range faults {
			if one.Message == "" || one.File != "a.yaml" && one.File != "" {
				t.Fatalf("%+v", one)
			}
		}
	})
}

// FuzzCases: any bytes are results or faults.
func FuzzCases(f *testing.F) {
	r := load(f, "a.yaml", house)
	for _, s := range []string{
		"cases: []", "cases:\n- {subject: \"oidc:corp:a\", target: wiki, denied: true}", "cases: [{}]", "cases: {a: b}", "- x",
		"cases: [{subject: \"k8s:prod:a%3Ab:c\", attributes: {node: [a, b]}, at: 2026-01-05T12:00:00Z, client_ip: \"::1\", denied: x}]",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		results, err := policy.RunTests(files("a_test.yaml", text), r)
		var faults policy.Faults
		if err != nil && !errors.As(err, &faults) {
			t.Fatal(err)
		}
		for _, c := range results {
			if c.Passed != (c.Message == "") {
				t.Fatalf("%+v", c)
			}
		}
	})
}

// FuzzDescribe: a described subject has the name that it was described by.
func FuzzDescribe(f *testing.F) {
	r := load(f, "a.yaml", house)
	for _, s := range []string{gateway, alice, "oidc:corp:a%3Ab%25", "spiffe:mesh:spiffe%3A//mesh.example/x", "k8s:prod::", "oidc:corp:%", "::"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		s, err := policy.Describe(r, name, nil)
		if err != nil {
			return
		}
		again, err := policy.Describe(r, s.Name, nil)
		if err != nil || again.Name != s.Name || again.ID != s.ID {
			t.Fatalf("%q is described as %q, and that as %q, %v", name, s.Name, again.Name, err)
		}
	})
}

// FuzzSecretName: a name that is found is found in its whole value alone.
func FuzzSecretName(f *testing.F) {
	for _, s := range []string{"${secret:a}", "${secret:}", "${secret:a}b", "${secret:${secret:a}}", "$", "${env:A}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if name, ok := policy.SecretName(value); ok && value != "${secret:"+name+"}" {
			t.Fatalf("%q in %q", name, value)
		}
	})
}
