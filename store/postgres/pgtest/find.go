package pgtest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// installation is a PostgreSQL that can be run: its programs, and what they need
// around them where the packages were unpacked and not installed.
type installation struct {
	bin       string
	libraries string   // LD_LIBRARY_PATH, or empty
	initdb    []string // arguments
}

// find looks where an administrator would have put PostgreSQL, then where
// install.sh unpacks it.
func find() (installation, error) {
	var places []string
	if dir := os.Getenv("CAMBIO_POSTGRES_BIN"); dir != "" {
		places = []string{dir} // named: nowhere else
	} else {
		if path, err := exec.LookPath("initdb"); err == nil {
			if resolved, err := filepath.EvalSymlinks(path); err == nil {
				places = append(places, filepath.Dir(resolved))
			}
		}
		places = append(places, newestFirst("/usr/lib/postgresql/*/bin")...)
		if root := repository(); root != "" {
			places = append(places, newestFirst(filepath.Join(root, ".cache/postgres/usr/lib/postgresql/*/bin"))...)
		}
	}
	for _, bin := range places {
		if executable(filepath.Join(bin, "initdb")) && executable(filepath.Join(bin, "postgres")) {
			return describe(bin), nil
		}
	}
	return installation{}, errors.New("no folder with initdb and postgres among: " + strings.Join(append(places, "$PATH", "$CAMBIO_POSTGRES_BIN"), ", "))
}

// describe adds what an unpacked PostgreSQL needs: its libraries are not where the
// loader looks, and its shared files are found relative to the programs.
func describe(bin string) installation {
	found := installation{bin: bin}
	root, _, unpacked := strings.Cut(bin, "/usr/lib/postgresql/")
	if !unpacked || root == "" {
		return found
	}
	libraries, _ := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-*"))
	found.libraries = strings.Join(libraries, string(os.PathListSeparator))
	version := filepath.Base(filepath.Dir(bin))
	found.initdb = []string{"-L", filepath.Join(root, "usr/share/postgresql", version)}
	return found
}

func newestFirst(pattern string) []string {
	found, _ := filepath.Glob(pattern)
	slices.SortFunc(found, func(a, b string) int {
		if len(a) != len(b) { // 9 before 15
			return len(b) - len(a)
		}
		return strings.Compare(b, a)
	})
	return found
}

// repository is the folder with go.mod above the test's folder.
func repository() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
