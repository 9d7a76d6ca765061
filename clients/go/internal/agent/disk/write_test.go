package disk_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/disk"
)

// Whoever opens the file at any moment sees a whole old content or a whole new one, and
// nothing in the folder ever has a bit that is not configured, whatever the umask.
func TestReadersSeeWholeFiles(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			r.Fatal(err)
		}
		mode := os.FileMode(rapid.SampledFrom([]int{0o600, 0o400, 0o640, 0o644}).Draw(r, "mode"))
		texts := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) []byte {
			// Each content is one letter, so that a mixture is seen.
			letter := rapid.ByteRange('a', 'z').Draw(r, "letter")
			return bytes.Repeat([]byte{letter}, rapid.IntRange(1, 200_000).Draw(r, "size"))
		}), 2, 6).Draw(r, "contents")
		a, path := disk.Access{Mode: mode, UID: os.Getuid(), GID: os.Getgid()}, filepath.Join(dir, "token")
		if _, err := a.Put(path, texts[0]); err != nil {
			r.Fatal(err)
		}
		var end atomic.Bool
		var fault atomic.Pointer[string]
		say := func(text string) { fault.CompareAndSwap(nil, &text) }
		var readers sync.WaitGroup
		readers.Go(func() {
			for !end.Load() {
				text, err := os.ReadFile(path)
				whole := false
				for _, want := range texts {
					whole = whole || bytes.Equal(text, want)
				}
				if err != nil || !whole {
					say("a reader saw " + strconv.Itoa(len(text)) + " bytes that nobody wrote")
				}
			}
		})
		readers.Go(func() {
			for !end.Load() {
				entries, _ := os.ReadDir(dir)
				for _, entry := range entries {
					info, err := entry.Info()
					if err == nil && info.Mode()&^(mode|0o600) != 0 {
						say(entry.Name() + " has the mode " + info.Mode().String())
					}
				}
			}
		})
		for i, text := range texts {
			changed, err := a.Put(path, text)
			if err != nil || changed != (i > 0 && !bytes.Equal(text, texts[i-1])) {
				say("content " + strconv.Itoa(i) + " changed: " + strconv.FormatBool(changed))
			}
		}
		end.Store(true)
		readers.Wait()
		if text := fault.Load(); text != nil {
			r.Fatal(*text)
		}
	})
}

// What the file system says, with what to do about it.
func TestAdvice(t *testing.T) {
	for err, says := range map[error]string{
		syscall.EROFS:  "/run/secrets is read-only: mount a writable volume there",
		syscall.ENOSPC: "there is no room left in /run/secrets",
		syscall.EDQUOT: "there is no room left in /run/secrets",
		syscall.EACCES: "let the agent's user write in /run/secrets",
		syscall.EPERM:  "give files away only as root",
		syscall.EISDIR: "remove what is there",
		syscall.EIO:    "/run/secrets/token: open: input/output error",
	} {
		got := disk.Advise("/run/secrets/token", &os.PathError{Op: "open", Path: "/run/secrets/.token123", Err: err})
		if !errors.Is(got, err) || !strings.HasPrefix(got.Error(), "/run/secrets/token: ") || !strings.Contains(got.Error(), says) || strings.Contains(got.Error(), ".token123") {
			t.Errorf("%v", got)
		}
	}
}

// What lies there already does not say who may read the new: an agent that starts again
// finds what others made meanwhile.
func TestS36WhatLiesThereGivesNobodyAccess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	for _, old := range []os.FileMode{0o666, 0o644, 0o640, 0o4755} {
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, old); err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"new", "new"} {
			if err := disk.Keep(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Lstat(path); err != nil || info.Mode() != 0o600 {
				t.Errorf("over %o: %v, %v", old, info, err)
			}
		}
	}
	// Nor does a link lead the secret to where somebody else wants it.
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := errors.Join(os.Remove(path), os.Symlink(elsewhere, path)); err != nil {
		t.Fatal(err)
	}
	if err := disk.Keep(path, "new", 0o600); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("by a link: %v", err)
	}
	if _, err := os.Lstat(elsewhere); !errors.Is(err, os.ErrNotExist) {
		t.Error("the secret went where a link leads")
	}
}
