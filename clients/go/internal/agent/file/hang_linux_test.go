package file_test

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A command that takes too long ends, with what it started.
func TestRunKillsWhatHangs(t *testing.T) {
	d := newDesk(t)
	_, end := d.run(`[{path: DIR/token, target: gpt, on_change: {command: [` + self(t) + `, DIR/child], environment: {CAMBIO_FILE_TEST: hang}, timeout: 3s}}]`)
	end()
	if !strings.Contains(d.log.String(), "it took longer than 3s") {
		t.Error("nothing is said")
	}
	text, err := os.ReadFile(d.path("child"))
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	// It is gone, or will be at once.
	process, err := unix.PidfdOpen(child, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(process) }()
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(process), Events: unix.POLLIN}}, 10_000); n != 1 {
		_ = unix.Kill(child, unix.SIGKILL)
		t.Errorf("the child lives on: %v", err)
	}
}
