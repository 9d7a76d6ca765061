package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/google/renameio/v2"
)

// Access is who may do what with a file.
type Access struct {
	Mode     os.FileMode
	UID, GID int // -1: as it comes
}

// Own is a file of the agent's own user.
func Own(mode os.FileMode) Access { return Access{Mode: mode, UID: -1, GID: -1} }

// Put gives a file its content, at once and as a whole, and reports whether that is
// another than before. What is there already stays untouched.
func (a Access) Put(path string, text []byte) (changed bool, err error) {
	same, allowed, err := a.compare(path, text)
	if err != nil {
		return false, Advise(path, err)
	}
	if same && allowed {
		return false, nil
	}
	if err := a.replace(path, text); err != nil {
		return false, Advise(path, err)
	}
	return !same, nil
}

func (a Access) replace(path string, text []byte) (err error) {
	// In the same folder, so that there is one rename; the mode is 0600 until the file
	// has its owner.
	f, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Cleanup()
		}
	}()
	if a.UID != -1 || a.GID != -1 {
		if err := f.Chown(a.UID, a.GID); err != nil {
			return fmt.Errorf("giving it to its owner: %w", err)
		}
	}
	if err := f.Chmod(a.Mode); err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.CloseAtomicallyReplace()
}

// compare reports whether a file has the content, and whether who may read it is right.
func (a Access) compare(path string, text []byte) (same, allowed bool, err error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, false, nil
	case err != nil:
		return false, false, err
	case info.Mode().Type() == fs.ModeSymlink:
		return false, false, errors.New("it is a symbolic link: name the file itself, or remove the link")
	case !info.Mode().IsRegular():
		return false, false, errors.New("it is no file: remove what is there, or name another path")
	}
	allowed = info.Mode()&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) == a.Mode
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		allowed = allowed && (a.UID == -1 || uint32(a.UID) == stat.Uid) && (a.GID == -1 || uint32(a.GID) == stat.Gid)
	}
	// A file that cannot be read is not what we would write.
	old, err := ReadOwn(path, len(text))
	return err == nil && bytes.Equal(old, text), allowed, nil
}

// ReadOwn reads one byte more than most, if there is; it follows no link and waits for no
// pipe.
func ReadOwn(path string, most int) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(most)+1))
}

// Advise says what to change. The paths of temporary files say nothing to anybody.
func Advise(path string, err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = fmt.Errorf("%s: %w", at.Op, at.Err)
	}
	var link *os.LinkError
	if errors.As(err, &link) {
		err = fmt.Errorf("%s: %w", link.Op, link.Err)
	}
	folder := filepath.Dir(path)
	advice := ""
	switch {
	case errors.Is(err, syscall.ENOENT):
		advice = "there is no folder " + folder + ": make it, or mount a volume there"
	case errors.Is(err, syscall.ENOTDIR):
		advice = folder + " is no folder"
	case errors.Is(err, syscall.EROFS):
		advice = folder + " is read-only: mount a writable volume there, such as an emptyDir"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		advice = "there is no room left in " + folder
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		advice = "let the agent's user write in " + folder + ", and give files away only as root"
	case errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.EEXIST):
		advice = "remove what is there, or name another path"
	}
	if advice == "" {
		return fmt.Errorf("%s: %w", path, err)
	}
	return fmt.Errorf("%s: %s: %w", path, advice, err)
}
