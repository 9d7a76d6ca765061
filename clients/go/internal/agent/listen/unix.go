package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
)

// maxPath is what a unix socket's path may have in bytes on each system (sun_path of
// macOS has 104 with the closing NUL), less the ending of its name while it is made.
const maxPath = 103 - len(newSuffix)

const newSuffix = ".new"

// bindUnix listens at a path. The socket appears there with its permissions from the
// first moment. One that nobody listens at any more is replaced.
func bindUnix(path string, mode fs.FileMode) (net.Listener, error) {
	if !filepath.IsAbs(path) {
		return nil, errors.New("write an absolute path")
	}
	if len(path) > maxPath {
		return nil, fmt.Errorf("a socket's path has at most %d bytes", maxPath)
	}
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, errors.New("there is a file that is no socket: remove it, or give another path")
		}
		if c, err := net.Dial("unix", path); err == nil {
			_ = c.Close()
			return nil, errors.New("somebody listens there: stop that, or give another path")
		}
	}
	if mode == 0 {
		mode = 0o600
	}
	fresh := path + newSuffix
	if info, err := os.Lstat(fresh); err == nil && info.Mode()&os.ModeSocket != 0 {
		_ = os.Remove(fresh) // of a start that was interrupted
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(fresh, mode); err == nil {
		err = os.Rename(fresh, path)
	}
	if err != nil {
		_ = l.Close()
		_ = os.Remove(fresh)
		return nil, err
	}
	made, err := os.Lstat(path)
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	return &unixListener{UnixListener: l, path: path, made: made}, nil
}

// unixListener removes its socket when it is closed, unless another has taken its place.
type unixListener struct {
	*net.UnixListener
	path string
	made os.FileInfo
}

// Close stops listening.
func (l *unixListener) Close() error {
	if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.made) {
		_ = os.Remove(l.path)
	}
	return l.UnixListener.Close()
}
