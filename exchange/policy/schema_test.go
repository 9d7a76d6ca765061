package policy_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange/policy"
)

type node = map[string]any

func schema(t *testing.T) node {
	t.Helper()
	text, err := policy.Schema(shelf{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := policy.Schema(shelf{})
	if err != nil || string(again) != string(text) {
		t.Fatal("the schema is the same each time", err)
	}
	var root node
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	return root
}

// at follows property names, and references.
func at(t *testing.T, root node, path ...string) node {
	t.Helper()
	n := root
	for _, p := range path {
		n = resolve(t, root, n)
		switch p {
		case "*":
			n, _ = n["additionalProperties"].(node)
		case "[]":
			n, _ = n["items"].(node)
		default:
			properties, _ := n["properties"].(node)
			n, _ = properties[p].(node)
		}
		if n == nil {
			t.Fatalf("the schema has no %s in %v", p, path)
		}
	}
	return resolve(t, root, n)
}

func resolve(t *testing.T, root, n node) node {
	t.Helper()
	for {
		ref, ok := n["$ref"].(string)
		if !ok {
			return n
		}
		next, ok := root["$defs"].(node)[strings.TrimPrefix(ref, "#/$defs/")].(node)
		if !ok {
			t.Fatalf("nothing at %s", ref)
		}
		n = next
	}
}

func TestSchema(t *testing.T) {
	root := schema(t)
	for _, path := range [][]string{
		{"trusts", "*", "kubernetes", "review", "mode"},
		{"trusts", "*", "oidc", "clientless"},
		{"trusts", "*", "oidc", "audiences", "[]"},
		{"trusts", "*", "spiffe", "trust_domain"},
		{"targets", "*", "paper", "nested", "depth"},
		{"targets", "*", "stone", "may_outlive"},
		{"defaults", "paper", "resource"},
		{"allow", "[]", "subjects", "[]", "*"},
		{"allow", "[]", "require_reason"},
		{"deny", "[]", "when"},
		{"roles", "*", "[]", "trust"},
	} {
		at(t, root, path...)
	}
	if d := at(t, root, "allow", "[]", "max_ttl"); d["type"] != "string" || d["pattern"] == nil {
		t.Error("a duration is a text", d)
	}
	if deny := at(t, root, "deny", "[]"); deny["properties"].(node)["max_ttl"] != nil || deny["additionalProperties"] != false {
		t.Error("a deny has no limits, and no unknown keys", deny)
	}
	if paper := at(t, root, "targets", "*", "paper"); paper["required"] != nil || paper["additionalProperties"] != false {
		t.Error("a setting may come from the defaults; an unknown one is none", paper)
	}
	if mode := at(t, root, "trusts", "*", "kubernetes", "review", "mode"); len(mode["enum"].([]any)) != 3 {
		t.Error(mode)
	}
	// Every reference leads somewhere.
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case node:
			resolve(t, root, v)
			for _, next := range v {
				walk(next)
			}
		case []any:
			for _, next := range v {
				walk(next)
			}
		}
	}
	walk(root)
}

// The default of `types` depends on the kind of trust, so its description says both.
func TestSchemaSaysTheDefaultTypes(t *testing.T) {
	root := schema(t)
	for _, kind := range []string{"kubernetes", "oidc", "spiffe"} {
		said, _ := at(t, root, "trusts", "*", kind, "types")["description"].(string)
		for _, want := range []string{"at+jwt", "SPIFFE", "JOSE"} {
			if !strings.Contains(said, want) {
				t.Errorf("%s: %q is not in %q", kind, want, said)
			}
		}
	}
}
