package door

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// put replaces a file as a whole; its folder is made if there is none.
func put(path, text string, mode os.FileMode) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// Not renameio.WriteFile, which would keep the mode of what it replaces.
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(dir), renameio.WithStaticPermissions(mode))
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }()
	if _, err := io.WriteString(f, text); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// inPlace reports whether a file is as it should be already.
func inPlace(path, text string, mode os.FileMode) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != mode {
		return false
	}
	found, err := readFile(path, int64(len(text)))
	return err == nil && found == text
}

// readFile reads a whole file of at most limit bytes.
func readFile(path string, limit int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return "", err
	case int64(len(text)) > limit:
		return "", errors.New(path + ": it is too long")
	}
	return string(text), nil
}
