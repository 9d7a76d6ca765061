package sqlite_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cambio-sts/cambio/exchange"
	"github.com/cambio-sts/cambio/store/sqlite"
)

// TestAdvice: what cannot be opened is refused with what to change, whoever opens it,
// and in no words of SQLite's own.
func TestAdvice(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const other = "This is a file of somebody else's, and of another kind than was looked for here."
	letter, guarded := file("letter.db", other), file("guarded.db", "")
	file("guarded.db.lock", other)
	folder := filepath.Join(dir, "folder.db")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	busy := filepath.Join(dir, "busy.db")
	if err := sqlite.Migrate(t.Context(), busy); err != nil {
		t.Fatal(err)
	}
	program, err := backDoor(t, busy).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	for _, statement := range []string{"pragma locking_mode = exclusive", "begin immediate", "update heartbeat set at = 1"} {
		if _, err := program.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		letter:                             letter + " is no SQLite database: name another file as store.sqlite.path, or move this one away",
		guarded:                            guarded + ".lock is no SQLite database: ",
		folder:                             "store.sqlite.path must be a file that this user may write to",
		filepath.Join(letter, "cambio.db"): "store.sqlite.path must be a file that this user may write to",
		busy:                               "another program has " + busy + " open and locked: close it there, or name another file as store.sqlite.path",
	} {
		_, opened := sqlite.Open(t.Context(), path, sqlite.Options{})
		doors := map[string]error{"Open": opened}
		if path != busy { // which is waited for
			doors["Migrate"] = sqlite.Migrate(t.Context(), path)
		}
		for door, err := range doors {
			if exchange.KindOf(err) != exchange.KindMisconfigured || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", door, err, want)
				continue
			}
			for _, word := range []string{"misconfigured", "(5)", "(14)", "(26)", "SQLITE_"} {
				if strings.Contains(err.Error(), word) {
					t.Errorf("%s: %v, with %q", door, err, word)
				}
			}
			if errors.Is(err, sqlite.ErrInUse) != (path == busy) {
				t.Errorf("%s: %v: whether it is in use is wrong", door, err)
			}
		}
	}
	absent := filepath.Join(dir, "absent", "cambio.db")
	if err := sqlite.Migrate(t.Context(), absent); err == nil || !strings.Contains(err.Error(), "no such file or directory") || !strings.Contains(err.Error(), "store.sqlite.path must be") {
		t.Errorf("in no folder: %v", err)
	}
	if err := sqlite.Advise(busy, nil); err != nil {
		t.Errorf("nothing is wrong: %v", err)
	}
}
