package exchange_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/cambio-sts/cambio"

// listed is what `go list -json` says of a package; test imports count too, save
// that a test may use the suites and stand-ins made for it.
type listed struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// TestImportArrows holds the shape of the house: imports point inward. The root
// of the domain knows nobody, its rooms know only the root, drivers know the
// driver contract, doors and engines know the domain, and only cmd (with the
// benchmarks and the end-to-end tests) knows everyone.
func TestImportArrows(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing the packages: %v", err)
	}
	packages := 0
	for d := json.NewDecoder(strings.NewReader(string(out))); ; packages++ {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		from := inside(p.ImportPath)
		for _, to := range p.Imports {
			checkArrow(t, from, to, false)
		}
		for _, to := range append(p.TestImports, p.XTestImports...) {
			checkArrow(t, from, to, true)
		}
	}
	if packages < 20 {
		t.Errorf("only %d packages were listed: the test no longer sees the house", packages)
	}
}

func inside(path string) string {
	return strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
}

func checkArrow(t *testing.T, from, path string, test bool) {
	t.Helper()
	if from == "exchange" && !test && strings.Contains(strings.Split(path, "/")[0], ".") {
		t.Errorf("exchange imports %s: the root of the domain imports the standard library only", path)
		return
	}
	if !strings.HasPrefix(path, module+"/") {
		return
	}
	to := inside(path)
	if to == from || strings.HasPrefix(to, from+"/internal/") || allowed(from, to) || (test && allowedInTests(from, to)) {
		return
	}
	t.Errorf("%s imports %s: imports point inward (see docs/design.md, Rooms)", from, to)
}

func allowed(from, to string) bool {
	room := func(path string, depth int) string {
		parts := strings.Split(path, "/")
		return strings.Join(parts[:min(depth, len(parts))], "/")
	}
	switch room(from, 1) {
	case "cmd", "bench", "deploy":
		return true
	case "exchange":
		if to == "exchange" {
			return from != "exchange"
		}
		// A room's own folders, and the drivers' way to their contract.
		if room(from, 2) == room(to, 2) {
			driver, other := room(from, 3), room(to, 3)
			if room(from, 2) != "exchange/provider" || driver == other {
				return true
			}
			return to == "exchange/provider" || to == "exchange/provider/sandbox" || from == "exchange/provider/all"
		}
		return false
	case "server":
		return room(to, 1) == "exchange" || room(to, 1) == "proto" || to == "server"
	case "store":
		return room(to, 1) == "exchange" || room(to, 1) == "migrations" || to == "store"
	}
	return false
}

// allowedInTests: suites (storetest, providertest), stand-ins (pgtest, sandboxes)
// and the contracts they speak of.
func allowedInTests(from, to string) bool {
	last := to[strings.LastIndex(to, "/")+1:]
	return strings.HasSuffix(last, "test") || strings.HasSuffix(last, "sandbox")
}
