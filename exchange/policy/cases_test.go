package policy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange/policy"
)

// TestGolden loads each folder of testdata and runs the cases beside it.
func TestGolden(t *testing.T) {
	folders, err := filepath.Glob("testdata/*/policy.yaml")
	if err != nil || len(folders) < 3 {
		t.Fatal(folders, err)
	}
	for _, f := range folders {
		fsys := os.DirFS(filepath.Dir(f))
		r, err := policy.Load(fsys, policy.Options{Providers: shelf{}, SecretNames: []string{"legacy"}})
		if err != nil {
			t.Fatal(err)
		}
		results, err := policy.RunTests(fsys, r)
		if err != nil {
			t.Fatal(err)
		}
		if len(results) < 5 {
			t.Errorf("%s: %d cases", f, len(results))
		}
		for _, c := range results {
			if !c.Passed {
				t.Errorf("%s: %s:%d: %s: %s", f, c.File, c.Line, c.Name, c.Message)
			}
		}
	}
}

func TestCasesThatFail(t *testing.T) {
	r := load(t, "a.yaml", house+`
allow: [{name: a, subjects: [{trust: prod, namespace: llm}], targets: [wiki]}]
deny: [{name: d, subjects: [{trust: prod, namespace: closed}]}]
`)
	results, err := policy.RunTests(files("a_test.yaml", `cases:
  - {subject: "k8s:prod:llm:x", target: wiki, allowed: b}
  - {subject: "k8s:prod:llm:x", target: wiki, denied: true}
  - {subject: "k8s:prod:other:x", target: wiki, allowed: a}
  - {subject: "k8s:prod:closed:x", target: wiki, denied: e}
  - {subject: "k8s:prod:llm:x", target: wiki, scopes: [x], denied: true, refusal: invalid_target}
  - {subject: "k8s:prod:llm:x", target: wiki, allowed: a, granted: []}
`, "b_test.yml", "", "c_test.yaml", "cases: []"), r)
	if err != nil || len(results) != 6 {
		t.Fatal(err, results)
	}
	for i, want := range []string{
		"wanted allowed by b, but it is allowed by a", "wanted denied, but it is allowed by a",
		"wanted allowed by a, but it is denied; no allow rule matches", "wanted denied by e, but it is denied otherwise",
		"wanted refusal invalid_target, but it is invalid_scope", `wanted the scopes [], but they are ["read"]`,
	} {
		if c := results[i]; c.Passed || !strings.HasPrefix(c.Message, want) || c.Line != i+2 || c.File != "a_test.yaml" || c.Name == "" {
			t.Errorf("%+v\nwant %s", c, want)
		}
	}
}

func TestCasesFaults(t *testing.T) {
	r := load(t, "a.yaml", house)
	for text, want := range map[string]string{
		"case: []":              `a_test.yaml:1:1: unknown key "case": did you mean "cases"?`,
		"cases:\n- {subjct: x}": `a_test.yaml:2:4: unknown key "subjct": did you mean "subject"?`,
		"cases: {}":             "a_test.yaml:1:8: a list is wanted",
		"cases:\n- {target: x}": "a_test.yaml:2:3: there is no trust",
		"cases: [{subject: \"oidc:corp:a\", target: x}]":                                          "one answer",
		"cases: [{subject: \"oidc:corp:a\", target: x, allowed: a, denied: true}]":                "one answer",
		"cases: [{subject: \"oidc:corp:a\", target: x, denied: false}]":                           "denied is true",
		"cases: [{subject: \"oidc:corp:a\", allowed: a}]":                                         "names a target",
		"cases: [{subject: \"oidc:crop:a\", target: x, allowed: a}]":                              `did you mean "corp"?`,
		"cases: [{subject: \"oidc:corp:a\", attributes: {gruops: x}, target: x, allowed: a}]":     `did you mean "groups"?`,
		"cases: [{subject: \"oidc:corp:a\", actor: x, target: x, allowed: a}]":                    "no trust",
		"cases: [{subject: \"oidc:corp:a\", target: x, denied: true, refusal: invalid_scpe}]":     `did you mean "invalid_scope"?`,
		"cases: [{subject: \"oidc:corp:a\", target: x, denied: true, at: noon}]":                  "at is a moment",
		"cases: [{subject: \"oidc:corp:a\", target: x, denied: true, client_ip: here}]":           "client_ip is an IP address",
		"cases: [{subject: \"oidc:corp:a\", target: x, denied: true, lifetime: long}]":            "a duration is wanted",
		"cases: [{subject: \"oidc:corp:a\", target: x, denied: true, attributes: {groups: [1]}}]": "in quotes",
	} {
		_, err := policy.RunTests(files("a_test.yaml", text), r)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot %v\nwant %s", text, err, want)
		}
	}
}
