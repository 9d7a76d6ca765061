package disk

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Keep puts a text of the agent's own where programs look for it; the folder is made, for
// the agent's user alone, if there is none. What is in place already is not touched.
func Keep(path, text string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	_, err := Own(mode).Put(path, []byte(text))
	return err
}

// Read reads a whole file of somebody else's, of at most limit bytes. Links are followed:
// what a kubelet mounts is behind one.
func Read(path string, limit int64) (string, error) {
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
		return "", fmt.Errorf("%s: it has more than %d bytes", path, limit)
	}
	return string(text), nil
}
