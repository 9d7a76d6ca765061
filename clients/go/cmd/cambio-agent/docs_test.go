package main

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/config"
)

const manual = "../../../../docs/agent.md"

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func nothing(string) string { return "" }

// example is the whole configuration of the manual.
func example(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile("(?s)```yaml\n(url: .*?)```").FindStringSubmatch(readText(t, manual))
	if found == nil {
		t.Fatal("the manual has no configuration")
	}
	return found[1]
}

// TestManualsConfiguration: it is one, and it has every key that there is.
func TestManualsConfiguration(t *testing.T) {
	text := example(t)
	if _, err := config.Parse("agent.md", []byte(text), nothing, nil); err != nil {
		t.Error(err)
	}
	for _, key := range keysOf(reflect.TypeFor[config.Config]()) {
		if !regexp.MustCompile(`\b` + key + `\b`).MatchString(text) {
			t.Errorf("the manual's configuration lacks %s", key)
		}
	}
}

// keysOf are the names of all keys of a type.
func keysOf(t reflect.Type) []string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return keysOf(t.Elem())
	case reflect.Struct:
		var keys []string
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
			if name == "" || name == "-" {
				continue
			}
			keys = append(append(keys, name), keysOf(t.Field(i).Type)...)
		}
		return keys
	}
	return nil
}

// TestManualsVariables: each has its line, as it is in the code.
func TestManualsVariables(t *testing.T) {
	text := readText(t, manual)
	for _, v := range config.Variables {
		if !strings.Contains(text, "| `"+v.Name+"` | "+v.Text+" |\n") {
			t.Errorf("the manual lacks %s, or says something else of it", v.Name)
		}
	}
}

// TestSidecarExample: the file is a configuration, and the manifest has the same.
func TestSidecarExample(t *testing.T) {
	const dir = "../../../../deploy/agent-sidecar/"
	alone, err := config.Parse("agent.yaml", []byte(readText(t, dir+"agent.yaml")), nothing, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(readText(t, dir+"pod.yaml"), "\n---\n")
	var manifest struct {
		Data map[string]string `yaml:"data"`
	}
	if err := yaml.Unmarshal([]byte(first), &manifest); err != nil {
		t.Fatal(err)
	}
	inside, err := config.Parse("pod.yaml", []byte(manifest.Data["agent.yaml"]), nothing, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(alone, inside) {
		t.Errorf("agent.yaml says %+v, pod.yaml %+v", alone, inside)
	}
}
