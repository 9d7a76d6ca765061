package cambio_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Oracle's SDK alone unpacks to some 200 MB. Who imports the core gets none of them,
// although they are in the same module: the go command downloads the modules whose
// packages are built.
func TestWhoImportsTheCoreDownloadsNoSDK(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	// What is on this machine already plays the proxy, for an empty cache.
	proxy := filepath.Join(strings.TrimSpace(runProgram(t, here, nil, "go", "env", "GOMODCACHE")), "cache", "download")
	work := t.TempDir()
	cache := filepath.Join(work, "modules")
	module := filepath.Join(work, "main")
	writeText(t, filepath.Join(module, "go.mod"), "module example.com/main\n\ngo 1.26.0\n\n"+
		"require github.com/cambio-sts/cambio/clients/go v0.0.0\n\n"+
		"replace github.com/cambio-sts/cambio/clients/go => "+here+"\n")
	writeText(t, filepath.Join(module, "main.go"), "package main\n\n"+
		"import cambio \"github.com/cambio-sts/cambio/clients/go\"\n\n"+
		"func main() { _, _ = cambio.New(\"https://cambio.example\", nil) }\n")
	environment := []string{
		"GOMODCACHE=" + cache, "GOPROXY=file://" + filepath.ToSlash(proxy), "GOSUMDB=off", "GONOSUMDB=*", "GONOPROXY=", "GOPRIVATE=",
		"GOFLAGS=-mod=mod -modcacherw", "GOWORK=off", "GOTOOLCHAIN=local", "GO111MODULE=on",
	}
	runProgram(t, module, environment, "go", "build", "-o", filepath.Join(work, "program"), ".")

	var unpacked, zips []string
	err = filepath.WalkDir(cache, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(cache, path)
		name = filepath.ToSlash(name)
		switch {
		case entry.IsDir() && strings.Contains(entry.Name(), "@") && !strings.HasPrefix(name, "cache/"):
			unpacked = append(unpacked, name[:strings.LastIndex(name, "@")])
			return fs.SkipDir
		case strings.HasSuffix(name, ".zip"):
			zips = append(zips, strings.TrimPrefix(name[:strings.Index(name, "/@v/")], "cache/download/"))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"golang.org/x/oauth2"}
	if !slices.Equal(unpacked, want) || !slices.Equal(zips, want) {
		t.Errorf("downloaded %v, unpacked %v, want %v", zips, unpacked, want)
	}
}

func TestTheCoreIsBuiltOfTheStandardLibraryAndOAuth2(t *testing.T) {
	list := runProgram(t, ".", nil, "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".")
	for _, name := range strings.Fields(list) {
		if name != "github.com/cambio-sts/cambio/clients/go" && !strings.HasPrefix(name, "github.com/cambio-sts/cambio/clients/go/internal/") &&
			name != "golang.org/x/oauth2" && !strings.HasPrefix(name, "golang.org/x/oauth2/") {
			t.Errorf("the core is built of %s", name)
		}
	}
	if !strings.Contains(list, "golang.org/x/oauth2") {
		t.Errorf("the list is %q", list)
	}
}

func writeText(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func runProgram(t *testing.T, folder string, environment []string, name string, arguments ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), name, arguments...)
	command.Dir = folder
	command.Env = append(os.Environ(), environment...)
	var out, faults bytes.Buffer
	command.Stdout, command.Stderr = &out, &faults
	if err := command.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(arguments, " "), err, &faults)
	}
	return out.String()
}
