package door_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/door"
)

// What stands in the way of the files is told once, and when it is gone they are there.
func TestRunTriesAgainUntilTheFilesAreWritten(t *testing.T) {
	dir := t.TempDir()
	way := filepath.Join(dir, "run")
	if err := os.WriteFile(way, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	settings := ociFiles(filepath.Join(dir, "oci"))
	settings.Listen, settings.SecretFile, settings.Vault = loopback, filepath.Join(way, "secret"), &door.Vault{Targets: []string{"db"}}
	a := open(t, newCambio(t), settings, nil)
	if err := a.Once(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "secret_file: ") {
		t.Errorf("Once: %v", err)
	}
	a.until(func(n int, d time.Duration) bool {
		switch n {
		case 3:
			if err := os.Remove(way); err != nil {
				t.Fatal(err)
			}
		case 4:
			if read(t, way, "secret") != secretOf(t, a) || read(t, dir, "oci", "rpst") == "" {
				t.Error("the files are not there")
			}
			if err := os.Chmod(filepath.Join(way, "secret"), 0o644); err != nil {
				t.Fatal(err)
			}
		case 5:
			if mode(t, way, "secret") != 0o600 {
				t.Error("others can read the secret")
			}
		}
		if (n < 4) != (d == 5*time.Second) {
			t.Errorf("wait %d is of %v", n, d)
		}
		return n < 5
	})
	if n := strings.Count(a.log.String(), "cannot be written"); n != 1 {
		t.Errorf("it is told %d times", n)
	}
}

// A new start makes another secret, and whoever reads the file gets it.
func TestANewStartReplacesTheSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	settings := door.Settings{Listen: loopback, SecretFile: path, Vault: &door.Vault{Targets: []string{"db"}}}
	s := newCambio(t)
	seen := map[string]bool{}
	for range 3 {
		a := open(t, s, settings, nil)
		if err := a.Once(t.Context()); err != nil {
			t.Fatal(err)
		}
		seen[read(t, path)] = true
	}
	if len(seen) != 3 {
		t.Errorf("%d secrets in three starts", len(seen))
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files lie there, %v", len(entries), err)
	}
}
