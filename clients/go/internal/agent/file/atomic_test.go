package file

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cambio-sts/cambio/clients/go/internal/agent/disk"
)

func TestAccess(t *testing.T) {
	a, err := newAccess(&Entry{Owner: "root", Group: "0"})
	if err != nil || a.UID != 0 || a.GID != 0 || a.Mode != 0o600 {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := newAccess(&Entry{Owner: "65534", Mode: 0o640}); err != nil || a.UID != 65534 || a.GID != -1 || a.Mode != 0o640 {
		t.Errorf("%+v, %v", a, err)
	}
	// A file is given to its owner; only root can.
	path := filepath.Join(t.TempDir(), "token")
	changed, err := disk.Access{Mode: 0o640, UID: 65534, GID: 65534}.Put(path, []byte("x"))
	if os.Getuid() != 0 {
		if err == nil || !strings.Contains(err.Error(), "give files away only as root") {
			t.Error(err)
		}
		return
	}
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil || !changed || info.Sys().(*syscall.Stat_t).Uid != 65534 || info.Sys().(*syscall.Stat_t).Gid != 65534 || info.Mode() != 0o640 {
		t.Errorf("%v, %v: %+v", err, statErr, info)
	}
	if changed, err := (disk.Access{Mode: 0o640, UID: 65534, GID: 65534}).Put(path, []byte("x")); changed || err != nil {
		t.Errorf("the same again: %t, %v", changed, err)
	}
}

// Workers are signalled by the first of their family.
func TestProcessesCalled(t *testing.T) {
	proc := t.TempDir()
	for process, stat := range map[string]string{
		"10": "10 (server) S 1 10 10", "11": "11 (server) S 10 10 10", "12": "12 (other) S 1 1 1",
		"13": "13 (a) b) S 1 1 1", "14": "14 (server) Z 1 1 1", "15": "15", "16": "16 (server)", "x": "17 (server) S 1 1 1",
		"20": "20 (a-very-long-nam) S 1 1 1", "21": "21 (a-very-long-nam) S 1 1 1",
	} {
		if err := os.Mkdir(filepath.Join(proc, process), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, process, "stat"), []byte(stat), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for process, line := range map[string]string{"20": "/bin/a-very-long-name\x00-x\x00", "21": "a-very-long-namesake"} {
		if err := os.WriteFile(filepath.Join(proc, process, "cmdline"), []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int{"server": 10, "a) b": 13, "a-very-long-name": 20, "a-very-long-namesake": 21} {
		if got, err := processesCalled(proc, name); err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"serve", "server2", "a-very-long-nam", "a-very-long-names", ""} {
		if got, err := processesCalled(proc, name); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// An agent that may signal everybody does not signal whom somebody else names.
func TestAPIDFileOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root can give a file away, and signal other users' processes
	}
	path := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(path, []byte("1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if process, err := processOf(path); err != nil || process != 1 {
		t.Errorf("root's: %d, %v", process, err)
	}
	if err := os.Chown(path, 4242, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := processOf(path); err == nil || !strings.Contains(err.Error(), "user 4242's") {
		t.Errorf("another user's: %v", err)
	}
}

func FuzzProcess(f *testing.F) {
	f.Add([]byte("10 (server) S 1 10 10"), []byte("12\n"))
	f.Add([]byte("10 ((x)) R -1"), []byte("-1"))
	f.Fuzz(func(t *testing.T, stat, pid []byte) {
		if name, _, ok := parseStat(stat); ok && !bytes.Contains(stat, []byte("("+name+")")) {
			t.Errorf("%q is called %q", stat, name)
		}
		if process, ok := processNumber(pid); ok && (process <= 0 || !bytes.Contains(pid, []byte(strconv.Itoa(process)))) {
			t.Errorf("%q is process %d", pid, process)
		}
	})
}

func FuzzMask(f *testing.F) {
	f.Add("the token is vended-secret-1, or vended-secret-12", "vended-secret-1", "vended-secret-12")
	f.Add("-----BEGIN RSA PRIVATE KEY-----\nabc", "abcdefgh", "")
	f.Fuzz(func(t *testing.T, text, one, two string) {
		masked := mask([]byte(text), []string{one, two})
		if len(masked) > shown+len("…") {
			t.Errorf("%d bytes", len(masked))
		}
		// What masking itself writes could make up a text anew.
		if len(one) < shortSecret || strings.ContainsAny(one, " ?…") || strings.Contains(one, "REDACTED") {
			return
		}
		if strings.Contains(masked, one) {
			t.Errorf("%q shows %q", masked, one)
		}
	})
}

func FuzzMode(f *testing.F) {
	f.Add("0640")
	f.Add(`"0o600"`)
	f.Fuzz(func(t *testing.T, text string) {
		var m Mode
		if m.UnmarshalYAML([]byte(text)) == nil && !strings.ContainsAny(text, "01234567") {
			t.Errorf("%q is a mode", text)
		}
	})
}
